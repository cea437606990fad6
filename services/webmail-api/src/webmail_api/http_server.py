"""HTTP and HTTPS by uvicorn, within our lifecycle: its signals, logs and settings are not used."""

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from postroom_runtime.errors import ConfigurationError
from postroom_runtime.proxy import Introduction, ProxySettings
from postroom_runtime.relayed_server import RelayedServer
from postroom_runtime.tls import CertificateReloader
from webmail_api.forwarded import RELAYED
from webmail_api.limits import DEFAULT_LIMITS

_BACKLOG: Final = 1024
_KEEP_ALIVE_SECONDS: Final = 15


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen."""

    name: str
    host: str
    port: int
    tls: CertificateReloader | None = None
    proxy: ProxySettings | None = None


class BoundedProtocol(H11Protocol):
    """A connection on which the head of every request has to come in time, the first one's too."""

    introduced: Introduction | None = None
    """By a balancer, before TLS."""
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # as uvicorn has it
        """Wait for the first head."""
        super().connection_made(transport)
        if self.introduced is not None:
            peer, reached = self.introduced.peer, self.introduced.reached
            self.client, self.server = (peer.host, peer.port), (reached.host, reached.port)
            self.app_state = self.app_state | {RELAYED: True}
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Go on waiting until a head is whole."""
        super().data_received(data)
        if self._under_way():
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        if not self._under_way() and not self.transport.is_closing():
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _under_way(self) -> bool:
        # The annotation does not tell that there is none before the first request.
        cycle = cast(RequestResponseCycle | None, self.cycle)
        return cycle is not None and not cycle.response_complete

    def _expect(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(DEFAULT_LIMITS.head_seconds, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class HttpServer(uvicorn.Server):
    """One listener."""

    def __init__(
        self, app: ASGIApp, listening: Listening, max_connections: int, drain_seconds: float
    ) -> None:
        context = None if listening.tls is None else _renewing(listening.tls)
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            limit_concurrency=max_connections,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(drain_seconds),
            h11_max_incomplete_event_size=DEFAULT_LIMITS.head,
            ssl_context_factory=None if context is None else lambda _config, _default: context,
        )
        super().__init__(config)
        self.name = listening.name
        self._proxy = listening.proxy
        self._socket = _listening_socket(listening)
        self.port = int(self._socket.getsockname()[1])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals are the lifecycle's."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; behind a balancer in our own way, since uvicorn takes TLS for what comes first."""
        if self._proxy is None:
            await super().startup(sockets)
            return
        relayed = RelayedServer(self.name, self._socket, self._proxy, self._make_protocol, self.config.ssl)
        self.servers = cast(list[asyncio.base_events.Server], [relayed])  # which it asks no more of
        self.started = True

    def _make_protocol(self, introduced: Introduction) -> BoundedProtocol:
        protocol = BoundedProtocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        protocol.introduced = introduced
        return protocol

    async def run_until_stopped(self) -> None:
        """Serve until `should_exit` is set, then let requests end."""
        await self.serve([self._socket])

    async def wait_started(self) -> None:
        """Until connections are taken."""
        while not self.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(servers: list[HttpServer]) -> AsyncGenerator[None]:
    """Serve within the block; at its end requests under way may finish."""
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.run_until_stopped())
        try:
            for server in servers:
                await server.wait_started()
            yield
        finally:
            for server in servers:
                server.should_exit = True


def _renewing(reloader: CertificateReloader) -> ssl.SSLContext:
    """A context that hands every handshake on to the newest one."""
    outer = reloader.context

    def newest(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        connection.context = reloader.context

    outer.sni_callback = newest
    return outer


def _listening_socket(listening: Listening) -> socket.socket:
    """Raises `ConfigurationError` when the address cannot be had. Without a host, both families."""
    host, port = listening.host, listening.port
    try:
        if host:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            return socket.create_server((host, port), family=family, backlog=_BACKLOG)
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        return socket.create_server(("", port), backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"{listening.name}: cannot listen on {host or '*'}:{port}: {error.strerror}"
        ) from None
