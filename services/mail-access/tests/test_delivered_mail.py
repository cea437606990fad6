"""Mail that is delivered from outside wakes idle sessions, and begins with lines of each recipient's own."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

from postroom_embedded.postgres import PostgresAddress
from postroom_testing.imap_client import Connect
from postroom_testing.small_directory_service import Account, SmallDirectory

MAIL = (
    b"From: Ann <ann@example.org>\r\nSubject: Tea\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/alternative; boundary=cut\r\n\r\n"
    b"--cut\r\n\r\nAt five.\r\n--cut\r\nContent-Type: text/html\r\n\r\n<p>At five.</p>\r\n--cut--\r\n"
)
PREFIX = b"Return-Path: <ann@example.org>\r\nDelivered-To: erin@postroom.test\r\n"


async def test_it_wakes_idle_sessions_and_is_whole_with_its_prefix(
    own_imap: Connect, own_directory: SmallDirectory, deliver: Callable[[Account, bytes], Awaitable[None]]
) -> None:
    account = own_directory.add("erin@postroom.test", "secret")
    erin = await own_imap(None)
    await erin.login(account.address, account.password)
    await erin.ok("SELECT INBOX")
    tag = erin.send_command("IDLE")
    await erin.response()
    await deliver(account, MAIL)
    async with asyncio.timeout(15):  # the stores of other tests hear the bell, too
        assert await erin.response() == b"* 1 EXISTS"
        assert await erin.response() == b"* 0 RECENT"  # claimed at the next command only
    erin.send(b"DONE\r\n")
    assert (await erin.answer(tag)).ok
    assert await erin.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]

    whole = PREFIX + MAIL
    expected = {
        "BODY.PEEK[]": whole,
        "BODY.PEEK[]<10.80>": whole[10:90],
        "BODY.PEEK[HEADER]": whole[: whole.index(b"\r\n\r\n") + 4],
        "BODY.PEEK[HEADER.FIELDS (Return-Path Subject)]": (
            b"Return-Path: <ann@example.org>\r\nSubject: Tea\r\n\r\n"
        ),
        "BODY.PEEK[TEXT]": whole[whole.index(b"\r\n\r\n") + 4 :],
        "BODY.PEEK[1]": b"At five.",
        "BODY.PEEK[2]": b"<p>At five.</p>",
        "BODY.PEEK[2.MIME]": b"Content-Type: text/html\r\n\r\n",
    }
    for item, octets in expected.items():
        (fetched,) = await erin.ok(f"FETCH 1 {item}")
        assert fetched.endswith(b" {%d}\r\n%b)" % (len(octets), octets)), item
    assert await erin.ok("FETCH 1 RFC822.SIZE") == [b"* 1 FETCH (RFC822.SIZE %d)" % len(whole)]


async def test_it_is_read_for_searching_soon_as_is_what_a_client_appends(
    own_imap: Connect,
    own_directory: SmallDirectory,
    own_database: PostgresAddress,
    deliver: Callable[[Account, bytes], Awaitable[None]],
) -> None:
    account = own_directory.add("erin@postroom.test", "secret")
    erin = await own_imap(None)
    await erin.login(account.address, account.password)
    database = await asyncpg.connect(own_database.url("mailstore"))

    async def reach(count: int, table: str, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while await database.fetchval(f"SELECT count(*) FROM mailstore.{table}") < count:
                await asyncio.sleep(0.1)

    try:
        await deliver(account, MAIL)
        await reach(1, "message", 15)  # the stores of other tests hear the bell, too
        await reach(1, "message_key", 12)  # less than what the timer lets pass
        assert (await erin.append("INBOX", MAIL)).ok
        await reach(2, "message_key", 12)
    finally:
        await database.close()
