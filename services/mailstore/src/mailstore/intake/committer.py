"""The shared commit: while one is in flight arrivals gather, and the next transaction carries them all.

An idle store commits a single message at once; no timer adds latency. One bad item never fails its
neighbours: a data error bisects the batch. A connection that breaks in a commit leaves the outcome unknown,
so its items are answered as temporary and the edge asks again with the same ids.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from mailstore.blobs.segments import OpenSegment
from mailstore.intake.item import IntakeItem
from mailstore.intake.statements import ACCEPT, KNOWN, Staged, accept_arguments, bells
from postroom_contracts.errors import (
    AbortedError,
    InvalidRequestError,
    PostroomError,
    StagingFullError,
    UnavailableError,
)
from postroom_contracts.ids import queue_id_text
from postroom_runtime.logs import log
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.failures import is_data_error

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class CommitLimits:
    """Bounds of one transaction and of what may wait for the next, and the seconds until mail expires."""

    batch_items: int = 500
    batch_octets: int = 8 * 1024 * 1024
    waiting_items: int = 4_000
    waiting_octets: int = 64 * 1024 * 1024
    lifetime_seconds: float = 5 * 86_400.0


@dataclass(slots=True)
class _Waiting:
    staged: Staged
    done: asyncio.Future[None]


class Committer:
    """Accepts staged items in shared transactions. Run `run()` in a task group."""

    def __init__(
        self,
        database: Database,
        segment: OpenSegment,
        ring: Callable[[str], Awaitable[None]],
        limits: CommitLimits = CommitLimits(),
    ) -> None:
        self._database, self._segment, self._ring, self._limits = database, segment, ring, limits
        self._waiting: deque[_Waiting] = deque()
        self._octets = 0
        self._by_id: dict[UUID, asyncio.Future[None]] = {}
        self._arrived = asyncio.Event()

    async def accept(self, staged: Staged) -> None:
        """Return when the item is durable, now or since an earlier call with its id.

        Raises StagingFullError, AbortedError, InvalidRequestError, UnavailableError (the outcome is unknown).
        """
        future = self._by_id.get(staged.item.id)
        if future is None:
            future = self._enqueue(staged)
        await asyncio.shield(future)

    def _enqueue(self, staged: Staged) -> asyncio.Future[None]:
        over = self._octets + staged.octets > self._limits.waiting_octets
        if over or len(self._waiting) >= self._limits.waiting_items or self._segment.full:
            raise StagingFullError("too much is waiting for a commit")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._by_id[staged.item.id] = future
        self._waiting.append(_Waiting(staged, future))
        self._octets += staged.octets
        self._arrived.set()
        return future

    async def run(self) -> None:
        """Commit what arrives until cancelled; then what still waits is answered as unavailable."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._commit(self._next_batch())
        finally:
            for future in list(self._by_id.values()):
                _settle(future, UnavailableError("the store is stopping"))

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        octets = 0
        while self._waiting and len(batch) < self._limits.batch_items:
            octets += self._waiting[0].staged.octets
            if batch and octets > self._limits.batch_octets:
                break
            waiting = self._waiting.popleft()
            self._octets -= waiting.staged.octets
            batch.append(waiting)
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        """Commit a batch and answer every item of it."""
        try:
            aborted = await self._transact([waiting.staged for waiting in batch])
        except PostroomError as error:
            self._answer_all(batch, error)
        except Exception as error:  # noqa: BLE001  # the boundary of messages: their senders get an answer
            if is_data_error(error):
                await self._bisect(batch, error)
                return
            log.exception("commit_failed", items=len(batch))
            self._answer_all(batch, UnavailableError(type(error).__name__))
        else:
            for waiting in batch:
                gone = waiting.staged.item.id in aborted
                self._answer(waiting, AbortedError("this id was aborted") if gone else None)
            for subject in bells([waiting.staged.item for waiting in batch]):
                await self._ring(subject)

    async def _transact(self, batch: Sequence[Staged]) -> set[UUID]:
        """Write a batch; returns the ids that were aborted before."""
        reached("accept.before_commit")
        ids = {staged.item.id for staged in batch}
        async with self._database.connection() as connection:
            fresh = await self._insert(connection, batch)
            known = ids - fresh
            rows = await connection.fetch(KNOWN, list(known)) if known else []
        reached("accept.after_commit")
        return {row["id"] for row in rows if row["aborted"]}

    async def _insert(self, connection: Connection, batch: Sequence[Staged]) -> set[UUID]:
        for _ in range(_ATTEMPTS):
            number = await self._segment.number(connection)
            statement = ACCEPT.format(segment=f"segment_{number}")
            arguments = accept_arguments(batch, number, self._limits.lifetime_seconds)
            try:
                return {row["id"] for row in await connection.fetch(statement, *arguments)}
            except asyncpg.UndefinedTableError:
                self._segment.forget()  # it was sealed, packed and dropped since we looked
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                # Another process commits some of the same new rows in another order: one of both goes on.
                continue
        raise UnavailableError("the open segment keeps changing, or deadlocks do not end")

    async def _bisect(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if len(batch) == 1:
            item: IntakeItem = batch[0].staged.item
            log.warning("message_refused", queue_id=queue_id_text(item.id), error=type(error).__name__)
            self._answer(batch[0], InvalidRequestError("the database refuses a value"))
            return
        middle = len(batch) // 2
        await self._commit(batch[:middle])
        await self._commit(batch[middle:])

    def _answer_all(self, batch: Sequence[_Waiting], error: PostroomError) -> None:
        for waiting in batch:
            self._answer(waiting, error)

    def _answer(self, waiting: _Waiting, error: PostroomError | None) -> None:
        self._by_id.pop(waiting.staged.item.id, None)
        _settle(waiting.done, error)


def _settle(future: asyncio.Future[None], error: PostroomError | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
        future.exception()  # a caller that went away must not leave a warning behind
