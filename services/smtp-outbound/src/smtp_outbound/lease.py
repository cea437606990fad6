"""The time for which a claim is ours."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from postroom_contracts.errors import ClaimLostError, PostroomError
from postroom_runtime.logs import log

Extend = Callable[[], Awaitable[None]]
"""Prolongs the claim by its whole length from now on. Raises ClaimLostError, UnavailableError."""

_LEFT_TO_SEND: Final = 1 / 3
_LEFT_TO_KEEP: Final = 2 / 3


class Lease:
    """Counts from before the claim was asked for, so it never thinks that it lasts longer than it does."""

    def __init__(
        self,
        seconds: float,
        began: float,
        extend: Extend,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._extend, self._clock = seconds, extend, clock
        self._ends = began + seconds
        self._lock = asyncio.Lock()
        self.lost = False
        """The claim ran out: what it held belongs to another relay."""

    @property
    def left(self) -> float:
        """Seconds until it runs out."""
        return self._ends - self._clock()

    async def secure(self) -> None:
        """Return with a good part of the lease left: what is sent now, nobody else sends.

        Raises ClaimLostError, and UnavailableError when the lease is short and cannot be prolonged.
        """
        await self._prolong_below(self._seconds * _LEFT_TO_SEND)

    @asynccontextmanager
    async def kept(self) -> AsyncGenerator[None]:
        """Prolong it again and again within the block, for peers that take their time."""
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep())
            try:
                yield
            finally:
                keeping.cancel()

    async def _keep(self) -> None:
        while not self.lost:
            await asyncio.sleep(self._seconds * (1 - _LEFT_TO_KEEP))
            try:
                await self._prolong_below(self._seconds * _LEFT_TO_KEEP)
            except ClaimLostError:
                return
            except PostroomError as error:
                log.warning("lease_not_prolonged", error=error.name, seconds_left=round(self.left, 1))

    async def _prolong_below(self, seconds: float) -> None:
        async with self._lock:
            if self.left > seconds and not self.lost:
                return
            began = self._clock()
            try:
                if self.lost:
                    raise ClaimLostError("the claim ran out")
                await self._extend()
            except ClaimLostError:
                self.lost = True
                raise
            self._ends = began + self._seconds
