"""The passive ports by themselves."""

import asyncio
import contextlib
import errno
import socket
from ipaddress import ip_address, ip_network

import pytest

from ftp_gateway.errors import TransferError
from ftp_gateway.passive import PassivePorts
from ftp_gateway.seats import NoSeatError, SeatLimits, Seats
from postroom_contracts.ids import new_id
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.networks import Networks
from postroom_runtime.proxy import ProxySettings

ANN, BOB = ip_address("127.0.0.1"), ip_address("127.0.0.2")


def nobody(sock: socket.socket) -> None:
    sock.close()
    pytest.fail("nobody is expected here")


async def test_a_late_release_leaves_the_next_reservation_alone() -> None:
    with PassivePorts("127.0.0.1", (0,)) as ports:
        arrived: asyncio.Queue[socket.socket] = asyncio.Queue()
        port = ports.reserve(ANN, nobody)
        ports.release(port, ANN, nobody)
        ports.reserve(ANN, arrived.put_nowait)
        ports.release(port, ANN, nobody)
        with socket.create_connection(("127.0.0.1", port)) as data:
            sock = await arrived.get()
            assert sock.getpeername() == data.getsockname()
            sock.close()


async def test_a_port_waits_for_each_client_once() -> None:
    with PassivePorts("127.0.0.1", (0,)) as ports:
        port = ports.reserve(ANN, nobody)
        assert ports.reserve(BOB, nobody) == port
        for peer in (ANN, BOB):
            with pytest.raises(TransferError, match="425"):
                ports.reserve(peer, nobody)


async def test_whom_nobody_waits_for_is_sent_away() -> None:
    with PassivePorts("127.0.0.1", (0,)) as ports:
        port = ports.reserve(BOB, nobody)
        with socket.create_connection(("127.0.0.1", port)) as data:
            assert await asyncio.to_thread(data.recv, 1) == b""


async def test_a_port_in_use_is_a_wrong_configuration_and_leaves_none_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
        wanted, blocked = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        with pytest.raises(ConfigurationError, match=str(blocked)):
            PassivePorts("127.0.0.1", (wanted, blocked))
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", wanted)) == errno.ECONNREFUSED


def test_ipv6_clients_are_counted_by_their_network() -> None:
    seats = Seats(SeatLimits(total=3, address=1, account=1))
    with seats.seat("2001:db8::1"):
        with pytest.raises(NoSeatError), seats.seat("2001:db8::2"):
            pass
        with (
            seats.seat("2001:db8:0:1::1"),
            seats.seat(str(ANN)),
            pytest.raises(NoSeatError),
            seats.seat(str(BOB)),
        ):
            pass
        account = new_id()
        seats.take_account(account)
        with pytest.raises(NoSeatError):
            seats.take_account(account)
        seats.give_account(account)
        seats.take_account(account)
    with seats.seat("2001:db8::2"):
        pass


def test_addresses_that_stand_for_many_have_no_bound_of_their_own() -> None:
    untrusted = Networks([ip_network("10.1.0.0/16")])
    seats = Seats(SeatLimits(total=3, address=1, account=1, untrusted=untrusted))
    with (
        seats.seat("10.1.2.3"),
        seats.seat("10.1.2.3"),
        seats.seat("10.1.2.3"),
        pytest.raises(NoSeatError),  # as many as there may be in all
        seats.seat("10.1.2.3"),
    ):
        pass


PROXY = ProxySettings(Networks([ip_network("127.0.0.1")]), header_seconds=0.3)
HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 30000\r\n"


async def test_a_balancer_says_whose_data_connection_it_passes_on() -> None:
    with PassivePorts("127.0.0.1", (0,), PROXY) as ports:
        arrived: asyncio.Queue[socket.socket] = asyncio.Queue()
        port = ports.reserve(ip_address("192.0.2.7"), arrived.put_nowait)
        ports.reserve(ANN, nobody)
        with socket.create_connection(("127.0.0.1", port)) as data:
            data.sendall(HEADER + b"octets")
            sock = await arrived.get()
            assert sock.recv(100) == b"octets"
            sock.close()


@pytest.mark.parametrize("octets", [b"", b"octets\r\n", HEADER.replace(b".7", b".8")])
async def test_a_balancers_data_connection_of_nobody_is_closed(octets: bytes) -> None:
    with PassivePorts("127.0.0.1", (0,), PROXY) as ports:
        port = ports.reserve(ANN, nobody)
        ports.reserve(ip_address("192.0.2.7"), nobody)
        with socket.create_connection(("127.0.0.1", port)) as data:
            data.sendall(octets)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.to_thread(data.recv, 1) == b""


async def test_who_is_no_balancer_needs_no_header_and_gains_nothing_by_one() -> None:
    with PassivePorts("127.0.0.1", (0,), PROXY) as ports:
        arrived: asyncio.Queue[socket.socket] = asyncio.Queue()
        port = ports.reserve(BOB, arrived.put_nowait)
        ports.reserve(ip_address("192.0.2.7"), nobody)
        with socket.create_connection(("127.0.0.1", port), source_address=(str(BOB), 0)) as data:
            data.sendall(HEADER)
            sock = await arrived.get()
            assert sock.recv(100) == HEADER
            sock.close()
