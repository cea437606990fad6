"""SEARCH for what is not in the reader's memory (RFC 3501 s6.4.4): by the index, and by octets where it ends.

What the index has not read yet is read now: in bounded batches, compared in a thread, so that a search of a
large mailbox disturbs nobody.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final
from uuid import UUID

import zstandard

from mailstore.blobs.reader import BlobReader
from mailstore.finding.octets import (
    SearchedMessage,
    SearchedOctets,
    body_of,
    header_of,
    read_octets,
)
from mailstore.finding.terms import OF_ROWS, PREFIX_FIELDS, SearchField, SearchTerm
from mailstore.finding.text_index import Matches, search_index
from mailstore.finding.texts import HeaderText, has_field
from mailstore.mailboxes.facts import FactColumns, StoredFacts, stored_facts
from mailstore.mailboxes.uid_ranges import Ranges
from postroom_contracts.errors import MessageNotFoundError
from postroom_storage.database import Database
from postroom_wire.imap.casemap import casemap
from postroom_wire.mime.part_codec import PartTableError

_READ_SECONDS: Final = 8.0
"""After which a caller that may ask again is told what is still unread."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where is searched: messages of one mailbox."""

    account_id: UUID
    mailbox_id: UUID
    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Found:
    """For each term the messages that have it, ascending; and those that were not looked at."""

    matches: list[Matches]
    unread: Ranges = ()


async def search_text(
    database: Database, reader: BlobReader, place: Place, terms: Sequence[SearchTerm], *, partial: bool
) -> Found:
    """Which messages have each term; `partial` allows to leave some for another time."""
    indexed = await search_index(database, place.account_id, place.mailbox_id, place.ranges, terms)
    if not indexed.unread:
        return Found(indexed.matches)
    found: list[list[int]] = [[] for _ in terms]
    columns = FactColumns(header=True, structure=any(term.needs_body for term in terms))
    stop_at = monotonic() + _READ_SECONDS if partial else float("inf")
    left: Ranges = ()
    async for page in stored_facts(database, place.account_id, place.mailbox_id, indexed.unread, columns):
        for facts in page:
            message = _message(facts)
            octets = await _octets(reader, message, terms)
            for index in await asyncio.to_thread(_matching, message, octets, facts.prefix, terms):
                found[index].append(facts.uid)
        if monotonic() > stop_at:
            last = page[-1].uid
            left = [(max(first, last + 1), end) for first, end in indexed.unread if end > last]
            break
    return Found([_joined(each, uids) for each, uids in zip(indexed.matches, found, strict=True)], left)


def _joined(indexed: Matches, read: Sequence[int]) -> Matches:
    """What either found; what was only read is the least like what is looked for."""
    scores = dict.fromkeys(read, 1) | dict(indexed.scores) if indexed.scores else {}
    return Matches(sorted({*indexed.uids, *read}), scores)


async def _octets(
    reader: BlobReader, message: SearchedMessage, terms: Sequence[SearchTerm]
) -> SearchedOctets | None:
    """The message's octets, when the terms cannot be answered without them."""
    if message.header_complete and not any(term.needs_body for term in terms):
        return None
    try:
        return await read_octets(reader, message)
    except (MessageNotFoundError, zstandard.ZstdError, PartTableError):
        return None  # one broken message is found by its header only


def _message(facts: StoredFacts) -> SearchedMessage:
    return SearchedMessage(facts.blob_id, facts.size, facts.parts, facts.header, facts.header_complete)


def _matching(
    message: SearchedMessage, octets: SearchedOctets | None, prefix: bytes, terms: Sequence[SearchTerm]
) -> list[int]:
    candidate = _Candidate(message, octets, prefix)
    return [index for index, term in enumerate(terms) if term.field not in OF_ROWS and candidate.has(term)]


class _Candidate:
    """One message under a search; each text is decoded once."""

    def __init__(self, message: SearchedMessage, octets: SearchedOctets | None, prefix: bytes) -> None:
        self._message, self._octets = message, octets
        self._prefix = casemap(prefix.decode("utf-8", "replace")).replace("\r\n", "\n")
        self._header: HeaderText | None = None
        self._body: str | None = None

    def has(self, term: SearchTerm) -> bool:
        """Whether a term that is by texts is met."""
        sent, day = self.header.sent_on, term.day
        match term.field:
            case SearchField.HEADER:
                lines = self._prefix if term.header_name in PREFIX_FIELDS else ""
                return has_field(lines + self.header.lines, term.header_name, term.value)
            case SearchField.BODY:
                return term.value in self.body
            case SearchField.TEXT:
                texts = (self.header.lines, self._prefix, self.body)
                return any(term.value in text for text in texts)
            case SearchField.SENT_BEFORE:
                return sent is not None and day is not None and sent < day
            case SearchField.SENT_ON:
                return sent is not None and sent == day
            case SearchField.SENT_SINCE:
                return sent is not None and day is not None and sent >= day
            case _:
                return False

    @property
    def header(self) -> HeaderText:
        """The header's text."""
        if self._header is None:
            self._header = header_of(self._message, self._octets)
        return self._header

    @property
    def body(self) -> str:
        """The text of the body."""
        if self._body is None:
            self._body = body_of(self._message, self._octets)
        return self._body
