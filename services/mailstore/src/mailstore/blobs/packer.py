"""The packer: moves staged octets that are still wanted into packs, and drops empty segments.

One packer works at a time. A pack is written first, then one transaction turns the blobs' rows to it; what a
packer that dies between leaves in the bucket goes as `doomed` says. While the object store is away octets
stay staged and readable.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from mailstore.blobs.doomed import WRITING_SECONDS, doom
from mailstore.blobs.new_packs import NewPack, add_pack
from mailstore.blobs.packs import build_pack
from mailstore.blobs.reader import pack_key
from mailstore.blobs.segments import OpenSegment, SegmentLimits, rotate, table
from postroom_contracts.errors import PostroomError, UnavailableError
from postroom_runtime.logs import log
from postroom_runtime.steps import reached
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore

_OPEN: Final = """
SELECT number, extract(epoch FROM now() - opened_at)::float8 AS age,
       pg_total_relation_size(format('mailstore.segment_%s', number)::regclass) AS octets
FROM mailstore.segment WHERE state = 'open'
"""
_HAS_ROWS: Final = "SELECT EXISTS (SELECT FROM mailstore.{segment})"
# A writer that looked up the number just before the sealing has ended by now: its time is bounded.
_SEALED: Final = """
SELECT number FROM mailstore.segment
WHERE state = 'sealed' AND sealed_at < now() - make_interval(secs => $1) ORDER BY number
"""
# In chunks, so that each statement is short however large the segment is.
_CHUNK: Final = """
SELECT b.id, b.tenant_id, b.stored_length,
       filed.id IS NOT NULL
       OR EXISTS (SELECT FROM mailstore.accepted AS a JOIN mailstore.delivery AS d ON d.accepted_id = a.id
                  WHERE a.blob_id = b.id)
       OR EXISTS (SELECT FROM mailstore.accepted AS a JOIN mailstore.bounce AS o ON o.accepted_id = a.id
                  WHERE a.blob_id = b.id) AS wanted
FROM (SELECT * FROM mailstore.blob WHERE segment = $1 AND id > $2 ORDER BY id LIMIT $3) AS b
LEFT JOIN LATERAL (
    SELECT m.id, (SELECT min(mm.account_id::text) FROM mailstore.mailbox_message AS mm
                  WHERE mm.message_id = m.id)
        AS account
    FROM mailstore.message AS m WHERE m.blob_id = b.id LIMIT 1
) AS filed ON true
ORDER BY b.tenant_id, filed.account NULLS LAST, b.id
"""
_LEFT: Final = "SELECT EXISTS (SELECT FROM mailstore.blob WHERE segment = $1)"
_OCTETS: Final = "SELECT blob_id, octets FROM mailstore.{segment} WHERE blob_id = ANY($1::uuid[])"
_TURN: Final = """
UPDATE mailstore.blob AS b SET segment = NULL, pack_id = $1, start = t.start
FROM unnest($2::uuid[], $3::bigint[]) AS t(id, start)
WHERE b.id = t.id AND b.segment = $4
RETURNING b.stored_length
"""
# What is unwanted stays so: a reference is made in the transaction that ends the one before it.
_FORGET: Final = "DELETE FROM mailstore.blob WHERE id = ANY($1::uuid[]) AND segment = $2"


@dataclass(frozen=True, slots=True)
class PackLimits:
    """Octets of a pack, blobs looked at together, seconds between rounds and from sealing to packing."""

    pack_octets: int = 8 * 1024 * 1024
    blobs_at_once: int = 10_000
    round_seconds: float = 5.0
    settle_seconds: float = 10.0
    drop_lock_seconds: float = 0.5
    transaction_seconds: float = 60.0


class Packer:
    """Rotates segments and packs sealed ones. Run `run` in a task group, in every process."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        segment: OpenSegment,
        segment_limits: SegmentLimits,
        limits: PackLimits | None = None,
    ) -> None:
        self._database, self._objects = database, objects
        self._segment, self._segment_limits = segment, segment_limits
        self._limits = limits or PackLimits()

    async def run(self) -> None:
        """Work when no other process does, until cancelled."""
        while True:
            try:
                async with self._database.leadership("packer") as leadership:
                    while leadership is not None and leadership.held:
                        await self.run_once()
                        await self._pause()
            except PostroomError as error:
                log.warning("packing_put_off", error=error.name)
            except Exception:  # noqa: BLE001  # a broken round must not end packing for ever
                log.exception("packing_failed")
            await self._pause()

    async def run_once(self) -> None:
        """One round: seal the open segment when it is time, empty what is sealed."""
        await self._rotate()
        async with self._database.connection() as connection:
            sealed = await connection.fetch(_SEALED, self._limits.settle_seconds)
        for row in sealed:
            await self._empty(row["number"])

    async def _rotate(self) -> None:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_OPEN)
            if row is None:
                return
            due = row["octets"] >= self._segment_limits.sealed_octets
            if not due and row["age"] >= self._segment_limits.sealed_seconds:
                due = await connection.fetchval(_HAS_ROWS.format(segment=table(row["number"])))
            if due:
                await rotate(connection)
                self._segment.forget()

    async def _empty(self, number: int) -> None:
        after = UUID(int=0)
        while True:
            async with self._database.connection() as connection:
                chunk = await connection.fetch(_CHUNK, number, after, self._limits.blobs_at_once)
            if not chunk:
                break
            wanted = [row for row in chunk if row["wanted"]]
            for tenant_id, rows in groupby(wanted, key=lambda row: row["tenant_id"]):
                await self._pack(number, tenant_id, [(row["id"], row["stored_length"]) for row in rows])
            unwanted = [row["id"] for row in chunk if not row["wanted"]]
            async with self._database.connection() as connection:
                await connection.execute(_FORGET, unwanted, number)
            after = max(row["id"] for row in chunk)
        await self._drop(number)

    async def _pack(self, number: int, tenant_id: UUID, blobs: Sequence[tuple[UUID, int]]) -> None:
        """Write packs of at most the wanted size, in the order given."""
        batch: list[UUID] = []
        octets = 0
        for blob_id, length in blobs:
            if batch and octets + length > self._limits.pack_octets:
                await self._write(number, tenant_id, batch)
                batch, octets = [], 0
            batch.append(blob_id)
            octets += length
        await self._write(number, tenant_id, batch)

    async def _write(self, number: int, tenant_id: UUID, batch: Sequence[UUID]) -> None:
        async with self._database.connection(seconds=self._limits.transaction_seconds) as connection:
            rows = await connection.fetch(_OCTETS.format(segment=table(number)), list(batch))
        stored: dict[UUID, bytes] = {row["blob_id"]: row["octets"] for row in rows}
        if len(stored) < len(batch):  # of a damaged database; the segment stays, for whoever repairs it
            log.error("staged_octets_missing", segment=number, blobs=len(batch) - len(stored))
        if not stored:
            return
        pack, entries = build_pack((blob_id, stored[blob_id]) for blob_id in batch if blob_id in stored)
        pack_id = uuid4()  # random, so that keys spread over the store
        async with self._database.connection() as connection:
            await doom(connection, [pack_key(pack_id)], WRITING_SECONDS)
        await self._objects.put(pack_key(pack_id), pack)
        reached("pack.after_put")
        new_pack = NewPack(pack_id, tenant_id, len(pack), entries)
        async with self._database.transaction(seconds=self._limits.transaction_seconds) as connection:
            ids, starts = [entry.blob_id for entry in entries], [entry.offset for entry in entries]
            turned = await connection.fetch(_TURN, pack_id, ids, starts, number)
            await add_pack(connection, new_pack, sum(row["stored_length"] for row in turned))
        reached("pack.after_commit")
        log.info("packed", pack=str(pack_id), blobs=len(entries), octets=len(pack))

    async def _drop(self, number: int) -> None:
        """Drop a segment in which nothing is wanted; next time, when somebody reads or still writes it."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(
                    "SELECT set_config('lock_timeout', $1, true)",
                    f"{int(self._limits.drop_lock_seconds * 1000)}ms",
                )
                await connection.execute(f"LOCK TABLE mailstore.{table(number)} IN ACCESS EXCLUSIVE MODE")
                if await connection.fetchval(_LEFT, number):
                    return  # a straggler that came meanwhile, or octets that are lost
                await connection.execute(f"DROP TABLE mailstore.{table(number)}")
                await connection.execute("DELETE FROM mailstore.segment WHERE number = $1", number)
            log.info("segment_dropped", segment=number)
        except UnavailableError as error:
            if not isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                raise
            log.info("segment_in_use", segment=number)

    async def _pause(self) -> None:
        await asyncio.sleep(self._limits.round_seconds * random.uniform(0.7, 1.3))
