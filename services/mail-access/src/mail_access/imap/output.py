"""What a session says: gathered so that an answer leaves in one write, no faster than the client reads."""

import asyncio
from collections.abc import Sequence
from typing import Final

from mail_access.imap.compressing import deflate
from postroom_runtime.tcp import Connection

PIECE: Final = 65_536
"""Octets that are worth a write of their own."""


class Output:
    """The octets of a session on their way out."""

    __slots__ = ("_connection", "_gathered", "_sent", "_waiting", "broken", "compresses")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._gathered: list[bytes] = []
        self._waiting = 0
        self._sent = 0
        self.compresses = False
        """COMPRESS is active (RFC 4978)."""
        self.broken = False
        """A response was begun that cannot be ended: nothing more may be said."""

    @property
    def position(self) -> int:
        """Where the next octet will be; for `rewind`."""
        return self._sent + self._waiting

    @property
    def is_much(self) -> bool:
        """Whether `flow` has something to do."""
        return self._waiting >= PIECE

    def write(self, octets: bytes) -> None:
        """Say this, soon."""
        self._gathered.append(octets)
        self._waiting += len(octets)

    def write_all(self, pieces: Sequence[bytes]) -> None:
        """Say these one after another."""
        self._gathered += pieces
        self._waiting += sum(map(len, pieces))

    def rewind(self, position: int) -> bool:
        """Take back what was said from there on; False when some of it is under way already."""
        if position < self._sent:
            return False
        while (more := self.position - position) > 0:
            last = self._gathered.pop()
            self._waiting -= len(last)
            if len(last) > more:
                self.write(last[:-more])
        return True

    async def flow(self) -> None:
        """Send what has gathered when it is much, and wait while the client does not read.

        Raises `PeerTimeoutError`, `PeerGoneError`.
        """
        if self.is_much:
            await self.flush()
            await asyncio.sleep(0)  # a client that reads at once must not have the loop for itself

    async def stream(self, octets: bytes) -> None:
        """Say many octets at the speed of the client. Raises as `flow`."""
        for start in range(0, len(octets), PIECE):
            self.write(octets[start : start + PIECE])
            await self.flow()

    async def flush(self) -> None:
        """Send all. Raises as `flow`."""
        self.send()
        await self._connection.drain()

    def send(self) -> None:
        """Send all without waiting; for the last words."""
        if self._gathered:
            octets = b"".join(self._gathered)
            self._gathered.clear()
            self._waiting = 0
            self._connection.write(deflate(octets) if self.compresses else octets)
            self._sent += len(octets)
