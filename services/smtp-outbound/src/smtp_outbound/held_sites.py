"""Which sites this process is at, so that its workers do not open a second connection without need."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_SLOW_SECONDS: Final = 2.0


@dataclass(eq=False, slots=True)
class Hold:
    """One worker's place: the names under which its site is claimed, and how it fares."""

    names: set[str] = field(default_factory=set[str])
    progress_at: float = 0.0
    behind: bool = False
    """Its last claim was full: there is more than it can carry."""
    waiting: bool = False
    """It waits with an open connection for more."""


class HeldSites:
    """The places of all workers of a process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._holds: set[Hold] = set()

    def take(self) -> Hold:
        """A worker is about to work."""
        hold = Hold(progress_at=self._clock())
        self._holds.add(hold)
        return hold

    def drop(self, hold: Hold) -> None:
        """It has no work and no connection any more."""
        self._holds.discard(hold)

    def progress(self, hold: Hold) -> None:
        """It has brought a message to an end."""
        hold.progress_at = self._clock()

    def keeping_up(self, other_than: Hold) -> set[str]:
        """The sites at which another worker gets on well: its connection will do for what comes."""
        slow = self._clock() - _SLOW_SECONDS
        return {
            name
            for hold in self._holds
            if hold is not other_than and (hold.waiting or (not hold.behind and hold.progress_at > slow))
            for name in hold.names
        }
