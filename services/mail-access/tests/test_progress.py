"""INPROGRESS (RFC 9585) while the store keeps a command waiting."""

import asyncio

import asyncpg
import pytest

from mail_access.imap import progressing
from postroom_embedded.postgres import PostgresAddress
from postroom_testing.imap_client import Connect

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def test_a_command_that_waits_says_so(
    own_imap: Connect, own_database: PostgresAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await own_imap()
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    monkeypatch.setattr(progressing, "SECONDS", 0.05)
    connection = await asyncpg.connect(own_database.url("mailstore"))
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM mailstore.account_state FOR UPDATE")
            tag = alice.send_command("STORE 1 +FLAGS (\\Seen)")
            told = [await alice.response() for _ in range(2)]
    finally:
        await connection.close()
    expected = b'* OK [INPROGRESS ("%b" 0 1)] Still at work' % tag
    assert told == [expected, expected]
    answer = await alice.answer(tag)
    assert answer.ok
    assert answer.untagged[-1] == b"* 1 FETCH (FLAGS (\\Seen \\Recent))"
    tag = alice.send_command("IDLE")
    assert await alice.response() == b"+ idling"
    await asyncio.sleep(0.2)
    alice.send(b"DONE\r\n")
    assert (await alice.answer(tag)).untagged == []


async def test_it_is_offered(imap: Connect) -> None:
    alice = await imap()
    (capabilities,) = await alice.ok("CAPABILITY")
    assert b"INPROGRESS" in capabilities.split()
