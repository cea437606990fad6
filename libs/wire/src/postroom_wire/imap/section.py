"""What BODY[section]<partial> of FETCH names, and which octets of the message it means (RFC 3501 s6.4.5)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol, TypeAlias

PartPath: TypeAlias = tuple[int, ...]


class PartOffsets(Protocol):
    """Where a part lies in its message, in octets; the body begins where the header ends.

    The header includes the empty line that closes it.
    """

    @property
    def header_offset(self) -> int:
        """From the start of the message."""
        ...

    @property
    def header_length(self) -> int:
        """With its closing empty line."""
        ...

    @property
    def body_offset(self) -> int:
        """From the start of the message."""
        ...

    @property
    def body_length(self) -> int:
        """Without the line break before a boundary."""
        ...


PartTable: TypeAlias = Mapping[PartPath, PartOffsets]
"""Part number to offsets: `(1, 2)` is the part that a client calls `1.2`, with its MIME header.

The client's part numbers have no 0, so `path + (0,)` is the message that the MESSAGE/RFC822 part `path`
holds, and `(0,)` is the whole message; both are needed for HEADER and TEXT.
"""

MESSAGE: Final = 0
_HEADER_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")


class SectionText(Enum):
    """section-text = section-msgtext / "MIME"."""

    HEADER = b"HEADER"
    HEADER_FIELDS = b"HEADER.FIELDS"
    HEADER_FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """section-spec; without part and text it is the whole message.

    `fields` are the names that HEADER.FIELDS(.NOT) lists, as the client wrote them.
    """

    part: PartPath = ()
    text: SectionText | None = None
    fields: tuple[bytes, ...] = ()

    @property
    def filtered(self) -> bool:
        """Whether the octets are a header from which `filter_header` must still choose."""
        return self.text in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}


@dataclass(frozen=True, slots=True)
class Partial:
    """ "<" number "." nz-number ">": at most `length` octets from `offset` of the section."""

    offset: int
    length: int


class OctetRange(NamedTuple):
    """`length` octets of the message from `offset`."""

    offset: int
    length: int


def octet_range(section: Section, parts: PartTable) -> OctetRange | None:
    """The octets that the section means, or None (sent as NIL) when the message has no such part.

    For HEADER.FIELDS(.NOT) it is the whole header: give it to `filter_header`, then to `cut`.
    """
    match section.text:
        case None if not section.part:
            return _whole(parts.get((MESSAGE,)))
        case None:
            return _body(parts.get(section.part))
        case SectionText.MIME:
            return _header(parts.get(section.part))
        case SectionText.TEXT:
            return _body(parts.get((*section.part, MESSAGE)))
        case SectionText.HEADER | SectionText.HEADER_FIELDS | SectionText.HEADER_FIELDS_NOT:
            return _header(parts.get((*section.part, MESSAGE)))


def narrow(octets: OctetRange, partial: Partial | None) -> OctetRange:
    """The range that the partial leaves; empty when it begins beyond the end (s6.4.5)."""
    if partial is None:
        return octets
    start = min(partial.offset, octets.length)
    return OctetRange(octets.offset + start, min(partial.length, octets.length - start))


def cut(octets: bytes, partial: Partial | None) -> bytes:
    """The same for octets at hand."""
    if partial is None:
        return octets
    return octets[partial.offset : partial.offset + partial.length]


def filter_header(header: bytes, section: Section) -> bytes:
    """The lines of the listed fields (or of all others), and the closing empty line if there is one.

    Linear in the header; names are compared without case, a folded line goes with its field.
    """
    wanted = {name.strip().lower() for name in section.fields}
    inverted = section.text is SectionText.HEADER_FIELDS_NOT
    kept: list[bytes] = []
    keep = inverted
    for found in _HEADER_LINE.finditer(header):
        line = found[0]
        if line in {b"\r\n", b"\n"}:
            kept.append(line)
            break
        if line[:1] not in {b" ", b"\t"}:
            name = line.partition(b":")[0].strip().lower()
            keep = (name in wanted) is not inverted
        if keep:
            kept.append(line)
    return b"".join(kept)


def _whole(part: PartOffsets | None) -> OctetRange | None:
    if part is None:
        return None
    return OctetRange(part.header_offset, part.body_offset + part.body_length - part.header_offset)


def _header(part: PartOffsets | None) -> OctetRange | None:
    return None if part is None else OctetRange(part.header_offset, part.header_length)


def _body(part: PartOffsets | None) -> OctetRange | None:
    return None if part is None else OctetRange(part.body_offset, part.body_length)
