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
from uuid import UUID, uuid4

from mailstore.blobs.reader import BlobReader
from mailstore.local_delivery.filing import Filed, file_deliveries
from mailstore.local_delivery.lease import (
    DueDelivery,
    LaneLostError,
    Lease,
    Work,
    give_back,
    lanes_with_work,
    take,
)
from mailstore.local_delivery.reading import read_messages
from mailstore.scanning import MessageFacts
from postroom_contracts.errors import PostroomError
from postroom_contracts.ids import queue_id_text
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.spans import traced
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
    """Files what is due in the local lanes. Run `run` in a task group."""

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
        self._rung: dict[int, None] = {}  # in the order in which they are emptied
        self._wake = asyncio.Event()
        self._leases: dict[int, Lease] = {}
        self._emptying: set[int] = set()
        self._looking = asyncio.Event()

    def takes(self, lane: int) -> bool:
        """Whether a lane that is rung now is emptied at once, or again by whoever empties it just now."""
        waiting = sum(rung not in self._emptying for rung in self._rung)
        room = len(self._emptying) + waiting < self._limits.lanes_at_once
        return (room or lane in self._emptying) and not self._lifecycle.draining

    def ring(self, lane: int) -> None:
        """A lane has work."""
        self._rung[lane] = None
        self._wake.set()

    async def wait_for_turn(self, lane: int) -> None:
        """Wait until a lane that was rung is looked at."""
        while lane in self._rung:
            self._looking.clear()
            await self._looking.wait()

    async def run(self) -> None:
        """Empty the lanes that are rung, some at once, until cancelled or draining."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.lanes_at_once):
                group.create_task(self._run_lanes())
            group.create_task(self._run_timer())

    async def _run_lanes(self) -> None:
        while not self._lifecycle.draining:
            lane = next((lane for lane in self._rung if lane not in self._emptying), None)
            if lane is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._emptying.add(lane)
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
                self._emptying.discard(lane)

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
        limits = self._limits
        while not self._lifecycle.draining:
            # A lease that trouble kept us from giving back is used again.
            lease = self._leases.setdefault(lane, Lease(lane, uuid4()))
            self._rung.pop(lane, None)  # whatever rang was committed before we look
            self._looking.set()
            most = 1 if lease.abandoned else limits.batch_deliveries
            work = await take(self._database, lease, self._name, limits.lease_seconds, most)
            if work is None or await self._file_some(work, most):
                del self._leases[lane]
                return
        if (held := self._leases.pop(lane, None)) is not None:
            await give_back(self._database, held)

    async def _file_some(self, work: Work, most: int) -> bool:
        """File what is due, or its beginning; returns whether the lane is given back."""
        lease, due = work.lease, work.due
        self._leases[lease.lane] = lease
        # Whoever had the lane before died in it. Was one of its messages the cause? One by one tells.
        batch = due[:1] if lease.abandoned else self._within_octets(due)
        if lease.abandoned and not await self._start(batch[0]):
            return False
        reading = await read_messages(self._reader, batch)
        for delivery, error in reading.unread:
            await self._put_off(delivery, error)
        if not reading.deliveries:
            return False
        is_all = len(batch) == len(due) < most
        try:
            return await self._file(lease, reading.deliveries, reading.facts, give_back=is_all)
        except LaneLostError:
            del self._leases[lease.lane]
            raise

    def _within_octets(self, due: Sequence[DueDelivery]) -> list[DueDelivery]:
        batch: list[DueDelivery] = []
        messages: set[UUID] = set()
        octets = 0
        for delivery in due:
            if delivery.accepted_id not in messages:
                octets += delivery.blob.size
            if batch and octets > self._limits.batch_octets:
                break
            messages.add(delivery.accepted_id)
            batch.append(delivery)
        return batch

    async def _file(
        self,
        lease: Lease,
        batch: Sequence[DueDelivery],
        facts: Mapping[UUID, MessageFacts],
        *,
        give_back: bool,
    ) -> bool:
        """File a batch in one transaction; when a value in it is refused, in smaller ones."""
        try:
            filed = await file_deliveries(self._database, lease, batch, facts, give_back=give_back)
        except (LaneLostError, PostroomError):
            raise
        except Exception as error:  # noqa: BLE001  # a delivery is the boundary: its neighbours are filed
            if len(batch) == 1:
                await self._put_off(batch[0], error)
                return False
            middle = len(batch) // 2
            await self._file(lease, batch[:middle], facts, give_back=False)
            return await self._file(lease, batch[middle:], facts, give_back=give_back)
        await self._tell(filed)
        return filed.given_back

    async def _tell(self, filed: Filed) -> None:
        for account_id, modseq in filed.modseqs.items():
            await self._publish_changed(account_id, modseq)
        for delivery in filed.deliveries:
            with traced("filed", delivery.traceparent or None):  # a moment: a batch is filed at once
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
        with traced("put off", delivery.traceparent or None) as moment:
            event = "delivery_parked" if parked else "delivery_put_off"
            moment.fail(event)
            fields = {"queue_id": queue_id_text(delivery.accepted_id), "delivery_id": str(delivery.id)}
            if away:
                log.warning(event, error=type(error).__name__, **fields)
            else:
                log.error(event, exc_info=error, **fields)

    async def _start(self, delivery: DueDelivery) -> bool:
        async with self._database.connection() as connection:
            started = await connection.fetchval(_START, delivery.id, self._limits.starts)
        if started is False:
            with bind_trace(delivery.traceparent or None):
                queue_id = queue_id_text(delivery.accepted_id)
                log.error("delivery_parked", queue_id=queue_id, delivery_id=str(delivery.id))
        return bool(started)
