"""A view may have lost messages whose MODSEQ it has not reached: its own sessions expunge at once."""

import asyncio

import pytest

from mail_access.login import Login
from mail_access.store import MailStore
from postroom.mailstore.v1 import mailbox_pb2
from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.imap_memory import Told
from postroom_testing.imap_mirror import Mirror

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def store_behind(client: ImapClient, monkeypatch: pytest.MonkeyPatch) -> MailStore:
    """What the process that a client is connected to asks."""
    asked: list[MailStore] = []
    list_mailboxes = MailStore.list_mailboxes

    async def note(store: MailStore, login: Login) -> mailbox_pb2.ListMailboxesResponse:
        asked.append(store)
        return await list_mailboxes(store, login)

    with monkeypatch.context() as patch:
        patch.setattr(MailStore, "list_mailboxes", note)
        await client.ok('LIST "" *')
    (store,) = asked
    return store


async def test_what_vanished_ahead_of_the_view_is_told_to_who_resynchronizes(
    own_imap: Connect, own_twin: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, laptop, other = await own_imap(), await own_imap(), Mirror(await own_twin(), Told())
    for flags in ("", "(\\Deleted)", ""):
        assert (await alice.append("INBOX", MAIL, flags)).ok
    await alice.ok("SELECT INBOX")
    await other.enable("QRESYNC")
    await other.select("INBOX")
    await laptop.ok("ENABLE QRESYNC")
    store_of_alice = await store_behind(alice, monkeypatch)

    held, found, expunged, go_on = (asyncio.Event() for _ in range(4))
    get_changes, find_mailbox, expunge = (
        MailStore.get_changes,
        MailStore.find_mailbox,
        MailStore.expunge_messages,
    )

    async def hold_changes(store: MailStore, *arguments: object) -> mailbox_pb2.GetChangesResponse:
        answer = await get_changes(store, *arguments)  # pyright: ignore[reportArgumentType]  # passed on
        if store is store_of_alice:  # what the other process asks for goes on
            held.set()
            await go_on.wait()
        return answer

    async def note_found(store: MailStore, login: Login, name: str) -> mailbox_pb2.FindMailboxResponse:
        answer = await find_mailbox(store, login, name)
        found.set()
        return answer

    async def note_expunged(store: MailStore, *arguments: object) -> mailbox_pb2.ExpungeMessagesResponse:
        answer = await expunge(store, *arguments)  # pyright: ignore[reportArgumentType]  # passed on
        expunged.set()
        return answer

    monkeypatch.setattr(MailStore, "get_changes", hold_changes)
    monkeypatch.setattr(MailStore, "find_mailbox", note_found)
    monkeypatch.setattr(MailStore, "expunge_messages", note_expunged)
    await other.command("STORE 1 +FLAGS (\\Flagged)")  # alice's process hears of it, and is held
    async with asyncio.timeout(10):
        await held.wait()
        tag = laptop.send_command(f"SELECT INBOX (QRESYNC ({other.uid_validity} {other.modseq}))")
        await found.wait()
        await asyncio.sleep(0)
        gone = alice.send_command("EXPUNGE")
        await expunged.wait()
        await asyncio.sleep(0)
    go_on.set()
    assert (await alice.answer(gone)).ok
    answer = await laptop.answer(tag)
    news = await laptop.command("NOOP")
    told = b"\n".join(answer.untagged + news.untagged)
    assert b"* VANISHED (EARLIER) 2" in told or b"* VANISHED 2" in told, told
