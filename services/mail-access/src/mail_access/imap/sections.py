"""Which octets of a message a FETCH asks for, and what of them is known without reading the message."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from mail_access.content import ReadRange
from mail_access.imap.refusals import UNKNOWN_CTE, CommandRefusedError
from postroom.mailstore.v1 import mailbox_pb2
from postroom_runtime.logs import log
from postroom_wire.imap.fetch_items import (
    FetchAttribute,
    FetchBinary,
    FetchBinarySize,
    FetchContent,
    FetchItem,
    FetchSection,
)
from postroom_wire.imap.section import (
    OctetRange,
    Partial,
    PartPath,
    PartTable,
    Section,
    SectionText,
    cut,
    filter_header,
    narrow,
    octet_range,
)
from postroom_wire.mime import Extent, Part, PartTableError, decode_parts

MAX_FILTERED: Final = 4 * 1024 * 1024
"""Octets of a header in which HEADER.FIELDS looks; fields behind are not found."""

GATHERED: Final = 256 * 1024
"""Encoded octets of a part up to which it is decoded in memory; a larger one is read twice."""

_IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})
_ENCODINGS: Final = _IDENTITY | {"base64", "quoted-printable"}
_STRUCTURAL: Final = frozenset({FetchAttribute.BODY, FetchAttribute.BODYSTRUCTURE})
_OBJECT_IDS: Final = frozenset({FetchAttribute.EMAILID, FetchAttribute.THREADID})
_HEADERS: Final = frozenset({SectionText.HEADER, SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT})


@dataclass(frozen=True, slots=True)
class Needs:
    """Which facts of the store a FETCH needs."""

    envelope: bool
    structure: bool
    parts: bool
    header: bool
    object_ids: bool = False
    preview: bool = False
    save_date: bool = False

    def __bool__(self) -> bool:
        return (
            self.envelope
            or self.structure
            or self.parts
            or self.header
            or self.object_ids
            or self.preview
            or self.save_date
        )


@dataclass(frozen=True, slots=True)
class Known:
    """A section's octets that are at hand; None is a part that the message does not have."""

    octets: bytes | None


class Streamed(NamedTuple):
    """A section's octets as they lie in the message."""

    range: ReadRange


@dataclass(frozen=True, slots=True)
class Filtered:
    """A header that is read whole, and then chosen from."""

    range: ReadRange
    section: Section
    partial: Partial | None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A part's octets in their transfer encoding, which BINARY takes away, or would for its size."""

    range: ReadRange
    encoding: str
    partial: Partial | None = None
    only_size: bool = False

    @property
    def gathered(self) -> bool:
        """Whether it is small enough to be held."""
        return self.range.length <= GATHERED


@dataclass(frozen=True, slots=True)
class Sized:
    """The answer to BINARY.SIZE that needs no look at the octets."""

    size: int


Source = Known | Streamed | Filtered | Decoded | Sized


def is_whole(section: Section) -> bool:
    """BODY[]: all of the message."""
    return not section.part and section.text is None


def is_top_header(section: Section) -> bool:
    """BODY[HEADER...]: what the store keeps beside the octets."""
    return not section.part and section.text in _HEADERS


def sets_seen(item: FetchItem) -> bool:
    """Whether to fetch it means to read the message (RFC 3501 s6.4.5, RFC 3516 s4.2)."""
    return isinstance(item, FetchSection | FetchBinary) and not item.peek


def needs_of(items: Sequence[FetchItem]) -> Needs:
    """What to ask the store for."""
    sections = [item.section for item in items if isinstance(item, FetchSection)]
    structural = any(item in _STRUCTURAL for item in items if isinstance(item, FetchAttribute))
    inner = any(not is_whole(section) and not is_top_header(section) for section in sections)
    parts = any(isinstance(item, FetchBinary | FetchBinarySize) and item.part for item in items)
    return Needs(
        envelope=FetchAttribute.ENVELOPE in items,
        structure=structural,
        parts=inner or parts,
        header=any(is_top_header(section) for section in sections),
        object_ids=any(item in _OBJECT_IDS for item in items if isinstance(item, FetchAttribute)),
        preview=FetchAttribute.PREVIEW in items,
        save_date=FetchAttribute.SAVEDATE in items,
    )


class Message:
    """One message under FETCH: its size, and the facts that were asked for."""

    def __init__(self, uid: int, size: int, facts: mailbox_pb2.Facts | None = None) -> None:
        self.uid = uid
        self.size = size
        self.facts = facts
        self._parts: PartTable | None = None
        self._encodings: dict[PartPath, str] = {}

    @property
    def needs_parts(self) -> bool:
        """Whether the kept header is not the whole one, so that the part table is needed to find it."""
        return self.facts is not None and not self.facts.header_complete and not self.facts.parts

    def source(self, item: FetchContent) -> Source:
        """Where the octets of an item come from. Raises `CommandRefusedError` for an unknown encoding."""
        match item:
            case FetchSection():
                return self._section(item)
            case FetchBinary(part=part, partial=partial):
                found = self._part(part)
                return Known(None) if found is None else replace(found, partial=partial)
            case FetchBinarySize(part=part):
                found = self._part(part)
                if found is None or found.encoding in _IDENTITY:
                    return Sized(0 if found is None else found.range.length)
                return replace(found, only_size=True)

    def _section(self, item: FetchSection) -> Source:
        section, facts = item.section, self.facts
        if is_whole(section):
            if item.partial is None:  # as most clients ask
                return Streamed(ReadRange(self.uid, 0, self.size))
            return Streamed(self._range(narrow(OctetRange(0, self.size), item.partial)))
        if is_top_header(section) and facts is not None and facts.header_complete:
            header = facts.prefix + facts.header
            return Known(cut(filter_header(header, section) if section.filtered else header, item.partial))
        found = octet_range(section, self.parts)
        if found is None:
            return Known(None)
        if section.filtered:
            return Filtered(self._range(narrow(found, None), MAX_FILTERED), section, item.partial)
        return Streamed(self._range(narrow(found, item.partial)))

    def _part(self, path: PartPath) -> Decoded | None:
        """A part, or the whole message as it is, for decoding."""
        if not path:
            return Decoded(self._range(OctetRange(0, self.size)), "binary")
        found = octet_range(Section(path), self.parts)
        if found is None:
            return None
        encoding = self._encodings.get(path, "binary")
        if encoding not in _ENCODINGS:
            raise CommandRefusedError(UNKNOWN_CTE)
        return Decoded(self._range(found), encoding)

    @property
    def parts(self) -> PartTable:
        """The offsets of all parts; of what cannot be read the message is one body."""
        if self._parts is None:
            self._parts = self._decode()
        return self._parts

    def _decode(self) -> PartTable:
        if self.facts is not None and self.facts.parts:
            try:
                table = decode_parts(self.facts.parts)
                self._encodings = {part.path: _encoding(part) for part in table.parts}
                return table.extents(len(self.facts.prefix))
            except PartTableError:
                log.warning("part_table_unreadable", uid=self.uid)
        return {(0,): Extent(0, 0, 0, self.size)}

    def _range(self, octets: OctetRange, most: int | None = None) -> ReadRange:
        length = octets.length if most is None else min(octets.length, most)
        return ReadRange(self.uid, octets.offset, length)


def _encoding(part: Part) -> str:
    """What a part is encoded in; what holds parts is never encoded (RFC 2045 s6.4)."""
    return "binary" if part.is_multipart or part.inner is not None else part.encoding
