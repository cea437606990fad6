"""One TCP connection as a protocol handler sees it: octets in, octets out, deadlines, TLS.

The object is the event loop's protocol itself and has one task, no stream objects and no timer of its own: a
sweep over all connections of the loop finds what is overdue. Idle, it costs 5 KiB with its task, 30 with TLS.
"""

import asyncio
import ssl
from dataclasses import dataclass
from enum import Enum, auto
from math import inf
from typing import Final, Protocol, cast

from postroom_runtime.deadlines import Deadlines, deadlines
from postroom_runtime.peer import (
    DrainingError,
    PeerAddress,
    PeerGoneError,
    PeerTimeoutError,
    TlsDetails,
    address_of,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every connection."""

    receive_octets: int = 65536  # held for the handler; beyond, we stop reading the socket
    write_octets: int = 65536  # not yet taken by the peer; beyond, `drain` waits
    linger_octets: int = 1 << 20  # read and thrown away after our last word
    linger_seconds: float = 2.0
    close_seconds: float = 10.0
    handshake_seconds: float = 30.0


LIMITS: Final = Limits()


class _Wait(Enum):
    """What the connection's task is waiting for."""

    NOTHING = auto()
    OCTETS = auto()
    OCTETS_OR_DRAIN = auto()
    OCTETS_OR_WAKE = auto()
    WRITABLE = auto()
    END = auto()


_INTERRUPTIBLE: Final = (_Wait.OCTETS_OR_DRAIN, _Wait.OCTETS_OR_WAKE)


class _TlsTransport(Protocol):
    """What the transports of TLS have besides."""

    def set_read_buffer_limits(self, high: int, low: int) -> None: ...


class Connection(asyncio.Protocol):
    """One peer. All methods are for the one task that handles it, but `wake`, which anyone may call."""

    __slots__ = (
        "_deadline_at",
        "_deadlines",
        "_discarded",
        "_draining",
        "_due",
        "_eof",
        "_error",
        "_held",
        "_idle_seconds",
        "_loop",
        "_lost",
        "_reading",
        "_received",
        "_server_side",
        "_transport",
        "_wait_for",
        "_waiter",
        "_woken",
        "_writable",
        "_write_seconds",
        "heard",
        "local",
        "peer",
        "reached",
        "session_id",
        "tls",
    )

    peer: PeerAddress  # the client, whoever passed its connection on
    local: PeerAddress
    reached: PeerAddress  # the address that the client has connected to: `local`, or a balancer's

    def __init__(self, loop: asyncio.AbstractEventLoop, *, server_side: bool, session_id: str = "") -> None:
        self.session_id = session_id
        self.tls = False
        self.heard = False  # whether the peer ever said something
        self._loop = loop
        self._server_side = server_side
        self._transport: asyncio.Transport | None = None
        self._deadlines: Deadlines = deadlines(loop)
        self._received: list[bytes] = []
        self._held = 0
        self._discarded = -1  # from 0 on: everything is thrown away
        self._waiter: asyncio.Future[None] | None = None
        self._wait_for = _Wait.NOTHING
        self._due = inf
        self._deadline_at = inf
        self._idle_seconds = 300.0
        self._write_seconds = 60.0
        self._eof = self._lost = self._woken = self._draining = False
        self._reading = self._writable = True
        self._error: Exception | None = None

    # What handlers call.

    @property
    def gone(self) -> bool:
        """Whether there is nobody left to write to."""
        return self._lost

    @property
    def ended(self) -> bool:
        """Whether the peer has said that this was all: by a FIN; under TLS by close_notify."""
        return self._eof

    @property
    def stuck(self) -> bool:
        """Whether the peer has not read what was written."""
        return not self._writable

    @property
    def tls_details(self) -> TlsDetails | None:
        """Version and cipher, once TLS runs."""
        if (layer := self.ssl_object) is None or (cipher := layer.cipher()) is None:
            return None
        return TlsDetails(cipher[1], cipher[0])

    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """The TLS layer itself, for session reuse and peer certificates."""
        if self._transport is None:
            return None
        return cast(ssl.SSLObject | None, self._transport.get_extra_info("ssl_object"))

    def set_idle(self, seconds: float) -> None:
        """How long one `receive` may wait (300.0 at first)."""
        self._idle_seconds = seconds

    def set_write_seconds(self, seconds: float) -> None:
        """How long one `drain` may wait (60.0 at first)."""
        self._write_seconds = seconds

    def set_deadline(self, seconds: float | None) -> None:
        """All waiting ends so long from now (a slow drip of octets too); `None` takes the deadline away."""
        self._deadline_at = inf if seconds is None else self._loop.time() + seconds

    async def receive(self, *, idle: bool = False) -> bytes:
        """The next octets, as many as there are; `b""` when the peer has ended its side.

        Raises `PeerTimeoutError`, `PeerGoneError`; with `idle` (between two commands) also `DrainingError`
        when nothing is there and the service stops.
        """
        wait_for = _Wait.OCTETS_OR_DRAIN if idle else _Wait.OCTETS
        while not self._received:
            if self._ended():
                return b""
            if idle and self._draining:
                raise DrainingError
            await self._wait(wait_for, self._idle_seconds)
        return self._take()

    async def receive_or_wake(self, *, idle: bool = True) -> bytes | None:
        """Like `receive`, but `None` once `wake` was called since the last time (IMAP's IDLE)."""
        while not self._received:
            if self._woken:
                self._woken = False
                return None
            if self._ended():
                return b""
            if idle and self._draining:
                raise DrainingError
            await self._wait(_Wait.OCTETS_OR_WAKE, self._idle_seconds)
        return self._take()

    def wake(self) -> None:
        """End a `receive_or_wake`, the running one or the next; any number of calls is one."""
        self._woken = True
        if self._wait_for is _Wait.OCTETS_OR_WAKE:
            self._go_on()

    def write(self, data: bytes) -> None:
        """Send in one piece; written to nobody when the peer is gone. Call `drain` between large pieces."""
        if self._transport is not None and not self._lost:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait while the peer does not read; raises `PeerTimeoutError`, `PeerGoneError`."""
        while not self._writable and not self._lost:
            await self._wait(_Wait.WRITABLE, self._write_seconds)
        if self._lost:
            raise self._gone_error()

    def pause(self) -> None:
        """Stop reading the socket, so that the peer's window fills; `receive` reads again."""
        if self._reading and self._transport is not None and not self._lost:
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._reading and self._transport is not None and not self._lost:
            self._reading = True
            self._transport.resume_reading()

    async def start_tls(
        self, context: ssl.SSLContext, *, reply: bytes = b"", server_hostname: str | None = None
    ) -> None:
        """Speak TLS from here on; `reply` is our last word in the clear (`220 2.0.0 Ready ...`).

        Octets that came ahead in the clear are thrown away: they were not the peer's (RFC 3207 s4.2). Reset
        the engine's buffer too. Raises `PeerGoneError` when the handshake fails.
        """
        if self._transport is None or self._lost or self._eof:
            raise self._gone_error()
        self._received.clear()
        self._held = 0
        if reply:
            self._transport.write(reply)
        try:
            secured = await self._loop.start_tls(
                self._transport,
                self,
                context,
                server_side=self._server_side,
                server_hostname=server_hostname,
                ssl_handshake_timeout=LIMITS.handshake_seconds,
                ssl_shutdown_timeout=LIMITS.linger_seconds,
            )
        except OSError as error:
            self.abort()
            self.connection_lost(error)  # the loop does not tell a protocol whose handshake failed
            raise PeerGoneError("no TLS") from error
        if secured is None:
            raise self._gone_error()
        self._adopt(secured)

    def close(self) -> None:
        """Send what is written, then end; a peer that does not read is cut after `Limits.close_seconds`."""
        if self._transport is not None and not self._lost:
            self._due = self._loop.time() + LIMITS.close_seconds
            self._transport.close()

    def abort(self) -> None:
        """End at once; what is unsent is lost."""
        if self._transport is not None:
            self._transport.abort()

    async def finish(self) -> None:
        """Close politely and wait for the end: all is sent and the peer may read it to the end.

        A socket closed with unread octets sends a reset, which takes our last reply away from the peer. So
        we end our side first and throw away what still comes, for a moment.
        """
        if self._transport is None or self._lost:
            return
        self._discarded = 0
        self._deadline_at = inf
        self.resume()
        try:
            while not self._writable and not self._lost:
                await self._wait(_Wait.WRITABLE, self._write_seconds)
            if not self._eof and self._transport.can_write_eof():
                self._transport.write_eof()
                await self._wait(_Wait.END, LIMITS.linger_seconds)
            self.close()
            while not self._lost:
                await self._wait(_Wait.END, LIMITS.close_seconds)
        except PeerTimeoutError:
            self._close_or_abort()

    def _close_or_abort(self) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size() == 0:
            self.close()
        else:
            self.abort()

    # What listeners and the sweep call.

    def begin_drain(self) -> None:
        """The service stops: interrupt a session that is between two commands."""
        self._draining = True
        if self._wait_for in _INTERRUPTIBLE:
            self._go_on()

    def sweep(self, now: float) -> None:
        """End the wait that is overdue at `now`."""
        if now < self._due:
            return
        self._due = inf
        if self._waiter is None:
            self.abort()  # closing, and the peer does not read
        elif not self._waiter.done():
            self._waiter.set_exception(PeerTimeoutError())

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, and so does TLS when it is implicit."""
        self._adopt(cast(asyncio.Transport, transport))
        self.peer = address_of(transport.get_extra_info("peername"))
        self.local = self.reached = address_of(transport.get_extra_info("sockname"))
        self._deadlines.add(self)

    def data_received(self, data: bytes) -> None:
        """Octets came."""
        if self._discarded >= 0:
            self._discarded += len(data)
            if self._discarded > LIMITS.linger_octets:
                self.abort()
            return
        self._received.append(data)
        self._held += len(data)
        if self._held >= LIMITS.receive_octets:
            self.pause()
        if self._wait_for in {_Wait.OCTETS, _Wait.OCTETS_OR_DRAIN, _Wait.OCTETS_OR_WAKE}:
            self._go_on()

    def eof_received(self) -> bool:
        """The peer ended its side; we may still write, but for TLS, which has no half."""
        self._eof = True
        if self._wait_for is not _Wait.WRITABLE:
            self._go_on()
        return not self.tls

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        if self._lost:
            return
        self._lost = True
        self._error = exc
        self._deadlines.discard(self)
        self._go_on()

    def pause_writing(self) -> None:
        """The peer does not read as fast as we write."""
        self._writable = False

    def resume_writing(self) -> None:
        """The peer has read."""
        self._writable = True
        if self._wait_for is _Wait.WRITABLE:
            self._go_on()

    def _adopt(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=LIMITS.write_octets)
        self._transport = transport
        self._reading = self._writable = True
        self.tls = transport.get_extra_info("ssl_object") is not None
        if self.tls:
            # When a FIN comes uvloop drops what it has not decrypted yet, so it must not see it before: while
            # we do not read, it reads the socket no further than the first octet that waits.
            cast(_TlsTransport, transport).set_read_buffer_limits(high=1, low=0)

    def _take(self) -> bytes:
        self.heard = True
        octets = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        self._held = 0
        self.resume()
        return octets

    def _ended(self) -> bool:
        """Whether nothing more will come; raises when that is because the connection broke."""
        if self._lost and self._error is not None:
            raise self._gone_error()
        return self._eof or self._lost

    def _gone_error(self) -> PeerGoneError:
        gone = PeerGoneError("connection lost")
        gone.__cause__ = self._error
        return gone

    async def _wait(self, wait_for: _Wait, seconds: float) -> None:
        """Wait for a thing; that or something else has happened on return."""
        self._due = min(self._loop.time() + seconds, self._deadline_at)
        self._wait_for = wait_for
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._due = inf
            self._wait_for = _Wait.NOTHING
            self._waiter = None

    def _go_on(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
