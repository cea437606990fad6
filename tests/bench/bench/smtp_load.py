"""SMTP clients that send as fast as they are answered."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

SENDER: Final = "a@bench.test"
_PER_CONNECTION: Final = 20
_PATIENCE_SECONDS: Final = 60.0
_LINE: Final = b"The quick brown fox jumps over the lazy dog 0123456789 abcdef.\r\n"


@dataclass(frozen=True, slots=True)
class SmtpLoad:
    """So many messages of so many octets, over so many sessions of 20 messages each."""

    sessions: int
    messages: int
    size: int = 4096


@dataclass(slots=True)
class Sent:
    """Seconds from the begin to the last 250, and those from the end of each message to its 250."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list[float])


class ReplyError(Exception):
    """The server said something else than what was expected, or nothing more."""


class SmtpClient(asyncio.Protocol):
    """One connection; a reply at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._awaited: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> "SmtpClient":
        """Connect and greet."""
        transport, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        client._transport = transport
        await client.reply(b"220")
        await client.command(b"EHLO bench.test\r\n", b"250")
        return client

    def data_received(self, data: bytes) -> None:
        """Take octets."""
        self._buffer += data
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """End whoever waits."""
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(ReplyError(f"closed by the server: {exc}"))

    async def reply(self, code: bytes) -> None:
        """Wait for the next reply. Raises ReplyError when it has another code."""
        self._awaited = asyncio.get_running_loop().create_future()
        self._settle()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = await self._awaited
        if not found.startswith(code):
            raise ReplyError(f"expected {code!r}, got {found!r}")

    async def command(self, octets: bytes, code: bytes) -> None:
        """Write and wait for the reply."""
        if self._transport is None or self._transport.is_closing():
            raise ReplyError("closed by the server")
        self._transport.write(octets)
        await self.reply(code)

    async def send(self, recipient: str, content: bytes) -> float:
        """One mail, whose content ends with the dot; seconds from its end to its 250."""
        await self.command(b"MAIL FROM:<%b>\r\n" % SENDER.encode(), b"250")
        await self.command(b"RCPT TO:<%b>\r\n" % recipient.encode(), b"250")
        await self.command(b"DATA\r\n", b"354")
        begun = time.perf_counter()
        await self.command(content, b"250")
        return time.perf_counter() - begun

    async def quit(self) -> None:
        """End the session."""
        await self.command(b"QUIT\r\n", b"221")
        if self._transport is not None:
            self._transport.close()

    def _settle(self) -> None:
        """A reply ends with the first line whose fourth octet is no hyphen."""
        if self._awaited is None or self._awaited.done():
            return
        start = 0
        while (end := self._buffer.find(b"\n", start)) >= 0:
            if self._buffer[start + 3 : start + 4] != b"-":
                reply, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
                self._awaited.set_result(reply)
                return
            start = end + 1


async def send_all(port: int, recipients: Sequence[str], load: SmtpLoad) -> Sent:
    """Send the load, each message to the next recipient. Raises ReplyError."""
    contents = [message(load.size, "0", recipient) for recipient in recipients]
    numbers, sent = iter(range(load.messages)), Sent()

    async def session() -> None:
        while (first := next(numbers, None)) is not None:
            client = await SmtpClient.open(port)
            number: int | None = first
            left = _PER_CONNECTION
            while number is not None:
                place = number % len(recipients)
                sent.waits.append(await client.send(recipients[place], contents[place]))
                left -= 1
                number = next(numbers, None) if left else None
            await client.quit()

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(load.sessions):
            group.create_task(session())
    sent.seconds = time.perf_counter() - begun
    return sent


def message(size: int, name: str, recipient: str) -> bytes:
    """A message of about this many octets with the dot that ends it; `name` is in X-Bench-Id."""
    head = (
        f"From: Bench <{SENDER}>\r\nTo: <{recipient}>\r\nSubject: bench {name}\r\n"
        f"Date: Mon, 23 Nov 2026 05:00:00 +0000\r\nMessage-ID: <{name}@bench.test>\r\nX-Bench-Id: {name}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    ).encode()
    return head + _LINE * max(1, (size - len(head)) // len(_LINE)) + b".\r\n"
