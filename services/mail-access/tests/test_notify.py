"""NOTIFY (RFC 5465) against the real mail store: the selected mailbox, and what a command may ask for."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from mail_access.imap import unasked
from mail_access.login import Login
from mail_access.store import MailStore
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_testing.imap_client import Connect, ImapClient


def mail(subject: str) -> bytes:
    return f"From: ann@example.org\r\nSubject: {subject}\r\n\r\n\r\n".encode()


ALL = "(MessageNew MessageExpunge FlagChange)"


BAD_EVENT = (
    b"NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange "
    b"MailboxMetadataChange ServerMetadataChange)] Event not supported"
)


async def comes(client: ImapClient, *lines: bytes) -> None:
    """These come without a command, and nothing else before a NOOP's end."""
    assert [await client.response() for _ in lines] == list(lines)
    assert await client.ok("NOOP") == []


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Her INBOX with three messages, selected; nothing is recent in IMAP4rev2."""
    alice = await imap()
    await alice.ok("ENABLE IMAP4rev2")
    for subject in ("one", "two", "three"):
        assert (await alice.append("INBOX", mail(subject))).ok
    await alice.ok("SELECT INBOX")
    return alice


@pytest.fixture
async def other(alice: ImapClient, imap: Connect) -> ImapClient:
    """Another session of hers that has it selected, too."""
    other = await imap()
    await other.ok("SELECT INBOX")
    return other


async def test_the_selected_mailbox_is_told_of_at_once(alice: ImapClient, other: ImapClient) -> None:
    items = "uid body.peek[header.fields (subject)]"
    assert await alice.ok(f"NOTIFY SET (selected (MessageNew ({items}) MessageExpunge FlagChange))") == []
    assert (await other.append("INBOX", mail("four"))).ok
    told = b"* 4 FETCH (UID 4 BODY[HEADER.FIELDS (subject)] {17}\r\nSubject: four\r\n\r\n)"
    await comes(alice, b"* 4 EXISTS", told)
    await other.ok("STORE 1 +FLAGS (\\Deleted)")
    await comes(alice, b"* 1 FETCH (UID 1 FLAGS (\\Deleted))")
    await other.ok("EXPUNGE")
    await comes(alice, b"* 1 EXPUNGE")


async def test_delayed_expunges_wait_for_a_command_that_allows_them(
    alice: ImapClient, other: ImapClient
) -> None:
    await alice.ok(f"NOTIFY SET (selected-delayed {ALL})")
    await other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    assert await alice.response() == b"* 2 FETCH (UID 2 FLAGS (\\Deleted))"
    await other.ok("EXPUNGE")
    assert (await other.append("INBOX", mail("four"))).ok
    assert await alice.response() == b"* 4 EXISTS"  # as long as the second one counts
    assert await alice.ok("FETCH 3:4 UID") == [b"* 3 FETCH (UID 3)", b"* 4 FETCH (UID 4)"]
    assert b"* 2 EXPUNGE" in await alice.ok("NOOP")
    await other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert await alice.response() == b"* 1 FETCH (UID 1 FLAGS (\\Deleted))"
    tag = alice.send_command("IDLE")
    assert (await alice.response()).startswith(b"+ ")
    await other.ok("EXPUNGE")
    assert await alice.response() == b"* 1 EXPUNGE"
    alice.send(b"DONE\r\n")
    assert (await alice.answer(tag)).ok


@pytest.mark.parametrize(
    "command", ["NOTIFY NONE", "NOTIFY SET (selected NONE)", "NOTIFY SET (personal NONE)"]
)
async def test_what_is_not_wanted_gathers_until_it_is(
    alice: ImapClient, other: ImapClient, command: str
) -> None:
    assert await alice.ok(command) == []
    await other.ok("STORE 1 +FLAGS (\\Flagged)")
    await other.ok("STORE 3 +FLAGS (\\Deleted)")
    await other.ok("EXPUNGE")
    assert (await other.append("INBOX", mail("four"))).ok
    for _ in range(3):
        assert await alice.ok("NOOP") == []
    tag = alice.send_command("IDLE")
    assert (await alice.response()).startswith(b"+ ")
    alice.send(b"DONE\r\n")
    assert (await alice.answer(tag)).untagged == []
    # All numbers are as they were: the third one can still be read, there is no fourth one.
    assert len(await alice.ok("FETCH 1:3 BODY.PEEK[HEADER]")) == 3
    assert (await alice.command("FETCH 4 FLAGS")).text.startswith(b"BAD ")
    assert await alice.ok(f"NOTIFY SET (selected {ALL})") == [
        b"* 3 EXPUNGE",
        b"* 3 EXISTS",
        b"* 1 FETCH (UID 1 FLAGS (\\Flagged))",
    ]


async def test_own_expunges_are_told_whatever_is_wanted(alice: ImapClient, other: ImapClient) -> None:
    await alice.ok("NOTIFY NONE")
    assert (await other.append("INBOX", mail("four"))).ok
    lines = await alice.ok("STORE 2 +FLAGS (\\Deleted)")
    assert lines == [b"* 2 FETCH (UID 2 FLAGS (\\Deleted))"]
    assert await alice.ok("EXPUNGE") == [b"* 2 EXPUNGE"]
    assert await alice.ok("UID FETCH 1:* FLAGS") == [
        b"* 1 FETCH (UID 1 FLAGS ())",
        b"* 2 FETCH (UID 3 FLAGS ())",
    ]


async def test_flags_are_told_only_when_they_are_wanted(alice: ImapClient, other: ImapClient) -> None:
    await alice.ok("NOTIFY SET (selected (MessageNew MessageExpunge))")
    await other.ok("STORE 1 +FLAGS (\\Flagged)")
    await other.ok("STORE 2 +FLAGS (\\Deleted)")
    await other.ok("EXPUNGE")
    await comes(alice, b"* 2 EXPUNGE")
    assert await alice.ok(f"NOTIFY SET (selected {ALL})") == [b"* 1 FETCH (UID 1 FLAGS (\\Flagged))"]


async def test_untold_changes_hold_back_the_highest_modseq(alice: ImapClient, other: ImapClient) -> None:
    lines = await alice.ok("ENABLE CONDSTORE")
    await alice.ok("NOTIFY NONE")
    lines = await alice.ok("STATUS INBOX (HIGHESTMODSEQ)")
    before = int(lines[0].split()[-1].rstrip(b")"))
    await other.ok("STORE 1 +FLAGS (\\Flagged)")
    await alice.ok("STORE 3 +FLAGS (\\Deleted)")
    answer = await alice.command("EXPUNGE")
    assert answer.untagged[:1] == [b"* 3 EXPUNGE"]
    found = re.search(rb"\[HIGHESTMODSEQ (\d+)\]", answer.tagged)
    assert found is not None
    assert int(found[1]) <= before


async def test_own_messages_are_not_fetched_for_their_sender(alice: ImapClient, other: ImapClient) -> None:
    await alice.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
    for command in ("COPY 1 INBOX", "APPEND INBOX {2+}\r\n\r\n"):
        lines = await alice.ok(command)
        assert not any(b"FETCH" in line for line in lines), lines
    assert (await other.append("INBOX", mail("six"))).ok
    lines.clear()
    while not any(b"FETCH" in line for line in lines):
        lines.append(await alice.response())
    assert lines[-1] == b"* 6 FETCH (UID 6)"


async def test_clients_of_qresync_and_uids_are_told_in_their_form(
    alice: ImapClient, other: ImapClient
) -> None:
    await alice.ok("ENABLE QRESYNC UIDONLY")
    await alice.ok("NOTIFY SET (selected (MessageNew (MODSEQ) MessageExpunge FlagChange))")
    assert (await other.append("INBOX", mail("four"))).ok
    assert await alice.response() == b"* 4 EXISTS"
    assert re.fullmatch(rb"\* 4 UIDFETCH \(MODSEQ \(\d+\)\)", await alice.response())
    await other.ok("STORE 1 +FLAGS (\\Deleted)")
    line = await alice.response()
    while not line.startswith(b"* 1 UIDFETCH"):
        line = await alice.response()
    assert re.fullmatch(rb"\* 1 UIDFETCH \(FLAGS \(\\Deleted\) MODSEQ \(\d+\)\)", line)
    await other.ok("EXPUNGE")
    while not line.startswith(b"* VANISHED"):
        line = await alice.response()
    assert line == b"* VANISHED 1"


async def test_searches_tell_new_messages_with_their_items(alice: ImapClient, other: ImapClient) -> None:
    tag = alice.send_command("UID SEARCH RETURN (COUNT UPDATE (UID ENVELOPE)) SUBJECT four")
    assert (await alice.answer(tag)).ok
    await alice.ok(f"NOTIFY SET (selected {ALL})")
    head = b'* ESEARCH (TAG "' + tag + b'")'
    for subject in ("other", "four"):
        assert (await other.append("INBOX", mail(subject))).ok
    lines: list[bytes] = []
    while not any(line.startswith(head) for line in lines):
        lines.append(await alice.response())
    # s7: EXISTS, FETCH, ESEARCH; nothing of what is not found
    assert lines[-1] == head + b" UID ADDTO (0 5)"
    assert lines[-2].startswith(b'* 5 FETCH (UID 5 ENVELOPE (NIL "four" ')
    assert sum(b"FETCH" in line for line in lines) == 1
    # s5.2: with NOTIFY's own items one FETCH for both, after ESEARCH
    await alice.ok("NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge))")
    assert (await other.append("INBOX", mail("four"))).ok
    lines = []
    while not any(b"FETCH" in line for line in lines):
        lines.append(await alice.response())
    assert lines[-2] == head + b" UID ADDTO (0 6)"
    assert re.match(rb"\* 6 FETCH \(UID 6 FLAGS \([^)]*\) ENVELOPE ", lines[-1])
    # A message that is found because of its flags is not new.
    tag = alice.send_command("UID SEARCH RETURN (UPDATE (ENVELOPE)) FLAGGED")
    assert (await alice.answer(tag)).ok
    lines = await alice.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
    assert lines == [b'* ESEARCH (TAG "' + tag + b'") UID ADDTO (0 1)']


async def test_new_messages_are_fetched_again_when_the_store_was_away(
    own_imap: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, other = await own_imap(), await own_imap()
    await alice.ok("ENABLE IMAP4rev2")
    await alice.ok("SELECT INBOX")
    await alice.ok("NOTIFY SET (selected (MessageNew (UID ENVELOPE) MessageExpunge))")
    failed: list[str] = []
    fetch_facts = MailStore.fetch_facts

    async def fails_at_first(
        store: MailStore, login: Login, request: mailbox_pb2.FetchFactsRequest
    ) -> AsyncGenerator[Sequence[mailbox_pb2.Facts]]:
        if not failed:
            failed.append("once")
            raise UnavailableError("away")
        async with aclosing(fetch_facts(store, login, request)) as pages:
            async for page in pages:
                yield page

    monkeypatch.setattr(MailStore, "fetch_facts", fails_at_first)
    monkeypatch.setattr(unasked, "_AGAIN_SECONDS", 0.01)
    assert (await other.append("INBOX", mail("one"))).ok
    assert await alice.response() == b"* 1 EXISTS"
    assert (await alice.response()).startswith(b'* 1 FETCH (UID 1 ENVELOPE (NIL "one" ')
    assert failed


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            "NOTIFY SET (selected (MessageNew MessageExpunge AnnotationChange))",
            BAD_EVENT,
        ),
        ("NOTIFY SET (selected (FlagChange))", b"BAD Syntax error in arguments"),
        ("NOTIFY SET", b"BAD Syntax error in arguments"),
    ],
)
async def test_a_refused_command_changes_nothing(
    alice: ImapClient, other: ImapClient, command: str, text: bytes
) -> None:
    await alice.ok(f"NOTIFY SET (selected {ALL})")
    assert (await alice.command(command)).text == text
    await other.ok("STORE 1 +FLAGS (\\Flagged)")
    await comes(alice, b"* 1 FETCH (UID 1 FLAGS (\\Flagged))")


async def test_it_lasts_from_mailbox_to_mailbox_and_ends_with_the_login(
    alice: ImapClient, other: ImapClient, mail_account: tuple[str, str]
) -> None:
    await alice.ok(f"NOTIFY SET (selected {ALL})")
    await alice.ok("SELECT Sent")
    assert (await other.append("Sent", mail("sent"))).ok
    await comes(alice, b"* 1 EXISTS")
    await alice.ok("NOTIFY NONE")
    await alice.ok("UNAUTHENTICATE")
    assert (await alice.command(f"NOTIFY SET (selected {ALL})")).text.startswith(b"BAD ")
    address, password = mail_account
    await alice.login(address, f'"{password}"')
    await alice.ok("SELECT INBOX")
    assert b"* 1 EXISTS" in (await alice.append("INBOX", mail("one"))).untagged


async def test_it_is_offered_after_the_login(imap: Connect) -> None:
    (offered,) = await (await imap()).ok("CAPABILITY")
    assert b"NOTIFY" in offered.split()
    assert b"NOTIFY" not in (await imap(None)).greeting
