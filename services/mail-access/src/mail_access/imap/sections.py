"""Which octets of a message a FETCH asks for, and what of them is known without reading the message."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mail_access.content import ReadRange
from postroom.mailstore.v1 import mailbox_pb2
from postroom_runtime.logs import log
from postroom_wire.imap.fetch_items import FetchAttribute, FetchItem, FetchSection
from postroom_wire.imap.section import (
    OctetRange,
    PartTable,
    Section,
    SectionText,
    cut,
    filter_header,
    narrow,
    octet_range,
)
from postroom_wire.mime import Extent, PartTableError, decode_parts

MAX_FILTERED: Final = 4 * 1024 * 1024
"""Octets of a header in which HEADER.FIELDS looks; fields behind are not found."""

_STRUCTURAL: Final = frozenset({FetchAttribute.BODY, FetchAttribute.BODYSTRUCTURE})
_HEADERS: Final = frozenset({SectionText.HEADER, SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT})


@dataclass(frozen=True, slots=True)
class Needs:
    """Which facts of the store a FETCH needs."""

    envelope: bool
    structure: bool
    header: bool

    def __bool__(self) -> bool:
        return self.envelope or self.structure or self.header


@dataclass(frozen=True, slots=True)
class Known:
    """A section's octets that are at hand; None is a part that the message does not have."""

    octets: bytes | None


@dataclass(frozen=True, slots=True)
class Streamed:
    """A section's octets as they lie in the message."""

    range: ReadRange


@dataclass(frozen=True, slots=True)
class Filtered:
    """A header that is read whole, and then chosen from."""

    range: ReadRange


Source = Known | Streamed | Filtered


def is_whole(section: Section) -> bool:
    """BODY[]: all of the message."""
    return not section.part and section.text is None


def is_top_header(section: Section) -> bool:
    """BODY[HEADER...]: what the store keeps beside the octets."""
    return not section.part and section.text in _HEADERS


def needs_of(items: Sequence[FetchItem]) -> Needs:
    """What to ask the store for."""
    sections = [item.section for item in items if isinstance(item, FetchSection)]
    structural = any(item in _STRUCTURAL for item in items if isinstance(item, FetchAttribute))
    inner = any(not is_whole(section) and not is_top_header(section) for section in sections)
    return Needs(
        envelope=FetchAttribute.ENVELOPE in items,
        structure=structural or inner,
        header=any(is_top_header(section) for section in sections),
    )


class Message:
    """One message under FETCH: its size, and the facts that were asked for."""

    def __init__(self, uid: int, size: int, facts: mailbox_pb2.Facts | None = None) -> None:
        self.uid = uid
        self.size = size
        self.facts = facts
        self._parts: PartTable | None = None

    @property
    def needs_parts(self) -> bool:
        """Whether the kept header is not the whole one, so that the part table is needed to find it."""
        return self.facts is not None and not self.facts.header_complete and not self.facts.parts

    def source(self, item: FetchSection) -> Source:
        """Where a section's octets come from."""
        section, facts = item.section, self.facts
        if is_whole(section):
            return Streamed(self._range(narrow(OctetRange(0, self.size), item.partial)))
        if is_top_header(section) and facts is not None and facts.header_complete:
            header = facts.prefix + facts.header
            return Known(cut(filter_header(header, section) if section.filtered else header, item.partial))
        found = octet_range(section, self.parts)
        if found is None:
            return Known(None)
        if section.filtered:
            return Filtered(self._range(narrow(found, None), MAX_FILTERED))
        return Streamed(self._range(narrow(found, item.partial)))

    @property
    def parts(self) -> PartTable:
        """The offsets of all parts; of what cannot be read the message is one body."""
        if self._parts is None:
            self._parts = self._decode()
        return self._parts

    def _decode(self) -> PartTable:
        if self.facts is not None and self.facts.parts:
            try:
                return decode_parts(self.facts.parts).extents(len(self.facts.prefix))
            except PartTableError:
                log.warning("part_table_unreadable", uid=self.uid)
        return {(0,): Extent(0, 0, 0, self.size)}

    def _range(self, octets: OctetRange, most: int | None = None) -> ReadRange:
        length = octets.length if most is None else min(octets.length, most)
        return ReadRange(self.uid, octets.offset, length)
