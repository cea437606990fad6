"""Handing mail over: one stream to the mail store carries the messages of all sessions in batches.

A message has an answer when it is durable. When the stream breaks, what it carried is unknown: it goes
again with the same ids on a new stream, which may reach another replica. What is still unknown at the
deadline is aborted, so that the client, which is told to try later, does not make a duplicate of it.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from itertools import islice

from postroom.mailstore.v1 import delivery_pb2
from postroom_contracts.errors import ERRORS, PostroomError, StagingFullError, UnavailableError
from postroom_runtime.logs import log
from postroom_runtime.steps import reached

OpenStream = Callable[[AsyncIterator[delivery_pb2.AcceptRequest]], AsyncIterable[delivery_pb2.AcceptResponse]]
"""Opens an Accept stream with these requests."""


@dataclass(frozen=True, slots=True)
class HandoverLimits:
    """Bounds of a batch (items, octets), of all that waits (items), and seconds.

    A stream that says nothing for `stalled_seconds` is given up for another, which may reach another replica.
    """

    batch_items: int = 256
    batch_octets: int = 2 * 1024 * 1024
    waiting_items: int = 4_000
    answer_seconds: float = 3.8
    stalled_seconds: float = 1.2
    reconnect_seconds: float = 0.05


@dataclass(slots=True)
class _Handed:
    item: delivery_pb2.AcceptItem
    done: asyncio.Future[None]


class Handover:
    """Gives messages to the mail store. Run `run` in a task group."""

    def __init__(self, open_stream: OpenStream, limits: HandoverLimits | None = None) -> None:
        self._open_stream, self._limits = open_stream, limits or HandoverLimits()
        self._waiting: dict[bytes, _Handed] = {}
        self._sent: dict[bytes, _Handed] = {}
        self._arrived = asyncio.Event()
        self._turn = 0
        """Counts streams: the requests of one that has ended are still asked for, and get nothing."""

    async def accept(self, item: delivery_pb2.AcceptItem) -> None:
        """Return when the message is durable.

        Raises what the store refuses it for, StagingFullError when too much waits already (the store never
        saw this one), and UnavailableError when there is no answer in time: then the outcome is unknown.
        """
        if len(self._waiting) + len(self._sent) >= self._limits.waiting_items:
            raise StagingFullError("too many messages wait for the store")
        handed = _Handed(item, asyncio.get_running_loop().create_future())
        self._waiting[item.id] = handed
        self._arrived.set()
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                await handed.done
        except TimeoutError:
            raise UnavailableError("the store did not answer in time") from None
        finally:
            self._forget(handed)
        reached("handover.after_answer")

    async def run(self) -> None:
        """Keep a stream open while there is work, until cancelled."""
        while True:
            await self._arrived.wait()
            began = time.monotonic()
            try:
                await self._run_stream()
            except PostroomError as error:
                log.warning("handover_broken", error=error.name)
            except TimeoutError:
                log.warning("handover_stalled", items=len(self._sent))
            except Exception:  # noqa: BLE001  # one odd stream must not end all sessions
                log.exception("handover_failed")
            self._waiting = self._sent | self._waiting
            self._sent = {}
            if self._waiting and time.monotonic() - began < self._limits.reconnect_seconds:
                await asyncio.sleep(self._limits.reconnect_seconds)

    async def _run_stream(self) -> None:
        try:
            async with asyncio.timeout(None) as patience:
                async for response in self._open_stream(self._batches(self._turn, patience)):
                    for result in response.results:
                        self._settle(result)
                    patience.reschedule(self._until_stalled() if self._sent else None)
        finally:
            self._turn += 1
            self._arrived.set()

    def _until_stalled(self) -> float:
        return asyncio.get_running_loop().time() + self._limits.stalled_seconds

    async def _batches(
        self, turn: int, patience: asyncio.Timeout
    ) -> AsyncIterator[delivery_pb2.AcceptRequest]:
        while turn == self._turn:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch: list[delivery_pb2.AcceptItem] = []
            octets = 0
            for handed in islice(self._waiting.values(), self._limits.batch_items):
                octets += len(handed.item.content.zstd)
                if batch and octets > self._limits.batch_octets:
                    break
                batch.append(handed.item)
            for item in batch:
                self._sent[item.id] = self._waiting.pop(item.id)
            if patience.when() is None:
                patience.reschedule(self._until_stalled())
            yield delivery_pb2.AcceptRequest(items=batch)

    def _settle(self, result: delivery_pb2.AcceptResult) -> None:
        handed = self._sent.pop(result.id, None)
        if handed is None or handed.done.done():
            return
        if result.outcome == delivery_pb2.AcceptResult.OUTCOME_ACCEPTED:
            handed.done.set_result(None)
        else:
            handed.done.set_exception(ERRORS.get(result.error, UnavailableError)("refused by the store"))

    def _forget(self, handed: _Handed) -> None:
        self._sent.pop(handed.item.id, None)
        self._waiting.pop(handed.item.id, None)
