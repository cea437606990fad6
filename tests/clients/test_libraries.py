"""Programs that people write with imapclient, aioimaplib and imap-tools."""
# Their types are incomplete, or there are none.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownLambdaType=false, reportUnknownParameterType=false

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aioimaplib
import pytest
from imap_tools import AND, MailBox, MailMessageFlags
from imapclient import IMAPClient

from postroom_testing.mail_person import Person, letter

pytestmark = pytest.mark.timeout(120)
FOLDER = "Projekte/Größe & Maß"
PUSHED_SECONDS = 5.0


@pytest.fixture
def context(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


@pytest.fixture
def imapclient(person: Person, context: ssl.SSLContext) -> Iterator[IMAPClient]:
    with IMAPClient("localhost", person.postroom.port(993), ssl_context=context) as client:
        client.login(person.address, person.password)
        yield client


@pytest.fixture
def mailbox(person: Person, context: ssl.SSLContext) -> Iterator[MailBox]:
    with MailBox("localhost", person.postroom.port(993), ssl_context=context).login(
        person.address, person.password
    ) as box:
        yield box


def _deliver_soon(person: Person, subject: str) -> threading.Thread:
    """While the client waits."""

    def deliver() -> None:
        time.sleep(0.5)
        person.deliver(subject)

    person.messages()  # logged in before
    thread = threading.Thread(target=deliver)
    thread.start()
    return thread


def test_imapclient_keeps_house(person: Person, imapclient: IMAPClient) -> None:
    person.deliver("first", letter("second", "About plums.\n"), "third")
    client = imapclient
    client.create_folder(FOLDER)
    client.subscribe_folder(FOLDER)
    names = {name: flags for flags, _, name in client.list_folders()}
    assert {"INBOX", FOLDER, "Projekte"} <= set(names)
    assert client.find_special_folder(b"\\Sent") == "Sent"
    assert FOLDER in {name for _, _, name in client.list_sub_folders()}
    assert client.namespace().personal == (("", "/"),)
    selected = client.select_folder("INBOX")
    assert (selected[b"EXISTS"], selected[b"UIDNEXT"]) == (3, 4)
    assert client.search("SUBJECT second") == [2]
    assert client.search("BODY plums NOT SEEN") == [2]
    assert client.sort(["REVERSE", "SUBJECT"]) == [3, 2, 1]
    assert len(client.thread("REFERENCES")) == 3
    items = ["ENVELOPE", "FLAGS", "BODY.PEEK[]", "BODYSTRUCTURE", "INTERNALDATE", "MODSEQ"]
    fetched: Any = client.fetch([2], items)[2]
    assert fetched[b"BODY[]"] == person.raw("second")
    assert fetched[b"ENVELOPE"].subject == b"second"
    client.add_flags([1], [b"\\Seen", b"$Forwarded"])
    flags: Any = client.get_flags([1])[1]
    assert set(flags) - {b"\\Recent"} == {b"\\Seen", b"$Forwarded"}
    client.remove_flags([1], [b"$Forwarded"])
    client.set_flags([2], [b"\\Flagged"])
    client.copy([1], FOLDER)
    client.move([2], FOLDER)
    client.append(FOLDER, letter("appended"), [b"\\Draft"])
    client.delete_messages([3])
    client.uid_expunge([3])
    status = client.folder_status(FOLDER, ["MESSAGES", "UNSEEN", "HIGHESTMODSEQ"])
    assert (status[b"MESSAGES"], status[b"UNSEEN"]) == (3, 2)
    client.rename_folder(FOLDER, "Projekte/fertig")
    client.unselect_folder()
    assert person.flags() == {"first": {"$seen"}}
    assert person.flags("Projekte/fertig") == {
        "first": {"$seen"},
        "second": {"$flagged"},
        "appended": {"$draft"},
    }
    client.delete_folder("Projekte/fertig")
    assert "Projekte/fertig" not in person.mailboxes()
    assert [quota.resource for quota in client.get_quota_root("INBOX")[1]] == []


def test_imapclient_sees_what_changed_since_by_condstore(person: Person, imapclient: IMAPClient) -> None:
    person.deliver("first", "second", "third")
    client = imapclient
    client.enable("CONDSTORE")
    known = client.select_folder("INBOX")[b"HIGHESTMODSEQ"]
    person.flag("second", "$flagged")
    client.noop()
    changed: Any = client.fetch([1, 2, 3], ["FLAGS"], [f"CHANGEDSINCE {known}"])
    assert {uid: each[b"FLAGS"][0] for uid, each in changed.items()} == {2: b"\\Flagged"}


def test_imapclient_is_told_of_mail_while_it_is_idle(person: Person, imapclient: IMAPClient) -> None:
    client = imapclient
    client.select_folder("INBOX")
    client.idle()
    thread = _deliver_soon(person, "pushed")
    heard = client.idle_check(timeout=PUSHED_SECONDS + 0.5)
    assert (1, b"EXISTS") in heard
    client.idle_done()
    thread.join()


async def test_aioimaplib_is_told_of_mail_while_it_is_idle(person: Person, context: ssl.SSLContext) -> None:
    client = aioimaplib.IMAP4_SSL("localhost", person.postroom.port(993), ssl_context=context, timeout=20)
    await client.wait_hello_from_server()
    assert (await client.login(person.address, person.password)).result == "OK"
    assert client.has_capability("IDLE")
    await client.select("INBOX")
    idle = await client.idle_start(timeout=30)
    thread = _deliver_soon(person, "pushed")
    pushed = await asyncio.wait_for(client.wait_server_push(), PUSHED_SECONDS + 0.5)
    assert b"1 EXISTS" in pushed
    client.idle_done()
    assert (await asyncio.wait_for(idle, 10)).result == "OK"
    await asyncio.to_thread(thread.join)

    answer = await client.uid("fetch", "1:*", "(UID FLAGS BODY.PEEK[])")
    assert answer.result == "OK"
    assert bytes(answer.lines[1]) == await asyncio.to_thread(person.raw, "pushed")
    assert (await client.uid("store", "1", "+FLAGS", "(\\Seen)")).result == "OK"
    assert (await client.append(letter("appended"), "Drafts", "(\\Draft)")).result == "OK"
    assert (await client.create('"made here"')).result == "OK"
    assert (await client.uid("move", "1", '"made here"')).result == "OK"
    await client.logout()
    assert person.flags("made here") == {"pushed": {"$seen"}}
    assert person.flags("Drafts") == {"appended": {"$draft"}}


def test_imap_tools_fetches_marks_moves_and_makes_mailboxes(person: Person, mailbox: MailBox) -> None:
    person.deliver(letter("Größe", "Grüße\n"), "second", "third")
    mailbox.folder.create(FOLDER)
    mailbox.folder.subscribe(FOLDER, value=True)
    assert {"INBOX", FOLDER} <= {each.name for each in mailbox.folder.list()}
    fetched = {each.subject: each for each in mailbox.fetch(mark_seen=False, bulk=True)}
    assert set(fetched) == {"Größe", "second", "third"}
    assert fetched["Größe"].text == "Grüße\r\n"
    assert [each.subject for each in mailbox.fetch(AND(subject="second", seen=False), mark_seen=False)] == [
        "second"
    ]
    assert mailbox.uids(AND(text="Grüße"), charset="utf-8") == ["1"]
    mailbox.flag(["1"], [MailMessageFlags.SEEN, MailMessageFlags.FLAGGED], value=True)
    mailbox.copy(["1"], FOLDER)
    mailbox.move(["2"], FOLDER)
    mailbox.delete(["3"])
    mailbox.append(letter("appended"), FOLDER, flag_set=[MailMessageFlags.DRAFT])
    assert mailbox.folder.status(FOLDER)["MESSAGES"] == 3
    mailbox.folder.set(FOLDER)
    assert len(mailbox.uids()) == 3
    mailbox.folder.set("INBOX")
    mailbox.folder.rename(FOLDER, "Projekte/fertig")
    assert person.flags() == {"Größe": {"$seen", "$flagged"}}
    assert set(person.messages("Projekte/fertig")) == {"Größe", "second", "appended"}
    mailbox.folder.delete("Projekte/fertig")
    assert "Projekte/fertig" not in person.mailboxes()


def test_imap_tools_is_told_of_mail_while_it_is_idle(person: Person, mailbox: MailBox) -> None:
    thread = _deliver_soon(person, "pushed")
    with mailbox.idle as idle:
        heard = idle.poll(timeout=PUSHED_SECONDS + 0.5)
    thread.join()
    assert b"* 1 EXISTS" in heard
    assert [each.subject for each in mailbox.fetch()] == ["pushed"]
