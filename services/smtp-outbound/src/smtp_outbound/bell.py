"""Waking workers: those that keep a connection, and one of those that are free."""

import asyncio
import random
from typing import Final

_JITTER: Final = 0.3


class Bell:
    """Rings for work. A worker that looked for work before a ring does not sleep through it."""

    def __init__(self, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._connected: set[asyncio.Event] = set()
        self._free: list[asyncio.Event] = []
        self.rings = 0
        """How often it rang; note it before looking for work."""

    @property
    def anyone_free(self) -> bool:
        """Whether a worker without a connection waits."""
        return bool(self._free)

    def ring(self) -> None:
        """There is work."""
        self.rings += 1
        for event in self._connected:
            event.set()
        self.wake_one()

    def wake_one(self) -> None:
        """There is more than one worker has taken."""
        if self._free:
            self._free.pop().set()

    def wake_all(self) -> None:
        """It is over, or all are to look."""
        self.rings += 1
        for event in (*self._connected, *self._free):
            event.set()

    async def wait(self, rings: int, seconds: float, *, connected: bool) -> None:
        """Wait for a ring after `rings`, for the timer, or at most so many seconds."""
        if self.rings != rings:
            return
        seconds = min(seconds, self._poll_seconds * random.uniform(1 - _JITTER, 1 + _JITTER))
        event = asyncio.Event()
        if connected:
            self._connected.add(event)
        else:
            self._free.append(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._connected.discard(event)
            if event in self._free:
                self._free.remove(event)
