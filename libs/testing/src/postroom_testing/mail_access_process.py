"""Mail access as a process of its own, for tests that hurt it or weigh it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from postroom_embedded.nats import NatsAddress
from postroom_embedded.ports import free_ports
from postroom_embedded.services import says_ready

_PAGE_OCTETS = os.sysconf("SC_PAGE_SIZE")


class MailAccessProcess:
    """Always at the same port; `directory.sock` and `mailstore.sock` are in `sockets`."""

    def __init__(self, name: str, sockets: Path, nats: NatsAddress, *, drain_seconds: float = 2.0) -> None:
        self.port, pop3, imaps, pop3s = free_ports(4)
        self._health = sockets / f"{name}.health"
        self._environment = {
            "POSTROOM_NATS_URL": nats.url,
            "POSTROOM_DIRECTORY_ADDRESS": f"unix:{sockets / 'directory.sock'}",
            "POSTROOM_MAILSTORE_ADDRESS": f"unix:{sockets / 'mailstore.sock'}",
            "POSTROOM_MAIL_ACCESS_HOST": "127.0.0.1",
            "POSTROOM_MAIL_ACCESS_IMAP_PORT": str(self.port),
            "POSTROOM_MAIL_ACCESS_POP3_PORT": str(pop3),
            "POSTROOM_MAIL_ACCESS_IMAPS_PORT": str(imaps),
            "POSTROOM_MAIL_ACCESS_POP3S_PORT": str(pop3s),
            "POSTROOM_MAIL_ACCESS_DRAIN_SECONDS": str(drain_seconds),
            "POSTROOM_MAIL_ACCESS_HEALTH_ADDRESS": f"unix:{self._health}",
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        self._health.unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mail_access", "serve"),
            env={**os.environ, **self._environment},
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(30):
            while not await says_ready(str(self._health)):
                assert self._process.returncode is None
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """It runs within the block."""
        await self.start()
        try:
            yield
        finally:
            await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals) -> int:
        """End it so; its status."""
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self._process.wait()

    @property
    def resident_octets(self) -> int:
        """What it has in memory."""
        if self._process is None:
            raise RuntimeError("it does not run")
        fields = Path(f"/proc/{self._process.pid}/statm").read_text("ascii").split()
        return int(fields[1]) * _PAGE_OCTETS
