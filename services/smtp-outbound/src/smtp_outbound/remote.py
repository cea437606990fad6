"""One connection to a mail exchanger: the client engine over a socket, for any number of messages."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_runtime.tcp import Connection, PeerGoneError, PeerTimeoutError, connect_tcp
from postroom_wire.smtp import (
    Authenticated,
    AuthenticationRefused,
    ClientConfig,
    ClientEvent,
    ClientSession,
    ClientState,
    Closed,
    Envelope,
    Greeted,
    MessageDone,
    NeedData,
    RecipientResult,
    RemoteProtocolError,
    Reply,
    SendContent,
    TlsReady,
    TlsRefused,
)

_CONTENT_PIECE: Final = 64 * 1024
_QUIT_SECONDS: Final = 5.0

_CONNECTIONS: Final = metrics.counter(
    "outbound_connections_total", "Connections to exchangers by what became of them.", ["outcome"]
)
_OPEN: Final = metrics.gauge("outbound_open_connections", "Connections to exchangers.")


@dataclass(frozen=True, slots=True)
class Dialling:
    """How connections are made; `tls` is None where encryption is not wanted."""

    config: ClientConfig
    tls: ssl.SSLContext | None
    connect_seconds: float


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. `content` opens its octets.

    `before_end` is awaited when all content but its end is sent: what it raises stops the message.
    """

    envelope: Envelope
    content: Callable[[], AsyncIterator[bytes]]
    before_end: Callable[[], Awaitable[None]]


class NoServiceError(Exception):
    """The host does not serve us now. `reply` is its word, None when there was none."""

    def __init__(self, host: str, reply: Reply | None, reason: str) -> None:
        super().__init__(f"{host}: {reply or reason}")
        self.host, self.reply, self.reason = host, reply, reason


class BrokenError(Exception):
    """The connection broke during a message. `results` is what was decided by then.

    `ended` says that the whole message was sent: then nobody knows whether it was taken.
    """

    def __init__(self, results: tuple[RecipientResult, ...], *, ended: bool, reason: str) -> None:
        super().__init__(reason)
        self.results, self.ended, self.reason = results, ended, reason


class Remote:
    """A greeted connection; `sent` counts the messages that were tried over it."""

    def __init__(self, host: str, site: str, connection: Connection, engine: ClientSession) -> None:
        self.host, self.site, self.sent = host, site, 0
        self._connection, self._engine = connection, engine

    @property
    def tls(self) -> bool:
        """Whether it is encrypted."""
        return self._connection.tls

    @property
    def usable(self) -> bool:
        """Whether another message may be sent, as far as is known."""
        return self._engine.state is ClientState.READY and not self._connection.gone

    async def send(self, message: Outgoing) -> tuple[RecipientResult, ...]:
        """Send a message; a result for each recipient. Raises BrokenError and what `before_end` raises.

        After any of them the connection is cut.
        """
        self.sent += 1
        ended = False
        try:
            self._engine.send(message.envelope)
            while True:
                match event := await self._next():
                    case SendContent():
                        await self._write_content(message)
                        ended = True
                    case MessageDone(results):
                        return results
                    case Closed(reply):
                        raise BrokenError((), ended=ended, reason=f"closed: {reply or 'without a word'}")
                    case _:
                        raise BrokenError((), ended=ended, reason=f"unexpected {type(event).__name__}")
        except (PeerGoneError, PeerTimeoutError, RemoteProtocolError) as error:
            self.abort()
            raise BrokenError(self._engine.results, ended=ended, reason=_reason(error)) from error
        except BaseException:
            self.abort()
            raise

    async def quit(self) -> None:
        """Take leave, if the host still listens."""
        _OPEN.dec()
        if not self.usable:
            self._connection.close()
            return
        try:
            self._connection.set_deadline(_QUIT_SECONDS)
            self._engine.quit()
            while not isinstance(await self._next(), Closed):
                pass
            await self._connection.finish()
        except (PeerGoneError, PeerTimeoutError, RemoteProtocolError):
            self._connection.abort()

    def abort(self) -> None:
        """Cut it. `quit` is still to be called."""
        self._connection.abort()

    async def _next(self) -> ClientEvent:
        """The next thing that happens; everything to say is said before it is waited for."""
        return await _next_event(self._connection, self._engine)

    async def _write_content(self, message: Outgoing) -> None:
        self._connection.set_write_seconds(self._engine.timeout_seconds)
        async for octets in message.content():
            for start in range(0, len(octets), _CONTENT_PIECE):
                if start:
                    await self._flush()
                self._engine.write_content(octets[start : start + _CONTENT_PIECE])
            if len(octets) >= _CONTENT_PIECE:
                await self._flush()
        await message.before_end()
        self._engine.end_content()

    async def _flush(self) -> None:
        self._connection.write(self._engine.data_to_send())
        await self._connection.drain()


async def dial(host: str, address: tuple[str, int], site: str, dialling: Dialling) -> Remote:
    """Connect, greet and encrypt where that is offered. Raises NoServiceError."""
    try:
        try:
            remote = await _dial_once(host, address, site, dialling)
        except _HandshakeError:
            # Opportunistic: in the clear is better than not at all (RFC 7435).
            log.info("tls_failed", remote_host=host)
            plain = Dialling(dialling.config, None, dialling.connect_seconds)
            remote = await _dial_once(host, address, site, plain)
    except NoServiceError:
        _CONNECTIONS.labels("refused").inc()
        raise
    except (PeerGoneError, PeerTimeoutError, RemoteProtocolError) as error:
        _CONNECTIONS.labels("failed").inc()
        raise NoServiceError(host, None, _reason(error)) from error
    _CONNECTIONS.labels("tls" if remote.tls else "plain").inc()
    _OPEN.inc()
    return remote


class _HandshakeError(Exception):
    """The host offered TLS and could not do it."""


async def _dial_once(host: str, address: tuple[str, int], site: str, dialling: Dialling) -> Remote:
    connection = await connect_tcp(*address, connect_seconds=dialling.connect_seconds)
    engine = ClientSession(dialling.config)
    try:
        await _greet(host, connection, engine, dialling.tls)
    except BaseException:
        connection.abort()
        raise
    return Remote(host, site, connection, engine)


async def _greet(
    host: str, connection: Connection, engine: ClientSession, tls: ssl.SSLContext | None
) -> None:
    while True:
        match await _next_event(connection, engine):
            case Greeted(capabilities):
                if tls is None or engine.tls_active or not capabilities.starttls:
                    return
                engine.start_tls()
            case TlsReady() if tls is not None:
                try:
                    await connection.start_tls(tls, server_hostname=host)
                except PeerGoneError as error:
                    raise _HandshakeError(host) from error
                engine.tls_started()
            case TlsRefused():
                return
            case Closed(reply):
                connection.write(engine.data_to_send())
                raise NoServiceError(host, reply, "closed")
            case (
                NeedData()
                | TlsReady()
                | Authenticated()
                | AuthenticationRefused()
                | SendContent()
                | MessageDone()
            ) as event:
                raise NoServiceError(host, None, f"unexpected {type(event).__name__}")


async def _next_event(connection: Connection, engine: ClientSession) -> ClientEvent:
    while isinstance(event := engine.next_event(), NeedData):
        if octets := engine.data_to_send():
            connection.write(octets)
            await connection.drain()
        connection.set_idle(engine.timeout_seconds)
        octets = await connection.receive()
        if not octets and engine.state is not ClientState.QUIT:
            raise PeerGoneError("the host has hung up")
        engine.receive_data(octets)
    return event


def _reason(error: Exception) -> str:
    match error:
        case PeerTimeoutError():
            return "Timed out"
        case RemoteProtocolError(reply=Reply() as reply):
            return f"Protocol error: {reply}"
        case RemoteProtocolError():
            return f"Protocol error: {error}"
        case _:
            return "Connection lost"
