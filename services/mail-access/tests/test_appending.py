"""Messages of parts, many at once, in another's place (RFC 3502, RFC 4469, RFC 3516, RFC 8508, RFC 6855)."""

import re

import pytest

from postroom_testing.imap_client import Connect, ImapClient

DRAFT = b"Subject: draft\r\nTo: b@b.test\r\n\r\nDraft.\r\n"
PARTS = (
    b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=cut\r\n\r\n"
    b"--cut\r\nX: one\r\n\r\nfirst\r\n--cut\r\nX: two\r\n\r\nsecond\r\n--cut--\r\n"
)


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with a draft and a message of parts in Drafts, which is selected."""
    alice = await imap()
    await alice.append("Drafts", DRAFT, "(\\Draft)")
    await alice.append("Drafts", PARTS)
    await alice.ok("SELECT Drafts")
    return alice


async def _validity(client: ImapClient, name: str) -> bytes:
    (told,) = await client.ok(f"STATUS {name} (UIDVALIDITY)")
    found = re.search(rb"UIDVALIDITY (\d+)", told)
    assert found is not None
    return found[1]


async def _messages(client: ImapClient, name: str) -> bytes:
    (told,) = await client.ok(f"STATUS {name} (MESSAGES)")
    return told.rpartition(b" ")[2].rstrip(b")")


async def test_several_messages_come_at_once(alice: ImapClient) -> None:
    command = (
        b'APPEND Drafts (\\Seen) {3+}\r\none "01-Jan-2001 00:00:00 +0000" {3+}\r\ntwo ($x) ~{5+}\r\nth\0ee'
    )
    answer = await alice.command(command)
    validity = await _validity(alice, "Drafts")
    assert answer.text == b"OK [APPENDUID %b 3:5] APPEND completed" % validity
    assert b"* 5 EXISTS" in answer.untagged
    fetched = await alice.ok("FETCH 3:5 (FLAGS INTERNALDATE BODY.PEEK[])")
    assert [re.sub(rb'"[^"]*2026[^"]*"', b"now", each) for each in fetched] == [
        b"* 3 FETCH (FLAGS (\\Seen \\Recent) INTERNALDATE now BODY[] {3}\r\none)",
        b'* 4 FETCH (FLAGS (\\Recent) INTERNALDATE " 1-Jan-2001 00:00:00 +0000" BODY[] {3}\r\ntwo)',
        b"* 5 FETCH (FLAGS ($x \\Recent) INTERNALDATE now BODY[] {5}\r\nth\0ee)",
    ]


async def test_each_literal_that_waits_is_asked_for(alice: ImapClient) -> None:
    alice.send(b"a APPEND Drafts {3}\r\n")
    assert await alice.response() == b"+ Ready for literal"
    alice.send(b"one {3}\r\n")
    assert await alice.response() == b"+ Ready for literal"
    alice.send(b"two\r\n")
    answer = await alice.answer(b"a")
    assert re.fullmatch(rb"OK \[APPENDUID \d+ 3:4\] APPEND completed", answer.text)


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"APPEND Drafts {3+}\r\none {0+}\r\n", b"NO A message without octets cancels APPEND"),
        (b"APPEND Drafts {0+}\r\n", b"NO A message without octets cancels APPEND"),
        (b"APPEND Drafts {3+}\r\none x", b"BAD Syntax error in arguments"),
        (b"APPEND Drafts {3+}\r\none CATENATE (URL x)", b"NO [BADURL x] The URL names no message or part"),
        (b"APPEND Nowhere {3+}\r\none {3+}\r\ntwo", b"NO [TRYCREATE] No such mailbox"),
        (b"APPEND Drafts {3+}\r\none {99999999+}\r\n" + b"x" * 99, None),
    ],
)
async def test_messages_come_all_or_none(alice: ImapClient, command: bytes, reply: bytes | None) -> None:
    if reply is None:
        alice.send(b"a " + command)
        assert await alice.response() == b"a NO [TOOBIG] Message too big"
        return
    assert (await alice.command(command)).text == reply
    assert await _messages(alice, "Drafts") == b"2"


async def test_a_message_is_made_of_parts_of_others(alice: ImapClient) -> None:
    validity = await _validity(alice, "Drafts")
    command = (
        b'APPEND INBOX (\\Seen) CATENATE (URL "/Drafts;UIDVALIDITY=%b/;UID=1/;section=HEADER" TEXT {7+}\r\n'
        b"Text.\r\n URL /Drafts/;UID=2/;SECTION=2 UTF8 (~{2+}\r\n\r\n) URL ;UID=2/;SECTION=1.MIME"
        b" URL {37+}\r\n/Drafts/;UID=1/;SECTION=HEADER.FIELDS%%20(To))" % validity
    ).replace(b"{37+}", b"{%d+}" % len(b"/Drafts/;UID=1/;SECTION=HEADER.FIELDS%20(To)"))
    answer = await alice.command(command)
    assert re.fullmatch(rb"OK \[APPENDUID \d+ 1\] APPEND completed", answer.text)
    await alice.ok("SELECT INBOX")
    whole = b"Subject: draft\r\nTo: b@b.test\r\n\r\nText.\r\nsecond\r\nX: one\r\n\r\nTo: b@b.test\r\n\r\n"
    assert await alice.ok("FETCH 1 BODY[]") == [b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(whole), whole)]
    await alice.ok("SELECT Drafts")
    assert await alice.ok("SEARCH SEEN") == [b"* SEARCH"]


async def test_a_message_of_urls_alone_is_a_copy(alice: ImapClient) -> None:
    assert (await alice.command("APPEND INBOX CATENATE (URL /Drafts/;UID=2)")).ok
    await alice.ok("SELECT INBOX")
    assert await alice.ok("FETCH 1 BODY.PEEK[]") == [b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(PARTS), PARTS)]


@pytest.mark.parametrize(
    "url",
    [
        b"/Drafts/;UID=3",
        b"/Drafts;UIDVALIDITY=1/;UID=1",
        b"/Nowhere/;UID=1",
        b"/Drafts/;UID=2/;SECTION=3",
        b"/Drafts/;UID=2/;SECTION=1.HEADER",
        b"imap://alice@postroom.test/Drafts/;UID=1",
        b"nonsense",
    ],
)
async def test_a_url_that_names_nothing_is_told(alice: ImapClient, url: bytes) -> None:
    answer = await alice.command(b"APPEND Drafts CATENATE (TEXT {2+}\r\nhi URL %b TEXT {3+}\r\nyou)" % url)
    assert answer.text == b"NO [BADURL %b] The URL names no message or part" % url
    alice.send(b"a APPEND Drafts CATENATE (URL %b TEXT {9}\r\n" % url)
    assert (await alice.answer(b"a")).text == answer.text
    assert await alice.ok("NOOP") == []
    assert await _messages(alice, "Drafts") == b"2"


async def test_the_selected_mailbox_is_the_base_of_urls(imap: Connect, alice: ImapClient) -> None:
    assert (await alice.command("APPEND Drafts CATENATE (URL ;UID=1)")).ok
    await alice.ok("UNSELECT")
    assert (await alice.command("APPEND Drafts CATENATE (URL ;UID=1)")).text.startswith(b"NO [BADURL ;UID=1]")


async def test_parts_of_parts_do_not_grow_beyond_the_limit(imap: Connect) -> None:
    alice = await imap()
    line = b"x" * 250_000
    await alice.append("INBOX", line)
    urls = b" ".join([b"URL /INBOX/;UID=1"] * 900)
    answer = await alice.command(b"APPEND INBOX CATENATE (" + urls + b")")
    # Without an object store such a message has no place, but none is taken beyond the limit either.
    assert answer.text.startswith((b"NO [TOOBIG]", b"NO [UNAVAILABLE]"))
    assert await _messages(alice, "INBOX") == b"1"


@pytest.mark.parametrize("command", ["REPLACE 1", "UID REPLACE 1"])
async def test_a_message_takes_the_place_of_another(alice: ImapClient, command: str) -> None:
    answer = await alice.command(f"{command} Drafts (\\Draft) {{5+}}\r\nfinal".encode())
    validity = await _validity(alice, "Drafts")
    assert answer.text == b"OK REPLACE completed"
    assert answer.untagged[0] == b"* OK [APPENDUID %b 3] Replacement is there" % validity
    assert answer.untagged[1:3] == [b"* 1 EXPUNGE", b"* 2 EXISTS"]
    assert await alice.ok("FETCH 1:* (UID FLAGS BODY.PEEK[]<0.5>)") == [
        b"* 1 FETCH (UID 2 FLAGS (\\Recent) BODY[]<0> {5}\r\nSubje)",
        b"* 2 FETCH (UID 3 FLAGS (\\Draft \\Recent) BODY[]<0> {5}\r\nfinal)",
    ]


async def test_a_draft_is_replaced_by_what_was_sent_with_its_own_parts(alice: ImapClient) -> None:
    command = b"UID REPLACE 1 Sent CATENATE (TEXT {6+}\r\nX: y\r\n URL /Drafts/;UID=1)"
    answer = await alice.command(command)
    assert answer.text == b"OK REPLACE completed"
    assert b"* 1 EXPUNGE" in answer.untagged
    assert not any(b"EXISTS" in each for each in answer.untagged)
    await alice.ok("SELECT Sent")
    whole = b"X: y\r\n" + DRAFT
    assert await alice.ok("FETCH 1 BODY.PEEK[]") == [b"* 1 FETCH (BODY[] {%d}\r\n%b)" % (len(whole), whole)]


async def test_what_cannot_be_replaced_stays(alice: ImapClient, imap: Connect) -> None:
    text = b" Drafts {5+}\r\nfinal"
    assert (await alice.command(b"REPLACE 3" + text)).text.startswith(b"BAD")
    assert (await alice.command(b"UID REPLACE 9" + text)).text == (
        b"NO [EXPUNGEISSUED] Some of the messages were expunged"
    )
    assert (await alice.command(b"REPLACE 1 Nowhere {5+}\r\nfinal")).text == b"NO [TRYCREATE] No such mailbox"
    assert (await alice.command(b"REPLACE 1:2" + text)).text.startswith(b"BAD")
    assert (await alice.command(b"REPLACE 1 Drafts {5+}\r\nfinal {5+}\r\nfinal")).text.startswith(b"BAD")
    assert (await alice.command(b"REPLACE 1 Drafts CATENATE (URL x)")).text.startswith(b"NO [BADURL")
    phone = await imap()
    assert (await phone.command(b"REPLACE 1" + text)).text.startswith(b"BAD")
    await phone.ok("EXAMINE Drafts")
    assert (await phone.command(b"REPLACE 1" + text)).text.startswith(b"NO [READ-ONLY]")
    assert await _messages(alice, "Drafts") == b"2"


async def test_a_message_that_went_meanwhile_is_not_replaced(alice: ImapClient, imap: Connect) -> None:
    phone = await imap()
    await phone.ok("SELECT Drafts")
    alice.send(b"a REPLACE 1 INBOX {5}\r\n")
    assert await alice.response() == b"+ Ready for literal"
    await phone.ok("UID STORE 1 +FLAGS (\\Deleted)")
    await phone.ok("EXPUNGE")
    alice.send(b"final\r\n")
    answer = await alice.answer(b"a")
    assert answer.text == b"NO [EXPUNGEISSUED] Some of the messages were expunged"
    assert await _messages(alice, "INBOX") == b"0"


async def test_utf8_has_to_be_enabled_first(alice: ImapClient) -> None:
    command = "APPEND Drafts UTF8 (~{15+}\r\nSubject: é\r\n\r\n)".encode()
    assert (await alice.command(command)).text == b"NO [CANNOT] Enable UTF8=ACCEPT first"
    if b"UTF8=ACCEPT" in (await alice.ok("CAPABILITY"))[0]:
        await alice.ok("ENABLE UTF8=ACCEPT")
        assert (await alice.command(command)).ok


async def test_sessions_that_follow_by_modseq_are_told_what_went(alice: ImapClient) -> None:
    if b"QRESYNC" not in (await alice.ok("CAPABILITY"))[0]:
        pytest.skip("QRESYNC is not there yet")
    await alice.ok("ENABLE QRESYNC")
    answer = await alice.command(b"UID REPLACE 1 Drafts {5+}\r\nfinal")
    assert b"* VANISHED 1" in answer.untagged
    assert re.fullmatch(rb"OK \[HIGHESTMODSEQ \d+\] REPLACE completed", answer.text)
