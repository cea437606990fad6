"""The passive ports: all are open all the time, and each may wait for one connection from each client.

A reservation is a port and the client's address, so that one client never gets another's data connection: a
connection from anywhere else finds nobody. A balancer that is trusted says in a PROXY header whose it is.
"""

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeAlias

from ftp_gateway.errors import TransferError
from postroom_runtime import metrics
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.logs import log
from postroom_runtime.peer import PeerAddress, address_of
from postroom_runtime.proxy import ProxyHeaderError, ProxySettings, introduction
from postroom_wire.ftp import Address, plain_address
from postroom_wire.ftp.standard_replies import NO_PASSIVE_PORT

_ACCEPTED: Final = metrics.counter(
    "ftp_passive_connections_total", "Connections to passive ports, by whether somebody waited.", ["outcome"]
)
_BACKLOG: Final = 128
_PAUSE_SECONDS: Final = 1.0
_HEADERS_AT_ONCE: Final = 256
"""Connections that may wait for their PROXY header."""


Arrived: TypeAlias = Callable[[socket.socket], None]


class PassivePorts:
    """Listens on every port of the range; closed as a context manager."""

    def __init__(self, host: str, ports: Sequence[int], proxy: ProxySettings | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._proxy = proxy
        self._introductions: set[asyncio.Task[None]] = set()
        self._waiting: dict[tuple[int, Address], Arrived] = {}
        self._sockets: dict[int, socket.socket] = {}
        try:
            for wanted in ports:
                listening = _listen(host, wanted)
                self._sockets[listening.getsockname()[1]] = listening
        except ConfigurationError:
            self.close()
            raise
        for port, listening in self._sockets.items():
            self._loop.add_reader(listening, self._accept, port, listening)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        for introducing in self._introductions:
            introducing.cancel()
        for listening in self._sockets.values():
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def reserve(self, peer: Address, arrived: Arrived) -> int:
        """A random port on which nobody from this address is awaited; `arrived` gets its first connection.

        Raises `TransferError` when there is none.
        """
        free = [port for port in self._sockets if (port, peer) not in self._waiting]
        if not free:
            raise TransferError(NO_PASSIVE_PORT)
        port = random.choice(free)
        self._waiting[port, peer] = arrived
        return port

    def release(self, port: int, peer: Address, arrived: Arrived) -> None:
        """Wait no longer; without effect when the port waits for somebody else's next connection by now."""
        if self._waiting.get((port, peer)) is arrived:
            del self._waiting[port, peer]

    def _accept(self, port: int, listening: socket.socket) -> None:
        try:
            sock, name = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # gone already
            return
        except OSError as error:
            # Out of descriptors: who waits stays in the backlog for a moment, instead of a loop that spins.
            log.error("passive_accept_paused", port=port, error=error.strerror)
            self._loop.remove_reader(listening)
            self._loop.call_later(_PAUSE_SECONDS, self._accept_again, port, listening)
            return
        sock.setblocking(False)
        peer = address_of(name)
        if self._proxy is None or peer.host not in self._proxy.trusted:
            self._arrive(port, sock, peer)
        elif len(self._introductions) >= _HEADERS_AT_ONCE:
            _ACCEPTED.labels("full").inc()
            sock.close()
        else:
            introducing = self._loop.create_task(self._introduce(port, sock, peer, self._proxy))
            self._introductions.add(introducing)
            introducing.add_done_callback(partial(self._introduced, sock))

    async def _introduce(
        self, port: int, sock: socket.socket, balancer: PeerAddress, proxy: ProxySettings
    ) -> None:
        """Learn whose connection a balancer passes on."""
        try:
            known = await introduction(sock, balancer, proxy)
        except ProxyHeaderError as error:
            _ACCEPTED.labels(error.reason).inc()
            log.info("proxy_header_refused", listener="passive", peer=balancer.host, reason=error.reason)
            sock.close()
            return
        self._arrive(port, sock, known.peer)

    def _introduced(self, sock: socket.socket, introducing: asyncio.Task[None]) -> None:
        self._introductions.discard(introducing)
        if introducing.cancelled():
            sock.close()

    def _arrive(self, port: int, sock: socket.socket, peer: PeerAddress) -> None:
        arrived = self._waiting.pop((port, plain_address(peer.host)), None)
        _ACCEPTED.labels("unexpected" if arrived is None else "awaited").inc()
        if arrived is None:
            sock.close()
        else:
            arrived(sock)

    def _accept_again(self, port: int, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._loop.add_reader(listening, self._accept, port, listening)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    try:
        listening = socket.create_server(
            (host or "::", port), family=family, backlog=_BACKLOG, dualstack_ipv6=not host
        )
    except OSError as error:
        raise ConfigurationError(f"passive port: cannot listen on {host}:{port}: {error.strerror}") from None
    listening.setblocking(False)
    return listening
