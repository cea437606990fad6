"""The janitor: octets that nothing refers to are quarantined, and then deleted.

Whoever takes a reference away notes the blob as a candidate in the same transaction. The janitor locks the
candidates and looks in a later statement: so it sees whatever ended before the lock, and whoever ends a
reference behind it waits and notes the blob once more. A new reference is made only in the transaction that
holds an old one (COPY, MOVE, filing, restoring), so what one snapshot shows without any has none for ever.
The quarantine is there all the same: a Postgres that is restored to an earlier time names what was there.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from mailstore.blobs.doomed import delete_doomed
from mailstore.blobs.rewriting import PackRewriter, RewriteLimits
from postroom_contracts.errors import PostroomError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_storage.database import Connection, Database
from postroom_storage.objects import ObjectStore

_QUARANTINED: Final = metrics.gauge(
    "janitor_quarantined_blobs", "Blobs that nothing refers to, not yet deleted."
)
_DEAD: Final = metrics.gauge(
    "janitor_dead_bytes", "Octets of deleted blobs in packs that are not rewritten yet."
)
_DELETED: Final = metrics.counter(
    "janitor_deleted_blobs_total", "Blobs that were deleted with their messages."
)

_NEW: Final = """
SELECT blob_id FROM mailstore.blob_candidate
WHERE quarantined_at IS NULL AND noted_at <= now() - make_interval(secs => $1)
ORDER BY noted_at, blob_id LIMIT $2 FOR UPDATE SKIP LOCKED
"""
_QUARANTINED_LONG: Final = """
SELECT blob_id FROM mailstore.blob_candidate
WHERE quarantined_at <= now() - make_interval(secs => $1)
ORDER BY quarantined_at, blob_id LIMIT $2 FOR UPDATE SKIP LOCKED
"""
_LOCK: Final = "SELECT id FROM mailstore.blob WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
# OFFSET 0 makes each look one into an index, whatever the planner believes of the tables.
_UNREFERRED: Final = """
SELECT b.id FROM mailstore.blob AS b
WHERE b.id = ANY($1::uuid[])
  AND NOT EXISTS (SELECT FROM mailstore.accepted AS a WHERE a.blob_id = b.id OFFSET 0)
  AND NOT EXISTS (
      SELECT FROM mailstore.message AS m WHERE m.blob_id = b.id
      AND (EXISTS (SELECT FROM mailstore.mailbox_message AS mm WHERE mm.message_id = m.id OFFSET 0)
           OR EXISTS (SELECT FROM mailstore.expunged AS e WHERE e.message_id = m.id OFFSET 0))
      OFFSET 0)
"""
_FORGET: Final = "DELETE FROM mailstore.blob_candidate WHERE blob_id = ANY($1::uuid[])"
_QUARANTINE: Final = """
UPDATE mailstore.blob_candidate SET quarantined_at = now() WHERE blob_id = ANY($1::uuid[])
"""
# What else is known of a message goes with its row.
_DELETE: Final = """
WITH messages AS (
    DELETE FROM mailstore.message WHERE blob_id = ANY($1::uuid[])
), blobs AS (
    DELETE FROM mailstore.blob WHERE id = ANY($1::uuid[]) RETURNING pack_id, object_id, stored_length
), packs AS (
    UPDATE mailstore.pack AS p
    SET dead_octets = p.dead_octets + t.octets, oldest_dead_at = coalesce(p.oldest_dead_at, now())
    FROM (SELECT pack_id, sum(stored_length)::bigint AS octets FROM blobs WHERE pack_id IS NOT NULL
          GROUP BY pack_id) AS t
    WHERE p.id = t.pack_id
), objects AS (
    INSERT INTO mailstore.doomed_object (key, delete_after)
    SELECT 'message/' || object_id, now() FROM blobs WHERE object_id IS NOT NULL
    ON CONFLICT DO NOTHING
)
DELETE FROM mailstore.blob_candidate WHERE blob_id = ANY($1::uuid[])
"""
_FIGURES: Final = """
SELECT (SELECT count(*) FROM mailstore.blob_candidate WHERE quarantined_at IS NOT NULL) AS quarantined,
       (SELECT coalesce(sum(dead_octets), 0)::bigint FROM mailstore.pack WHERE dead_octets > 0) AS dead
"""


@dataclass(frozen=True, slots=True)
class JanitorLimits:
    """Seconds and rows.

    A blob without a reference is deleted after `quarantine_seconds`, which is longer than the time to which
    Postgres may be restored. `settle_seconds` is longer than any transaction.
    """

    quarantine_seconds: float = 15 * 86_400.0
    settle_seconds: float = 60.0
    round_seconds: float = 60.0
    take_over_seconds: float = 5.0
    slice_rows: int = 500
    slices: int = 200
    rewrite: RewriteLimits = field(default_factory=RewriteLimits)


class Janitor:
    """Run `run` in a task group, in every process."""

    def __init__(self, database: Database, objects: ObjectStore, limits: JanitorLimits | None = None) -> None:
        self._database, self._objects, self._limits = database, objects, limits or JanitorLimits()
        self._rewriter = PackRewriter(
            database, objects, self._limits.quarantine_seconds, self._limits.rewrite
        )

    async def run(self) -> None:
        """Work when no other process does, until cancelled."""
        while True:
            try:
                async with self._database.leadership("janitor") as leadership:
                    while leadership is not None and leadership.held:
                        await self.run_once()
                        await asyncio.sleep(self._limits.round_seconds * random.uniform(0.7, 1.3))
            except PostroomError as error:
                log.warning("janitor_put_off", error=error.name)
            except Exception:  # noqa: BLE001  # a broken round must not end the work for ever
                log.exception("janitor_failed")
            for figure in (_QUARANTINED, _DEAD):  # whoever does the work now knows
                figure.set(0)
            await asyncio.sleep(self._limits.take_over_seconds * random.uniform(0.7, 1.3))

    async def run_once(self) -> None:
        """One round: look at candidates, delete what was quarantined long enough, rewrite packs."""
        limits = self._limits
        await self._in_slices(_NEW, limits.settle_seconds, _QUARANTINE)
        deleted = await self._in_slices(_QUARANTINED_LONG, limits.quarantine_seconds, _DELETE)
        if deleted:
            log.info("blobs_deleted", blobs=deleted)
            _DELETED.inc(deleted)
        await self._rewriter.run_once()
        for _ in range(limits.slices):
            if await delete_doomed(self._database, self._objects, limits.slice_rows) < limits.slice_rows:
                break
        await self._measure()

    async def _in_slices(self, candidates: str, seconds: float, treat: str) -> int:
        """Treat the candidates that nothing refers to, forget the others; how many were treated."""
        treated = 0

        async def work(connection: Connection) -> tuple[int, int]:
            rows = await connection.fetch(candidates, seconds, self._limits.slice_rows)
            found = [row["blob_id"] for row in rows]
            unreferred = await _unreferred(connection, found)
            await connection.execute(_FORGET, [each for each in found if each not in unreferred])
            await connection.execute(treat, list(unreferred))
            return len(found), len(unreferred)

        for _ in range(self._limits.slices):
            looked_at, done = await self._database.run(work)
            treated += done
            if looked_at < self._limits.slice_rows:
                break
        return treated

    async def _measure(self) -> None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_FIGURES)
        if row is not None:
            _QUARANTINED.set(row["quarantined"])
            _DEAD.set(row["dead"])


async def _unreferred(connection: Connection, blobs: Sequence[UUID]) -> set[UUID]:
    """Those of the blobs, which are locked from now on, that nothing refers to."""
    if not blobs:
        return set()
    await connection.execute(_LOCK, blobs)
    return {row["id"] for row in await connection.fetch(_UNREFERRED, blobs)}
