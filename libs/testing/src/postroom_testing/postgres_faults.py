"""A Postgres of a test's own that can be stopped, killed, frozen and started again under way."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from postroom_embedded.instance import Instance, open_instance
from postroom_embedded.postgres import Postgres, PostgresAddress
from postroom_embedded.process import Process


class FaultyPostgres:
    """Postgres whose faults a test calls. Not running at first."""

    def __init__(self, instance: Instance, settings: Mapping[str, str]) -> None:
        self._instance = instance
        self._server = Postgres(instance, settings)
        self._process: Process | None = None

    @property
    def address(self) -> PostgresAddress:
        """Where it listens when it does."""
        return self._server.address

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self._server.prepare()
        self._process = await Process.start(self._instance, self._server.command())
        await self._server.wait_ready(self._process)

    async def stop(self) -> None:
        """Stop it in order: sessions end at once."""
        if self._process is not None:
            await self._process.stop()
        self._process = None

    async def kill(self) -> None:
        """Kill the postmaster and all its children."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self.stop()

    def freeze(self) -> None:
        """Stop all its processes; connections stay open and nobody answers."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all of them go on."""
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _family(self) -> list[int]:
        if self._process is None:
            return []
        postmaster = self._process.pid
        return [postmaster, *(pid for pid in _processes() if _parent(pid) == postmaster)]


@contextlib.asynccontextmanager
async def faulty_postgres(settings: Mapping[str, str] | None = None) -> AsyncGenerator[FaultyPostgres]:
    """A fresh cluster that is gone after the block; not started yet."""
    place = Path(tempfile.mkdtemp(prefix="postroom-test-", dir="/tmp"))
    place.chmod(0o755)
    try:
        with open_instance(place / "data") as instance:
            server = FaultyPostgres(instance, {"fsync": "off", **(settings or {})})
            try:
                yield server
            finally:
                await server.kill()
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


def _processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - names only


def _parent(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[1])
