"""Data connections: one for each transfer, to or from the client's own address. RFC 959 s3.2, RFC 4217 s7."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from ftp_gateway.errors import TransferError
from ftp_gateway.passive import PassivePorts
from postroom_runtime import metrics
from postroom_runtime.connection import LIMITS, Connection
from postroom_wire.ftp import Address, plain_address
from postroom_wire.ftp.standard_replies import (
    CANNOT_OPEN_DATA,
    DATA_PORT_FIRST,
    DATA_TLS_FAILED,
    DATA_TLS_NOT_RESUMED,
)

_OPENED: Final = metrics.counter(
    "ftp_data_connections_total", "Data connections by how they came about.", ["mode", "tls"]
)
_RESERVED_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Seconds until a data connection stands, and without an octet; whether TLS must resume the session."""

    connect_seconds: float
    idle_seconds: float
    session: Literal["prefer", "require"] = "prefer"


class DataChannel:
    """What PASV, EPSV, PORT and EPRT prepare for the next transfer of one session.

    `context` gives the TLS context of the session while data connections are to be private, else None.
    """

    def __init__(
        self,
        control: Connection,
        ports: PassivePorts,
        settings: DataSettings,
        context: Callable[[], ssl.SSLContext | None],
    ) -> None:
        self._peer: Address = plain_address(control.peer.host)
        self._control = control
        self._ports = ports
        self._settings = settings
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._port = 0
        self._release: Callable[[], None] = _nothing
        self._opening: asyncio.Task[Connection] | None = None

    def listen(self) -> int:
        """Wait on a port for the client; TLS begins as soon as it is there. Raises `TransferError`."""
        self.drop()
        arrived: asyncio.Future[socket.socket] = self._loop.create_future()

        def arrive(sock: socket.socket) -> None:
            if arrived.done():
                sock.close()
            else:
                arrived.set_result(sock)

        port = self._ports.reserve(self._peer, arrive)
        self._release = partial(self._ports.release, port, self._peer, arrive)
        self._opening = self._loop.create_task(self._meet(arrived, self._release))
        self._opening.add_done_callback(_note)
        return port

    def aim(self, port: int) -> None:
        """Connect to this port of the client when the transfer begins."""
        self.drop()
        self._port = port

    def drop(self) -> None:
        """Forget what was prepared."""
        self._port = 0
        self._release()
        opening, self._opening = self._opening, None
        if opening is None:
            return
        if not opening.done():
            opening.cancel()
        elif not opening.cancelled() and opening.exception() is None:
            opening.result().abort()

    async def open(self) -> Connection:
        """The data connection of this transfer. Raises `TransferError` with a 425 or 522 reply."""
        settings, wants_tls = self._settings, self._context() is not None
        mode = "passive" if self._opening is not None else "active"
        opening = self._opening
        if opening is None:
            if not self._port:
                raise TransferError(DATA_PORT_FIRST)
            opening = self._opening = self._loop.create_task(self._call(self._port))
            opening.add_done_callback(_note)
        try:
            async with asyncio.timeout(settings.connect_seconds):
                connection = await asyncio.shield(opening)
        except (TimeoutError, OSError):
            self.drop()
            raise TransferError(CANNOT_OPEN_DATA) from None
        except BaseException:
            self.drop()
            raise
        self._opening, self._port = None, 0
        try:
            self._check(connection, mode, wants_tls=wants_tls)
        except TransferError:
            connection.close()
            raise
        connection.set_idle(settings.idle_seconds)
        connection.set_write_seconds(settings.idle_seconds)
        return connection

    def _check(self, connection: Connection, mode: str, *, wants_tls: bool) -> None:
        if connection.tls != wants_tls:  # PROT came between PASV and the transfer
            raise TransferError(DATA_TLS_FAILED)
        layer = connection.ssl_object
        reused = layer is not None and bool(layer.session_reused)
        _OPENED.labels(mode, "none" if layer is None else "resumed" if reused else "new").inc()
        if layer is not None and not reused and self._settings.session == "require":
            raise TransferError(DATA_TLS_NOT_RESUMED)

    async def _meet(
        self, arrived: "asyncio.Future[socket.socket]", release: Callable[[], None]
    ) -> Connection:
        try:
            async with asyncio.timeout(_RESERVED_SECONDS):
                sock = await arrived
        except BaseException:
            release()
            if arrived.done() and not arrived.cancelled():
                arrived.result().close()
            raise
        return await self._establish(sock)

    async def _call(self, port: int) -> Connection:
        """Active mode: from the address of the control connection to the client's."""
        peer = self._control.peer.host
        family = socket.AF_INET6 if ":" in peer else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind((self._control.local.host, 0))
            await self._loop.sock_connect(sock, (peer, port))
        except BaseException:
            sock.close()
            raise
        return await self._establish(sock)

    async def _establish(self, sock: socket.socket) -> Connection:
        """We are TLS's server, whoever connected: RFC 4217 s7."""
        context = self._context()
        connection = Connection(self._loop, server_side=True, session_id=self._control.session_id)
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=context,
                ssl_handshake_timeout=LIMITS.handshake_seconds if context else None,
                ssl_shutdown_timeout=LIMITS.linger_seconds if context else None,
            )
        except OSError:
            raise TransferError(DATA_TLS_FAILED) from None
        except BaseException:
            connection.abort()
            raise
        return connection


def _nothing() -> None:
    """There is no reservation to give back."""


def _note(opening: "asyncio.Task[Connection]") -> None:
    """Nobody may ask for it any more, and that is fine."""
    if not opening.cancelled():
        opening.exception()
