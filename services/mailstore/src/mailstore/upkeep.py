"""Upkeep: small chores that one process at a time does, and the gauges of the queue.

Purging the messages of deleted mailboxes in slices, and what deleted accounts had (`retiring`), forgetting
what was expunged long ago, sweeping uploads that were never used, claims that are long over and operations
that nobody asks about any more, ending and forgetting what the queue is done with (`queue.sweeping`), making
the coming months' partitions of journal and history, and cutting off what is old of both.
"""

import asyncio
import datetime as dt
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from mailstore.accounts import lock_accounts
from mailstore.blobs.reader import message_key
from mailstore.cutting import CHANGE, HISTORY, CutLimits, cut_history, cut_journal
from mailstore.mailboxes.moving import MailboxPlace, Removal, remove_messages
from mailstore.mailboxes.retention import RetentionLimits, cap_expunged, forget_expunged
from mailstore.queue.sweeping import (
    SweepLimits,
    expire_deliveries,
    forget_accepted,
    forget_lanes,
    forget_sites,
)
from mailstore.retiring import FindDeleted, RetiringLimits, retire_accounts
from postroom_contracts.errors import PostroomError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_storage.database import Connection, Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import ObjectStore
from postroom_storage.operations import forget_old

_DUE: Final = metrics.gauge("queue_due_deliveries", "Remote deliveries that are due and wait for a relay.")
_OLDEST: Final = metrics.gauge("queue_oldest_due_seconds", "How long the oldest of them has been due.")
_PARKED: Final = metrics.gauge("queue_parked_deliveries", "Deliveries that need an administrator.")
_HELD: Final = metrics.gauge("queue_held_deliveries", "Deliveries that are due to sites that are held back.")
_HELD_SITES: Final = metrics.gauge("queue_held_sites", "Sites that let nobody in and are held back now.")

_QUEUE: Final = """
WITH held AS MATERIALIZED (SELECT name FROM mailstore.site WHERE back_off_until > now()),
queue AS (
    SELECT due_at, parked, site IS NOT NULL AND NOT parked AND due_at <= now() AS due,
           site IN (SELECT name FROM held) AS held
    FROM mailstore.delivery
)
SELECT count(*) FILTER (WHERE due AND NOT held) AS due,
       coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due AND NOT held)), 0)::float8 AS oldest,
       count(*) FILTER (WHERE due AND held) AS held,
       count(*) FILTER (WHERE parked) AS parked,
       (SELECT count(*) FROM held) AS held_sites
FROM queue
"""
_DELETED: Final = """
SELECT b.id, b.account_id FROM mailstore.mailbox AS b
WHERE b.deleted_at IS NOT NULL AND b.messages > 0 ORDER BY b.id LIMIT 100
"""
_SLICE: Final = """
SELECT max(uid) FROM (SELECT uid FROM mailstore.mailbox_message
                      WHERE account_id = $1 AND mailbox_id = $2 ORDER BY uid LIMIT $3) AS slice
"""
_STALE_UPLOADS: Final = """
SELECT u.id, u.object_id, u.multipart_id FROM mailstore.upload AS u
WHERE u.expires_at < now() - interval '1 hour' ORDER BY u.expires_at LIMIT 100
"""
_USED: Final = "SELECT EXISTS (SELECT FROM mailstore.blob WHERE object_id = $1)"
_FORGET_UPLOAD: Final = "DELETE FROM mailstore.upload WHERE id = $1"
_OLD_CLAIMS: Final = """
DELETE FROM mailstore.claim AS c WHERE c.expires_at < now() - interval '1 hour'
AND NOT EXISTS (SELECT FROM mailstore.delivery AS d WHERE d.claim_id = c.id)
"""
_PARTITIONED: Final = (CHANGE, HISTORY)


@dataclass(frozen=True, slots=True)
class UpkeepLimits:
    """Seconds between rounds and looks at the queue, rows removed in one transaction, months ahead."""

    round_seconds: float = 60.0
    gauge_seconds: float = 5.0
    purge_messages: int = 2_000
    forget_operations: int = 5_000
    months_ahead: int = 2
    sweep: SweepLimits = field(default_factory=SweepLimits)
    retention: RetentionLimits = field(default_factory=RetentionLimits)
    cut: CutLimits = field(default_factory=CutLimits)
    retiring: RetiringLimits = field(default_factory=RetiringLimits)


class Upkeep:
    """Run `run` and `run_gauges` in a task group, in as many processes as there are.

    Without `find_deleted` no account is purged.
    """

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        limits: UpkeepLimits | None = None,
        find_deleted: FindDeleted | None = None,
    ) -> None:
        self._database, self._objects, self._limits = database, objects, limits or UpkeepLimits()
        self._find_deleted = find_deleted
        self._lanes_forgotten_at = self._cut_at = self._retired_at = float("-inf")

    async def run(self) -> None:
        """Do the chores when no other process does, until cancelled."""
        while True:
            try:
                async with self._database.leadership("upkeep") as leadership:
                    if leadership is not None:
                        await self.run_once()
            except PostroomError as error:
                log.warning("upkeep_put_off", error=error.name)
            except Exception:  # noqa: BLE001  # a chore that fails comes again
                log.exception("upkeep_failed")
            await asyncio.sleep(self._limits.round_seconds * random.uniform(0.7, 1.3))

    async def run_gauges(self) -> None:
        """Keep the gauges of the queue, until cancelled."""
        while True:
            try:
                await self.measure_queue()
            except PostroomError as error:
                log.info("queue_not_measured", error=error.name)
            except Exception:  # noqa: BLE001  # a gauge must not end the process
                log.exception("queue_not_measured")
            await asyncio.sleep(self._limits.gauge_seconds)

    async def measure_queue(self) -> None:
        """Set the gauges to what is in the queue now."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_QUEUE)
        if row is not None:
            _DUE.set(row["due"])
            _OLDEST.set(row["oldest"])
            _PARKED.set(row["parked"])
            _HELD.set(row["held"])
            _HELD_SITES.set(row["held_sites"])

    async def run_once(self) -> None:
        """One round of all chores; one that cannot be done now comes again in the next."""
        chores: tuple[Callable[[], Awaitable[None]], ...] = (
            self._make_partitions,
            self._expire_deliveries,
            self._retire_accounts,
            self._purge_mailboxes,
            self._sweep_uploads,
            self._sweep_claims,
            self._sweep_operations,
            self._sweep_queue,
            self._forget_expunged,
            self._cut_off,
        )
        for chore in chores:
            try:
                await chore()
            except PostroomError as error:
                log.warning("chore_put_off", chore=chore.__name__.lstrip("_"), error=str(error))

    async def _expire_deliveries(self) -> None:
        await expire_deliveries(self._database, self._limits.sweep)

    async def _retire_accounts(self) -> None:
        limits = self._limits.retiring
        if self._find_deleted is None or time.monotonic() - self._retired_at < limits.round_seconds:
            return
        self._retired_at = time.monotonic()  # also where the directory is away, or of an older version
        await retire_accounts(self._database, self._find_deleted, self._purge_mailbox, limits)

    async def _forget_expunged(self) -> None:
        await forget_expunged(self._database, self._limits.retention)

    async def _cut_off(self) -> None:
        limits = self._limits.cut
        if time.monotonic() - self._cut_at >= limits.look_seconds:
            await cap_expunged(self._database, self._limits.retention)
            await cut_journal(self._database, limits)
            await cut_history(self._database, limits)
            self._cut_at = time.monotonic()

    async def _sweep_queue(self) -> None:
        limits = self._limits.sweep
        await forget_accepted(self._database, limits)
        if time.monotonic() - self._lanes_forgotten_at >= limits.lanes_seconds:
            await forget_lanes(self._database, limits)
            self._lanes_forgotten_at = time.monotonic()
        await forget_sites(self._database, limits)

    async def _sweep_claims(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_OLD_CLAIMS)

    async def _sweep_operations(self) -> None:
        forgotten = most = self._limits.forget_operations
        while forgotten == most:
            async with self._database.connection() as connection:
                forgotten = await forget_old(connection, most)

    async def _make_partitions(self) -> None:
        today = dt.datetime.now(dt.UTC).date()
        for name in _PARTITIONED:
            for ahead in range(1, self._limits.months_ahead + 1):
                first = _month(today, ahead)
                statement = (
                    f"CREATE TABLE IF NOT EXISTS mailstore.{name}_{first:%Y_%m} "
                    f"PARTITION OF mailstore.{name} "
                    f"FOR VALUES FROM ('{first}') TO ('{_month(first, 1)}')"
                )
                async with self._database.transaction() as connection:
                    # It locks the default partition: mail must not queue up behind it.
                    await connection.execute("SET LOCAL lock_timeout = '500ms'")
                    await connection.execute(statement)

    async def _purge_mailboxes(self) -> None:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_DELETED)
        for row in rows:
            await self._purge_mailbox(row["account_id"], row["id"])

    async def _purge_mailbox(self, account_id: UUID, mailbox_id: UUID) -> None:
        purged = True
        while purged:
            purged = await self._purge_slice(account_id, mailbox_id)

    async def _purge_slice(self, account_id: UUID, mailbox_id: UUID) -> bool:
        async def transact(connection: Connection) -> bool:
            modseqs = await lock_accounts(connection, [account_id])
            last = await connection.fetchval(_SLICE, account_id, mailbox_id, self._limits.purge_messages)
            if last is None:
                return False
            place = MailboxPlace(account_id, mailbox_id, modseqs[account_id])
            await remove_messages(connection, place, [(1, last)], removal=Removal.PURGED)
            return True

        return await self._database.run(transact)

    async def _sweep_uploads(self) -> None:
        """Forget uploads whose time is over, with their octets when no message has them."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_STALE_UPLOADS)
        for row in rows:
            async with self._database.connection() as connection:
                used = await connection.fetchval(_USED, row["object_id"])
            if not used:
                await self._drop_object(message_key(row["object_id"]), row["multipart_id"])
            async with self._database.connection() as connection:
                await connection.execute(_FORGET_UPLOAD, row["id"])

    async def _drop_object(self, key: str, multipart_id: str | None) -> None:
        try:
            if multipart_id is not None:
                await self._objects.abort_multipart(key, multipart_id)
            await self._objects.delete([key])
        except ObjectNotFoundError:
            return


def _month(day: dt.date, ahead: int) -> dt.date:
    """The first day of a month that comes so many months later."""
    months = day.year * 12 + day.month - 1 + ahead
    return dt.date(months // 12, months % 12 + 1, 1)
