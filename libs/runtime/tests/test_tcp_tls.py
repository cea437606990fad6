"""TLS on the TCP shell: from the first octet or later, and how it ends."""

import asyncio
import contextlib
import socket
import ssl
from dataclasses import replace

import pytest

from postroom_runtime.errors import ConfigurationError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import (
    Connection,
    PeerGoneError,
    connect_tcp,
    serve_tcp,
)
from postroom_runtime.tls import opportunistic_client_context, server_context, verifying_client_context
from postroom_testing.certificates import CertificateAuthority
from postroom_testing.tcp_peer import HERE, Peer, echo, listening


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
