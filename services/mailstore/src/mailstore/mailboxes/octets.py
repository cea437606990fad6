"""Ranges of messages as their readers see them: the copy's prefix first, then the shared octets."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple, TypeAlias
from uuid import UUID

from mailstore.blobs.ahead import one_ahead
from mailstore.blobs.reader import CODEC_ZSTD, Blob, BlobReader, decompress
from postroom_storage.database import Database

_FIND_IN: Final = """
SELECT mm.uid, mm.prefix, mm.size,
       b.id, b.size, b.codec, b.segment, b.pack_id, b.object_id, b.start, b.stored_length
FROM mailstore.{table} AS mm
JOIN mailstore.message AS m ON m.id = mm.message_id
JOIN mailstore.blob AS b ON b.id = m.blob_id
WHERE mm.account_id = $1 AND mm.mailbox_id = $2 AND mm.uid = ANY($3::bigint[])
"""
_FIND: Final = _FIND_IN.format(table="mailbox_message")
# In one snapshot, so that a message that goes meanwhile is found once.
_FIND_EXPUNGED_TOO: Final = f"{_FIND} UNION ALL {_FIND_IN.format(table='expunged')}"

_SMALL: Final = 256 * 1024
_BATCH_OCTETS: Final = 512 * 1024
"""Octets of small messages that are read together, in one statement for all of them."""


_Loaded: TypeAlias = Mapping[UUID, tuple[Blob, bytes]]


class RangeWanted(NamedTuple):
    """Octets of a message: `length` may reach beyond its end."""

    uid: int
    offset: int
    length: int


class Chunk(NamedTuple):
    """A piece of the read of this number; the last one of a read may be empty.

    After its `octets` come those of a zstd frame that are so many, if it has one.
    """

    read: int
    octets: bytes
    last: bool
    zstd: bytes = b""
    zstd_size: int = 0


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """A mailbox to read in, `expunged`: also messages that are gone from it and still kept.

    `compressed`: whoever reads takes frames.
    """

    account_id: UUID
    mailbox_id: UUID
    expunged: bool = False
    compressed: bool = False


class _Copy(NamedTuple):
    """A message of the mailbox: its size has the prefix in it; the blob is where it was a moment ago."""

    prefix: bytes
    size: int
    blob: Blob


async def read_messages(
    database: Database, reader: BlobReader, place: ReadFrom, wanted: Sequence[RangeWanted]
) -> AsyncGenerator[list[Chunk]]:
    """The ranges one after another, as they come together. A message that is gone has one last empty chunk.

    Raises UnavailableError, MessageNotFoundError when octets went while they were read.
    """
    statement, uids = _FIND_EXPUNGED_TOO if place.expunged else _FIND, [each.uid for each in wanted]
    async with database.connection() as connection:
        rows = await connection.fetch(statement, place.account_id, place.mailbox_id, uids)
    found = {uid: _Copy(prefix, size, Blob(*blob)) for uid, prefix, size, *blob in rows}
    async with aclosing(_loaded(reader, wanted, found)) as batches:
        async for numbers, loaded in batches:
            chunks: list[Chunk] = []
            for number in numbers:
                each = wanted[number]
                if (copy := found.get(each.uid)) is None:
                    chunks.append(Chunk(number, b"", last=True))
                elif (stored := loaded.get(copy.blob.id)) is not None:
                    chunks.append(_chunk(number, copy, stored, each, compressed=place.compressed))
                else:
                    async with aclosing(_message(reader, copy, each)) as pieces:
                        async for octets in pieces:
                            yield [Chunk(number, octets, last=False)]
                    chunks.append(Chunk(number, b"", last=True))
            yield chunks


async def _loaded(
    reader: BlobReader, wanted: Sequence[RangeWanted], found: Mapping[int, _Copy]
) -> AsyncGenerator[tuple[Sequence[int], _Loaded]]:
    """The small messages of each batch whole; those of the next are read while these are on their way."""

    async def load(numbers: Sequence[int]) -> _Loaded:
        copies = [copy for number in numbers if (copy := found.get(wanted[number].uid)) is not None]
        small = {copy.blob.id: copy.blob for copy in copies if copy.size <= _SMALL}
        return await reader.load_stored(list(small), small) if small else {}

    batches = list(_batches(wanted, found))
    async with aclosing(one_ahead(partial(load, numbers) for numbers in batches)) as loading:
        at = 0
        async for loaded in loading:
            yield batches[at], loaded
            at += 1


def _batches(wanted: Sequence[RangeWanted], found: Mapping[int, _Copy]) -> Iterator[Sequence[int]]:
    """The numbers of the reads in their order: several small messages at once, each large one alone."""
    first, room = 0, _BATCH_OCTETS
    for number, each in enumerate(wanted):
        size = found[each.uid].size if each.uid in found else 0
        if number > first and (size > room or size > _SMALL):
            yield range(first, number)
            first, room = number, _BATCH_OCTETS
        room = room - size if size <= _SMALL else -1
    if first < len(wanted):
        yield range(first, len(wanted))


def _chunk(
    number: int, copy: _Copy, stored: tuple[Blob, bytes], wanted: RangeWanted, *, compressed: bool
) -> Chunk:
    """A range of a message that is at hand."""
    blob, octets = stored
    if compressed and blob.codec == CODEC_ZSTD and not wanted.offset and wanted.length >= copy.size:
        return Chunk(number, copy.prefix, last=True, zstd=octets, zstd_size=blob.size)
    octets = decompress(octets, blob)
    if copy.prefix:
        octets = copy.prefix + octets
    return Chunk(number, octets[wanted.offset : wanted.offset + wanted.length], last=True)


async def _message(reader: BlobReader, copy: _Copy, wanted: RangeWanted) -> AsyncGenerator[bytes]:
    """A range of one message from where it lies."""
    prefix = copy.prefix
    end = min(wanted.offset + wanted.length, copy.size)
    if wanted.offset < min(len(prefix), end):
        yield prefix[wanted.offset : end]
    start = max(wanted.offset, len(prefix))
    if start >= end:
        return
    async with aclosing(reader.read(copy.blob.id, start - len(prefix), end - start)) as pieces:
        async for octets in pieces:
            yield octets
