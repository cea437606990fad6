"""A port behind balancers for a server that brings its own protocol, as uvicorn does."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from postroom_runtime.clients import CONNECTIONS
from postroom_runtime.connection import LIMITS
from postroom_runtime.logs import log
from postroom_runtime.peer import PeerAddress, address_of
from postroom_runtime.proxy import LEFT, Introduction, ProxyHeaderError, ProxySettings, introduction

_PAUSE_SECONDS: Final = 1.0
_HEADERS_AT_ONCE: Final = 1024
"""Connections that may wait for their header or for TLS."""


class RelayedServer:
    """Accepts at once; every connection begins with a PROXY header, and TLS after it if there is a context.

    `make` gives the protocol of a connection and has to bound how many there are.
    """

    def __init__(
        self,
        name: str,
        sock: socket.socket,
        proxy: ProxySettings,
        make: Callable[[Introduction], asyncio.Protocol],
        context: ssl.SSLContext | None,
    ) -> None:
        self._name, self._socket, self._proxy = name, sock, proxy
        self._make, self._context = make, context
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._waiting: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept no more; what is established goes on."""
        self._accepting.cancel()
        for task in self._waiting:
            task.cancel()

    async def wait_closed(self) -> None:
        """Until nobody waits for a header or for TLS; call `close` before."""
        await asyncio.wait({self._accepting, *self._waiting})

    async def _accept(self) -> None:
        while True:
            try:
                sock, name = await self._loop.sock_accept(self._socket)
            except OSError as error:
                # Out of descriptors or memory: who waits stays in the backlog, instead of a loop that spins.
                log.error("accept_paused", listener=self._name, error=error.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            peer = address_of(name)
            if peer.host not in self._proxy.trusted:
                self._refuse(sock, peer, "untrusted_proxy")
            elif len(self._waiting) >= _HEADERS_AT_ONCE:
                self._refuse(sock, peer, "full")
            else:
                task = self._loop.create_task(self._establish(sock, peer))
                self._waiting.add(task)
                task.add_done_callback(partial(self._forget, sock))

    def _refuse(self, sock: socket.socket, peer: PeerAddress, reason: str) -> None:
        sock.close()
        CONNECTIONS.labels(self._name, reason).inc()
        level = log.debug if reason == LEFT else log.info
        level("connection_refused", listener=self._name, peer=peer.host, reason=reason)

    def _forget(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if task.cancelled():
            sock.close()

    async def _establish(self, sock: socket.socket, peer: PeerAddress) -> None:
        try:
            introduced = await introduction(sock, peer, self._proxy)
        except ProxyHeaderError as error:
            self._refuse(sock, peer, error.reason)
            return
        try:
            await self._loop.connect_accepted_socket(
                partial(self._make, introduced),
                sock,
                ssl=self._context,
                ssl_handshake_timeout=LIMITS.handshake_seconds if self._context else None,
                ssl_shutdown_timeout=LIMITS.linger_seconds if self._context else None,
            )
        except OSError:
            sock.close()
            CONNECTIONS.labels(self._name, "no_tls").inc()
            return
        CONNECTIONS.labels(self._name, "accepted").inc()
