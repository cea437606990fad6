"""Mail access over a real core for POP3, and what its tests do with it.

`house` is shared by all tests that do it no harm and has accounts of each test's own; what stops services
uses `own_access` and its company.
"""

import imaplib
import poplib
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from mail_access.serve import serving
from mail_access.settings import Settings
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.certificates import Certificate
from postroom_testing.core import PASSWORD, Core, running_core
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class House:
    """What runs, and how to reach it."""

    core: Core
    ports: dict[str, int]
    certificate: Certificate

    def account(self) -> str:
        """The address of a fresh account."""
        (address,) = run_in_thread(lambda: self.core.add_accounts(f"pop-{secrets.token_hex(4)}"))
        return address


@pytest.fixture(scope="session")
def house(
    postgres_server: PostgresAddress,
    core_template: PostgresAddress,
    object_store: S3Address,
    certificate: Certificate,
) -> Iterator[House]:
    """Directory, mail store and mail access, in a thread of their own."""
    database = run_in_thread(lambda: new_database(postgres_server, core_template.database))

    @asynccontextmanager
    async def running() -> AsyncGenerator[House]:
        async with running_core(database, object_store) as core:
            settings = Settings(
                nats_url=core.nats.url,
                directory_address=core.directory,
                mailstore_address=core.mailstore,
                host="127.0.0.1",
                imap_port=0,
                imaps_port=0,
                pop3_port=0,
                pop3s_port=0,
                max_connections_per_address=1_000,
                tls_cert_file=certificate.cert_file,
                tls_key_file=certificate.key_file,
            )
            async with serving(settings, Lifecycle()) as listeners:
                yield House(core, {each.settings.name: each.port for each in listeners}, certificate)
                for listener in listeners:
                    listener.abort()
                    await listener.wait_closed()

    with in_thread(running) as opened:
        yield opened
    run_in_thread(lambda: drop_database(database))


@pytest.fixture
def forget_expunged(house: House) -> Callable[[], object]:
    """Makes the store forget what was expunged, as it does after its time."""
    return lambda: run_in_thread(lambda: house.core.fetch("DELETE FROM mailstore.expunged"))


@pytest.fixture
def ports(house: House) -> dict[str, int]:
    """Of the shared house, by listener."""
    return house.ports


@pytest.fixture
def address(house: House) -> str:
    """Of an account of this test's own."""
    return house.account()


@pytest.fixture
def inbox(ports: dict[str, int], address: str) -> Iterator[imaplib.IMAP4]:
    """The account's INBOX by IMAP."""
    with imaplib.IMAP4("127.0.0.1", ports["imap"], timeout=_SECONDS) as imap:
        imap.login(address, PASSWORD)
        imap.select("INBOX")
        yield imap


@pytest.fixture
def deliver(inbox: imaplib.IMAP4) -> Callable[..., None]:
    """Puts messages into the account's INBOX."""

    def put(*messages: bytes) -> None:
        for message in messages:
            assert inbox.append("INBOX", "", "", message)[0] == "OK"

    return put


@pytest.fixture
def pop(ports: dict[str, int], address: str) -> Iterator[Callable[[], poplib.POP3]]:
    """Logs in; hangs up at the end of the test."""
    opened: list[poplib.POP3] = []

    def log_in() -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", ports["pop3"], timeout=_SECONDS)
        opened.append(client)
        client.user(address)
        client.pass_(PASSWORD)
        return client

    yield log_in
    for client in opened:
        client.close()


@pytest.fixture
def say(ports: dict[str, int]) -> Callable[[bytes], list[bytes]]:
    """Sends all octets at once; the lines that come until the other side hangs up."""

    def exchange(octets: bytes) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", ports["pop3"]), _SECONDS) as sock:
            sock.sendall(octets)
            said = b""
            with suppress(ConnectionResetError):
                while piece := sock.recv(65_536):
                    said += piece
            return said.split(b"\r\n")[:-1]

    return exchange
