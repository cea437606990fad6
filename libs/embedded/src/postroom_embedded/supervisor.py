"""Starts everything in the order of its needs, keeps it running, and leaves nothing behind.

Three things see to it that no process outlives the supervisor, whatever ends it: `stop`, the kernel (each
child asks for a signal at its parent's death), and the guard, a small process that wakes when the
supervisor's end of a pipe closes and kills what carries our marker, grandchildren too.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import asdict, dataclass

from postroom_embedded import launch, reclaim
from postroom_embedded.errors import StartError
from postroom_embedded.instance import Instance
from postroom_embedded.part import Guarded, Part, Patience, Report, Reporter
from postroom_embedded.process import trim_log

_TRIM_SECONDS = 5.0
_GUARD_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A part, those that must be ready before it starts, and when it stops: higher tiers end first."""

    part: Part
    after: tuple[str, ...] = ()
    tier: int = 0


class Supervisor:
    """Holds the guarded parts of one instance."""

    def __init__(self, instance: Instance, report: Reporter, patience: Patience | None = None) -> None:
        self._instance, self._report = instance, report
        self._patience = patience or Patience()
        self._entries: dict[str, tuple[Entry, Guarded]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Start these beside what runs already; they may depend on it."""
        for entry in entries:
            guarded = Guarded(self._instance, entry.part, self._report, self._patience)
            self._entries[entry.part.name] = (entry, guarded)
        for name, (entry, guarded) in self._entries.items():
            if name not in self._tasks:
                after = [self._entries[other][1].ready for other in entry.after]
                self._tasks[name] = asyncio.create_task(guarded.run(after), name=name)

    async def wait_ready(self, names: Sequence[str] | None = None) -> None:
        """Return when these (or all) are ready; raises the error of the first that is not to be had."""
        waited = [self._entries[name][1].ready for name in names or self._entries]
        ready = asyncio.create_task(_all_set(waited))
        try:
            await asyncio.wait([ready, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure()
            await ready
        finally:
            ready.cancel()

    async def wait_failure(self) -> None:
        """Wait for the end of a guard of ours, which is always a failure, and raise it."""
        nothing = asyncio.create_task(asyncio.Event().wait())
        try:
            await asyncio.wait([nothing, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
            self._raise_failure()
        finally:
            nothing.cancel()

    def processes(self) -> dict[str, int | None]:
        """The process of each part, None while it is down."""
        return {name: guarded.pid for name, (_, guarded) in self._entries.items()}

    async def stop(self) -> None:
        """End everything, the higher tiers first, and within a tier what depends on others first."""
        for tier in sorted({entry.tier for entry, _ in self._entries.values()}, reverse=True):
            await asyncio.gather(*(self._stop_chain(name, tier) for name in self._roots(tier)))
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _stop_chain(self, name: str, tier: int) -> None:
        """Stop what stands on this part, then the part."""
        above = [
            other
            for other, (entry, _) in self._entries.items()
            if entry.after[-1:] == (name,) and entry.tier == tier
        ]
        await asyncio.gather(*(self._stop_chain(other, tier) for other in above))
        await self._entries[name][1].stop()

    def _roots(self, tier: int) -> list[str]:
        mine = {name for name, (entry, _) in self._entries.items() if entry.tier == tier}
        return [name for name in mine if not mine.intersection(self._entries[name][0].after[-1:])]

    def _raise_failure(self) -> None:
        for task in self._tasks.values():
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error


@contextlib.asynccontextmanager
async def supervised(
    instance: Instance, report: Reporter | None = None, patience: Patience | None = None
) -> AsyncGenerator[Supervisor]:
    """A supervisor with its guard; when the block ends, so has every process that it started."""
    supervisor = Supervisor(instance, report or _silent, patience)
    async with _guard(instance):
        trimming = asyncio.create_task(_trim_logs(instance))
        try:
            yield supervisor
        finally:
            trimming.cancel()
            try:
                await supervisor.stop()
            finally:
                await asyncio.to_thread(reclaim.reclaim, instance.claim)


@contextlib.asynccontextmanager
async def _guard(instance: Instance) -> AsyncGenerator[None]:
    """The process that cleans up after a supervisor that could not; started anew when somebody kills it."""
    leaving = asyncio.Event()
    first = await _start_guard(instance)
    watching = asyncio.create_task(_watch_guard(instance, first, leaving))
    try:
        yield
    finally:
        leaving.set()
        await watching


async def _watch_guard(instance: Instance, guard: asyncio.subprocess.Process, leaving: asyncio.Event) -> None:
    while not leaving.is_set():
        ended = asyncio.create_task(guard.wait())
        left = asyncio.create_task(leaving.wait())
        await asyncio.wait([ended, left], return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if not leaving.is_set():
            guard = await _start_guard(instance)
    if guard.stdin is not None:
        guard.stdin.close()
    try:
        async with asyncio.timeout(_GUARD_SECONDS):
            await guard.wait()
    except TimeoutError:
        os.kill(guard.pid, signal.SIGKILL)
        await guard.wait()


async def _start_guard(instance: Instance) -> asyncio.subprocess.Process:
    user = instance.user
    specification = launch.Specification(
        parent=None,  # it is the one that stays
        uid=user.uid if user is not None else None,
        gid=user.gid if user is not None else None,
        visible=instance.visible,
        passwd=instance.passwd,
    )
    python = (sys.executable, "-I", "-S")
    guard = await asyncio.create_subprocess_exec(
        *python, launch.__file__, specification.encode(), *python, reclaim.__file__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    if guard.stdin is None:
        raise StartError("guard", "has no input", None, [])
    claim = reclaim.Claim(instance.run_marker, "")
    guard.stdin.write(json.dumps(asdict(claim)).encode() + b"\n")
    await guard.stdin.drain()
    return guard


async def _trim_logs(instance: Instance) -> None:
    """Keep every log within its bound."""

    def trim() -> None:
        for log in (instance.directory / "log").glob("*.log"):
            trim_log(log)

    while True:
        await asyncio.sleep(_TRIM_SECONDS)
        await asyncio.to_thread(trim)


async def _all_set(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


def _silent(report: Report) -> None:
    del report
