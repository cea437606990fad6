"""Listeners of the TCP shell: where they listen, how many they take, and how they drain."""

import asyncio
import os
import resource
import socket
from dataclasses import replace

import pytest

from postroom_runtime import tcp as tcp_module
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.peer import PeerAddress, address_of
from postroom_runtime.tcp import (
    Connection,
    DrainingError,
    serve_tcp,
    serve_until_stopped,
)
from postroom_testing.tcp_peer import FAILURE, HERE, REFUSAL, Peer, echo, listening
from postroom_testing.waiting import until


async def test_one_address_gets_so_many_connections_and_the_rest_the_refusal() -> None:
    async with listening(echo, replace(HERE, max_connections_per_address=2)) as listener:
        with Peer(listener.port) as one, Peer(listener.port) as two, Peer(listener.port) as three:
            assert await three.read_all() == REFUSAL
            for peer in (one, two):
                await peer.send(b"x")
                assert await peer.read() == b"x"
            one.socket.close()
            await until(lambda: listener.open_connections < 2)
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
