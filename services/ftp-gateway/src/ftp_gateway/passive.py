"""The passive ports: all are open all the time, and each may wait for one connection from each client.

A reservation is a port and the client's address, so that one client never gets another's data connection: a
connection from anywhere else finds nobody.
"""

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

from ftp_gateway.errors import TransferError
from postroom_runtime import metrics
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.logs import log
from postroom_runtime.peer import address_of
from postroom_wire.ftp import Address, plain_address
from postroom_wire.ftp.standard_replies import NO_PASSIVE_PORT

_ACCEPTED: Final = metrics.counter(
    "ftp_passive_connections_total", "Connections to passive ports, by whether somebody waited.", ["outcome"]
)
_BACKLOG: Final = 128
_PAUSE_SECONDS: Final = 1.0


Arrived: TypeAlias = Callable[[socket.socket], None]


class PassivePorts:
    """Listens on every port of the range; closed as a context manager."""

    def __init__(self, host: str, ports: Sequence[int]) -> None:
        self._loop = asyncio.get_running_loop()
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
        arrived = self._waiting.pop((port, plain_address(address_of(name).host)), None)
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
