"""The contract's messages of mailboxes, made from what the store reads."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Final

from asyncpg import Record

from mailstore.finding.text_index import Matches
from mailstore.mailboxes.catalogue import MailboxRow
from mailstore.mailboxes.facts import FactColumns, StoredFacts
from mailstore.mailboxes.octets import Chunk
from mailstore.mailboxes.rows import RowColumns
from mailstore.mailboxes.uid_ranges import compress, range_messages
from mailstore.scanning import preview_of
from postroom.mailstore.v1 import content_pb2, mailbox_pb2
from postroom_contracts.errors import InvalidRequestError

_BATCH_OCTETS: Final = 128 * 1024
_SPECIAL_USES: Final = mailbox_pb2.SpecialUse.values()


def mailbox_message(mailbox: MailboxRow) -> mailbox_pb2.Mailbox:
    """A mailbox."""
    return mailbox_pb2.Mailbox(
        id=mailbox.id.bytes,
        name=mailbox.name,
        special_use=_SPECIAL_USES[mailbox.special_use],
        uid_validity=mailbox.uid_validity,
        uid_next=mailbox.uid_next,
        messages=mailbox.messages,
        unseen=mailbox.unseen,
        deleted=mailbox.deleted,
        size=mailbox.size,
        highest_modseq=mailbox.highest_modseq,
        subscribed=mailbox.subscribed,
        recent=max(mailbox.uid_next - mailbox.recent_from, 0),
    )


def keyword_messages(keywords: Mapping[str, int]) -> list[mailbox_pb2.Keyword]:
    """An account's keywords."""
    return [mailbox_pb2.Keyword(bit=bit, name=name) for name, bit in keywords.items()]


def rows_message(rows: RowColumns) -> mailbox_pb2.Rows:
    """Rows as columns."""
    return mailbox_pb2.Rows(
        uids=rows.uids,
        flags=rows.flags,
        keywords=rows.keywords,
        modseqs=rows.modseqs,
        sizes=rows.sizes,
        internal_dates=rows.internal_dates,
    )


def facts_message(facts: StoredFacts) -> mailbox_pb2.Facts:
    """What is known of one message."""
    message = mailbox_pb2.Facts(
        uid=facts.uid,
        message_id=facts.message_id.bytes,
        envelope=facts.envelope,
        body=facts.body,
        body_structure=facts.body_structure,
        parts=facts.parts,
        prefix=facts.prefix,
        header=facts.header,
        header_complete=facts.header_complete,
        size=facts.size,
        flags=facts.flags,
        keywords=facts.keywords,
        modseq=facts.modseq,
        summary=facts.summary,
        email_id=facts.email_id.bytes if facts.email_id else b"",
        thread_id=facts.thread_id.bytes if facts.thread_id else b"",
        preview=preview_of(facts.preview_of) if facts.preview_of else "",
    )
    message.internal_date.FromDatetime(facts.internal_date)
    message.saved_at.FromDatetime(facts.saved_at)
    return message


def lean_facts_message(row: Record, columns: FactColumns) -> mailbox_pb2.Facts:
    """What was asked for of one message."""
    fields = dict(row.items())
    saved_at, summary = fields.pop("saved_at", None), fields.get("summary")
    if summary is not None and not columns.summary:
        del fields["summary"]
    message = mailbox_pb2.Facts(**fields)
    if columns.preview and summary is not None:
        message.preview = preview_of(summary)
    if saved_at is not None:
        message.saved_at.FromDatetime(saved_at)
    return message


def parse_use(value: int) -> int:
    """A special use. Raises InvalidRequestError for one that we do not know."""
    if value not in _SPECIAL_USES:
        raise InvalidRequestError("no such special use")
    return value


def matches_message(matches: Matches) -> mailbox_pb2.UidSet:
    """What has a term."""
    scores = [matches.scores[uid] for uid in matches.uids] if matches.scores else ()
    return mailbox_pb2.UidSet(ranges=range_messages(compress(matches.uids)), scores=scores)


async def one_by_one(batches: AsyncIterable[list[Chunk]]) -> AsyncIterator[mailbox_pb2.ReadMessagesResponse]:
    """An answer for each chunk."""
    async for chunks in batches:
        for chunk in chunks:
            yield mailbox_pb2.ReadMessagesResponse(
                chunk=content_pb2.ContentChunk(read=chunk.read, octets=chunk.octets, last=chunk.last)
            )


async def batched(batches: AsyncIterable[list[Chunk]]) -> AsyncIterator[mailbox_pb2.ReadMessagesResponse]:
    """Answers of some 128 KiB before compression, since each costs as much as a message of some KiB does."""
    answer, room = mailbox_pb2.ReadMessagesResponse(), _BATCH_OCTETS
    async for chunks in batches:
        for read, octets, last, zstd, zstd_size in chunks:
            answer.chunks.add(read=read, octets=octets, last=last, zstd=zstd)
            room -= len(octets) + zstd_size
            if room <= 0:
                yield answer
                answer, room = mailbox_pb2.ReadMessagesResponse(), _BATCH_OCTETS
    if answer.chunks:
        yield answer
