"""Searches whose changes the client is told of (RFC 5267 s4.3)."""

import pytest

from postroom_testing.imap_client import Connect, ImapClient


def mail(subject: str, body: str = "Hello.") -> bytes:
    return f"From: Ann <ann@example.org>\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with four messages in her inbox, the second and fourth flagged; it is selected."""
    alice = await imap()
    for subject in ("one", "two", "three", "four"):
        flags = "(\\Flagged)" if subject in {"two", "four"} else ""
        assert (await alice.append("INBOX", mail(subject), flags)).ok
    await alice.ok("SELECT INBOX")
    return alice


async def begin(client: ImapClient, text: str) -> tuple[bytes, list[bytes]]:
    """The head of this search's responses, and what the first ones said."""
    tag = client.send_command(text)
    answer = await client.answer(tag)
    assert answer.ok, answer
    head = b'* ESEARCH (TAG "' + tag + b'")'
    return head, told(head, answer.untagged)


def told(head: bytes, lines: list[bytes]) -> list[bytes]:
    return [line.removeprefix(head).strip() for line in lines if line.startswith(head)]


async def test_own_changes_are_told(alice: ImapClient) -> None:
    head, first = await begin(alice, "UID SEARCH RETURN (UPDATE COUNT) FLAGGED")
    assert first == [b"UID COUNT 2"]
    assert told(head, await alice.ok("STORE 1 +FLAGS (\\Flagged)")) == [b"UID ADDTO (0 1)"]
    assert told(head, await alice.ok("STORE 1:2 -FLAGS.SILENT (\\Flagged)")) == [b"UID REMOVEFROM (0 1:2)"]
    assert told(head, await alice.ok("STORE 3 +FLAGS (\\Seen)")) == []
    assert (await alice.append("INBOX", mail("five"), "(\\Flagged)")).ok
    assert told(head, await alice.ok("NOOP")) in ([b"UID ADDTO (0 5)"], [])
    await alice.ok("STORE 4 +FLAGS.SILENT (\\Deleted)")
    lines = await alice.ok("EXPUNGE")
    assert told(head, lines) == [b"UID REMOVEFROM (0 4)"]


async def test_changes_of_others_are_told_with_their_cause(alice: ImapClient, imap: Connect) -> None:
    head, first = await begin(alice, "SEARCH RETURN (UPDATE ALL) FLAGGED")
    assert first == [b"ALL 2,4"]
    other = await imap()
    assert (await other.append("INBOX", mail("five"), "(\\Flagged)")).ok
    await other.ok("SELECT INBOX")
    await other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    lines: list[bytes] = []
    while len(told(head, lines)) < 2:
        lines += await alice.ok("NOOP")
    # RFC 5267 s4.3.4: before EXPUNGE, with the old number; s4.3.3: after EXISTS, with the new one
    assert lines.index(head + b" REMOVEFROM (0 2)") < lines.index(b"* 2 EXPUNGE")
    assert lines.index(b"* 4 EXISTS") < lines.index(head + b" ADDTO (0 4)")


async def test_texts_are_looked_into_when_mail_comes(alice: ImapClient) -> None:
    head, first = await begin(alice, "UID SEARCH RETURN (UPDATE) BODY needle")
    assert first == [b"UID"]
    assert (await alice.append("INBOX", mail("five", "no"))).ok
    lines = (await alice.append("INBOX", mail("six", "a needle"))).untagged
    lines += await alice.ok("NOOP")
    assert told(head, lines) == [b"UID ADDTO (0 6)"]


async def test_an_idle_client_is_told(alice: ImapClient, imap: Connect) -> None:
    head, _ = await begin(alice, "UID SEARCH RETURN (UPDATE) UNSEEN")
    idle = alice.send_command("IDLE")
    assert (await alice.response()).startswith(b"+ ")
    other = await imap()
    await other.ok("SELECT INBOX")
    await other.ok("STORE 3 +FLAGS (\\Seen)")
    while not (line := await alice.response()).startswith(head):
        pass
    assert line == head + b" UID REMOVEFROM (0 3)"
    alice.send(b"DONE\r\n")
    assert (await alice.answer(idle)).ok


async def test_a_search_is_told_of_until_it_is_cancelled_or_left(alice: ImapClient) -> None:
    head, _ = await begin(alice, "UID SEARCH RETURN (UPDATE) FLAGGED")
    tag = head.split(b'"')[1]
    alice.send(tag + b" UID SEARCH RETURN (UPDATE) ALL\r\n")
    assert (await alice.answer(tag)).tagged.startswith(tag + b" BAD ")
    assert (await alice.command(b'CANCELUPDATE "' + tag + b'"')).ok
    assert told(head, await alice.ok("STORE 1 +FLAGS (\\Flagged)")) == []
    assert (await alice.command(b'CANCELUPDATE "' + tag + b'"')).text.startswith(b"NO ")
    head, _ = await begin(alice, "UID SEARCH RETURN (UPDATE) FLAGGED")
    await alice.ok("SELECT INBOX")
    assert told(head, await alice.ok("STORE 1 -FLAGS (\\Flagged)")) == []


async def test_only_so_many_searches_are_kept(alice: ImapClient) -> None:
    for _ in range(8):
        _, first = await begin(alice, "SEARCH RETURN (UPDATE COUNT) ALL")
        assert first == [b"COUNT 4"]
    for command in ("SEARCH RETURN (UPDATE COUNT) ALL", "SORT RETURN (UPDATE COUNT) (DATE) UTF-8 ALL"):
        tag = alice.send_command(command)
        answer = await alice.answer(tag)
        assert answer.ok
        assert any(b"COUNT 4" in line for line in answer.untagged)
        assert any(line.startswith(b'* NO [NOUPDATE "' + tag + b'"]') for line in answer.untagged)
    lines = await alice.ok("STORE 1:4 +FLAGS.SILENT (\\Deleted)")
    assert lines == []
    assert sum(b"REMOVEFROM (0 1:4)" in line for line in await alice.ok("EXPUNGE")) == 8


async def test_a_search_of_several_mailboxes_follows_the_selected_one(alice: ImapClient) -> None:
    await alice.ok("CREATE Other")
    assert (await alice.append("Other", mail("other"))).ok
    tag = alice.send_command("ESEARCH IN (selected personal) RETURN (UPDATE COUNT) ALL")
    assert len((await alice.answer(tag)).untagged) == 2
    lines = (await alice.append("INBOX", mail("five"))).untagged
    lines += (await alice.append("Other", mail("more"))).untagged
    lines += await alice.ok("NOOP")
    assert told(b'* ESEARCH (TAG "' + tag + b'")', lines) == [b"UID ADDTO (0 5)"]
    await alice.ok("UNSELECT")
    refused = await alice.command("ESEARCH IN (personal) RETURN (UPDATE) ALL")
    assert refused.text.startswith(b"BAD ")
