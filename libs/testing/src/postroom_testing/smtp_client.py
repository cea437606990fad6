"""An SMTP client that says exactly what a test wants it to say."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Self

_SECONDS = 20.0


class SmtpClient:
    """One connection. Replies are whole, lines joined by line feeds, without the last line's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.greeting = ""

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> AsyncGenerator[Self]:
        """Connected and greeted."""
        reader, writer = await asyncio.open_connection(
            host, port, ssl=tls, server_hostname="localhost" if tls is not None else None
        )
        client = cls(reader, writer)
        try:
            client.greeting = await client.reply()
            yield client
        finally:
            client.abort()

    async def reply(self) -> str:
        """The next reply; empty when the server has hung up."""
        lines: list[str] = []
        async with asyncio.timeout(_SECONDS):
            while line := (await self._reader.readline()).decode():
                lines.append(line.rstrip("\r\n"))
                if line[3:4] != "-":
                    break
        return "\n".join(lines)

    def send(self, octets: bytes) -> None:
        """Say this, whatever it is."""
        self._writer.write(octets)

    async def say(self, line: str) -> str:
        """Say one line and hear the reply."""
        self.send(f"{line}\r\n".encode())
        return await self.reply()

    async def begin(self, sender: str, *recipients: str, helo: str = "client.example") -> str:
        """Up to the reply to DATA, or to the first thing that is refused."""
        answer = ""
        commands = [f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{each}>" for each in recipients), "DATA"]
        for command in [f"EHLO {helo}", *commands]:
            answer = await self.say(command)
            if answer[:1] not in {"2", "3"}:
                break
        return answer

    async def content(self, octets: bytes) -> str:
        """The message, which holds no line of one dot, and its end; the reply to it."""
        self.send(octets + b".\r\n")
        return await self.reply()

    async def mail(self, sender: str, *recipients: str, octets: bytes = b"Subject: hi\r\n\r\nhi\r\n") -> str:
        """A whole message; the last reply."""
        answer = await self.begin(sender, *recipients)
        return await self.content(octets) if answer.startswith("354") else answer

    async def start_tls(self, context: ssl.SSLContext) -> str:
        """Ask for TLS and do the handshake; the reply to STARTTLS."""
        answer = await self.say("STARTTLS")
        if answer.startswith("220"):
            await self.handshake(context)
        return answer

    async def handshake(self, context: ssl.SSLContext) -> None:
        """Begin TLS here."""
        await self._writer.start_tls(context, server_hostname="localhost")

    async def hung_up(self) -> bool:
        """Whether the server has ended its side, once nothing more comes."""
        async with asyncio.timeout(_SECONDS):
            with suppress(ConnectionError):
                return await self._reader.read() == b""
        return True

    def abort(self) -> None:
        """Be gone."""
        transport = self._writer.transport
        transport.abort()
