"""How a service starts, is ready, and ends without dropping what it has begun."""

import asyncio
import itertools
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Lifecycle:
    """One service process, from start to drained. Ready means started and not draining.

    `on_ready` is called when traffic may come.
    """

    def __init__(self, on_ready: Callable[[], None] | None = None) -> None:
        self._on_ready = on_ready
        self.stopping = asyncio.Event()
        self.closing = asyncio.Event()
        """Set after `stopping`, when no new calls are taken any more: long streams end now."""
        self._started = False
        self._unfinished: dict[int, str] = {}
        self._numbers = itertools.count()
        self._finished = asyncio.Event()
        self._finished.set()

    @property
    def started(self) -> bool:
        """Whether `mark_ready` was called."""
        return self._started

    @property
    def draining(self) -> bool:
        """Whether the service was told to stop."""
        return self.stopping.is_set()

    @property
    def ready(self) -> bool:
        """Whether `/readyz` says 200."""
        return self._started and not self.draining

    def mark_ready(self) -> None:
        """The listeners are open: traffic may come."""
        if self._on_ready is not None:
            self._on_ready()
        self._started = True

    def stop(self) -> None:
        """Begin to drain; `/readyz` says 503 at once."""
        self.stopping.set()

    def install_signals(self) -> None:
        """Let SIGTERM and SIGINT begin the drain. The second one changes nothing: a drain is bounded."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)

    async def wait_stopping(self, unready_seconds: float = 0.0) -> None:
        """Wait for the end, then as long as new connections still reach a service that is no longer ready."""
        await self.stopping.wait()
        if unready_seconds > 0:
            await asyncio.sleep(unready_seconds)

    @contextmanager
    def activity(self, label: str) -> Generator[None]:
        """Work that a drain waits for."""
        number = next(self._numbers)
        self._unfinished[number] = label
        self._finished.clear()
        try:
            yield
        finally:
            del self._unfinished[number]
            if not self._unfinished:
                self._finished.set()

    async def drain(self, seconds: float) -> list[str]:
        """Wait until all activities are over, at most so long; gives the labels of the unfinished ones."""
        try:
            async with asyncio.timeout(seconds):
                await self._finished.wait()
        except TimeoutError:
            return sorted(self._unfinished.values())
        return []
