"""One timer an event loop for the deadlines of all its connections, instead of one timer a wait."""

import asyncio
from typing import Final, Protocol
from weakref import WeakKeyDictionary

# Deadlines are seconds to minutes, so this is exact enough; sweeping 10,000 connections takes about a
# millisecond.
TICK_SECONDS: Final = 0.25


class Swept(Protocol):
    """Something with a deadline."""

    def sweep(self, now: float) -> None:
        """End what is overdue at `now`, in the loop's time."""
        ...


class Deadlines:
    """Sweeps over its members as long as it has any."""

    __slots__ = ("_members", "_running")

    def __init__(self) -> None:
        self._members: set[Swept] = set()
        self._running = False

    def add(self, member: Swept) -> None:
        """Begin to look after it."""
        self._members.add(member)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_later(TICK_SECONDS, self._sweep)

    def discard(self, member: Swept) -> None:
        """Forget it."""
        self._members.discard(member)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for member in tuple(self._members):
            member.sweep(now)
        self._running = bool(self._members)
        if self._running:
            loop.call_later(TICK_SECONDS, self._sweep)


# The values do not refer to their loops, so that a loop that ended goes away.
_of_loop: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Deadlines]] = WeakKeyDictionary()


def deadlines(loop: asyncio.AbstractEventLoop) -> Deadlines:
    """The loop's own."""
    if (found := _of_loop.get(loop)) is None:
        found = _of_loop[loop] = Deadlines()
    return found
