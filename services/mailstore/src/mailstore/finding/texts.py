"""The texts of a message that are searched, folded by i;unicode-casemap: substrings then are without case."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.casemap import casemap
from postroom_wire.mime import (
    clean_text,
    decode_parts,
    decode_text,
    decode_transfer,
    decode_words,
    written_date,
)
from postroom_wire.mime.fields import Scan, read_fields, unfold
from postroom_wire.mime.limits import DEFAULT_LIMITS

_TEXT_OCTETS: Final = 4 * 1024 * 1024
"""Of all text parts of one message, encoded; what lies beyond is not searched."""


@dataclass(frozen=True, slots=True)
class HeaderText:
    """The fields of a header block, decoded and folded, one `NAME: value` in each line."""

    lines: str
    sent_on: dt.date | None
    """The day of the Date field, as it is written there."""


def header_text(header: bytes) -> HeaderText:
    """The text of a header block."""
    scan = Scan(header, DEFAULT_LIMITS)
    fields = read_fields(scan, 0, len(header))
    lines = (
        f"{name.decode('latin-1')}: {decode_words(unfold(value))}"
        for name, values in fields.items()
        for value in values
    )
    dates = fields.get(b"date", [])
    return HeaderText(
        casemap(clean_text("\n".join(lines))), written_date(unfold(dates[0])) if dates else None
    )


@dataclass(frozen=True, slots=True)
class TextPart:
    """Where a text part's encoded octets lie in its message, and how they are decoded."""

    offset: int
    length: int
    encoding: str
    charset: str | None


def text_parts(table: bytes) -> list[TextPart]:
    """The text parts of a message by its stored part table. Raises `PartTableError`."""
    found: list[TextPart] = []
    room = _TEXT_OCTETS
    for part in decode_parts(table).parts:
        if part.media_type.startswith("text/") and room > 0:
            length = min(part.extent.body_length, room)
            found.append(TextPart(part.extent.body_offset, length, part.encoding, part.charset))
            room -= length
    return found


def body_text(parts: Sequence[TextPart], pieces: Sequence[bytes]) -> str:
    """The text parts decoded and folded; `pieces` are their octets."""
    texts = (
        decode_text(decode_transfer(piece, part.encoding), part.charset).replace("\r\n", "\n")
        for part, piece in zip(parts, pieces, strict=True)
    )
    return casemap(clean_text("\n".join(texts)))


def has_field(lines: str, name: str, value: str) -> bool:
    """Whether one of the header's fields of this folded name has this folded value in it."""
    head = f"{name}: "
    return any(value in line[len(head) :] for line in lines.split("\n") if line.startswith(head))
