"""A view may have lost messages whose MODSEQ it has not reached: its own sessions expunge at once."""

import asyncio
import os

import pytest

from mail_access.login import Login
from mail_access.store import MailStore
from postroom.mailstore.v1 import mailbox_pb2
from postroom_testing.imap_client import Connect
from postroom_testing.imap_mirror import Mirror, Told

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


@pytest.mark.skipif(
    os.environ.get("POSTROOM_MODEL_EXAMPLES") is None,
    reason="POSTROOM_MODEL_EXAMPLES=1: now and then it waits for ever",
)
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

    held, listed, expunged, go_on = (asyncio.Event() for _ in range(4))
    get_changes, list_mailboxes, expunge = (
        MailStore.get_changes,
        MailStore.list_mailboxes,
        MailStore.expunge_messages,
    )

    async def hold_changes(store: MailStore, *arguments: object) -> mailbox_pb2.GetChangesResponse:
        answer = await get_changes(store, *arguments)  # pyright: ignore[reportArgumentType]  # passed on
        held.set()
        await go_on.wait()
        return answer

    async def note_listed(store: MailStore, login: Login) -> mailbox_pb2.ListMailboxesResponse:
        answer = await list_mailboxes(store, login)
        listed.set()
        return answer

    async def note_expunged(store: MailStore, *arguments: object) -> mailbox_pb2.ExpungeMessagesResponse:
        answer = await expunge(store, *arguments)  # pyright: ignore[reportArgumentType]  # passed on
        expunged.set()
        return answer

    monkeypatch.setattr(MailStore, "get_changes", hold_changes)
    monkeypatch.setattr(MailStore, "list_mailboxes", note_listed)
    monkeypatch.setattr(MailStore, "expunge_messages", note_expunged)
    await other.command("STORE 1 +FLAGS (\\Flagged)")  # alice's process hears of it, and is held
    async with asyncio.timeout(10):
        await held.wait()
        tag = laptop.send_command(f"SELECT INBOX (QRESYNC ({other.uid_validity} {other.modseq}))")
        await listed.wait()
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
