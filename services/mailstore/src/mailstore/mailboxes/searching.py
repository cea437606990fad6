"""SEARCH for text: what is not in the reader's memory (RFC 3501 s6.4.4).

Header fields are searched in the kept header block, bodies in the decoded text parts; both without case.
Messages are taken in bounded batches and compared in a thread, so that a search of a large mailbox disturbs
nobody.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Final
from uuid import UUID

import zstandard

from mailstore.blobs.reader import BlobReader
from mailstore.mailboxes.facts import FactColumns, StoredFacts, stored_facts
from mailstore.mailboxes.uid_ranges import Ranges, compress
from postroom_contracts.errors import MessageNotFoundError
from postroom_storage.database import Database
from postroom_wire.mime import decode_parts, decode_words, part_text, written_date
from postroom_wire.mime.fields import Fields, Scan, read_fields, unfold
from postroom_wire.mime.limits import DEFAULT_LIMITS

MAX_TERMS: Final = 64
_LARGEST_SEARCHED: Final = 8 * 1024 * 1024
"""Octets of a message whose body is looked into."""
_TEXT_OCTETS: Final = 4 * 1024 * 1024


class SearchField(Enum):
    """Where a term is looked for."""

    HEADER = 1
    BODY = 2
    TEXT = 3
    SENT_BEFORE = 4
    SENT_ON = 5
    SENT_SINCE = 6


_WITH_BODY: Final = frozenset({SearchField.BODY, SearchField.TEXT})


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """A substring of a field, or a date of the Date: header field; `value` in lower case."""

    field: SearchField
    header_name: bytes
    value: str
    day: date | None = None


async def search_text(
    database: Database,
    reader: BlobReader,
    account_id: UUID,
    mailbox_id: UUID,
    ranges: Ranges,
    terms: Sequence[SearchTerm],
) -> list[Ranges]:
    """For each term the UIDs of the messages that have it."""
    matches: list[list[int]] = [[] for _ in terms]
    columns = FactColumns(header=True, structure=any(term.field in _WITH_BODY for term in terms))
    async for page in stored_facts(database, account_id, mailbox_id, ranges, columns):
        for facts in page:
            try:
                octets = await _octets(reader, facts, terms)
            except (MessageNotFoundError, zstandard.ZstdError):
                octets = None  # one broken message is found by its header only
            for index in await asyncio.to_thread(_matching, facts, octets, terms):
                matches[index].append(facts.uid)
    return [compress(uids) for uids in matches]


async def _octets(reader: BlobReader, facts: StoredFacts, terms: Sequence[SearchTerm]) -> bytes | None:
    """The message, when the terms cannot be answered without it."""
    body_wanted = any(term.field in _WITH_BODY for term in terms)
    if facts.size > _LARGEST_SEARCHED or not (body_wanted or not facts.header_complete):
        return None
    return (await reader.load([facts.blob_id]))[facts.blob_id]


def _matching(facts: StoredFacts, octets: bytes | None, terms: Sequence[SearchTerm]) -> list[int]:
    candidate = _Candidate(facts, octets)
    return [index for index, term in enumerate(terms) if candidate.has(term)]


class _Candidate:
    """One message under a search; each text is decoded once."""

    def __init__(self, facts: StoredFacts, octets: bytes | None) -> None:
        self._facts, self._octets = facts, octets
        header = facts.header if facts.header_complete else (octets or b"")[: DEFAULT_LIMITS.header_octets]
        self._header = header
        self._fields: Fields | None = None
        self._body: str | None = None
        self._header_text: str | None = None

    def has(self, term: SearchTerm) -> bool:
        """Whether the term is met."""
        match term.field:
            case SearchField.HEADER:
                values = self.fields.get(term.header_name, [])
                return any(term.value in decode_words(unfold(value)).lower() for value in values)
            case SearchField.BODY:
                return term.value in self.body
            case SearchField.TEXT:
                return term.value in self.header_text or term.value in self.body
            case SearchField.SENT_BEFORE:
                return self._sent is not None and term.day is not None and self._sent < term.day
            case SearchField.SENT_ON:
                return self._sent is not None and self._sent == term.day
            case SearchField.SENT_SINCE:
                return self._sent is not None and term.day is not None and self._sent >= term.day

    @property
    def fields(self) -> Fields:
        """The header's fields."""
        if self._fields is None:
            self._fields = read_fields(Scan(self._header, DEFAULT_LIMITS), 0, len(self._header))
        return self._fields

    @property
    def header_text(self) -> str:
        """All fields decoded, in lower case."""
        if self._header_text is None:
            lines = (
                f"{name.decode('latin-1')}: {decode_words(unfold(value))}"
                for name, values in self.fields.items()
                for value in values
            )
            self._header_text = "\n".join(lines).lower()
        return self._header_text

    @property
    def body(self) -> str:
        """The text parts decoded, in lower case."""
        if self._body is None:
            self._body = self._decoded_body().lower()
        return self._body

    @property
    def _sent(self) -> date | None:
        values = self.fields.get(b"date", [])
        return written_date(unfold(values[0])) if values else None

    def _decoded_body(self) -> str:
        if self._octets is None:
            return ""
        texts: list[str] = []
        room = _TEXT_OCTETS
        for part in decode_parts(self._facts.parts).parts:
            if part.media_type.startswith("text/") and room > 0:
                texts.append(part_text(self._octets, part, room))
                room -= part.extent.body_length
        return "\n".join(texts)
