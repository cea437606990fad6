"""A client that asks for very much and reads nothing: it costs little, and not for long."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import mail_access.imap.session
from postroom_embedded.nats import NatsAddress
from postroom_runtime.tcp import Listener
from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.mail_access_process import MailAccessProcess
from postroom_testing.restartable import Restartable
from postroom_testing.small_directory_service import SmallDirectory

MESSAGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 12_000
COPIES = 7
COMMANDS = b"f FETCH 1:* BODY.PEEK[]\r\n" * 5
READERS = 4
_ALLOWED_OCTETS = 24 * 2**20
"""For all readers together; each has asked for 120 MB."""


async def filled(client: ImapClient) -> None:
    """A mailbox of 24 MB."""
    assert (await client.append("INBOX", MESSAGE)).ok
    await client.ok("SELECT INBOX")
    for _ in range(COPIES):
        await client.ok("COPY 1:* INBOX")


async def _wait(until: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await until():
            await asyncio.sleep(0.05)


async def stuck_reader(port: int, login: bytes) -> socket.socket:
    """A client that has read its greeting, and then asks and asks."""
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, login + b"s SELECT INBOX\r\n" + COMMANDS)
    return sock


@pytest.fixture
async def process(
    own_directory: SmallDirectory, own_store: Restartable, own_sockets: Path, nats_server: NatsAddress
) -> AsyncIterator[MailAccessProcess]:
    started = MailAccessProcess("weighed", own_sockets, nats_server)
    async with started.running():
        yield started


@pytest.mark.timeout(90)
async def test_memory_stays_bounded_while_clients_do_not_read(
    process: MailAccessProcess, own_directory: SmallDirectory
) -> None:
    account = own_directory.add("slow@postroom.test", "secret")
    client = await ImapClient.connect("127.0.0.1", process.port)
    await client.login(account.address, account.password)
    await filled(client)
    (whole,) = await client.ok("FETCH 1 BODY.PEEK[]")
    assert len(whole) > len(MESSAGE)
    before = process.resident_octets
    login = f"l LOGIN {account.address} {account.password}\r\n".encode()
    readers = [await stuck_reader(process.port, login) for _ in range(READERS)]
    highest = 0
    for _ in range(30):
        await asyncio.sleep(0.1)
        highest = max(highest, process.resident_octets)
    assert highest - before < _ALLOWED_OCTETS, f"{(highest - before) / 2**20:.1f} MiB more"
    await client.ok("NOOP")  # others are served as before
    for reader in readers:
        reader.close()
    await client.close()


async def test_whoever_does_not_read_is_disconnected(
    own_access: dict[str, Listener],
    own_imap: Connect,
    own_accounts: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alice = await own_imap()
    await filled(alice)
    monkeypatch.setattr(mail_access.imap.session, "_WRITE_SECONDS", 0.5)
    login = f'l LOGIN {own_accounts["alice"]} "open sesame"\r\n'.encode()
    reader = await stuck_reader(own_access["imap"].port, login)
    listener = own_access["imap"]

    async def two() -> bool:
        return listener.open_connections == 2

    async def one() -> bool:
        return listener.open_connections == 1

    await _wait(two)
    await _wait(one)
    await alice.ok("NOOP")
    reader.close()
