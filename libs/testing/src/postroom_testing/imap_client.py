"""A plain IMAP client for tests: lines out, whole responses in, literals included."""

import asyncio
import re
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, Self

_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came until the tagged response; `untagged` as whole responses without their last CRLF."""

    untagged: list[bytes]
    tagged: bytes

    @property
    def ok(self) -> bool:
        """Whether it was an OK."""
        return self.tagged.split(b" ", 2)[1] == b"OK"

    @property
    def text(self) -> bytes:
        """The tagged response without its tag."""
        return self.tagged.partition(b" ")[2]


class ImapClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._tags = 0
        self.greeting = b""

    @classmethod
    async def connect(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> Self:
        """Connect and take the greeting."""
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=2**20)
        client = cls(reader, writer)
        client.greeting = await client.response()
        return client

    async def command(self, text: str | bytes) -> Answer:
        """One command and all that comes up to its end."""
        tag = self.send_command(text)
        return await self.answer(tag)

    async def ok(self, text: str | bytes) -> list[bytes]:
        """The untagged responses of a command that must end with OK."""
        answer = await self.command(text)
        if not answer.ok:
            raise AssertionError(f"{text!r}: {answer}")
        return answer.untagged

    async def login(self, user: str, password: str) -> None:
        """LOGIN."""
        await self.ok(f"LOGIN {user} {password}")

    async def append(self, mailbox: str, octets: bytes, flags: str = "") -> Answer:
        """APPEND by a literal that waits for no one (RFC 7888)."""
        return await self.command(
            f"APPEND {mailbox} {flags and flags + ' '}{{{len(octets)}+}}\r\n".encode() + octets
        )

    def send_command(self, text: str | bytes) -> bytes:
        """Send without waiting; gives the tag."""
        self._tags += 1
        tag = b"t%d" % self._tags
        self.send(tag + b" " + (text.encode() if isinstance(text, str) else text) + b"\r\n")
        return tag

    def send(self, octets: bytes) -> None:
        """Send octets; what the server says before it closes, or that it has closed, is found by reading."""
        if not self._writer.transport.is_closing():
            self._writer.write(octets)

    async def answer(self, tag: bytes) -> Answer:
        """All responses up to the tagged one."""
        untagged: list[bytes] = []
        while not (response := await self.response()).startswith(tag + b" "):
            untagged.append(response)
        return Answer(untagged, response)

    async def response(self) -> bytes:
        """One whole response with its literals, without its last CRLF; raises `EOFError` at the end."""
        whole = b""
        async with asyncio.timeout(_WAIT_SECONDS):
            while True:
                line = await self._reader.readline()
                if not line.endswith(b"\r\n"):
                    raise EOFError(whole + line)
                whole += line
                if (literal := _LITERAL.search(line)) is None:
                    return whole[:-2]
                whole += await self._reader.readexactly(int(literal[1]))

    async def rest(self) -> bytes:
        """All up to the end of the connection."""
        async with asyncio.timeout(_WAIT_SECONDS):
            return await self._reader.read()

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """STARTTLS and the handshake."""
        await self.ok("STARTTLS")
        await self.handshake(context, host)

    async def handshake(self, context: ssl.SSLContext, host: str) -> None:
        """TLS from here on."""
        await self._writer.start_tls(context, server_hostname=host)

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except (OSError, ssl.SSLError):
            pass


class Connect(Protocol):
    """A fixture that connects, and closes at the end of the test; logs `user` in unless it is None."""

    def __call__(self, user: str | None = "alice", *, tls: bool = False) -> Awaitable[ImapClient]:
        """A fresh connection."""
        ...
