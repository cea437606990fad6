"""The worker of local delivery: woken by bells and by a timer, it empties one lane after the other.

Bells may be lost or doubled: the timer looks for lanes with work by itself, so they only make mail faster. A
delivery that cannot be filed holds nobody up: its batch is bisected, and it comes again later until it is
parked.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from mailstore.blobs.reader import BlobReader
from mailstore.local_delivery.filing import DueDelivery, due_deliveries, file_deliveries
from mailstore.local_delivery.lease import LaneLostError, Lease, give_back, lanes_with_work, renew, take
from mailstore.scanning import MessageFacts, message_facts
from postroom_contracts.errors import PostroomError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_storage.database import Database

_PUT_OFF: Final = """
UPDATE mailstore.delivery
SET attempts = attempts + 1, due_at = now() + make_interval(secs => $2 * (attempts + 1)),
    parked = attempts + 1 >= $3
WHERE id = $1 RETURNING parked
"""
_START: Final = """
UPDATE mailstore.delivery SET starts = starts + 1, parked = starts + 1 > $2 WHERE id = $1 RETURNING NOT parked
"""


@dataclass(frozen=True, slots=True)
class FilingLimits:
    """Bounds of one transaction (deliveries, octets), seconds of a lease and between looks of the timer."""

    batch_deliveries: int = 200
    batch_octets: int = 16 * 1024 * 1024
    lease_seconds: float = 15.0
    timer_seconds: float = 3.0
    retry_seconds: float = 30.0
    attempts: int = 20
    starts: int = 5
    lanes_at_once: int = 2


class LocalDeliveryWorker:
    """Files what is due in the local lanes. Run `run_bells` and `run_timer` in a task group."""

    def __init__(
        self,
        database: Database,
        reader: BlobReader,
        publish_changed: Callable[[UUID, int], Awaitable[None]],
        *,
        name: str,
        lifecycle: Lifecycle,
        limits: FilingLimits | None = None,
    ) -> None:
        self._database, self._reader, self._publish_changed = database, reader, publish_changed
        self._name, self._lifecycle, self._limits = name, lifecycle, limits or FilingLimits()
        self._rung: set[int] = set()
        self._wake = asyncio.Event()

    def ring(self, lane: int) -> None:
        """A lane has work."""
        self._rung.add(lane)
        self._wake.set()

    async def run(self) -> None:
        """Empty the lanes that are rung, some at once, until cancelled or draining."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.lanes_at_once):
                group.create_task(self._run_lanes())
            group.create_task(self._run_timer())

    async def _run_lanes(self) -> None:
        while not self._lifecycle.draining:
            await self._wake.wait()
            if not self._rung:
                self._wake.clear()
                continue
            lane = self._rung.pop()
            try:
                with self._lifecycle.activity(f"local lane {lane}"):
                    await self._empty(lane)
            except LaneLostError:
                log.warning("lane_lost", lane=lane)
            except PostroomError as error:
                log.warning("lane_put_off", lane=lane, error=error.name)
            except Exception:  # noqa: BLE001  # one lane's trouble must not end the others
                log.exception("lane_failed", lane=lane)

    async def _run_timer(self) -> None:
        while True:
            try:
                for lane in await lanes_with_work(self._database):
                    self.ring(lane)
            except PostroomError as error:
                log.warning("lanes_not_looked_at", error=error.name)
            await asyncio.sleep(self._limits.timer_seconds * random.uniform(0.7, 1.3))

    async def _empty(self, lane: int) -> None:
        lease = await take(self._database, lane, self._name, self._limits.lease_seconds)
        while lease is not None and not self._lifecycle.draining:
            due = await due_deliveries(
                self._database, lane, 1 if lease.abandoned else self._limits.batch_deliveries
            )
            if due:
                await self._file(lease, self._within_octets(due))
                await renew(self._database, lease, self._limits.lease_seconds)
            elif await give_back(self._database, lease):
                return
            else:
                await renew(self._database, lease, self._limits.lease_seconds)
        if lease is not None:
            await give_back(self._database, lease)

    def _within_octets(self, due: Sequence[DueDelivery]) -> list[DueDelivery]:
        batch: list[DueDelivery] = []
        messages: dict[UUID, int] = {}
        for delivery in due:
            messages[delivery.accepted_id] = delivery.size
            if batch and sum(messages.values()) > self._limits.batch_octets:
                break
            batch.append(delivery)
        return batch

    async def _file(self, lease: Lease, batch: Sequence[DueDelivery]) -> None:
        # Whoever had the lane before died in it. Was one of its messages the cause? One by one tells.
        if lease.abandoned and not await self._start(batch[0]):
            return
        try:
            facts = await self._facts(batch)
            modseqs = await file_deliveries(self._database, lease, batch, facts)
        except (LaneLostError, PostroomError):
            raise
        except (asyncpg.PostgresError, ValueError, KeyError) as error:
            await self._bisect(lease, batch, error)
            return
        for account_id, modseq in modseqs.items():
            await self._publish_changed(account_id, modseq)
        for delivery in batch:
            log.info("filed", queue_id=str(delivery.accepted_id), account_id=str(delivery.account_id))

    async def _facts(self, batch: Sequence[DueDelivery]) -> Mapping[UUID, MessageFacts]:
        blobs = {delivery.blob_id: delivery.accepted_id for delivery in batch}
        octets = await self._reader.load(list(blobs))
        return {blobs[blob_id]: await message_facts(found) for blob_id, found in octets.items()}

    async def _bisect(self, lease: Lease, batch: Sequence[DueDelivery], error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._file(lease, batch[:middle])
            await self._file(lease, batch[middle:])
            return
        delivery = batch[0]
        log.error(
            "delivery_put_off",
            queue_id=str(delivery.accepted_id),
            delivery_id=str(delivery.id),
            exc_info=error,
        )
        async with self._database.connection() as connection:
            limits = self._limits
            await connection.fetchval(_PUT_OFF, delivery.id, limits.retry_seconds, limits.attempts)

    async def _start(self, delivery: DueDelivery) -> bool:
        async with self._database.connection() as connection:
            started = await connection.fetchval(_START, delivery.id, self._limits.starts)
        if not started:
            log.error("delivery_parked", queue_id=str(delivery.accepted_id), delivery_id=str(delivery.id))
        return bool(started)
