"""Parts that go away under way and come back."""

import asyncio
from time import monotonic

import pytest

from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.restartable import Restartable

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
AWAY = b"NO [UNAVAILABLE] Temporarily unavailable, try again"


@pytest.fixture
async def alice(own_imap: Connect) -> ImapClient:
    """Alice with one message in her selected inbox."""
    alice = await own_imap()
    assert (await alice.append("INBOX", MAIL)).ok
    await alice.ok("SELECT INBOX")
    return alice


async def test_commands_are_put_off_while_the_mail_store_is_away(
    alice: ImapClient, own_imap: Connect, own_store: Restartable
) -> None:
    phone = await own_imap()
    await own_store.stop()
    for command in ("NOOP", "FETCH 1 BODY[]", "STORE 1 +FLAGS (\\Seen)", "SEARCH TEXT tea", "EXPUNGE"):
        started = monotonic()
        assert (await alice.command(command)).text == AWAY
        assert monotonic() - started < 8  # 5 s, and what a busy machine adds
    started = monotonic()
    assert (await phone.append("INBOX", MAIL)).text == AWAY
    assert monotonic() - started < 8  # 5 s, and what a busy machine adds
    assert await alice.ok("FETCH 1 (UID FLAGS)") == [b"* 1 FETCH (UID 1 FLAGS (\\Recent))"]

    await own_store.start()
    async with asyncio.timeout(10):
        while not (await alice.command("NOOP")).ok:
            await asyncio.sleep(0.1)
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[TEXT]")
    assert fetched == b"* 1 FETCH (BODY[TEXT] {10}\r\nAt five.\r\n)"


async def test_idle_goes_on_over_a_restart_of_the_mail_store(
    alice: ImapClient, own_imap: Connect, own_store: Restartable
) -> None:
    phone = await own_imap()
    await phone.ok("SELECT INBOX")
    tag = phone.send_command("IDLE")
    await phone.response()
    await own_store.stop()
    await own_store.start()
    async with asyncio.timeout(10):
        while not (await alice.append("INBOX", MAIL)).ok:
            await asyncio.sleep(0.1)
    assert await phone.response() == b"* 2 EXISTS"
    await phone.response()
    phone.send(b"DONE\r\n")
    assert (await phone.answer(tag)).ok
