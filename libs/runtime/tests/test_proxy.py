"""Listeners behind balancers, over real sockets on the loopback interface."""

import asyncio
import contextlib
import socket
import ssl
from asyncio import to_thread
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from prometheus_client import REGISTRY

from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.networks import Networks
from postroom_runtime.proxy import ProxySettings
from postroom_runtime.tcp import Connection, Listener, ListenerSettings, TlsSource, serve_tcp
from postroom_runtime.tls import server_context, verifying_client_context
from postroom_testing.certificates import CertificateAuthority
from postroom_wire.proxy_protocol import SIGNATURE

REFUSAL = b"421 4.3.2 Too many connections\r\n"
BALANCER, STRANGER = "127.0.0.1", "127.0.0.2"
PROXY = ProxySettings(Networks([ip_network(BALANCER)]), header_seconds=0.3)
HERE = ListenerSettings(name="proxied", host="127.0.0.1", port=0, proxy=PROXY)


def line(source: str, destination: str = "198.51.100.1") -> bytes:
    return f"PROXY TCP{ip_address(source).version} {source} {destination} 40000 25\r\n".encode()


CLIENT = line("192.0.2.7")


async def tell(connection: Connection) -> None:
    """Who the client is, and what it says."""
    peer, reached = connection.peer, connection.reached
    connection.write(f"{peer.host} {peer.port} {peer.is_loopback} {reached.host} {reached.port}\n".encode())
    while data := await connection.receive():
        connection.write(data)


@asynccontextmanager
async def listening(
    settings: ListenerSettings = HERE, tls: TlsSource | None = None
) -> AsyncGenerator[Listener]:
    listener = await serve_tcp(settings, tell, lifecycle=Lifecycle(), tls=tls, refuse=REFUSAL)
    async with listener, asyncio.timeout(20):
        yield listener


def connect(listener: Listener, source: str = BALANCER) -> socket.socket:
    connected = socket.create_connection(("127.0.0.1", listener.port), source_address=(source, 0))
    connected.settimeout(5)
    return connected


def told(connected: socket.socket) -> list[str]:
    """The first line that the listener says; nothing when it ends the connection."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while not heard.endswith(b"\n") and (octets := connected.recv(1)):
            heard += octets
    return heard.decode().split()


async def ask(listener: Listener, octets: bytes, source: str = BALANCER) -> list[str]:
    """What a connection that begins like this is told."""

    def talk() -> list[str]:
        with connect(listener, source) as connected:
            connected.sendall(octets)
            return told(connected)

    return await to_thread(talk)


def outcome(name: str) -> float:
    labels = {"listener": "proxied", "outcome": name}
    return REGISTRY.get_sample_value("postroom_tcp_connections_total", labels) or 0.0


async def test_a_balancers_header_says_who_the_client_is() -> None:
    async with listening() as listener:
        assert await ask(listener, CLIENT) == ["192.0.2.7", "40000", "False", "198.51.100.1", "25"]
        six = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n"
        assert await ask(listener, six) == ["2001:db8::7", "40000", "False", "2001:db8::1", "25"]
        binary = SIGNATURE + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 9, 198, 51, 100, 1, 0, 1, 0, 25))
        assert await ask(listener, binary) == ["192.0.2.9", "1", "False", "198.51.100.1", "25"]


async def test_a_header_may_come_in_pieces_and_with_the_first_command() -> None:
    def drip(listener: Listener) -> bytes:
        with connect(listener) as connected:
            for octet in CLIENT[:-1]:
                connected.sendall(bytes([octet]))
            connected.sendall(CLIENT[-1:] + b"EHLO client.example\r\n")
            connected.shutdown(socket.SHUT_WR)
            heard = b""
            while octets := connected.recv(1000):
                heard += octets
            return heard

    slow = replace(HERE, proxy=replace(PROXY, header_seconds=5.0))
    async with listening(slow) as listener:
        heard = await to_thread(drip, listener)
    assert heard == b"192.0.2.7 40000 False 198.51.100.1 25\nEHLO client.example\r\n"


async def test_the_header_comes_before_the_handshake_of_implicit_tls(authority: CertificateAuthority) -> None:
    issued = authority.issue("localhost")
    client = verifying_client_context(authority.ca_file)

    def talk(listener: Listener) -> list[str]:
        with connect(listener) as connected:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            layer = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with contextlib.suppress(ssl.SSLWantReadError):
                layer.do_handshake()
            connected.sendall(CLIENT + outgoing.read())  # both at once
            while True:
                incoming.write(connected.recv(65536))
                try:
                    layer.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    connected.sendall(outgoing.read())
            connected.sendall(outgoing.read())
            while True:
                try:
                    return layer.read().decode().split()
                except ssl.SSLWantReadError:
                    incoming.write(connected.recv(65536))

    settings = replace(HERE, implicit_tls=True)
    async with listening(settings, server_context(issued.cert_file, issued.key_file)) as listener:
        assert (await to_thread(talk, listener))[0] == "192.0.2.7"


@pytest.mark.parametrize("octets", [b"", CLIENT, b"EHLO client.example\r\n"])
async def test_who_is_no_trusted_balancer_is_refused_whatever_it_sends(octets: bytes) -> None:
    before = outcome("untrusted_proxy")
    async with listening() as listener:
        assert await ask(listener, octets, STRANGER) == []
        assert listener.open_connections == 0
    assert outcome("untrusted_proxy") == before + 1


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "no_proxy_header"),
        (b"PROXY TCP4 192.0.2.7", "no_proxy_header"),
        (b"EHLO client.example\r\n", "bad_proxy_header"),
        (b"PROXY TCP4 192.0.2.7 client 1 2\r\n", "bad_proxy_header"),
        (line("0.0.0.0"), "bad_proxy_address"),  # noqa: S104
        (line("::", "2001:db8::1"), "bad_proxy_address"),
        (line("::ffff:0.0.0.0", "2001:db8::1"), "bad_proxy_address"),
        (line("224.0.0.1"), "bad_proxy_address"),
        (line("ff02::1", "2001:db8::1"), "bad_proxy_address"),
        (line("255.255.255.255"), "bad_proxy_address"),
        (line("192.0.2.7", "0.0.0.0"), "bad_proxy_address"),  # noqa: S104
    ],
)
async def test_a_balancer_without_a_right_header_in_time_is_closed(octets: bytes, reason: str) -> None:
    before = outcome(reason)
    async with listening() as listener:
        assert await ask(listener, octets) == []
        await listener.wait_closed()
    assert outcome(reason) == before + 1


async def test_a_balancer_that_only_tries_the_port_is_no_error() -> None:
    before = outcome("left_before_proxy_header")
    async with listening() as listener:
        connect(listener).close()
        async with asyncio.timeout(5):
            while outcome("left_before_proxy_header") == before:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "octets",
    [
        line("127.0.0.1", "127.0.0.1"),
        line("::1", "::1"),
        line("::ffff:127.0.0.1", "::1"),
        b"PROXY UNKNOWN\r\n",
        SIGNATURE + b"\x20\x00\x00\x00",
    ],
)
async def test_no_header_makes_anybody_a_peer_on_this_machine(octets: bytes) -> None:
    """Not even a balancer's on this machine, whose own connections are loopback ones."""
    async with listening() as listener:
        host, _, is_loopback, *_ = await ask(listener, octets)
    assert host in {"127.0.0.1", "::1"}
    assert is_loopback == "False"


async def test_a_header_is_nothing_but_octets_where_none_is_wanted() -> None:
    async with listening(replace(HERE, proxy=None)) as listener:
        host, _, is_loopback, *_ = await ask(listener, CLIENT)
    assert (host, is_loopback) == ("127.0.0.1", "True")


async def test_an_address_that_stands_for_many_is_not_this_machines_own() -> None:
    settings = replace(HERE, proxy=None, untrusted=Networks([ip_network("127.0.0.0/8")]))
    async with listening(settings) as listener:
        host, _, is_loopback, *_ = await ask(listener, b"")
    assert (host, is_loopback) == ("127.0.0.1", "False")


@pytest.mark.parametrize("field", ["untrusted", "nodes"])
async def test_nobody_is_counted_by_an_address_that_stands_for_many(field: str) -> None:
    many = {field: Networks([ip_network("127.0.0.1"), ip_network("10.1.0.0/16")])}
    found: list[tuple[str, str, bool]] = []

    async def note(connection: Connection) -> None:
        peer = connection.peer
        found.append((peer.host, peer.client, peer.is_loopback))

    plain = replace(HERE, proxy=None)
    for settings, header in (
        (replace(plain, **many), b""),
        (replace(HERE, **many), line("10.1.2.3")),
        (replace(HERE, **many), line("192.0.2.7")),
        (plain, b""),
    ):
        async with await serve_tcp(settings, note, lifecycle=Lifecycle()) as listener:
            await ask(listener, header)
    assert found == [
        ("127.0.0.1", "", False),
        ("10.1.2.3", "", False),
        ("192.0.2.7", "192.0.2.7", False),
        ("127.0.0.1", "127.0.0.1", True),
    ]


async def test_the_bound_of_connections_is_each_clients_and_not_the_balancers() -> None:
    async with listening(replace(HERE, max_connections_per_address=2)) as listener:
        with contextlib.ExitStack() as stack:
            for host in ("192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.8"):
                connected = stack.enter_context(connect(listener))
                connected.sendall(line(host))
                assert (await to_thread(told, connected))[0] == host
            assert await ask(listener, line("192.0.2.7")) == REFUSAL.decode().split()
            assert (await ask(listener, line("192.0.2.9")))[0] == "192.0.2.9"
        async with asyncio.timeout(5):
            while listener.open_connections:
                await asyncio.sleep(0.01)
        assert (await ask(listener, CLIENT))[0] == "192.0.2.7"


async def test_balancers_that_wait_with_their_header_count_towards_the_whole() -> None:
    slow = replace(HERE, max_connections=1, proxy=replace(PROXY, header_seconds=5.0))
    async with listening(slow) as listener:
        with connect(listener):
            assert await ask(listener, b"") == REFUSAL.decode().split()


async def test_no_bound_holds_for_an_address_that_stands_for_many() -> None:
    untrusted = Networks([ip_network("10.1.0.0/16")])
    for settings, header in (
        (replace(HERE, untrusted=untrusted), line("10.1.2.3")),
        (replace(HERE, proxy=None, untrusted=Networks([ip_network(BALANCER)])), b""),
        (HERE, b"PROXY UNKNOWN\r\n"),
    ):
        async with listening(replace(settings, max_connections_per_address=1)) as listener:
            with contextlib.ExitStack() as stack:
                for _ in range(3):
                    connected = stack.enter_context(connect(listener))
                    connected.sendall(header)
                    assert len(await to_thread(told, connected)) == 5
