"""APPEND: a message that a client brings is durable and placed in one transaction."""

import datetime as dt
import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg
import zstandard

from mailstore.accounts import lock_accounts
from mailstore.blobs.reader import decompress_frame
from mailstore.blobs.segments import OpenSegment, table
from mailstore.intake.item import Inline, MessageContent
from mailstore.intake.statements import CODEC_PLAIN, CODEC_ZSTD
from mailstore.mailboxes.catalogue import Owner, find_mailbox
from mailstore.mailboxes.flags import keyword_bits
from mailstore.mailboxes.guests import SharedPlace, mark_new
from mailstore.mailboxes.moving import MailboxPlace, remove_messages
from mailstore.mailboxes.quota import check_quota
from mailstore.mailboxes.sharing import Right, flag_mask
from mailstore.mailboxes.uid_ranges import compress, range_messages
from mailstore.messages import NewMessage, insert_messages
from mailstore.placement import SEEN, Placed, Placement, place
from mailstore.scanning import MessageFacts
from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom_contracts.errors import (
    ContentMismatchError,
    InvalidRequestError,
    LimitError,
    MailboxNotFoundError,
    MessageNotFoundError,
    StagingFullError,
    UnavailableError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.operations import Operation, once

MAX_MESSAGES: Final = 256

# Also where it is no more: it may have been moved or expunged since.
_PLACED_BEFORE: Final = """
SELECT m.uid, m.modseq, b.uid_validity FROM (
    SELECT mailbox_id, uid, modseq FROM mailstore.mailbox_message WHERE message_id = $1 AND account_id = $2
    UNION ALL
    SELECT mailbox_id, uid, modseq FROM mailstore.expunged WHERE message_id = $1 AND account_id = $2
) AS m JOIN mailstore.mailbox AS b ON b.id = m.mailbox_id
WHERE m.mailbox_id = $3 ORDER BY m.uid LIMIT 1
"""
_ID_USED: Final = "SELECT EXISTS (SELECT FROM mailstore.message WHERE id = ANY($1::uuid[]))"
_STAGE: Final = """
INSERT INTO mailstore.{segment} (blob_id, octets) SELECT * FROM unnest($1::uuid[], $2::bytea[])
"""
_BLOBS: Final = """
INSERT INTO mailstore.blob (id, tenant_id, digest, size, codec, segment, object_id, stored_length)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bigint[], $5::smallint[], $6::integer[],
                     $7::uuid[], $8::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Appending:
    """What to append, and how it is to be marked; `object_id` when the octets were uploaded."""

    id: UUID
    mailbox_id: UUID
    flags: int
    keywords: Sequence[str]
    internal_date: dt.datetime
    content: MessageContent
    object_id: UUID | None = None
    mailbox_name: str = ""
    """What the mailbox must be called; empty: whatever."""


Batch: TypeAlias = Sequence[tuple[Appending, MessageFacts]]
"""Messages for one mailbox, in their order; one at least."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the message is (RFC 4315 s3 APPENDUID), and the MODSEQ that shows it."""

    placed: Placed
    modseq: int


def check_batch(request: pb.AppendMessagesRequest) -> None:
    """Raises InvalidRequestError, LimitError for what is no batch for one mailbox."""
    mailboxes = {(message.mailbox_id, message.mailbox_name) for message in request.messages}
    ids = {message.id for message in request.messages}
    if len(mailboxes) != 1 or len(ids) < len(request.messages) or b"" in ids:
        raise InvalidRequestError("no messages, or not for one mailbox, or not each with its id")
    if len(request.messages) > MAX_MESSAGES:
        raise LimitError("too many messages in one call")


def inline_octets(content: MessageContent) -> bytes:
    """The octets of an inline content. Raises ContentMismatchError."""
    if not isinstance(content.source, Inline):
        raise ContentMismatchError("not inline")
    try:
        octets = decompress_frame(content.source.zstd, content.size)
    except zstandard.ZstdError:
        raise ContentMismatchError("not a zstd frame of that size") from None
    if len(octets) != content.size:
        raise ContentMismatchError("another size than said")
    return octets


def check_digest(octets: bytes, content: MessageContent) -> None:
    """Raises ContentMismatchError when these are not the octets that were meant."""
    if hashlib.sha256(octets).digest() != content.digest:
        raise ContentMismatchError("another digest than said")


@dataclass(frozen=True, slots=True)
class Replaced:
    """A message that goes when another one comes (RFC 8508)."""

    mailbox_id: UUID
    uid: int


async def append_message(
    database: Database, segment: OpenSegment, owner: Owner, appending: Appending, facts: MessageFacts
) -> Appended:
    """Append once, however often it is asked.

    Raises MailboxNotFoundError, StagingFullError, OverQuotaError, InvalidRequestError (the id is another
    message's).
    """

    async def transact(connection: Connection) -> Appended:
        modseqs = await lock_accounts(connection, [owner.account_id])
        before = await connection.fetchrow(
            _PLACED_BEFORE, appending.id, owner.account_id, appending.mailbox_id
        )
        if before is not None:
            return Appended(Placed(before["uid_validity"], before["uid"]), before["modseq"])
        (placed,) = await _append(connection, segment, owner, [(appending, facts)], modseqs)
        await check_quota(connection, owner)
        reached("append.before_commit")
        return Appended(placed, modseqs[owner.account_id])

    check_room(segment, [appending])
    with segment_dropped(segment):
        appended = await database.run(transact)
    reached("append.after_commit")
    return appended


async def append_messages(
    database: Database,
    segment: OpenSegment,
    owner: Owner,
    operation: Operation | None,
    batch: Batch,
    replaced: Replaced | None,
) -> pb.AppendMessagesResponse:
    """Append all of them, and expunge the replaced one, or do nothing (RFC 3502, RFC 8508).

    Raises as `append_message`, and MessageNotFoundError when what is to be replaced is gone.
    """

    async def work(connection: Connection) -> pb.AppendMessagesResponse:
        modseqs = await lock_accounts(connection, [owner.account_id])
        modseq = modseqs[owner.account_id]
        placed = await _append(connection, segment, owner, batch, modseqs)
        if replaced is not None:
            await find_mailbox(connection, owner.account_id, replaced.mailbox_id)
            place_of_old = MailboxPlace(owner.account_id, replaced.mailbox_id, modseq)
            if not await remove_messages(connection, place_of_old, [(replaced.uid, replaced.uid)]):
                raise MessageNotFoundError("the message that is to be replaced is gone")
        await check_quota(connection, owner)  # of what is left: RFC 8508 s3.4
        reached("append.before_commit")
        uids = range_messages(compress(each.uid for each in placed))
        return pb.AppendMessagesResponse(uid_validity=placed[0].uid_validity, uids=uids, modseq=modseq)

    check_room(segment, [appending for appending, _ in batch])
    with segment_dropped(segment):
        answered = await once(database, operation, pb.AppendMessagesResponse, work)
    reached("append.after_commit")
    return answered


async def _append(
    connection: Connection, segment: OpenSegment, owner: Owner, batch: Batch, modseqs: Mapping[UUID, int]
) -> list[Placed]:
    """Messages in their order into one mailbox of the locked account."""
    mailbox = await find_mailbox(connection, owner.account_id, batch[0][0].mailbox_id)
    if batch[0][0].mailbox_name not in ("", mailbox.name):
        raise MailboxNotFoundError("it has another name now")
    ids = [appending.id for appending, _ in batch]
    if await connection.fetchval(_ID_USED, ids):  # it would show a message of whoever has the id
        raise InvalidRequestError("an id that another message has")
    blob_ids = await _keep_octets(connection, segment, owner, [appending for appending, _ in batch])
    messages: list[NewMessage] = []
    placements: list[Placement] = []
    writes = not owner.is_guest or bool(owner.rights & Right.WRITE)
    for blob_id, (appending, facts) in zip(blob_ids, batch, strict=True):
        keywords = appending.keywords if writes else ()
        messages.append(NewMessage(appending.id, owner.tenant_id, blob_id, facts))
        placements.append(
            Placement(
                account_id=owner.account_id,
                tenant_id=owner.tenant_id,
                mailbox_id=appending.mailbox_id,
                message_id=appending.id,
                flags=appending.flags & flag_mask(owner),
                keywords=await keyword_bits(connection, owner.account_id, keywords),
                internal_date=appending.internal_date,
                size=facts.size,
            )
        )
    await insert_messages(connection, messages)
    placed = await place(connection, placements, modseqs)
    seen = [where.uid for where, (each, _) in zip(placed, batch, strict=True) if each.flags & SEEN]
    if owner.is_guest and seen:  # RFC 4314 s4: as far as the guest may
        shared = SharedPlace(owner, batch[0][0].mailbox_id)
        await mark_new(connection, shared, modseqs[owner.account_id], compress(seen))
    return placed


def check_room(segment: OpenSegment, appendings: Sequence[Appending]) -> None:
    """Raises StagingFullError when these are to be staged and there is no room."""
    if segment.full and any(appending.object_id is None for appending in appendings):
        raise StagingFullError("too much is staged")


@contextmanager
def segment_dropped(segment: OpenSegment) -> Generator[None]:
    """The segment may be packed and dropped since its number was looked up."""
    try:
        yield
    except asyncpg.UndefinedTableError:
        segment.forget()
        raise UnavailableError("the open segment has changed") from None


async def _keep_octets(
    connection: Connection, segment: OpenSegment, owner: Owner, appendings: Sequence[Appending]
) -> list[UUID]:
    """Stage what came along, and write the rows of the blobs; their ids."""
    blob_ids = [new_id() for _ in appendings]
    blobs: list[tuple[object, ...]] = []
    staged: list[tuple[UUID, bytes]] = []
    number = None
    for blob_id, appending in zip(blob_ids, appendings, strict=True):
        content = appending.content
        if not isinstance(content.source, Inline):
            values = (CODEC_PLAIN, None, appending.object_id, content.size)
        else:
            number = await segment.number(connection)
            values = (CODEC_ZSTD, number, None, len(content.source.zstd))
            staged.append((blob_id, content.source.zstd))
        blobs.append((blob_id, owner.tenant_id, content.digest, content.size, *values))
    if number is not None:
        ids, frames = zip(*staged, strict=True)
        await connection.execute(_STAGE.format(segment=table(number)), ids, frames)  # a number
    await connection.execute(_BLOBS, *zip(*blobs, strict=True))
    return blob_ids
