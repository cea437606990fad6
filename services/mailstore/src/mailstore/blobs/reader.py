"""Reading octets wherever they lie: staged in a segment, in a pack, or as an object of their own.

Octets move while they are read: a reader that misses looks the location up again.
"""

import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import zstandard

from mailstore.blobs.ahead import one_ahead
from mailstore.blobs.segments import table
from postroom_contracts.errors import MessageNotFoundError
from postroom_storage.database import Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import ObjectStore

CODEC_PLAIN: Final = 0
CODEC_ZSTD: Final = 1

_LOCATE: Final = """
SELECT id, size, codec, segment, pack_id, object_id, start, stored_length
FROM mailstore.blob WHERE id = ANY($1::uuid[])
"""
_LOOKS: Final = 4
_CHUNK: Final = 256 * 1024
_GAP: Final = 64 * 1024
_RUN: Final = 1 << 20
"""Blobs of a pack with at most such a gap between them are read at once, up to so many octets."""


class Blob(NamedTuple):
    """Where a blob's octets lie now; `size` before and `stored_length` after compression."""

    id: UUID
    size: int
    codec: int
    segment: int | None
    pack_id: UUID | None
    object_id: UUID | None
    start: int
    stored_length: int


def pack_key(pack_id: UUID) -> str:
    """The object key of a pack."""
    return f"pack/{pack_id}"


def message_key(object_id: UUID) -> str:
    """The object key of a message that has an object of its own."""
    return f"message/{object_id}"


def decompress(stored: bytes, blob: Blob) -> bytes:
    """The octets of a stored blob; raises zstandard.ZstdError for a broken frame."""
    if blob.codec == CODEC_PLAIN:
        return stored
    return decompress_frame(stored, blob.size)


def decompress_frame(frame: bytes, size: int) -> bytes:
    """At most so many octets; raises zstandard.ZstdError for a broken frame."""
    return _KEPT.decompressor.decompress(frame, max_output_size=size)


class _Kept(threading.local):
    """Making a decompressor takes longer than decompressing some KiB; each thread has its own."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_KEPT: Final = _Kept()


class BlobReader:
    """Reads blobs by id. Raises MessageNotFoundError for an id that is not there, UnavailableError."""

    def __init__(self, database: Database, objects: ObjectStore) -> None:
        self._database, self._objects = database, objects

    async def locate(self, ids: Sequence[UUID]) -> dict[UUID, Blob]:
        """Where these blobs lie now; those that do not exist are left out."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_LOCATE, list(ids))
        return {row[0]: Blob._make(row) for row in rows}

    async def load(
        self, ids: Sequence[UUID], located: Mapping[UUID, Blob] | None = None
    ) -> dict[UUID, bytes]:
        """The whole octets of these blobs; the caller bounds their sizes.

        `located` is what `locate` has just said of them, which spares the first look.
        """
        return {
            blob_id: decompress(stored, blob)
            for blob_id, (blob, stored) in (await self.load_stored(ids, located)).items()
        }

    async def load_stored(
        self, ids: Sequence[UUID], located: Mapping[UUID, Blob] | None = None
    ) -> dict[UUID, tuple[Blob, bytes]]:
        """The same as they are stored, for `decompress`."""
        loaded: dict[UUID, tuple[Blob, bytes]] = {}
        for _ in range(_LOOKS):
            missing = [blob_id for blob_id in ids if blob_id not in loaded]
            if not missing:
                return loaded
            blobs = await self.locate(missing) if located is None else located
            located = None
            if len(blobs) < len(missing):
                raise MessageNotFoundError("a blob has no row")
            loaded |= await self._load_staged([blob for blob in blobs.values() if blob.segment is not None])
            for run in runs(blob for blob in blobs.values() if blob.segment is None):
                loaded |= await self._load_run(run)
        raise MessageNotFoundError("octets are not where their rows say")

    async def read(self, blob_id: UUID, offset: int, length: int) -> AsyncGenerator[bytes]:
        """A range of a blob in chunks; it ends at the blob's end when that comes first."""
        blobs = await self.locate([blob_id])
        if blob_id not in blobs:
            raise MessageNotFoundError("a blob has no row")
        blob = blobs[blob_id]
        if blob.object_id is None:
            octets = (await self.load([blob_id]))[blob_id]
            end = min(offset + length, len(octets))
            for start in range(offset, end, _CHUNK):
                yield octets[start : min(start + _CHUNK, end)]
            return
        end = min(offset + length, blob.size)
        key = message_key(blob.object_id)
        starts = range(offset, end, _CHUNK * 4)
        reading = one_ahead(
            partial(self._range, key, start, min(_CHUNK * 4, end - start)) for start in starts
        )
        async with aclosing(reading) as pieces:
            async for octets in pieces:
                yield octets

    def presigned(self, blob: Blob) -> str | None:
        """A URL for reading a blob that has an object of its own; None for any other."""
        return None if blob.object_id is None else self._objects.presign_get(message_key(blob.object_id))

    async def load_object(self, object_id: UUID, size: int) -> bytes:
        """The whole octets of an object that no blob names yet."""
        return await self._range(message_key(object_id), 0, size)

    async def _range(self, key: str, start: int, length: int) -> bytes:
        try:
            return await self._objects.get_range(key, start, length)
        except ObjectNotFoundError:
            raise MessageNotFoundError("the object is not there") from None

    async def _load_staged(self, blobs: Sequence[Blob]) -> dict[UUID, tuple[Blob, bytes]]:
        """Octets of staged blobs; what was moved meanwhile is left out."""
        by_segment: defaultdict[int, dict[UUID, Blob]] = defaultdict(dict)
        for blob in blobs:
            if blob.segment is not None:
                by_segment[blob.segment][blob.id] = blob
        loaded: dict[UUID, tuple[Blob, bytes]] = {}
        for number, wanted in by_segment.items():
            statement = (
                f"SELECT blob_id, octets FROM mailstore.{table(number)} WHERE blob_id = ANY($1::uuid[])"
            )
            try:
                async with self._database.connection() as connection:
                    rows = await connection.fetch(statement, list(wanted))
            except asyncpg.UndefinedTableError:
                continue
            loaded |= {blob_id: (wanted[blob_id], octets) for blob_id, octets in rows}
        return loaded

    async def _load_run(self, run: Sequence[Blob]) -> dict[UUID, tuple[Blob, bytes]]:
        """Octets of blobs in one object, by their places; none when it was rewritten meanwhile."""
        first, start, end = run[0], run[0].start, _end_of(run)
        key = (
            pack_key(first.pack_id) if first.pack_id is not None else message_key(first.object_id or first.id)
        )
        try:
            stored = await self._objects.get_range(key, start, end - start)
        except ObjectNotFoundError:
            return {}
        return {
            blob.id: (blob, stored[blob.start - start : blob.start - start + blob.stored_length])
            for blob in run
        }


def runs(blobs: Iterable[Blob]) -> Iterator[list[Blob]]:
    """Blobs that are read by one call of the object store each."""
    run: list[Blob] = []
    in_packs: list[Blob] = []
    for blob in blobs:
        if blob.pack_id is None:
            yield [blob]
        else:
            in_packs.append(blob)
    for blob in sorted(in_packs, key=attrgetter("pack_id", "start")):
        if run and not (
            blob.pack_id == run[0].pack_id
            and blob.start - _end_of(run) <= _GAP
            and blob.start + blob.stored_length - run[0].start <= _RUN
        ):
            yield run
            run = []
        run.append(blob)
    if run:
        yield run


def _end_of(run: Sequence[Blob]) -> int:
    """Where the last blob of a run ends in its object."""
    return run[-1].start + run[-1].stored_length
