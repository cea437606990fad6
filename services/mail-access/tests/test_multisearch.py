"""ESEARCH over several mailboxes (RFC 7377)."""

import re

import pytest

from postroom_testing.imap_client import Connect, ImapClient


def mail(subject: str, body: str = "Hello.") -> bytes:
    return f"From: Ann <ann@example.org>\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with mail in four mailboxes and an empty one; nothing is selected."""
    alice = await imap()
    for name in ("Work", "Work/Plans", "Work/Plans/Old", "Empty"):
        await alice.ok(f"CREATE {name}")
    for mailbox, subjects in {"INBOX": "ab", "Work": "b", "Work/Plans": "cb", "Work/Plans/Old": "b"}.items():
        for subject in subjects:
            assert (await alice.append(mailbox, mail(f"item {subject}"))).ok
    await alice.ok("SUBSCRIBE Work/Plans")
    return alice


async def found(client: ImapClient, text: str) -> dict[str, str]:
    """The results by mailbox; each response must be of this command."""
    tag = client.send_command(text)
    answer = await client.answer(tag)
    assert answer.ok, answer
    results: dict[str, str] = {}
    for line in answer.untagged:
        form = rb'\* ESEARCH \(TAG "%b" MAILBOX "?([^" ]+)"? UIDVALIDITY \d+\) UID (.+)' % tag
        told = re.fullmatch(form, line)
        assert told, line
        results[told[1].decode()] = told[2].decode()
    return results


@pytest.mark.parametrize(
    ("source", "mailboxes"),
    [
        ("personal", "INBOX=2 Work=1 Work/Plans=2 Work/Plans/Old=1"),
        ("inboxes", "INBOX=2"),
        ("subscribed", "INBOX=2 Work/Plans=2"),
        ("subtree Work", "Work=1 Work/Plans=2 Work/Plans/Old=1"),
        ("subtree-one Work", "Work=1 Work/Plans=2"),
        ("mailboxes (Work INBOX Absent Empty)", "INBOX=2 Work=1"),
        ("mailboxes Work inboxes subtree-one Work", "INBOX=2 Work=1 Work/Plans=2"),
    ],
)
async def test_each_mailbox_with_hits_is_told_of(alice: ImapClient, source: str, mailboxes: str) -> None:
    expected = {name: f"ALL {uid}" for name, _, uid in (each.partition("=") for each in mailboxes.split())}
    assert await found(alice, f'ESEARCH IN ({source}) SUBJECT "item b"') == expected


async def test_results_are_those_of_each_mailbox(alice: ImapClient) -> None:
    told = await found(alice, 'ESEARCH IN (personal) RETURN (COUNT MAX) NOT SUBJECT "item c"')
    assert told["INBOX"] == "MAX 2 COUNT 2"
    assert told["Work/Plans"] == "MAX 2 COUNT 1"
    assert await found(alice, "ESEARCH IN (personal) RETURN (COUNT) BODY absent") == {}
    assert await found(alice, "ESEARCH IN (mailboxes (INBOX Work)) 2:100") == {"INBOX": "ALL 2"}


async def test_what_is_selected_stays_so(alice: ImapClient) -> None:
    assert (await alice.command("ESEARCH ALL")).text.startswith(b"BAD ")
    assert (await alice.command("ESEARCH IN (selected inboxes) ALL")).text.startswith(b"BAD ")
    await alice.ok("SELECT Work/Plans")
    assert await found(alice, "ESEARCH ALL") == {"Work/Plans": "ALL 1:2"}
    assert await found(alice, "ESEARCH IN (selected inboxes) 1") == {"INBOX": "ALL 1", "Work/Plans": "ALL 1"}
    assert (await alice.command('ESEARCH RETURN (SAVE) SUBJECT "item c"')).text.startswith(b"OK ")
    assert await alice.ok("FETCH $ (UID)") == [b"* 1 FETCH (UID 1)"]
    assert await found(alice, "ESEARCH IN (selected inboxes) $") == {"Work/Plans": "ALL 1"}
    assert (await alice.command("ESEARCH IN (inboxes) CHARSET KOI8-R ALL")).text.startswith(
        b"NO [BADCHARSET "
    )


async def test_a_selected_mailbox_is_searched_once(alice: ImapClient) -> None:
    await alice.ok("SELECT INBOX")
    assert await found(alice, "ESEARCH IN (selected inboxes personal) 1") == {
        "INBOX": "ALL 1",
        "Work": "ALL 1",
        "Work/Plans": "ALL 1",
        "Work/Plans/Old": "ALL 1",
    }


async def test_what_others_share_is_searched_as_far_as_it_may_be_read(
    alice: ImapClient, imap: Connect
) -> None:
    bob = await imap("bob")
    users = [re.match(rb"\* ACL INBOX (\S+) ", (await user.ok("GETACL INBOX"))[0]) for user in (alice, bob)]
    owner, guest = (found[1].decode() for found in users if found)
    shared = f"Other Users/{owner}/Work"
    await alice.ok(f"SETACL Work {guest} lr")
    await alice.ok(f"SETACL Work/Plans {guest} r")
    await alice.ok(f"SETACL Work/Plans/Old {guest} l")
    assert await found_names(bob, f'ESEARCH IN (subtree "{shared}") ALL') == {shared}
    explicitly = f'mailboxes ("{shared}" "{shared}/Plans" "{shared}/Plans/Old")'
    assert await found_names(bob, f"ESEARCH IN ({explicitly}) ALL") == {shared, f"{shared}/Plans"}
    assert await found_names(bob, "ESEARCH IN (personal inboxes subscribed) ALL") == set()
    await bob.ok(f'SELECT "{shared}"')
    assert await found_names(bob, 'ESEARCH SUBJECT "item b"') == {shared}
    assert await found_names(bob, "ESEARCH IN (personal) ALL") == set()


async def found_names(client: ImapClient, text: str) -> set[str]:
    told = [re.search(rb'MAILBOX "?([^"]+)"? UIDVALIDITY', line) for line in await client.ok(text)]
    return {found[1].decode() for found in told if found}
