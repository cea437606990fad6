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

from mailstore.blobs.reader import BlobReader
from mailstore.local_delivery.filing import DueDelivery, due_deliveries, file_deliveries
from mailstore.local_delivery.lease import LaneLostError, Lease, give_back, lanes_with_work, renew, take
from mailstore.local_delivery.reading import read_messages
from mailstore.scanning import MessageFacts
from postroom_contracts.errors import PostroomError
from postroom_contracts.ids import queue_id_text
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.traces import bind_trace
from postroom_storage.database import Database

_PUT_OFF: Final = """
UPDATE mailstore.delivery
SET attempts = attempts + $4, due_at = now() + make_interval(secs => $2 * (attempts + 1)),
    parked = attempts + $4 >= $3
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
        self._kept: dict[int, Lease] = {}
        self._busy = 0

    @property
    def idle(self) -> bool:
        """Whether a lane that is rung now is emptied at once."""
        room = self._limits.lanes_at_once - self._busy - len(self._rung)
        return room > 0 and not self._lifecycle.draining

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
            self._busy += 1
            try:
                with self._lifecycle.activity(f"local lane {lane}"):
                    await self.empty(lane)
            except LaneLostError:
                log.warning("lane_lost", lane=lane)
            except PostroomError as error:
                log.warning("lane_put_off", lane=lane, error=error.name)
            except Exception:  # noqa: BLE001  # one lane's trouble must not end the others
                log.exception("lane_failed", lane=lane)
            finally:
                self._busy -= 1

    async def _run_timer(self) -> None:
        while True:
            try:
                for lane in await lanes_with_work(self._database):
                    self.ring(lane)
            except PostroomError as error:
                log.warning("lanes_not_looked_at", error=error.name)
            except Exception:  # noqa: BLE001  # the timer is what everything else relies on
                log.exception("lanes_not_looked_at")
            await asyncio.sleep(self._limits.timer_seconds * random.uniform(0.7, 1.3))

    async def empty(self, lane: int) -> None:
        """File what is due in a lane, if it is ours to take."""
        lease = await self._lease(lane)
        if lease is None:
            return
        try:
            await self._file_all(lease)
        except LaneLostError:
            raise
        except BaseException:
            self._kept[lane] = lease
            raise

    async def _lease(self, lane: int) -> Lease | None:
        """The lane's lease: the one that trouble kept us from giving back, or a fresh one."""
        seconds = self._limits.lease_seconds
        if (kept := self._kept.pop(lane, None)) is not None:
            try:
                await renew(self._database, kept, seconds)
            except LaneLostError:
                pass
            except PostroomError:
                self._kept[lane] = kept
                raise
            else:
                return kept
        return await take(self._database, lane, self._name, seconds)

    async def _file_all(self, lease: Lease) -> None:
        limits = self._limits
        while not self._lifecycle.draining:
            most = 1 if lease.abandoned else limits.batch_deliveries
            due = await due_deliveries(self._database, lease.lane, most)
            batch = self._within_octets(due)
            if batch:
                await self._file(lease, batch)
            # That was all, unless the lane was rung meanwhile.
            if len(batch) == len(due) < most and await give_back(self._database, lease):
                return
            await renew(self._database, lease, limits.lease_seconds)
        await give_back(self._database, lease, though_rung=True)

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
        reading = await read_messages(self._reader, batch)
        for delivery, error in reading.unread:
            await self._put_off(delivery, error)
        if reading.deliveries:
            await self._file_read(lease, reading.deliveries, reading.facts)

    async def _file_read(
        self, lease: Lease, batch: Sequence[DueDelivery], facts: Mapping[UUID, MessageFacts]
    ) -> None:
        """File a batch in one transaction; when a value in it is refused, in smaller ones."""
        try:
            modseqs = await file_deliveries(self._database, lease, batch, facts)
        except (LaneLostError, PostroomError):
            raise
        except Exception as error:  # noqa: BLE001  # a delivery is the boundary: its neighbours are filed
            if len(batch) == 1:
                await self._put_off(batch[0], error)
                return
            middle = len(batch) // 2
            await self._file_read(lease, batch[:middle], facts)
            await self._file_read(lease, batch[middle:], facts)
            return
        for account_id, modseq in modseqs.items():
            await self._publish_changed(account_id, modseq)
        for delivery in batch:
            with bind_trace(delivery.traceparent or None):
                queue_id = queue_id_text(delivery.accepted_id)
                log.info("filed", queue_id=queue_id, account_id=str(delivery.account_id))

    async def _put_off(self, delivery: DueDelivery, error: Exception) -> None:
        """Let a delivery come again later. What is only away counts as no attempt."""
        away = getattr(error, "transient", False)
        limits = self._limits
        async with self._database.connection() as connection:
            parked = await connection.fetchval(
                _PUT_OFF, delivery.id, limits.retry_seconds, limits.attempts, 0 if away else 1
            )
        with bind_trace(delivery.traceparent or None):
            event = "delivery_parked" if parked else "delivery_put_off"
            fields = {"queue_id": queue_id_text(delivery.accepted_id), "delivery_id": str(delivery.id)}
            if away:
                log.warning(event, error=type(error).__name__, **fields)
            else:
                log.error(event, exc_info=error, **fields)

    async def _start(self, delivery: DueDelivery) -> bool:
        async with self._database.connection() as connection:
            started = await connection.fetchval(_START, delivery.id, self._limits.starts)
        if not started:
            with bind_trace(delivery.traceparent or None):
                queue_id = queue_id_text(delivery.accepted_id)
                log.error("delivery_parked", queue_id=queue_id, delivery_id=str(delivery.id))
        return bool(started)
