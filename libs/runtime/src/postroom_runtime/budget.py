"""How many octets a process may hold for its transfers, in all."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class ByteBudget:
    """Octets that are lent first come, first served.

    Whoever waits here does not read its socket, so the peer's window fills: that is the back-pressure. Ask
    for all that a piece of work needs at once; two who each hold a half would wait for ever.
    """

    def __init__(self, octets: int) -> None:
        self.octets = octets
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """How many octets are lent."""
        return self._held

    async def acquire(self, octets: int) -> None:
        """Wait until so many are free; more than there are in all is lent when nothing else is."""
        if not self._waiting and self._fits(octets):
            self._held += octets
            return
        granted = asyncio.get_running_loop().create_future()
        self._waiting.append((octets, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release(octets)
            else:
                self._waiting.remove((octets, granted))
                self._grant()
            raise

    def release(self, octets: int) -> None:
        """Give back."""
        self._held -= octets
        self._grant()

    @asynccontextmanager
    async def hold(self, octets: int) -> AsyncGenerator[None]:
        """Hold so many within the block."""
        await self.acquire(octets)
        try:
            yield
        finally:
            self.release(octets)

    def _fits(self, octets: int) -> bool:
        return self._held == 0 or self._held + octets <= self.octets

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            octets, granted = self._waiting.popleft()
            if not granted.done():
                self._held += octets
                granted.set_result(None)
