"""What the supervisor runs: a part of the stack or a service, started, watched and started again."""

import asyncio
import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from postroom_embedded.errors import NotReadyError, StartError
from postroom_embedded.instance import Instance
from postroom_embedded.process import Command, Process, describe_exit

EXIT_DEPENDENCY = 3  # a service's word that something it needs is away


class Part(Protocol):
    """One process: how it is run and how one knows that it serves."""

    @property
    def name(self) -> str:
        """Of the process and its log."""
        ...

    async def prepare(self) -> None:
        """What comes before the first start; raises an EmbeddedError when it can never run."""
        ...

    def command(self) -> Command:
        """How it is run; asked for at every start."""
        ...

    async def wait_ready(self, process: Process) -> None:
        """Return when it serves; raises StartError when it ended or takes too long."""
        ...


class Happening(enum.Enum):
    """What can be told of a part."""

    READY = "ready"
    CRASHED = "crashed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that happened to a part; for a crash, why and what it said last."""

    part: str
    happening: Happening
    detail: str = ""
    last_lines: tuple[str, ...] = ()


Reporter = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How restarts are spaced, in seconds."""

    first_delay: float = 0.2
    longest_delay: float = 10.0
    healthy: float = 30.0  # after so long the next crash counts as the first
    start: float = 90.0  # for the first start of a part whose dependencies come and go


class Guarded:
    """A part under guard: `start` once, then it is kept running until `stop`."""

    def __init__(self, instance: Instance, part: Part, report: Reporter, patience: Patience) -> None:
        self.part = part
        self.ready = asyncio.Event()
        self._instance, self._report, self._patience = instance, report, patience
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._late_starts = 0

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        running = self._process is not None and self._process.exit_status is None
        return self._process.pid if running and self._process is not None else None

    async def run(self, after: Sequence[asyncio.Event]) -> None:
        """Start after the given, and start again after every crash; returns when stopped.

        Raises an EmbeddedError when it could not be prepared or never became ready. One that was only late is
        started once more.
        """
        await self.part.prepare()
        for event in after:
            await event.wait()
        delay, since = self._patience.first_delay, time.monotonic()
        while not self._stopping.is_set():
            begin = time.monotonic()
            failure = await self._run_once()
            if self._stopping.is_set():
                return
            if not self.ready.is_set() and not self._may_try_again(failure, since):
                raise failure
            lived = time.monotonic() - begin
            delay = self._patience.first_delay if lived > self._patience.healthy else delay
            self._report(Report(self.part.name, Happening.CRASHED, str(failure), tuple(failure.last_lines)))
            await self._pause(delay)
            delay = min(delay * 2, self._patience.longest_delay)

    async def stop(self) -> None:
        """End it for good."""
        self._stopping.set()
        if self._process is not None:
            await self._process.stop()
            self._report(Report(self.part.name, Happening.STOPPED))

    async def _run_once(self) -> StartError:
        """From one start to its end; what is returned says why it ended."""
        try:
            self._process = process = await Process.start(self._instance, self.part.command())
        except OSError as error:  # no room for its log, too many processes
            return StartError(self.part.name, f"cannot be started ({error})", None, [])
        if self._stopping.is_set():  # it came while the process was being made
            await process.stop()
            return process.failed("was stopped")
        try:
            await self.part.wait_ready(process)
        except StartError as error:
            await process.stop()
            return error
        except BaseException:
            await process.stop(0)
            raise
        self.ready.set()
        self._report(Report(self.part.name, Happening.READY))
        status = await process.wait()
        return process.failed(describe_exit(status))

    def _may_try_again(self, failure: StartError, since: float) -> bool:
        if isinstance(failure, NotReadyError):
            self._late_starts += 1
            return self._late_starts == 1
        status = self._process.exit_status if self._process is not None else None
        return status == EXIT_DEPENDENCY and time.monotonic() - since < self._patience.start

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
