"""IMAP sessions that wait for mail (RFC 2177), and fetch what comes."""

import asyncio
import re
import ssl
import time
from typing import Final

_EXISTS: Final = re.compile(rb"\* (\d+) EXISTS")
_BENCH_ID: Final = re.compile(rb"X-Bench-Id: (\S+)")
_LINE_LIMIT: Final = 1 << 20
_PATIENCE_SECONDS: Final = 60.0


class ImapError(Exception):
    """A command was refused, or the connection ended."""


class ImapSession:
    """One connection with INBOX selected; `exists` is the number of messages that it knows of."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._tags = reader, writer, 0
        self.exists = 0

    @classmethod
    async def open(
        cls, port: int, user: str, password: str, tls: ssl.SSLContext | None = None
    ) -> "ImapSession":
        """Connect, log in, select."""
        session = cls(*await asyncio.open_connection("127.0.0.1", port, limit=_LINE_LIMIT, ssl=tls))
        await session._line()
        await session.command(b"LOGIN %b %b" % (user.encode(), password.encode()))
        await session.command(b"SELECT INBOX")
        return session

    async def command(self, line: bytes) -> bytes:
        """Send a command without literals; what comes before its OK."""
        tag = self._send(line)
        answer = b""
        while not (found := await self._line()).startswith(tag + b" "):
            answer += found
            self._notice(found)
        if not found.startswith(tag + b" OK"):
            raise ImapError(found)
        return answer

    async def begin_idle(self) -> bytes:
        """Begin to wait; gives the tag that ends it."""
        tag = self._send(b"IDLE")
        while not (found := await self._line()).startswith(b"+"):
            self._notice(found)
        return tag

    async def wait_for_news(self) -> None:
        """Idle, for as long as it takes, until there are more messages."""
        before = self.exists
        tag = await self.begin_idle()
        while self.exists == before:
            self._notice(await self._reader.readline() or _ended())
        self._writer.write(b"DONE\r\n")
        while not (found := await self._line()).startswith(tag + b" "):
            self._notice(found)

    async def watch(self, seen: dict[str, float]) -> None:
        """Note for each message that comes when it could be read first; until cancelled."""
        known = self.exists
        while True:
            if self.exists == known:
                await self.wait_for_news()
            first, known = known + 1, self.exists
            answer = await self.command(
                b"FETCH %d:%d (BODY.PEEK[HEADER.FIELDS (X-Bench-Id)])" % (first, known)
            )
            now = time.perf_counter()
            for name in _BENCH_ID.findall(answer):
                seen.setdefault(name.decode(), now)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    def _send(self, line: bytes) -> bytes:
        self._tags += 1
        tag = b"t%d" % self._tags
        self._writer.write(tag + b" " + line + b"\r\n")
        return tag

    async def _line(self) -> bytes:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._reader.readline() or _ended()

    def _notice(self, line: bytes) -> None:
        if (found := _EXISTS.match(line)) is not None:
            self.exists = int(found[1])


def _ended() -> bytes:
    raise ImapError("closed by the server")
