"""The part table as octets for a database column: a JSON array, so that it can be read by eye and by SQL."""

import json
from typing import Final, TypeAlias, cast

from postroom_wire.mime.part import Extent, Part, PartTable

PART_TABLE_VERSION: Final = 1

_Extent: TypeAlias = tuple[int, int, int, int]
_Row: TypeAlias = tuple[
    list[int],
    _Extent,
    int,
    str,
    str | None,
    str | None,
    str,
    str | None,
    str | None,
    str | None,
    _Extent | None,
]


class PartTableError(ValueError):
    """The octets are no part table of a version that this code reads; scan the message again."""


def encode_parts(table: PartTable) -> bytes:
    """The table as UTF-8 JSON; its texts hold no NUL and no lone surrogate, so it can be jsonb too."""
    rows = [_row(part) for part in table.parts]
    document = (PART_TABLE_VERSION, _extent(table.message), rows)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode_parts(octets: bytes) -> PartTable:
    """The table again; raises PartTableError."""
    try:
        # What was stored is ours; wrong shapes fail in the unpacking below.
        version, message, rows = cast("tuple[int, _Extent, list[_Row]]", json.loads(octets))
        if version != PART_TABLE_VERSION:
            raise PartTableError(f"version {version!r}")
        return PartTable(Extent(*message), tuple(map(_part, rows)))
    except (ValueError, TypeError) as error:
        raise PartTableError("not a part table") from error


def _extent(extent: Extent) -> _Extent:
    return (extent.header_offset, extent.header_length, extent.body_offset, extent.body_length)


def _row(part: Part) -> _Row:
    return (
        list(part.path),
        _extent(part.extent),
        part.lines,
        part.media_type,
        part.charset,
        part.name,
        part.encoding,
        part.disposition,
        part.content_id,
        part.description,
        None if part.inner is None else _extent(part.inner),
    )


def _part(row: _Row) -> Part:
    path, extent, lines, media_type, charset, name, encoding, disposition, content_id, description, inner = (
        row
    )
    return Part(
        path=tuple(path),
        extent=Extent(*extent),
        lines=lines,
        media_type=media_type,
        charset=charset,
        name=name,
        encoding=encoding,
        disposition=disposition,
        content_id=content_id,
        description=description,
        inner=None if inner is None else Extent(*inner),
    )
