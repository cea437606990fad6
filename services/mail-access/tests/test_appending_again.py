"""APPEND to one mailbox again and again: it is looked up once, and another one is never taken for it."""

import re

import pytest

from mail_access.login import Login
from mail_access.store import MailStore
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import MethodMissingError
from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def _messages(client: ImapClient, name: str) -> bytes:
    (told,) = await client.ok(f"STATUS {name} (MESSAGES)")
    return told.rpartition(b" ")[2].rstrip(b")")


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that a store was asked for."""
    names: list[str] = []
    find_mailbox = MailStore.find_mailbox

    async def note(store: MailStore, login: Login, name: str) -> mailbox_pb2.FindMailboxResponse:
        names.append(name)
        return await find_mailbox(store, login, name)

    monkeypatch.setattr(MailStore, "find_mailbox", note)
    return names


async def test_a_mailbox_is_looked_up_once(imap: Connect, looked_up: list[str]) -> None:
    alice = await imap()
    for _ in range(3):
        assert (await alice.append("Drafts", MAIL)).ok
    assert looked_up == ["Drafts"]
    assert (await alice.append("INBOX", MAIL)).ok
    assert (await alice.append("Drafts", MAIL)).ok
    assert looked_up == ["Drafts", "INBOX", "Drafts"]
    assert await _messages(alice, "Drafts") == b"4"


async def test_messages_go_to_whatever_has_the_name_by_then(imap: Connect) -> None:
    alice, laptop = await imap(), await imap()
    await alice.ok("CREATE Work")
    assert (await alice.append("Work", MAIL)).ok
    await laptop.ok("RENAME Work Old")
    assert (await alice.append("Work", MAIL)).text == b"NO [TRYCREATE] No such mailbox"
    await laptop.ok("CREATE Work")
    for _ in range(2):
        assert (await alice.append("Work", MAIL)).ok
    await laptop.ok("DELETE Work")
    await laptop.ok("RENAME Old Work")
    answer = await alice.command(b"APPEND Work {3+}\r\none {3+}\r\ntwo")
    assert re.fullmatch(rb"OK \[APPENDUID \d+ 2:3\] APPEND completed", answer.text)
    assert await _messages(alice, "Work") == b"3"


async def test_a_replacement_goes_to_whatever_has_the_name_by_then(imap: Connect) -> None:
    alice, laptop = await imap(), await imap()
    assert (await alice.append("INBOX", MAIL)).ok
    await alice.ok("SELECT INBOX")
    await alice.ok("CREATE Work")
    assert (await alice.append("Work", MAIL)).ok
    await laptop.ok("RENAME Work Old")
    answer = await alice.command(b"REPLACE 1 Work {3+}\r\none")
    assert answer.text == b"NO [TRYCREATE] No such mailbox"
    assert await alice.ok("SEARCH ALL") == [b"* SEARCH 1"]
    await laptop.ok("CREATE Work")
    assert (await alice.command(b"REPLACE 1 Work {3+}\r\none")).ok
    assert await alice.ok("SEARCH ALL") == [b"* SEARCH"]
    assert [await _messages(alice, name) for name in ("Work", "Old")] == [b"1", b"1"]


async def test_another_user_of_the_connection_has_another_mailbox(
    imap: Connect, mail_account: tuple[str, str]
) -> None:
    client, other = await imap(), await imap()
    assert (await client.append("Drafts", MAIL)).ok
    await client.ok("UNAUTHENTICATE")
    address, password = mail_account
    await client.login(address, f'"{password}"')
    assert (await client.append("Drafts", MAIL)).ok
    assert await _messages(client, "Drafts") == await _messages(other, "Drafts") == b"1"


async def test_a_store_of_the_release_before_lists_its_mailboxes(
    imap: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def missing(*_: object, **__: object) -> None:
        raise MethodMissingError("UNIMPLEMENTED")

    class Older:
        """Its stub, without the method."""

        def __init__(self, stub: object) -> None:
            self._stub = stub

        def __getattr__(self, name: str) -> object:
            return missing if name == "FindMailbox" else getattr(self._stub, name)

    find_mailbox = MailStore.find_mailbox

    async def find_with_an_older_one(
        store: MailStore, login: Login, name: str
    ) -> mailbox_pb2.FindMailboxResponse:
        stub = store._stub  # pyright: ignore[reportPrivateUsage]  # replaced for the moment
        monkeypatch.setattr(store, "_stub", Older(stub))
        try:
            return await find_mailbox(store, login, name)
        finally:
            monkeypatch.setattr(store, "_stub", stub)

    monkeypatch.setattr(MailStore, "find_mailbox", find_with_an_older_one)
    alice = await imap()
    assert (await alice.append("Drafts", MAIL)).ok
    assert await _messages(alice, "Drafts") == b"1"
    assert not (await alice.command("SELECT Nowhere")).ok
