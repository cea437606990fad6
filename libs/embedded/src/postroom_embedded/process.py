"""One child process: started through `launch.py`, its output in a bounded log, stopped with all it left."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from postroom_embedded import launch
from postroom_embedded.errors import NotReadyError, StartError
from postroom_embedded.instance import Instance

MAX_LOG = 8 << 20  # octets; the part before it is kept too
_TAIL = 16 << 10
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Command:
    """What to run and how to end it. `environment` is added to the instance's own."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL  # what the kernel sends when the supervisor dies
    stop_seconds: float = 10.0
    directory: str = "/"


class Process:
    """A running child. Never waits for a child in a thread; never outlives `stop`."""

    def __init__(self, command: Command, child: asyncio.subprocess.Process, log: Path, begin: int) -> None:
        self.command, self.log = command, log
        self._child, self._begin = child, begin
        # asyncio's own `send_signal` may reap the child behind the back of the thread that waits for it.
        self._handle: int | None = None
        with contextlib.suppress(ProcessLookupError):  # ended already
            self._handle = os.pidfd_open(child.pid)

    @classmethod
    async def start(cls, instance: Instance, command: Command, text: bytes | None = None) -> "Process":
        """Start it, with a short text to read or nothing; what it prints goes to its log from now on."""
        log = instance.log_file(command.name)
        descriptor = await asyncio.to_thread(_open_log, log, instance)
        try:
            begin = os.fstat(descriptor).st_size
            child = await asyncio.create_subprocess_exec(
                *_launch(instance, command),
                env=instance.environment() | dict(command.environment),
                stdin=DEVNULL if text is None else PIPE,
                stdout=descriptor,
                stderr=STDOUT,
            )
        finally:
            os.close(descriptor)
        if child.stdin is not None and text is not None:
            child.stdin.write(text)
            child.stdin.close()
        return cls(command, child, log, begin)

    @property
    def pid(self) -> int:
        """The process, and its session and group."""
        return self._child.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._child.returncode

    async def wait(self) -> int:
        """Wait for its end, then end what it left in its process group."""
        status = await self._child.wait()
        self._kill_group()
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        return status

    async def stop(self, seconds: float | None = None) -> None:
        """Ask it to end, and kill it when it has not within the seconds."""
        if self.exit_status is None:
            self._signal(self.command.stop_signal)
            self._signal(signal.SIGCONT)
            try:
                async with asyncio.timeout(self.command.stop_seconds if seconds is None else seconds):
                    await self._child.wait()
            except TimeoutError:
                self._kill_group()
        await self.wait()

    def last_lines(self, count: int = 10) -> list[str]:
        """The end of what this run printed."""
        return _last_lines(self.log, self._begin, count)

    def failed(self, reason: str) -> StartError:
        """The error that says how it went wrong, with its last lines."""
        return StartError(self.command.name, reason, self.log, self.last_lines())

    def late(self, seconds: float, reason: str = "was not ready") -> NotReadyError:
        """The error that it took longer than it may."""
        return NotReadyError(
            self.command.name, f"{reason} within {seconds:.0f} s", self.log, self.last_lines()
        )

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._handle, number)


async def run(instance: Instance, command: Command, seconds: float) -> None:
    """Run a command to its end; raises StartError when it fails or takes longer."""
    process = await Process.start(instance, command)
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        raise process.failed(f"did not end within {seconds:.0f} s") from None
    finally:
        await process.stop(0)
    if status != 0:
        raise process.failed(describe_exit(status))


def describe_exit(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def trim_log(log: Path) -> None:
    """Keep a log within its bound: what is there becomes the part before, and it begins anew.

    The writer appends to the same open file, so the file is emptied, not replaced; a line that is written
    in between is lost, which a rename would avoid only with a pipe through the supervisor for each line.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= MAX_LOG:
            return
        before = log.with_name(f"{log.name}.1")
        before.unlink(missing_ok=True)
        status = log.stat()
        with log.open("r+b") as source:
            descriptor = os.open(before, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                os.fchown(descriptor, status.st_uid, status.st_gid)
                source.seek(-MAX_LOG, os.SEEK_END)
                while octets := source.read(1 << 20):
                    target.write(octets)
            source.truncate(0)


def _launch(instance: Instance, command: Command) -> list[str]:
    user = instance.user
    specification = launch.Specification(
        parent=os.getpid(),
        death_signal=command.death_signal,
        uid=user.uid if user is not None else None,
        gid=user.gid if user is not None else None,
        visible=instance.visible,
        passwd=instance.passwd,
        directory=command.directory,
    )
    return [sys.executable, "-I", "-S", launch.__file__, specification.encode(), *command.arguments]


def _open_log(log: Path, instance: Instance) -> int:
    trim_log(log)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if instance.user is not None:
        os.fchown(descriptor, instance.user.uid, instance.user.gid)
    return descriptor


def _last_lines(log: Path, begin: int, count: int) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin if begin <= size else 0, size - _TAIL))
            text = file.read(_TAIL).decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
