"""The TCP shell over real sockets on the loopback interface."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

import pytest

from postroom_runtime import connection as connection_module
from postroom_runtime import tcp as tcp_module
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.peer import PeerAddress, address_of
from postroom_runtime.tcp import (
    Connection,
    DrainingError,
    Listener,
    ListenerSettings,
    PeerGoneError,
    PeerTimeoutError,
    connect_tcp,
    serve_tcp,
    serve_until_stopped,
)
from postroom_runtime.tls import opportunistic_client_context, server_context, verifying_client_context
from postroom_testing.certificates import CertificateAuthority

REFUSAL = b"421 4.3.2 Too many connections\r\n"
FAILURE = b"421 4.3.0 Internal error\r\n"
HERE = ListenerSettings(name="test", host="127.0.0.1", port=0)

Handle = Callable[[Connection], Awaitable[None]]


@asynccontextmanager
async def listening(
    handle: Handle, settings: ListenerSettings = HERE, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[Listener]:
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
        await self._loop.sock_sendall(self.socket, data)

    async def read(self, octets: int = 65536) -> bytes:
        return await self._loop.sock_recv(self.socket, octets)

    async def read_all(self) -> bytes:
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


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("did not come true")


async def echo(connection: Connection) -> None:
    while data := await connection.receive():
        connection.write(data)
        await connection.drain()


async def test_octets_go_both_ways() -> None:
    async with listening(echo) as listener:
        with Peer(listener.port) as peer:
            await peer.send(b"hello")
            assert await peer.read() == b"hello"


async def test_a_peer_that_ends_its_side_still_reads_our_answer() -> None:
    async def answer_at_end(connection: Connection) -> None:
        heard = b""
        while data := await connection.receive():
            heard += data
        connection.write(b"got " + heard)

    async with listening(answer_at_end) as listener:
        with Peer(listener.port) as peer:
            await peer.send(b"QUIT\r\n")
            peer.socket.shutdown(socket.SHUT_WR)
            assert await peer.read_all() == b"got QUIT\r\n"


async def test_octets_that_were_not_read_do_not_take_the_last_reply_away() -> None:
    async def refuse_early(connection: Connection) -> None:
        await connection.receive()
        connection.write(b"500 5.5.2 Line too long\r\n")

    async with listening(refuse_early) as listener:
        with Peer(listener.port) as peer:
            await peer.send(b"x" * 500_000)
            peer.socket.shutdown(socket.SHUT_WR)
            assert await peer.read_all() == b"500 5.5.2 Line too long\r\n"


async def test_a_peer_that_vanishes_ends_receive() -> None:
    seen: asyncio.Queue[Exception] = asyncio.Queue()

    async def listen(connection: Connection) -> None:
        connection.write(b"220 hello\r\n")
        try:
            await connection.receive()
        except PeerGoneError as error:
            seen.put_nowait(error)

    async with listening(listen) as listener:
        peer = Peer(listener.port)
        await peer.read()
        peer.reset()
        assert isinstance((await seen.get()).__cause__, ConnectionResetError)


async def test_writing_to_a_peer_that_vanished_ends_drain() -> None:
    seen: asyncio.Queue[Exception] = asyncio.Queue()

    async def pour(connection: Connection) -> None:
        try:
            while True:
                connection.write(b"x" * 65536)
                await connection.drain()
                await asyncio.sleep(0)
        except PeerGoneError as error:
            seen.put_nowait(error)

    async with listening(pour) as listener:
        peer = Peer(listener.port)
        await peer.read()
        peer.reset()
        await seen.get()


async def test_a_silent_peer_times_out() -> None:
    seen: asyncio.Queue[Exception] = asyncio.Queue()

    async def impatient(connection: Connection) -> None:
        connection.set_idle(0.05)
        try:
            await connection.receive()
        except PeerTimeoutError as error:
            seen.put_nowait(error)
            connection.write(b"421 4.4.2 Timeout\r\n")

    async with listening(impatient) as listener:
        with Peer(listener.port) as peer:
            assert await peer.read_all() == b"421 4.4.2 Timeout\r\n"
        assert isinstance(await seen.get(), PeerTimeoutError)


async def test_a_slow_drip_does_not_outlive_the_deadline() -> None:
    async def impatient(connection: Connection) -> None:
        connection.set_deadline(0.3)
        try:
            while await connection.receive():
                pass
        except PeerTimeoutError:
            connection.write(b"too slow")

    async with listening(impatient) as listener:
        with Peer(listener.port) as peer:

            async def drip() -> None:
                while True:
                    await peer.send(b".")
                    await asyncio.sleep(0.02)

            dripping = asyncio.ensure_future(drip())
            assert await peer.read() == b"too slow"
            dripping.cancel()


async def test_a_peer_that_does_not_read_times_out_and_is_cut() -> None:
    ended: asyncio.Queue[type[Exception]] = asyncio.Queue()

    async def pour(connection: Connection) -> None:
        connection.set_write_seconds(0.05)
        try:
            while True:
                connection.write(b"x" * 65536)
                await connection.drain()
        except PeerTimeoutError as error:
            ended.put_nowait(type(error))
            raise

    async with listening(pour) as listener:
        with Peer(listener.port, receive_buffer=4096):
            assert await ended.get() is PeerTimeoutError
            await listener.wait_closed()


async def test_a_slow_reader_gets_every_octet() -> None:
    async def pour(connection: Connection) -> None:
        for number in range(40):
            connection.write(bytes([number]) * 65536)
            await connection.drain()

    async with listening(pour) as listener:
        with Peer(listener.port, receive_buffer=4096) as peer:
            heard = bytearray()
            while part := await peer.read(30_000):
                heard += part
                await asyncio.sleep(0)
            assert heard == b"".join(bytes([number]) * 65536 for number in range(40))


async def test_a_handler_that_does_not_receive_pushes_back() -> None:
    go_on = asyncio.Event()

    async def lazy(connection: Connection) -> None:
        await go_on.wait()
        while await connection.receive():
            pass

    async with listening(lazy) as listener:
        with Peer(listener.port) as peer:
            taken = refused = 0
            while refused < 20 and taken < 100_000_000:
                try:
                    taken += peer.socket.send(b"x" * 1_000_000)
                except BlockingIOError:
                    refused += 1
                await asyncio.sleep(0.005)
            assert taken < 20_000_000  # what the kernel holds, and our bound
            go_on.set()
            await peer.send(b"y" * 1_000_000)


async def test_wake_ends_a_wait_between_commands_once() -> None:
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    woken: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def idle(connection: Connection) -> None:
        connections.put_nowait(connection)
        while (result := await connection.receive_or_wake()) != b"":
            woken.put_nowait(result)

    async with listening(idle) as listener:
        with Peer(listener.port) as peer:
            connection = await connections.get()
            connection.wake()
            connection.wake()
            assert await woken.get() is None
            await peer.send(b"DONE\r\n")
            assert await woken.get() == b"DONE\r\n"
            assert woken.empty()


async def test_one_address_gets_so_many_connections_and_the_rest_the_refusal() -> None:
    async with listening(echo, replace(HERE, max_connections_per_address=2)) as listener:
        with Peer(listener.port) as one, Peer(listener.port) as two, Peer(listener.port) as three:
            assert await three.read_all() == REFUSAL
            for peer in (one, two):
                await peer.send(b"x")
                assert await peer.read() == b"x"
            one.socket.close()
            await eventually(lambda: listener.open_connections < 2)
            with Peer(listener.port) as four:
                await four.send(b"x")
                assert await four.read() == b"x"


async def test_a_full_listener_refuses() -> None:
    async with listening(echo, replace(HERE, max_connections=1)) as listener:
        with Peer(listener.port) as one, Peer(listener.port) as two:
            assert await two.read_all() == REFUSAL
            await one.send(b"x")
            assert await one.read() == b"x"


async def test_a_failing_handler_hurts_nobody_else() -> None:
    async def fragile(connection: Connection) -> None:
        if (data := await connection.receive()) == b"break":
            raise ZeroDivisionError("secret detail")
        connection.write(data)

    async with listening(fragile) as listener:
        with Peer(listener.port) as bad, Peer(listener.port) as good:
            await bad.send(b"break")
            assert await bad.read_all() == FAILURE
            await good.send(b"fine")
            assert await good.read() == b"fine"


async def test_implicit_tls_is_there_before_the_handler(authority: CertificateAuthority) -> None:
    issued = authority.issue("localhost")

    async def greet(connection: Connection) -> None:
        assert connection.tls
        assert connection.tls_details is not None
        connection.write(connection.tls_details.version.encode() + await connection.receive())

    settings = replace(HERE, implicit_tls=True)
    async with listening(greet, settings, server_context(issued.cert_file, issued.key_file)) as listener:
        client = await connect_tcp(
            "127.0.0.1",
            listener.port,
            tls=verifying_client_context(authority.ca_file),
            server_hostname="localhost",
        )
        client.write(b"!")
        assert await client.receive() == b"TLSv1.3!"
        assert client.tls
        assert await client.receive() == b""
        await client.finish()


async def test_a_peer_that_speaks_no_tls_ends_by_itself(authority: CertificateAuthority) -> None:
    issued = authority.issue("localhost")
    settings = replace(HERE, implicit_tls=True)
    async with listening(echo, settings, server_context(issued.cert_file, issued.key_file)) as listener:
        with Peer(listener.port) as peer:
            await peer.send(b"EHLO plain\r\n" * 10)
            assert b"EHLO" not in await peer.read_all()
        await listener.wait_closed()


async def test_implicit_tls_without_a_certificate_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigurationError, match="certificate"):
        await serve_tcp(replace(HERE, implicit_tls=True), echo, lifecycle=Lifecycle())


async def test_starttls_throws_away_what_came_ahead_in_the_clear(authority: CertificateAuthority) -> None:
    issued = authority.issue("localhost")
    context = server_context(issued.cert_file, issued.key_file)

    async def smtp(connection: Connection) -> None:
        data = await connection.receive()
        assert data.startswith(b"STARTTLS\r\n")
        while not data.endswith(b"INJECTED\r\n"):
            data += await connection.receive()
        await connection.start_tls(context, reply=b"220 2.0.0 Ready\r\n")
        assert connection.tls
        await echo(connection)

    async def inject(connection: Connection) -> None:
        """The same, but the injected octets wait in the connection's own buffer."""
        while not connection.tls:
            await asyncio.sleep(0.01)
            if await connection.receive() == b"STARTTLS\r\n":
                await asyncio.sleep(0.05)
                await connection.start_tls(context, reply=b"220 2.0.0 Ready\r\n")
        await echo(connection)

    for handler, gap in ((smtp, False), (inject, True)):
        async with listening(handler) as listener:
            client = await connect_tcp("127.0.0.1", listener.port)
            client.write(b"STARTTLS\r\n")
            if gap:
                await asyncio.sleep(0.03)
            client.write(b"RSET\r\nINJECTED\r\n")
            assert await client.receive() == b"220 2.0.0 Ready\r\n"
            await client.start_tls(opportunistic_client_context(), server_hostname="localhost")
            client.write(b"EHLO after\r\n")
            assert await client.receive() == b"EHLO after\r\n"
            await client.finish()


async def test_a_failed_handshake_after_starttls_is_a_peer_that_is_gone(
    authority: CertificateAuthority,
) -> None:
    issued = authority.issue("localhost")
    context = server_context(issued.cert_file, issued.key_file)
    seen: asyncio.Queue[Exception] = asyncio.Queue()

    async def smtp(connection: Connection) -> None:
        await connection.receive()
        try:
            await connection.start_tls(context, reply=b"220 go\r\n")
        except PeerGoneError as error:
            assert connection.gone
            seen.put_nowait(error)

    async with listening(smtp) as listener:
        with Peer(listener.port) as peer:
            await peer.send(b"STARTTLS\r\n")
            assert await peer.read() == b"220 go\r\n"
            await peer.send(b"no handshake at all\r\n" * 20)
            await seen.get()
        await listener.wait_closed()


async def test_a_drain_says_goodbye_between_commands_and_lets_the_busy_finish() -> None:
    lifecycle = Lifecycle()
    busy = asyncio.Event()
    release = asyncio.Event()

    async def session(connection: Connection) -> None:
        connection.write(b"220 hello\r\n")
        try:
            while data := await connection.receive(idle=True):
                if data == b"DATA":
                    busy.set()
                    await release.wait()
                    connection.write(b"250 kept\r\n")
        except DrainingError:
            connection.write(b"421 4.3.2 Shutting down\r\n")

    listener = await serve_tcp(HERE, session, lifecycle=lifecycle, refuse=REFUSAL)
    lifecycle.mark_ready()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        ending = tasks.create_task(
            serve_until_stopped([listener], lifecycle, unready_seconds=0.01, drain_seconds=5)
        )
        with Peer(listener.port) as idle, Peer(listener.port) as working:
            assert await idle.read() == b"220 hello\r\n"
            assert await working.read() == b"220 hello\r\n"
            await working.send(b"DATA")
            await busy.wait()
            lifecycle.stop()
            assert await idle.read_all() == b"421 4.3.2 Shutting down\r\n"
            assert not ending.done()
            release.set()
            assert await working.read_all() == b"250 kept\r\n421 4.3.2 Shutting down\r\n"
            with pytest.raises(ConnectionRefusedError):
                Peer(listener.port)


async def test_a_drain_cuts_the_late_ones() -> None:
    lifecycle = Lifecycle()
    cancelled = asyncio.Event()

    async def stubborn(connection: Connection) -> None:
        connection.write(b"x")
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    listener = await serve_tcp(HERE, stubborn, lifecycle=lifecycle)
    with Peer(listener.port) as peer:
        await peer.read()
        lifecycle.stop()
        async with asyncio.timeout(5):
            await serve_until_stopped([listener], lifecycle, unready_seconds=0, drain_seconds=0.05)
        assert cancelled.is_set()


async def test_a_tls_peer_that_vanishes_is_not_our_error(
    authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    issued = authority.issue("localhost")
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def pour(connection: Connection) -> None:
        try:
            await connection.receive()
            while True:
                connection.write(b"x" * 65536)
                await connection.drain()
                await asyncio.sleep(0)
        finally:
            ended.put_nowait("ended")

    def begin_tls(port: int) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", port))
        return opportunistic_client_context().wrap_socket(plain)

    def vanish(secured: ssl.SSLSocket) -> None:
        secured.send(b"go")
        secured.recv(1000)
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        secured.close()

    settings = replace(HERE, implicit_tls=True)
    async with listening(pour, settings, server_context(issued.cert_file, issued.key_file)) as listener:
        for _ in range(5):
            await asyncio.to_thread(vanish, await asyncio.to_thread(begin_tls, listener.port))
            await ended.get()
        await listener.wait_closed()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("politely", [True, False])
async def test_an_end_under_tls_is_one_only_when_the_peer_says_so(
    authority: CertificateAuthority, politely: bool
) -> None:
    """RFC 8446 s6.1: octets that a cut took away must not pass for the end of a file."""
    issued = authority.issue("localhost")
    contexts: list[ssl.SSLContext] = []
    ended: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()

    def context_of_its_own() -> ssl.SSLContext:
        contexts.append(server_context(issued.cert_file, issued.key_file))
        return contexts[-1]

    async def take(connection: Connection) -> None:
        heard = b""
        with contextlib.suppress(PeerGoneError):  # how the kernel may tell of a cut
            while data := await connection.receive():
                heard += data
        ended.put_nowait((heard, connection.ended))

    def send(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            outgoing = ssl.MemoryBIO()
            incoming = ssl.MemoryBIO()
            layer = opportunistic_client_context().wrap_bio(incoming, outgoing)
            while True:
                try:
                    layer.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
            layer.write(b"half a file")
            if politely:
                with contextlib.suppress(ssl.SSLWantReadError):
                    layer.unwrap()
            plain.sendall(outgoing.read())

    settings = replace(HERE, implicit_tls=True)
    listener = await serve_tcp(settings, take, lifecycle=Lifecycle(), tls=context_of_its_own)
    async with listener, asyncio.timeout(10):
        await asyncio.to_thread(send, listener.port)
        heard, was_end = await ended.get()
    assert was_end is politely
    assert heard == b"half a file" or not politely
    assert len(contexts) == 1


async def test_a_process_out_of_descriptors_accepts_again_when_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp_module, "_PAUSE_SECONDS", 0.05)
    async with listening(echo) as listener:
        client = socket.socket()
        client.setblocking(False)
        lowest = os.dup(client.fileno())  # what the next descriptor will be
        os.close(lowest)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            client.connect_ex(("127.0.0.1", listener.port))
            await asyncio.sleep(0.2)
            assert listener.open_connections == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, b"patience")
        assert await loop.sock_recv(client, 100) == b"patience"
        client.close()


async def test_a_port_in_use_is_a_wrong_configuration() -> None:
    async with listening(echo) as listener:
        with pytest.raises(ConfigurationError, match="in use"):
            await serve_tcp(replace(HERE, port=listener.port), echo, lifecycle=Lifecycle())


async def test_connecting_to_nobody_is_a_peer_that_is_gone() -> None:
    async with listening(echo) as listener:
        port = listener.port
    with pytest.raises(PeerGoneError):
        await connect_tcp("127.0.0.1", port)


async def test_a_connection_that_nobody_accepts_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        with pytest.raises(PeerTimeoutError):
            await connect_tcp("127.0.0.1", full.getsockname()[1], connect_seconds=0.1)
        for filler in fillers:
            filler.close()


async def test_a_listener_on_every_address_knows_an_ipv4_peer_as_such() -> None:
    peers: asyncio.Queue[PeerAddress] = asyncio.Queue()

    async def note(connection: Connection) -> None:
        peers.put_nowait(connection.peer)

    async with listening(note, replace(HERE, host="")) as listener:
        with Peer(listener.port):
            peer = await peers.get()
            assert peer.host == "127.0.0.1"
            assert peer.is_loopback


def test_addresses_are_told_apart() -> None:
    assert address_of(("::ffff:192.0.2.1", 5, 0, 0)) == PeerAddress("192.0.2.1", 5)
    assert address_of(("2001:db8::1", 5, 0, 0)) == PeerAddress("2001:db8::1", 5)
    assert PeerAddress("::1", 1).is_loopback
    assert not PeerAddress("192.0.2.127", 1).is_loopback
    assert not PeerAddress("127.0.0.6", 1).is_loopback  # a sidecar, which hands on strangers


async def test_a_peer_that_never_ends_its_side_is_closed_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        connection_module, "LIMITS", replace(connection_module.LIMITS, linger_seconds=0.05, close_seconds=0.1)
    )

    async def goodbye(connection: Connection) -> None:
        connection.write(b"221 bye\r\n")

    async with listening(goodbye) as listener:
        with Peer(listener.port) as peer:
            assert await peer.read_all() == b"221 bye\r\n"
            await listener.wait_closed()


async def test_a_closed_connection_whose_peer_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        connection_module, "LIMITS", replace(connection_module.LIMITS, linger_seconds=0.05, close_seconds=0.1)
    )

    async def pour(connection: Connection) -> None:
        connection.set_write_seconds(0.05)
        connection.write(b"x" * 20_000_000)

    async with listening(pour) as listener:
        with Peer(listener.port, receive_buffer=4096) as peer:
            await peer.read(1)
            await listener.wait_closed()
