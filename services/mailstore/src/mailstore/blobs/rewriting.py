"""Packs in which much is dead are rewritten: what is alive moves to others, and is verified on the way.

The old pack stays for as long as octets are quarantined, since a Postgres that is restored to an earlier time
names it.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from uuid import UUID, uuid4

import zstandard
from asyncpg import Record

from mailstore.blobs.doomed import WRITING_SECONDS, doom
from mailstore.blobs.new_packs import NewPack, add_pack
from mailstore.blobs.packs import ENTRY_OCTETS, TRAILER_OCTETS, build_pack
from mailstore.blobs.reader import CODEC_PLAIN, pack_key
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import ObjectStore

_REWRITTEN: Final = metrics.counter("janitor_rewritten_packs_total", "Packs whose live blobs were moved.")
_DAMAGED: Final = metrics.counter(
    "janitor_damaged_packs_total", "Packs that could not be rewritten: look at the log."
)

_DUE: Final = f"""
SELECT p.id, p.tenant_id FROM mailstore.pack AS p
WHERE p.dead_octets > 0 AND p.look_after <= now()
  AND (p.dead_octets >= (p.size - p.blobs * {ENTRY_OCTETS} - {TRAILER_OCTETS}) * $1::float8
       OR p.oldest_dead_at < now() - make_interval(secs => $2))
ORDER BY p.tenant_id, p.id LIMIT $3
"""
_ALIVE: Final = """
SELECT id, digest, size, codec, start, stored_length FROM mailstore.blob WHERE pack_id = $1 ORDER BY start
"""
_LOOK_LATER: Final = """
UPDATE mailstore.pack SET look_after = now() + make_interval(secs => $2) WHERE id = $1
"""
_TURN: Final = """
UPDATE mailstore.blob AS b SET pack_id = $1, start = t.start
FROM unnest($2::uuid[], $3::bigint[]) AS t(id, start)
WHERE b.id = t.id AND b.pack_id = ANY($4::uuid[])
RETURNING b.stored_length
"""
_FORGET: Final = """
DELETE FROM mailstore.pack AS p
WHERE p.id = ANY($1::uuid[]) AND NOT EXISTS (SELECT FROM mailstore.blob AS b WHERE b.pack_id = p.id)
RETURNING p.id
"""


@dataclass(frozen=True, slots=True)
class RewriteLimits:
    """When a pack is rewritten: so much of it is dead, or something in it for so long; octets and packs.

    One that cannot be read whole is looked at again after `damaged_seconds`.
    """

    dead_share: float = 0.5
    dead_seconds: float = 30 * 86_400.0
    pack_octets: int = 8 * 1024 * 1024
    packs_at_once: int = 200
    damaged_seconds: float = 86_400.0
    transaction_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class _Alive:
    """What is left of one pack: each blob with its stored octets."""

    pack_id: UUID
    blobs: Sequence[tuple[UUID, bytes]]

    @property
    def octets(self) -> int:
        return sum(len(stored) for _, stored in self.blobs)


class PackRewriter:
    """Only one at a time, under the janitor's lock."""

    def __init__(
        self, database: Database, objects: ObjectStore, keep_seconds: float, limits: RewriteLimits
    ) -> None:
        self._database, self._objects = database, objects
        self._keep_seconds, self._limits = keep_seconds, limits

    async def run_once(self) -> None:
        """Rewrite what is due now, the packs of a tenant together."""
        limits = self._limits
        async with self._database.connection() as connection:
            due = await connection.fetch(_DUE, limits.dead_share, limits.dead_seconds, limits.packs_at_once)
        for tenant_id, packs in groupby(due, key=lambda row: row["tenant_id"]):
            await self._rewrite(tenant_id, packs)

    async def _rewrite(self, tenant_id: UUID, packs: Iterable[Record]) -> None:
        """Gather what is alive in these packs until it makes a pack, and write that."""
        gathered: list[_Alive] = []
        for pack in packs:
            alive = await self._read(pack["id"])
            if alive is None:
                continue
            if gathered and sum(each.octets for each in gathered) + alive.octets > self._limits.pack_octets:
                await self._write(tenant_id, gathered)
                gathered = []
            gathered.append(alive)
        if gathered:
            await self._write(tenant_id, gathered)

    async def _read(self, pack_id: UUID) -> _Alive | None:
        """What is alive in a pack; None, and looked at again much later, when not all of it can be read."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_ALIVE, pack_id)
        if not rows:
            return _Alive(pack_id, ())
        first, end = rows[0]["start"], max(row["start"] + row["stored_length"] for row in rows)
        try:
            octets = await self._objects.get_range(pack_key(pack_id), first, end - first)
        except ObjectNotFoundError:
            octets = b""
        blobs = [
            (row, octets[row["start"] - first : row["start"] - first + row["stored_length"]]) for row in rows
        ]
        damaged = await asyncio.to_thread(
            lambda: [row["id"] for row, stored in blobs if not _is_whole(row, stored)]
        )
        if not damaged:
            return _Alive(pack_id, [(row["id"], stored) for row, stored in blobs])
        log.error("pack_damaged", pack=str(pack_id), blobs=len(damaged), first=str(damaged[0]))
        _DAMAGED.inc()
        async with self._database.connection() as connection:
            await connection.execute(_LOOK_LATER, pack_id, self._limits.damaged_seconds)
        return None

    async def _write(self, tenant_id: UUID, gathered: Sequence[_Alive]) -> None:
        """One pack of all that was gathered, in the place of those that it was gathered from."""
        blobs = [blob for each in gathered for blob in each.blobs]
        old = [each.pack_id for each in gathered]
        if not blobs:
            await self._database.run(lambda connection: self._forget(connection, old, 0.0))
            return
        new_id, (pack, entries) = uuid4(), build_pack(blobs)
        async with self._database.connection() as connection:
            await doom(connection, [pack_key(new_id)], WRITING_SECONDS)
        await self._objects.put(pack_key(new_id), pack)
        reached("rewrite.after_put")
        new_pack = NewPack(new_id, tenant_id, len(pack), entries)

        async def turn(connection: Connection) -> None:
            ids, starts = [entry.blob_id for entry in entries], [entry.offset for entry in entries]
            turned = await connection.fetch(_TURN, new_id, ids, starts, old)
            await add_pack(connection, new_pack, sum(row["stored_length"] for row in turned))
            await self._forget(connection, old, self._keep_seconds)

        await self._database.run(turn, seconds=self._limits.transaction_seconds)
        reached("rewrite.after_commit")
        _REWRITTEN.inc(len(old))
        log.info("packs_rewritten", packs=len(old), pack=str(new_id), blobs=len(entries), octets=len(pack))

    async def _forget(self, connection: Connection, packs: Sequence[UUID], seconds: float) -> None:
        """Packs in which nothing is alive; their objects go after so many seconds."""
        gone = await connection.fetch(_FORGET, packs)
        await doom(connection, [pack_key(row["id"]) for row in gone], seconds)


def _is_whole(row: Record, stored: bytes) -> bool:
    """Whether these octets are the blob's, by its digest."""
    try:
        octets = stored if row["codec"] == CODEC_PLAIN else _decompressed(stored, row["size"])
    except zstandard.ZstdError:
        return False
    return len(octets) == row["size"] and hashlib.sha256(octets).digest() == row["digest"]


def _decompressed(stored: bytes, size: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)
