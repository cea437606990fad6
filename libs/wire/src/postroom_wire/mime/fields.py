"""Header blocks: where one ends, and its fields (RFC 5322 s2.2, s3.6)."""

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from postroom_wire.mime.limits import Limit, Limits

# field-name = 1*ftext; s4.5 lets white space stand before the colon.
_FIELD_START: Final = re.compile(rb"[!-9;-~]++[ \t]*+:")
_FIELD: Final = re.compile(rb"^([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.MULTILINE)
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_STRAY_LINE: Final = re.compile(rb"^(?![!-9;-~]++[ \t]*+:|[ \t])[^\n]", re.MULTILINE)

Fields: TypeAlias = dict[bytes, list[bytes]]
"""Lower-case field name to its values in order, as they stand; `first` unfolds one."""


@dataclass(slots=True)
class Scan:
    """One message under the scanner: its octets, the bounds, and what has been used up of them."""

    octets: bytes
    limits: Limits
    limited: set[Limit] = field(default_factory=set[Limit])
    headers: int = 0
    values: int = 0
    parameters: int = 0
    addresses: int = 0
    parts: int = 0
    delimiters: int = 0
    blank_line: tuple[int, int] = (-2, -2)
    """The last blank line found: from the end of the line before it to its own end.

    It is searched for only ahead of itself, so that many parts without one cost one search together.
    """


def next_blank_line(scan: Scan, start: int) -> tuple[int, int]:
    """The first blank line from `start` on, where a line begins; beyond the octets if there is none."""
    if scan.blank_line[0] < start - 1:
        found = _BLANK_LINE.search(scan.octets, max(start - 1, 0))
        beyond = len(scan.octets) + 1
        scan.blank_line = found.span() if found else (beyond, beyond)
    return scan.blank_line


def header_end(scan: Scan, start: int, end: int) -> int:
    """The offset after the header block that begins at `start` in a region that ends at `end`.

    The block ends with the first empty line, which belongs to it. Lines in between that are no fields are
    left alone (RFC 7103 s7.2); but where the first line is none, or no empty line follows, the body begins
    there.
    """
    octets = scan.octets
    if octets.startswith(b"\r\n", start, end):
        return start + 2
    if octets.startswith(b"\n", start, end):
        return start + 1
    if (first := _FIELD_START.match(octets, start, end)) is None:
        return start
    _, blank_end = next_blank_line(scan, start)
    if blank_end <= end:
        return blank_end
    stray = _STRAY_LINE.search(octets, first.end(), end)
    return stray.start() if stray else end


def read_fields(scan: Scan, start: int, end: int) -> Fields:
    """The fields of the header block between two offsets."""
    limits = scan.limits
    if end - start > limits.header_octets:
        scan.limited.add(Limit.HEADER_OCTETS)
        end = start + limits.header_octets
    room = min(limits.headers, limits.all_headers - scan.headers)
    matches = _FIELD.finditer(scan.octets, start, end)
    fields: Fields = {}
    count = 0
    for match in islice(matches, room):
        count += 1
        name, value = match.groups()
        name = name.lower()
        if name in fields:
            fields[name].append(value)
        else:
            fields[name] = [value]
    if count == room and next(matches, None) is not None:
        scan.limited.add(Limit.HEADERS)
    scan.headers += count
    return fields


def first(fields: Fields, name: bytes) -> bytes | None:
    """The first value of a field, unfolded; s3.6 allows one of each that we ask for."""
    values = fields.get(name)
    return None if values is None else unfold(values[0])


def first_within(scan: Scan, fields: Fields, name: bytes) -> bytes | None:
    """The same, cut to the bound for one value."""
    if (value := first(fields, name)) is None:
        return None
    limits = scan.limits
    room = min(limits.value, max(limits.all_values - scan.values, limits.least_value))
    scan.values += len(value)
    if len(value) > room:
        scan.limited.add(Limit.VALUE)
        return value[:room]
    return value


def unfold(value: bytes) -> bytes:
    """The value as one line: line breaks are removed, the white space after them stays (s2.2.3)."""
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    return value.strip()
