"""One stream that carries what many callers ask another service, in batches, each item answered by its key.

When the stream breaks or falls silent, what it carried is unknown: it goes again with the same keys on a new
stream, which may reach another replica. So an item must be harmless when it is carried twice.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from postroom_contracts.errors import PostroomError, UnavailableError
from postroom_runtime.logs import log

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")  # an item, A its answer
A = TypeVar("A")

OpenStream = Callable[[AsyncIterator[Sequence[T]]], AsyncIterable[Iterable[tuple[K, A]]]]
"""Opens a stream that sends these batches; gives the answers with their keys as they come, in any order."""


@dataclass(frozen=True, slots=True)
class SharedStreamLimits:
    """Bounds of a batch (items, octets), of batches that wait for a first answer, of all that waits (items).

    While `batches_at_once` have no answer, items gather for the next batch: fewer and larger ones cost both
    sides less. A batch of items that take long holds back the others for `hold_seconds` only.

    A stream that says nothing for `stalled_seconds` is given up for another. It is ended in order after
    `idle_seconds` without work, since it costs pings and may lead to a replica that is gone, and after
    `age_seconds`, since another one may lead to a replica that is new.
    """

    batch_items: int
    batch_octets: int = 2 * 1024 * 1024
    batches_at_once: int = 2
    waiting_items: int = 4_000
    answer_seconds: float = 3.8
    stalled_seconds: float = 1.2
    hold_seconds: float = 0.1
    idle_seconds: float = 10.0
    age_seconds: float = 60.0
    reconnect_seconds: float = 0.05


@dataclass(slots=True, eq=False)
class _Asked(Generic[K, T, A]):
    key: K
    item: T
    answer: asyncio.Future[A]
    batch: int = 0


@dataclass(slots=True, eq=False)
class _Life:
    """Of one stream: when it is too old, how long it may be silent, when batches without an answer left."""

    old_at: float
    patience: asyncio.Timeout
    unanswered: dict[int, float] = field(default_factory=dict[int, float])


class SharedStream(Generic[K, T, A]):
    """Carries items and brings their answers. Run `run` in a task group; `name` is for the log.

    `octets` measures an item that counts for `batch_octets`.
    """

    def __init__(
        self,
        open_stream: "OpenStream[T, K, A]",
        limits: SharedStreamLimits,
        *,
        name: str,
        octets: Callable[[T], int] | None = None,
    ) -> None:
        self._open_stream, self._limits = open_stream, limits
        self._name, self._octets = name, octets
        self._waiting: dict[K, _Asked[K, T, A]] = {}
        self._sent: dict[K, _Asked[K, T, A]] = {}
        self._news = asyncio.Event()
        self._batches_sent = 0
        self._life: _Life | None = None
        """Of the open stream: the batches of one that has ended are still asked for, and get nothing."""

    @property
    def full(self) -> bool:
        """Whether as much waits as may."""
        return len(self._waiting) + len(self._sent) >= self._limits.waiting_items

    async def ask(self, key: K, item: T) -> A:
        """The answer to an item; no two at once have the same key.

        Raises UnavailableError when too much waits, or when there is no answer in time: then whether the item
        was taken is unknown.
        """
        if self.full:
            raise UnavailableError(f"{self._name}: too much waits")
        asked: _Asked[K, T, A] = _Asked(key, item, asyncio.get_running_loop().create_future())
        self._waiting[key] = asked
        self._news.set()
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                return await asked.answer
        except TimeoutError:
            raise UnavailableError(f"{self._name}: no answer in time") from None
        finally:
            self._forget(asked)

    async def run(self) -> None:
        """Keep a stream open while there is work, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            began = loop.time()
            try:
                await self._run_stream()
            except PostroomError as error:
                log.warning("stream_broken", stream=self._name, error=error.name)
            except TimeoutError:
                log.warning("stream_stalled", stream=self._name, items=len(self._sent))
            except Exception:  # noqa: BLE001  # one odd stream must not end all sessions
                log.exception("stream_failed", stream=self._name)
            self._waiting = self._sent | self._waiting
            self._sent = {}
            if self._waiting and loop.time() - began < self._limits.reconnect_seconds:
                await asyncio.sleep(self._limits.reconnect_seconds)

    async def _run_stream(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(None) as patience:
                life = self._life = _Life(now + self._limits.age_seconds, patience)
                async for answers in self._open_stream(self._batches(life)):
                    for key, answer in answers:
                        self._settle(life, key, answer)
                    patience.reschedule(self._until_stalled() if self._sent else None)
                    self._news.set()
        finally:
            self._life = None
            self._news.set()

    def _until_stalled(self) -> float:
        return asyncio.get_running_loop().time() + self._limits.stalled_seconds

    async def _batches(self, life: _Life) -> AsyncIterator[Sequence[T]]:
        loop = asyncio.get_running_loop()
        while life is self._life and loop.time() < life.old_at:
            if not self._waiting:
                if not await self._something_new(self._limits.idle_seconds) and not self._sent:
                    break
            elif (seconds := self._hold(life)) > 0:
                await self._something_new(seconds)
            else:
                batch = self._next_batch(life)
                self._expect_answer(life)
                yield batch
        if life is self._life:  # what is under way is answered yet, then the other side ends the stream
            self._expect_answer(life)

    def _expect_answer(self, life: _Life) -> None:
        if life.patience.when() is None:
            life.patience.reschedule(self._until_stalled())

    def _hold(self, life: _Life) -> float:
        """Seconds for which the next batch has to wait yet."""
        if len(life.unanswered) < self._limits.batches_at_once:
            return 0.0
        number, left_at = next(iter(life.unanswered.items()))
        seconds = left_at + self._limits.hold_seconds - asyncio.get_running_loop().time()
        if seconds <= 0:
            del life.unanswered[number]
        return seconds

    async def _something_new(self, seconds: float) -> bool:
        """Wait for it; False when there is nothing for so long."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _next_batch(self, life: _Life) -> Sequence[T]:
        self._batches_sent += 1
        life.unanswered[self._batches_sent] = asyncio.get_running_loop().time()
        batch: list[_Asked[K, T, A]] = []
        octets = 0
        for asked in islice(self._waiting.values(), self._limits.batch_items):
            octets += 0 if self._octets is None else self._octets(asked.item)
            if batch and octets > self._limits.batch_octets:
                break
            batch.append(asked)
        for asked in batch:
            asked.batch = self._batches_sent
            self._sent[asked.key] = self._waiting.pop(asked.key)
        return [asked.item for asked in batch]

    def _settle(self, life: _Life, key: K, answer: A) -> None:
        if (asked := self._sent.pop(key, None)) is not None:
            life.unanswered.pop(asked.batch, None)
            if not asked.answer.done():
                asked.answer.set_result(answer)

    def _forget(self, asked: _Asked[K, T, A]) -> None:
        self._waiting.pop(asked.key, None)
        if self._sent.pop(asked.key, None) is not None and self._life is not None:
            self._life.unanswered.pop(asked.batch, None)
            self._news.set()
