"""Ends what a supervisor left behind, and nothing else.

As a library it is what the next start does first. Run by path (`python -I -S reclaim.py`) it is the
guard: it waits until the supervisor's end of its standard input closes, however that came about, and then
cleans up after it. A process is ours when its environment holds the secret marker of our data
directory, or when it is a Postgres (which overwrites its environment) that works inside our data directory.
Names are never enough. The standard library only.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.02
_MARKER = "POSTROOM_INSTANCE="
_MAX_ENVIRONMENT = 1 << 20  # octets read of one process


@dataclass(frozen=True, slots=True)
class Claim:
    """What proves that a process is ours, and how long Postgres may take to end by itself.

    `marker` is that of a data directory or, with a dot and the run, that of one run only: a guard must not
    touch what a later start has started. `postgres` is the directory that such a process works in, or "".
    """

    marker: str
    postgres: str
    patience_seconds: float = 3.0


def processes_of(claim: Claim) -> Iterator[int]:
    """The live processes that are provably ours, but for this one."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _is_ours(entry.path, claim):
            yield int(entry.name)


def reclaim(claim: Claim, wait_seconds: float = 10.0) -> list[int]:
    """Kill what is ours until nothing is left; return what was there.

    Postgres is asked first (SIGQUIT, an immediate shutdown) and killed when its patience is over, so that it
    ends its own children. Raises TimeoutError when something survives (in the kernel, stopped disk).
    """
    begin, seen = time.monotonic(), set[int]()
    while left := list(processes_of(claim)):
        now = time.monotonic() - begin
        if now > wait_seconds:
            raise TimeoutError(f"processes {left} do not end")
        for pid in left:
            _end(pid, claim, gently=now < claim.patience_seconds, first=pid not in seen)
            seen.add(pid)
        time.sleep(_POLL_SECONDS)
    return sorted(seen)


def _end(pid: int, claim: Claim, *, gently: bool, first: bool) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # Asked again now that the handle is held: the number may have gone to another process meanwhile.
        if not _is_ours(f"/proc/{pid}", claim):
            return
        if not gently or not _is_postgres(f"/proc/{pid}"):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        elif first:
            signal.pidfd_send_signal(handle, signal.SIGQUIT)
            signal.pidfd_send_signal(handle, signal.SIGCONT)
    except OSError:
        return
    finally:
        os.close(handle)


def _is_ours(process: str, claim: Claim) -> bool:
    try:
        with open(f"{process}/environ", "rb") as file:  # noqa: PTH123 - thousands of them, so nothing costly
            for variable in file.read(_MAX_ENVIRONMENT).split(b"\0"):
                if f"{variable.decode('latin-1')}.".startswith(f"{_MARKER}{claim.marker}."):
                    return True
        return _is_postgres(process) and os.readlink(f"{process}/cwd") == claim.postgres  # noqa: PTH115
    except OSError:  # gone, or not ours to look at
        return False


def _is_postgres(process: str) -> bool:
    try:
        program = os.readlink(f"{process}/exe")  # noqa: PTH115
    except OSError:
        return False
    return Path(program.removesuffix(" (deleted)")).name == "postgres"


def guard() -> None:
    """Wait for the supervisor's end, then reclaim."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of the pipe is the only thing that counts
    line = sys.stdin.readline()
    if not line:
        return
    claim = Claim(**json.loads(line))
    sys.stdin.read()
    reclaim(claim)


if __name__ == "__main__":
    guard()
