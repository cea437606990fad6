"""Listeners for tests of the TCP shell, and a client that can misbehave."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import (
    Connection,
    Listener,
    ListenerSettings,
    serve_tcp,
)

REFUSAL = b"421 4.3.2 Too many connections\r\n"

FAILURE = b"421 4.3.0 Internal error\r\n"

HERE = ListenerSettings(name="test", host="127.0.0.1", port=0)

Handle = Callable[[Connection], Awaitable[None]]


@asynccontextmanager
async def listening(
    handle: Handle, settings: ListenerSettings = HERE, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Listener]:
    """A listener whose connections are handled so, for 20 s at most."""
    listener = await serve_tcp(
        settings, handle, lifecycle=Lifecycle(), tls=tls, refuse=REFUSAL, failed=FAILURE
    )
    async with listener, asyncio.timeout(20):
        yield listener


class Peer:
    """A client with a plain socket, so that it can misbehave."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.socket.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """All of it, however long that takes."""
        await self._loop.sock_sendall(self.socket, data)

    async def read(self, octets: int = 65536) -> bytes:
        """What there is; nothing at the end."""
        return await self._loop.sock_recv(self.socket, octets)

    async def read_all(self) -> bytes:
        """All up to the end."""
        parts = [part async for part in self._parts()]
        return b"".join(parts)

    async def _parts(self) -> AsyncIterator[bytes]:
        while part := await self.read():
            yield part

    def reset(self) -> None:
        """Vanish with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


async def echo(connection: Connection) -> None:
    """Say what is heard."""
    while data := await connection.receive():
        connection.write(data)
        await connection.drain()
