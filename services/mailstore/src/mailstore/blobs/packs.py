"""The pack format: stored blobs one after another, an index, a trailer.

    pack    = *blob index trailer
    index   = *(blob-id offset length)     ; 16 octets, u64, u64, big-endian
    trailer = count index-length magic     ; u32, u64, 8 octets

The index is for repair and rewriting: a reader knows offset and length from the blob's row.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

MAGIC: Final = b"PRPACK01"
_ENTRY: Final = struct.Struct(">16sQQ")
_TRAILER: Final = struct.Struct(">IQ8s")
ENTRY_OCTETS: Final = _ENTRY.size
"""Of the index, for each blob."""
TRAILER_OCTETS: Final = _TRAILER.size


class PackError(ValueError):
    """These octets are not a pack, or not a whole one."""


@dataclass(frozen=True, slots=True)
class PackEntry:
    """Where a blob lies in its pack."""

    blob_id: UUID
    offset: int
    length: int


def build_pack(blobs: Iterable[tuple[UUID, bytes]]) -> tuple[bytes, list[PackEntry]]:
    """The octets of a pack of these stored blobs, and where each lies."""
    pieces: list[bytes] = []
    entries: list[PackEntry] = []
    offset = 0
    for blob_id, stored in blobs:
        pieces.append(stored)
        entries.append(PackEntry(blob_id, offset, len(stored)))
        offset += len(stored)
    index = b"".join(_ENTRY.pack(entry.blob_id.bytes, entry.offset, entry.length) for entry in entries)
    pieces += (index, _TRAILER.pack(len(entries), len(index), MAGIC))
    return b"".join(pieces), entries


def read_index(pack: bytes) -> list[PackEntry]:
    """The index of a pack, given whole or from any point before its index. Raises PackError."""
    if len(pack) < _TRAILER.size:
        raise PackError("shorter than a trailer")
    count, length, magic = _TRAILER.unpack(pack[-_TRAILER.size :])
    index = pack[-_TRAILER.size - length : -_TRAILER.size]
    if magic != MAGIC or length != count * _ENTRY.size or len(index) != length:
        raise PackError("no index at the end")
    return [PackEntry(UUID(bytes=found), offset, size) for found, offset, size in _ENTRY.iter_unpack(index)]
