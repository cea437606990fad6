"""Parts that are away, clients that stay silent, and the end of the service."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import TypeAlias
from uuid import UUID

import pytest

from mail_access.content import ContentReader, Piece, ReadRange
from mail_access.login import Login, LoginEndedError, Logins
from mail_access.pop3 import session
from mail_access.pop3.limits import DEFAULT_LIMITS
from mail_access.settings import Settings
from mail_access.store import MailStore
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_runtime.sasl import Client as Caller
from postroom_runtime.tcp import Listener
from postroom_testing.imap_client import Connect
from postroom_testing.restartable import Restartable
from postroom_testing.small_directory_service import Account, SmallDirectory
from postroom_wire.sasl import Attempt

MAIL = b"Subject: tea\r\n\r\nAt five.\r\n"


class Client:
    """Lines out, lines in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def line(self) -> bytes:
        """The next line, b"" at the end."""
        async with asyncio.timeout(20):
            return (await self._reader.readline()).removesuffix(b"\r\n")

    async def ask(self, command: str) -> bytes:
        """A command's first line."""
        self.writer.write(command.encode() + b"\r\n")
        return await self.line()

    async def ask_in_time(self, command: str) -> bytes:
        """The same, within what a client waits when something is away."""
        started = monotonic()
        answer = await self.ask(command)
        assert monotonic() - started < 8  # 5 s, and what a busy machine adds
        return answer

    async def rest(self) -> bytes:
        """All up to the end of the connection."""
        async with asyncio.timeout(20):
            return await self._reader.read()


Connects: TypeAlias = Callable[[], Awaitable[Client]]


@pytest.fixture
async def account(own_directory: SmallDirectory, own_imap: Connect) -> Account:
    """Somebody with one message."""
    account = own_directory.add("erin@postroom.test", "secret")
    imap = await own_imap(None)
    await imap.login(account.address, account.password)
    assert (await imap.append("INBOX", MAIL)).ok
    return account


@pytest.fixture
async def connect(own_access: dict[str, Listener]) -> AsyncIterator[Connects]:
    """Connects, and takes the greeting."""
    clients: list[Client] = []

    async def greeted() -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", own_access["pop3"].port))
        clients.append(client)
        assert await client.line() == b"+OK POP3 server ready"
        return client

    yield greeted
    for client in clients:
        client.writer.close()
        with suppress(OSError):
            await client.writer.wait_closed()


async def log_in(client: Client, account: Account) -> bytes:
    await client.ask(f"USER {account.address}")
    return await client.ask_in_time(f"PASS {account.password}")


@pytest.fixture
async def client(connect: Connects, account: Account) -> Client:
    """Logged in."""
    client = await connect()
    assert await log_in(client, account) == b"+OK 1 messages (%d octets)" % len(MAIL)
    return client


async def test_a_login_is_put_off_while_the_directory_is_away(
    connect: Connects, account: Account, own_directory: SmallDirectory
) -> None:
    client = await connect()
    own_directory.away = True
    assert await log_in(client, account) == b"-ERR [SYS/TEMP] Cannot check it now, try again later"
    own_directory.away = False
    assert (await log_in(client, account)).startswith(b"+OK 1 ")


async def test_with_the_mail_store_away_nothing_is_lost(
    client: Client, connect: Connects, account: Account, own_store: Restartable
) -> None:
    assert (await client.ask("DELE 1")).startswith(b"+OK")
    assert await client.ask("RSET") == b"+OK"
    await own_store.stop()
    assert await client.ask_in_time("RETR 1") == (
        b"-ERR [SYS/TEMP] Cannot read the message now, try again later"
    )
    assert await client.ask("STAT") == b"+OK 1 %d" % len(MAIL)
    other = await connect()
    assert await log_in(other, account) == b"-ERR [SYS/TEMP] Cannot check it now, try again later"
    assert (await client.ask("DELE 1")).startswith(b"+OK")
    assert await client.ask_in_time("QUIT") == b"-ERR [SYS/TEMP] Some deleted messages not removed"
    assert await client.rest() == b""

    await own_store.start()
    async with asyncio.timeout(10):
        again = await connect()
        while not (await log_in(again, account)).startswith(b"+OK 1 "):
            again = await connect()
    assert await again.ask("RETR 1") == b"+OK %d octets" % len(MAIL)


async def test_a_mail_store_that_stops_answering_is_told_in_time(
    connect: Connects, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> AsyncGenerator[Piece]:
        await asyncio.Event().wait()
        yield Piece(0, b"", last=True)

    assert DEFAULT_LIMITS.answer_seconds < 5
    monkeypatch.setattr(session, "DEFAULT_LIMITS", replace(DEFAULT_LIMITS, answer_seconds=1.0))
    client = await connect()
    await log_in(client, account)
    monkeypatch.setattr(ContentReader, "read", hang)
    monkeypatch.setattr(MailStore, "load_mailbox", hang)
    other = await connect()
    answers = await asyncio.gather(client.ask_in_time("RETR 1"), log_in(other, account))
    assert answers == [
        b"-ERR [SYS/TEMP] Cannot read the message now, try again later",
        b"-ERR [SYS/TEMP] Cannot check it now, try again later",
    ]


async def test_a_message_that_cannot_be_ended_is_cut_without_its_end(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_off(
        self: ContentReader, login: Login, mailbox_id: UUID, ranges: Sequence[ReadRange]
    ) -> AsyncGenerator[Piece]:
        yield Piece(0, MAIL[:20], last=False)
        raise UnavailableError("away")

    monkeypatch.setattr(ContentReader, "read", break_off)
    assert await client.ask("RETR 1") == b"+OK %d octets" % len(MAIL)
    with suppress(ConnectionResetError):
        assert await client.rest() == MAIL[:20]


async def test_an_update_that_fails_half_way_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> mailbox_pb2.ExpungeMessagesResponse:
        raise UnavailableError("away")

    monkeypatch.setattr(MailStore, "expunge_messages", refuse)
    await client.ask("DELE 1")
    assert await client.ask("QUIT") == b"-ERR [SYS/TEMP] Some deleted messages not removed"


@pytest.fixture
def access_settings(access_settings: Settings, pop3_idle_seconds: float, max_connections: int) -> Settings:
    """Of `own_access`."""
    changed = {"pop3_idle_seconds": pop3_idle_seconds, "max_connections": max_connections}
    return access_settings.model_copy(update=changed)


@pytest.fixture
def max_connections() -> int:
    """How many each listener takes."""
    return 100


@pytest.fixture
def pop3_idle_seconds() -> float:
    """How long a session may be idle."""
    return 60.0


@pytest.mark.parametrize("pop3_idle_seconds", [1.0])
async def test_a_silent_client_is_left_without_a_word_and_nothing_is_removed(
    client: Client, connect: Connects, account: Account
) -> None:
    assert (await client.ask("DELE 1")).startswith(b"+OK")
    assert await client.rest() == b""
    assert (await log_in(await connect(), account)).startswith(b"+OK 1 ")


def test_a_client_may_be_silent_for_ten_minutes() -> None:
    assert Settings.model_fields["pop3_idle_seconds"].default == 600.0


@pytest.mark.parametrize("capability_seconds", [3.0])
async def test_a_session_ends_when_its_login_does(
    client: Client, account: Account, own_directory: SmallDirectory
) -> None:
    async with asyncio.timeout(10):
        while not own_directory.renewals:
            assert await client.ask("RETR 1") == b"+OK %d octets" % len(MAIL)
            while await client.line() != b".":
                pass
            await asyncio.sleep(0.1)
    own_directory.remove(account)
    async with asyncio.timeout(15):
        assert await client.line() == b"-ERR [AUTH] Your login has ended, log in again"
    assert await client.rest() == b""


async def test_a_drain_lets_a_session_end_by_itself(
    client: Client, connect: Connects, account: Account, own_access: dict[str, Listener]
) -> None:
    stranger, sleeper = await connect(), await connect()
    await log_in(sleeper, account)
    await client.ask("DELE 1")
    own_access["pop3"].close()
    assert await stranger.line() == b"-ERR [SYS/TEMP] Shutting down, try again soon"
    assert await client.ask("NOOP") == b"+OK"
    assert await client.ask("QUIT") == b"+OK Goodbye"
    assert await sleeper.line() == b"-ERR [SYS/TEMP] Shutting down, try again soon"
    assert await sleeper.rest() == b""


async def test_a_login_that_ends_within_a_drain_ends_the_session_at_once(
    connect: Connects,
    account: Account,
    own_access: dict[str, Listener],
    own_directory: SmallDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[Login] = []
    real = Logins.log_in

    async def noting(self: Logins, attempt: Attempt, client: Caller) -> tuple[Login, bytes]:
        login, last_word = await real(self, attempt, client)
        noted.append(login)
        return login, last_word

    monkeypatch.setattr(Logins, "log_in", noting)
    client = await connect()
    await log_in(client, account)
    own_access["pop3"].close()
    assert await client.ask("NOOP") == b"+OK"
    own_directory.remove(account)
    (login,) = noted
    with pytest.raises(LoginEndedError):
        await login.renew_at_once()
    assert await client.line() == b"-ERR [AUTH] Your login has ended, log in again"


@pytest.mark.parametrize("max_connections", [3])
async def test_a_connection_too_many_is_told(connect: Connects, own_access: dict[str, Listener]) -> None:
    for _ in range(3):
        await connect()
    reader, writer = await asyncio.open_connection("127.0.0.1", own_access["pop3"].port)
    assert await reader.read() == b"-ERR [SYS/TEMP] Too many connections, try again later\r\n"
    writer.close()
