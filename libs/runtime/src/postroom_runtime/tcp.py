"""The TCP shell of SMTP, IMAP, POP3 and FTP: listeners with limits, one task a connection, a polite drain."""

import asyncio
import errno
import itertools
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeAlias

from postroom_runtime import metrics
from postroom_runtime.clients import CONNECTIONS, AddressBound, AddressCheck
from postroom_runtime.connection import LIMITS
from postroom_runtime.connection import Connection as Connection
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import bind_contextvars, log
from postroom_runtime.networks import Networks
from postroom_runtime.peer import DrainingError as DrainingError
from postroom_runtime.peer import PeerAddress, address_of
from postroom_runtime.peer import PeerGoneError as PeerGoneError
from postroom_runtime.peer import PeerTimeoutError as PeerTimeoutError
from postroom_runtime.proxy import LEFT, Introduction, ProxyHeaderError, ProxySettings, introduction
from postroom_runtime.tls import CertificateReloader

TlsSource: TypeAlias = ssl.SSLContext | CertificateReloader | Callable[[], ssl.SSLContext]
"""One context for all, one that is renewed, or one of its own for each connection."""
Handler: TypeAlias = Callable[[Connection], Awaitable[None]]

_ACCEPTS_AT_ONCE: Final = 64
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 1.0

_OPEN: Final = metrics.gauge("tcp_open_connections", "Connections that are open.", ["listener"])

_session_ids: Final = (f"{secrets.token_hex(4)}{number:08x}" for number in itertools.count())


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Where to listen and how much to take. An IPv6 client's address is its /64.

    With `proxy` every connection begins with a PROXY header of a trusted balancer, before TLS too.
    `untrusted` are addresses that stand for many clients (nodes', balancers'): no bound holds for them. Nor
    for those in `nodes`, of which nobody has said so.
    """

    name: str  # in logs and metrics: "submission"
    host: str  # an address; "" is every address of both families
    port: int  # 0 lets the system choose
    implicit_tls: bool = False
    max_connections: int = 1000
    max_connections_per_address: int = 50
    backlog: int = 1024
    urgent_inline: bool = False  # urgent data come in their place among the others (FTP's ABOR)
    proxy: ProxySettings | None = None
    untrusted: Networks = Networks()
    nodes: Networks = Networks()


async def serve_tcp(
    listener: ListenerSettings,
    handle: Handler,
    *,
    lifecycle: Lifecycle,
    tls: TlsSource | None = None,
    refuse: bytes = b"",
    failed: bytes = b"",
) -> "Listener":
    """Listen. Every connection is handled by a task of its own and closed politely when `handle` returns.

    `refuse` is what one over a limit reads (nothing under implicit TLS), `failed` what a peer reads when
    `handle` fails for a reason of ours; both are constants such as `b"421 4.3.2 ...\\r\\n"`. Raises
    `ConfigurationError` when the address cannot be had.
    """
    if listener.implicit_tls and tls is None:
        raise ConfigurationError(f"{listener.name}: implicit TLS without a certificate")
    return Listener(_listening_socket(listener), listener, handle, lifecycle, _Words(tls, refuse, failed))


async def serve_until_stopped(
    listeners: Sequence["Listener"], lifecycle: Lifecycle, *, unready_seconds: float, drain_seconds: float
) -> None:
    """Wait for the end, then drain: take no new sessions, let the open ones finish, cut the late ones."""
    async with AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        await lifecycle.wait_stopping(unready_seconds)
        for listener in listeners:
            listener.close()
        if late := await lifecycle.drain(drain_seconds):
            log.warning("drain_cut", late=late[:20], count=len(late))


async def connect_tcp(
    host: str,
    port: int,
    *,
    connect_seconds: float = 30.0,
    local_address: tuple[str, int] | None = None,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Connection:
    """Connect to an address; the caller ends it with `finish`, `close` or `abort`.

    Raises `PeerGoneError` when refused or unreachable, `PeerTimeoutError` past `connect_seconds`, TLS
    included.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_seconds):
            _, connection = await loop.create_connection(
                lambda: Connection(loop, server_side=False, session_id=next(_session_ids)),
                host,
                port,
                ssl=tls,
                server_hostname=server_hostname if tls is not None else None,
                local_addr=local_address,
                ssl_shutdown_timeout=LIMITS.linger_seconds if tls is not None else None,
            )
    except TimeoutError:
        raise PeerTimeoutError("no connection in time") from None
    except OSError as error:
        raise PeerGoneError("no connection") from error
    return connection


@dataclass(frozen=True, slots=True)
class _Words:
    """What a listener says itself."""

    tls: TlsSource | None
    refuse: bytes
    failed: bytes


class Listener:
    """An open port. As a context manager it ends all its connections on exit."""

    def __init__(
        self,
        sock: socket.socket,
        settings: ListenerSettings,
        handle: Handler,
        lifecycle: Lifecycle,
        words: _Words,
    ) -> None:
        self.settings = settings
        self._socket = sock
        self._address = address_of(sock.getsockname())
        self._handle = handle
        self._lifecycle = lifecycle
        self._words = words
        self._loop = asyncio.get_running_loop()
        # Not a TaskGroup: there one failure ends its siblings, which is the opposite of what a server wants.
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        trusted = settings.proxy.trusted if settings.proxy else Networks()
        named = settings.untrusted | trusted
        self._shared = named | settings.nodes
        self._per_address = AddressBound(settings.max_connections_per_address, self._shared)
        self._check = AddressCheck(settings.name, named, settings.nodes)
        self._count = _OPEN.labels(settings.name)
        self._loop.add_reader(sock, self._accept)

    @property
    def port(self) -> int:
        """The port, also when the system chose it."""
        return self._address.port

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._tasks)

    def close(self) -> None:
        """Stop accepting and interrupt the sessions that are between two commands."""
        if self._socket.fileno() < 0:
            return
        self._accept()  # those that the kernel took already get a goodbye instead of a reset
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for connection in self._connections:
            connection.begin_drain()

    def abort(self) -> None:
        """Cut what is open."""
        self.close()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no connection is left."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.abort()
        await self.wait_closed()

    def _accept(self) -> None:
        """Take what waits, a bounded number at a time so that the open sessions have their turn."""
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, name = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause_accepting(error)
                return
            self._take(sock, address_of(name))

    def _take(self, sock: socket.socket, peer: PeerAddress) -> None:
        proxy = self.settings.proxy
        if proxy is not None and peer.host not in proxy.trusted:
            self._refuse(sock, peer, "untrusted_proxy")
        elif len(self._tasks) >= self.settings.max_connections:
            self._refuse(sock, peer, "full")
        elif proxy is None and not self._per_address.take(peer.host):
            self._refuse(sock, peer, "address_full")
        else:
            CONNECTIONS.labels(self.settings.name, "accepted").inc()
            task = self._loop.create_task(self._serve(sock, peer))
            self._tasks.add(task)
            self._count.inc()
            task.add_done_callback(partial(self._forget, sock, peer))

    def _forget(self, sock: socket.socket, peer: PeerAddress, task: asyncio.Task[None]) -> None:
        sock.close()  # for a task that was cancelled before its first step; else the transport has it
        self._tasks.discard(task)
        self._count.dec()
        if self.settings.proxy is None:
            self._per_address.give(peer.host)

    def _refuse(self, sock: socket.socket, peer: PeerAddress, reason: str) -> None:
        """Say so and close; no task and no TLS handshake for one whom we do not serve."""
        CONNECTIONS.labels(self.settings.name, reason).inc()
        log.info("connection_refused", listener=self.settings.name, peer=peer.host, reason=reason)
        with sock:
            sock.setblocking(False)
            try:
                if not self.settings.implicit_tls and reason != "untrusted_proxy":
                    sock.send(self._words.refuse)
                sock.shutdown(socket.SHUT_WR)
            except OSError:  # gone already
                pass

    def _pause_accepting(self, error: OSError) -> None:
        """Out of descriptors or memory: the ones in the backlog wait, instead of a loop that spins."""
        if error.errno not in _EXHAUSTED:
            log.warning("accept_failed", listener=self.settings.name, error=error.strerror)
            return
        log.error("accept_paused", listener=self.settings.name, error=error.strerror)
        self._loop.remove_reader(self._socket)
        self._loop.call_later(_PAUSE_SECONDS, self._accept_again)

    def _accept_again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)

    async def _serve(self, sock: socket.socket, peer: PeerAddress) -> None:
        """One connection's life. Nothing that happens in it reaches its neighbours."""
        session_id = next(_session_ids)
        connection = Connection(self._loop, server_side=True, session_id=session_id)
        try:
            with self._lifecycle.activity(f"{self.settings.name} {session_id}"):
                if self.settings.proxy is None:
                    await self._serve_client(connection, sock)
                else:
                    await self._serve_relayed(connection, sock, peer, self.settings.proxy)
        finally:
            connection.abort()
            self._connections.discard(connection)

    async def _serve_relayed(
        self, connection: Connection, sock: socket.socket, balancer: PeerAddress, proxy: ProxySettings
    ) -> None:
        """Learn whose connection it is; only then is the client counted."""
        try:
            known = await introduction(sock, balancer, proxy)
        except ProxyHeaderError as error:
            CONNECTIONS.labels(self.settings.name, error.reason).inc()
            level = log.debug if error.reason == LEFT else log.info
            level(
                "proxy_header_refused", listener=self.settings.name, peer=balancer.host, reason=error.reason
            )
            return
        if not self._per_address.take(known.peer.host):
            self._refuse(sock, known.peer, "address_full")
            return
        try:
            await self._serve_client(connection, sock, known)
        finally:
            self._per_address.give(known.peer.host)

    async def _serve_client(
        self, connection: Connection, sock: socket.socket, known: Introduction | None = None
    ) -> None:
        if not await self._establish(connection, sock):
            return
        if known is not None:
            connection.peer, connection.reached = known.peer, known.reached
        if connection.peer.host in self._shared:
            connection.peer = replace(connection.peer, direct=False, shared=True)
        await self._handle_and_finish(connection)
        if connection.heard:
            self._check.note(connection.peer.host)

    async def _establish(self, connection: Connection, sock: socket.socket) -> bool:
        """Make the accepted socket a connection, with TLS when it is implicit."""
        tls = self._words.tls if self.settings.implicit_tls else None
        try:
            context = _context(tls)
            await self._loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=context,
                ssl_handshake_timeout=LIMITS.handshake_seconds if context else None,
                ssl_shutdown_timeout=LIMITS.linger_seconds if context else None,
            )
        except OSError as error:
            CONNECTIONS.labels(self.settings.name, "no_tls").inc()
            log.info("handshake_failed", listener=self.settings.name, error=type(error).__name__)
            return False
        self._connections.add(connection)
        if self._socket.fileno() < 0:
            connection.begin_drain()
        return True

    async def _handle_and_finish(self, connection: Connection) -> None:
        bind_contextvars(session_id=connection.session_id, peer=connection.peer.host)
        try:
            await self._handle(connection)
        except (PeerGoneError, PeerTimeoutError, DrainingError) as error:
            log.debug("connection_ended", listener=self.settings.name, error=type(error).__name__)
            if connection.stuck:
                return  # and is cut: it has had its time
        except Exception:  # noqa: BLE001  # the boundary of a connection
            log.exception("connection_failed", listener=self.settings.name, incident=connection.session_id)
            connection.write(self._words.failed)
        await connection.finish()


def _context(tls: TlsSource | None) -> ssl.SSLContext | None:
    match tls:
        case CertificateReloader():
            return tls.context
        case ssl.SSLContext() | None:
            return tls
        case make:
            return make()


def _listening_socket(listener: ListenerSettings) -> socket.socket:
    host, port = listener.host, listener.port
    family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
    try:
        sock = socket.create_server(
            (host or "::", port), family=family, backlog=listener.backlog, dualstack_ipv6=not host
        )
    except OSError as error:
        raise ConfigurationError(
            f"{listener.name}: cannot listen on {host}:{port}: {error.strerror}"
        ) from None
    sock.setblocking(False)
    # Inherited by what is accepted: a peer that vanished without a word is found within some minutes.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 120)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30)
    if listener.urgent_inline:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    return sock
