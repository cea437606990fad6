"""FETCH, STORE, SEARCH, COPY, MOVE and EXPUNGE (RFC 3501 s6.4)."""

import asyncio
import re

import pytest

from postroom_testing.imap_client import Connect, ImapClient

MULTIPART = b"""From: Ann <ann@example.org>
To: alice@postroom.test
Subject: Plans
Date: Mon, 2 Nov 2026 17:00:00 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=cut

--cut
Content-Type: text/plain

First part.
--cut
Content-Type: message/rfc822

Subject: Inner

Inner text.
--cut--
""".replace(b"\n", b"\r\n")


def mail(subject: str, body: str = "Hello.") -> bytes:
    head = f"From: Ann <ann@example.org>\r\nSubject: {subject}\r\nDate: Mon, 2 Nov 2026 17:00:00 +0100\r\n"
    return f"{head}\r\n{body}\r\n".encode()


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with four messages in her inbox, which is selected."""
    alice = await imap()
    for subject in ("one", "two", "three", "four"):
        assert (await alice.append("INBOX", mail(subject))).ok
    await alice.ok("SELECT INBOX")
    return alice


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        ("1", b"First part."),
        ("2.HEADER", b"Subject: Inner\r\n\r\n"),
        ("2.TEXT", b"Inner text."),
        ("2.MIME", b"Content-Type: message/rfc822\r\n\r\n"),
        ("HEADER.FIELDS (Subject)", b"Subject: Plans\r\n\r\n"),
        ("2.HEADER.FIELDS (subject)", b"Subject: Inner\r\n\r\n"),
        ("HEADER.FIELDS.NOT (To Date From Subject MIME-Version)", MULTIPART[134:182] + b"\r\n"),
    ],
)
async def test_each_section_is_its_own_octets(imap: Connect, section: str, octets: bytes) -> None:
    alice = await imap()
    await alice.append("INBOX", MULTIPART)
    await alice.ok("SELECT INBOX")
    (fetched,) = await alice.ok(f"FETCH 1 BODY.PEEK[{section}]")
    label, _, literal = fetched.partition(b"] ")
    if section.startswith("HEADER.FIELDS.NOT"):
        octets = b"Content-Type: multipart/mixed; boundary=cut\r\n\r\n"
    assert label.startswith(b"* 1 FETCH (BODY[")
    assert literal == b"{%d}\r\n%b)" % (len(octets), octets)


async def test_a_part_that_is_not_there_is_nil(alice: ImapClient) -> None:
    assert await alice.ok("FETCH 1 BODY.PEEK[7.2]") == [b"* 1 FETCH (BODY[7.2] NIL)"]


async def test_a_partial_fetch_ends_where_the_message_ends(alice: ImapClient) -> None:
    whole = mail("one")
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[]<6.3>")
    assert fetched == b"* 1 FETCH (BODY[]<6> {3}\r\nAnn)"
    (fetched,) = await alice.ok(f"FETCH 1 BODY.PEEK[]<{len(whole) - 2}.100>")
    assert fetched == b"* 1 FETCH (BODY[]<%d> {2}\r\n\r\n)" % (len(whole) - 2)
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[]<5000.100>")
    assert fetched == b"* 1 FETCH (BODY[]<5000> {0}\r\n)"
    (fetched,) = await alice.ok("FETCH 1 BODY.PEEK[HEADER]<0.4>")
    assert fetched == b"* 1 FETCH (BODY[HEADER]<0> {4}\r\nFrom)"


async def test_many_messages_come_in_order_with_many_items(alice: ImapClient) -> None:
    fetched = await alice.ok("UID FETCH 1:* (ENVELOPE BODY.PEEK[TEXT] BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    subjects = [re.findall(rb"Subject: (\w+)", each) for each in fetched]
    assert subjects == [[b"one"], [b"two"], [b"three"], [b"four"]]
    assert all(each.startswith(b"* %d FETCH (" % at) for at, each in enumerate(fetched, 1))
    assert all(b'"%b"' % subject[0] in each for subject, each in zip(subjects, fetched, strict=True))


async def test_store_tells_flags_unless_silent(alice: ImapClient) -> None:
    assert await alice.ok("STORE 1:2 FLAGS (\\Seen $Later)") == [
        b"* 1 FETCH (FLAGS (\\Seen $Later \\Recent))",
        b"* 2 FETCH (FLAGS (\\Seen $Later \\Recent))",
        b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Later)",
        b"* OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Later \\*)] Flags that last",
    ]
    assert await alice.ok("UID STORE 2 -FLAGS (\\Seen)") == [b"* 2 FETCH (UID 2 FLAGS ($Later \\Recent))"]
    assert await alice.ok("STORE 2 +FLAGS.SILENT (\\Flagged)") == []
    assert await alice.ok("FETCH 2 FLAGS") == [b"* 2 FETCH (FLAGS (\\Flagged $Later \\Recent))"]


async def test_a_read_only_session_changes_nothing(alice: ImapClient, imap: Connect) -> None:
    phone = await imap()
    examined = await phone.command("EXAMINE INBOX")
    assert examined.text == b"OK [READ-ONLY] EXAMINE completed"
    for command in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 Trash"):
        assert (await phone.command(command)).text == b"NO [READ-ONLY] The mailbox is selected read-only"
    await phone.ok("FETCH 1 BODY[]")
    await phone.ok("CLOSE")
    assert await alice.ok("SEARCH SEEN") == [b"* SEARCH"]


async def test_copies_are_paired_with_their_originals(alice: ImapClient) -> None:
    copied = await alice.command("COPY 2,4 Trash")
    assert re.fullmatch(rb"OK \[COPYUID \d+ 2,4 1:2\] COPY completed", copied.text)
    assert (await alice.command("COPY 1 Nowhere")).text == b"NO [TRYCREATE] No such mailbox"
    assert (await alice.command("UID COPY 77 Trash")).text == b"OK COPY completed, nothing to copy"


async def test_what_is_copied_into_the_selected_mailbox_is_seen_before_the_ok(alice: ImapClient) -> None:
    copied = await alice.command("COPY 1 INBOX")
    assert b"* 5 EXISTS" in copied.untagged


async def test_move_tells_where_to_and_then_what_is_gone(alice: ImapClient) -> None:
    moved = await alice.command("MOVE 1:2 Archive")
    assert re.fullmatch(rb"\* OK \[COPYUID \d+ 1:2 1:2\] Moved", moved.untagged[0])
    assert moved.untagged[1:] == [b"* 2 EXPUNGE", b"* 1 EXPUNGE"]
    assert moved.text == b"OK MOVE completed"
    assert await alice.ok("FETCH 1:2 UID") == [b"* 1 FETCH (UID 3)", b"* 2 FETCH (UID 4)"]


async def test_uid_expunge_takes_only_what_it_names(alice: ImapClient) -> None:
    await alice.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)")
    assert await alice.ok("UID EXPUNGE 2,90") == [b"* 2 EXPUNGE"]
    assert await alice.ok("UID EXPUNGE 90") == []
    assert await alice.ok("SEARCH DELETED") == [b"* SEARCH 1 2"]


async def test_close_expunges_without_a_word_and_unselect_does_not(alice: ImapClient) -> None:
    await alice.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await alice.ok("UNSELECT")
    assert b"* 4 EXISTS" in await alice.ok("SELECT INBOX")
    assert await alice.ok("CLOSE") == []
    assert b"* 3 EXISTS" in await alice.ok("SELECT INBOX")


@pytest.mark.parametrize(
    ("keys", "numbers"),
    [
        ("ALL", b" 1 2 3 4"),
        ("SUBJECT TWO", b" 2"),
        ("NOT SUBJECT two", b" 1 3 4"),
        ("OR SUBJECT two SUBJECT four", b" 2 4"),
        ("BODY hello 2:3", b" 2 3"),
        ("TEXT three", b" 3"),
        ("HEADER Date Nov LARGER 10", b" 1 2 3 4"),
        ("SENTON 2-Nov-2026", b" 1 2 3 4"),
        ("SENTBEFORE 2-Nov-2026", b""),
        ("UNSEEN UID 3:*", b" 3 4"),
        ("RECENT", b" 1 2 3 4"),
        ("KEYWORD $None", b""),
        ("SMALLER 10", b""),
        ("BEFORE 1-Jan-2000", b""),
    ],
)
async def test_search_finds(alice: ImapClient, keys: str, numbers: bytes) -> None:
    assert await alice.ok(f"SEARCH {keys}") == [b"* SEARCH" + numbers]


async def test_a_sequence_number_beyond_the_mailbox_is_refused_and_a_uid_is_not(alice: ImapClient) -> None:
    assert (await alice.command("FETCH 5 FLAGS")).text == b"BAD No such message sequence number"
    assert await alice.ok("UID FETCH 5 FLAGS") == []


async def test_a_message_is_recent_to_one_session_only(alice: ImapClient, imap: Connect) -> None:
    phone = await imap()
    assert b"* 0 RECENT" in await phone.ok("SELECT INBOX")
    await phone.append("INBOX", mail("five"))
    assert await phone.ok("FETCH 5 FLAGS") == [b"* 5 FETCH (FLAGS (\\Recent))"]
    assert await alice.ok("NOOP") == [b"* 5 EXISTS", b"* 4 RECENT"]


async def test_a_mailbox_that_has_just_grown_large_is_quick(alice: ImapClient) -> None:
    for _ in range(12):  # each doubles it
        await alice.ok("COPY 1:* INBOX")
    total = 4 * 2**12
    uneven = ",".join(map(str, range(1, total, 8)))
    async with asyncio.timeout(20):
        await alice.ok("STORE 1:* +FLAGS.SILENT (\\Seen)")
        await alice.ok(f"STORE {uneven} +FLAGS.SILENT (\\Deleted)")
        assert len(await alice.ok(f"FETCH {uneven} ENVELOPE")) == total // 8
        assert len(await alice.ok("EXPUNGE")) == total // 8
    assert await alice.ok("STATUS INBOX (MESSAGES UNSEEN)") == [
        b"* STATUS INBOX (MESSAGES %d UNSEEN 0)" % (total - total // 8)
    ]
