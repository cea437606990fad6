"""Ranges of messages as their readers see them: the copy's prefix first, then the shared octets."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.blobs.ahead import one_ahead
from mailstore.blobs.reader import BlobReader
from postroom_storage.database import Database

_FIND_IN: Final = """
SELECT mm.uid, mm.prefix, mm.size, m.blob_id
FROM mailstore.{table} AS mm JOIN mailstore.message AS m ON m.id = mm.message_id
WHERE mm.account_id = $1 AND mm.mailbox_id = $2 AND mm.uid = ANY($3::bigint[])
"""
_FIND: Final = _FIND_IN.format(table="mailbox_message")
# In one snapshot, so that a message that goes meanwhile is found once.
_FIND_EXPUNGED_TOO: Final = f"{_FIND} UNION ALL {_FIND_IN.format(table='expunged')}"

_SMALL: Final = 256 * 1024
_BATCH_OCTETS: Final = 512 * 1024
"""Octets of small messages that are read together, in two statements for all of them."""


@dataclass(frozen=True, slots=True)
class RangeWanted:
    """Octets of a message: `length` may reach beyond its end."""

    uid: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the read of this number; the last one of a read may be empty."""

    read: int
    octets: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """A mailbox to read in, `expunged`: also messages that are gone from it and still kept."""

    account_id: UUID
    mailbox_id: UUID
    expunged: bool = False


async def read_messages(
    database: Database, reader: BlobReader, place: ReadFrom, wanted: Sequence[RangeWanted]
) -> AsyncGenerator[Chunk]:
    """The ranges one after another. A message that is gone has one last chunk without octets.

    Raises UnavailableError, MessageNotFoundError when octets went while they were read.
    """
    statement, uids = _FIND_EXPUNGED_TOO if place.expunged else _FIND, [each.uid for each in wanted]
    async with database.connection() as connection:
        rows = await connection.fetch(statement, place.account_id, place.mailbox_id, uids)
    found: dict[int, Record] = {row["uid"]: row for row in rows}
    async with aclosing(_loaded(reader, wanted, found)) as batches:
        async for numbers, loaded in batches:
            for number in numbers:
                if (row := found.get(wanted[number].uid)) is None:
                    pass
                elif (octets := loaded.get(row["blob_id"])) is not None:
                    yield Chunk(number, _cut(row, octets, wanted[number]), last=False)
                else:
                    async with aclosing(_message(reader, row, wanted[number])) as pieces:
                        async for octets in pieces:
                            yield Chunk(number, octets, last=False)
                yield Chunk(number, b"", last=True)


async def _loaded(
    reader: BlobReader, wanted: Sequence[RangeWanted], found: Mapping[int, Record]
) -> AsyncGenerator[tuple[list[int], dict[UUID, bytes]]]:
    """The small messages of each batch whole; those of the next are read while these are on their way."""

    async def load(numbers: list[int]) -> dict[UUID, bytes]:
        rows = [found[wanted[number].uid] for number in numbers if wanted[number].uid in found]
        small = {row["blob_id"] for row in rows if row["size"] <= _SMALL}
        return await reader.load(list(small)) if small else {}

    batches = list(_batches(wanted, found))
    async with aclosing(one_ahead(partial(load, numbers) for numbers in batches)) as loading:
        at = 0
        async for loaded in loading:
            yield batches[at], loaded
            at += 1


def _batches(wanted: Sequence[RangeWanted], found: Mapping[int, Record]) -> Iterator[list[int]]:
    """The numbers of the reads in their order: several small messages at once, each large one alone."""
    batch: list[int] = []
    room = _BATCH_OCTETS
    for number, each in enumerate(wanted):
        size: int = found[each.uid]["size"] if each.uid in found else 0
        if batch and (size > room or size > _SMALL):
            yield batch
            batch, room = [], _BATCH_OCTETS
        batch.append(number)
        room = room - size if size <= _SMALL else -1
    if batch:
        yield batch


def _cut(row: Record, octets: bytes, wanted: RangeWanted) -> bytes:
    """A range of a message that is at hand."""
    prefix: bytes = row["prefix"]
    return (prefix + octets if prefix else octets)[wanted.offset : wanted.offset + wanted.length]


async def _message(reader: BlobReader, row: Record, wanted: RangeWanted) -> AsyncGenerator[bytes]:
    """A range of one message from where it lies."""
    prefix: bytes = row["prefix"]
    end = min(wanted.offset + wanted.length, row["size"])
    if wanted.offset < min(len(prefix), end):
        yield prefix[wanted.offset : end]
    start = max(wanted.offset, len(prefix))
    if start >= end:
        return
    async with aclosing(reader.read(row["blob_id"], start - len(prefix), end - start)) as pieces:
        async for octets in pieces:
            yield octets
