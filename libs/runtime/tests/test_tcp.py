"""Connections of the TCP shell over real sockets on the loopback interface."""

import asyncio
import socket
from dataclasses import replace

import pytest

from postroom_runtime import connection as connection_module
from postroom_runtime.tcp import (
    Connection,
    PeerGoneError,
    PeerTimeoutError,
    connect_tcp,
)
from postroom_testing.tcp_peer import Peer, echo, listening


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
