"""Whole sessions against the real mail store."""

import asyncio
import imaplib
import re

from postroom_testing.imap_client import Connect

MAIL = (
    b"From: Ann <ann@example.org>\r\nTo: alice@postroom.test\r\nSubject: Tea at five\r\n"
    b"Date: Mon, 2 Nov 2026 17:00:00 +0100\r\nMessage-ID: <1@example.org>\r\n\r\nBring biscuits.\r\n"
)


async def test_a_message_that_is_appended_is_fetched_octet_by_octet(imap: Connect) -> None:
    alice = await imap()
    appended = await alice.append("INBOX", MAIL, "(\\Flagged $Work)")
    assert re.fullmatch(rb"OK \[APPENDUID \d+ 1\] APPEND completed", appended.text)

    selected = await alice.command("SELECT INBOX")
    assert b"* 1 EXISTS" in selected.untagged
    assert b"* 1 RECENT" in selected.untagged
    assert selected.text == b"OK [READ-WRITE] SELECT completed"

    (fetched,) = await alice.ok("FETCH 1 (UID FLAGS RFC822.SIZE BODY.PEEK[])")
    assert fetched == (
        b"* 1 FETCH (UID 1 FLAGS (\\Flagged $Work \\Recent) RFC822.SIZE %d BODY[] {%d}\r\n%b)"
        % (len(MAIL), len(MAIL), MAIL)
    )


async def test_a_plain_fetch_marks_as_seen_and_says_so(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    (fetched,) = await alice.ok("FETCH 1 BODY[TEXT]")
    assert fetched == b"* 1 FETCH (BODY[TEXT] {17}\r\nBring biscuits.\r\n FLAGS (\\Seen \\Recent))"
    assert await alice.ok("SEARCH SEEN") == [b"* SEARCH 1"]


async def test_idle_is_told_of_what_another_session_does(imap: Connect) -> None:
    alice, phone = await imap(), await imap()
    await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    await phone.ok("SELECT INBOX")
    tag = phone.send_command("IDLE")
    assert await phone.response() == b"+ idling"

    await alice.append("INBOX", MAIL)
    assert await phone.response() == b"* 2 EXISTS"
    assert await phone.response() == b"* 0 RECENT"
    await alice.ok("STORE 1 +FLAGS (\\Deleted)")
    assert await phone.response() == b"* 1 FETCH (UID 1 FLAGS (\\Deleted))"
    assert await alice.ok("EXPUNGE") == [b"* 1 EXPUNGE"]
    assert await phone.response() == b"* 1 EXPUNGE"
    phone.send(b"DONE\r\n")
    assert (await phone.answer(tag)).ok


async def test_an_expunge_is_told_only_when_allowed(imap: Connect) -> None:
    alice, phone = await imap(), await imap()
    for _ in range(3):
        await alice.append("INBOX", MAIL)
    await alice.ok("SELECT INBOX")
    await phone.ok("SELECT INBOX")
    await alice.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await alice.ok("EXPUNGE")

    assert await phone.ok("FETCH 1,3 UID") == [b"* 1 FETCH (UID 1)", b"* 3 FETCH (UID 3)"]
    assert await phone.ok("FETCH 1:3 UID") == [b"* %d FETCH (UID %d)" % (each, each) for each in (1, 2, 3)]
    assert await phone.ok("SEARCH ALL") == [b"* SEARCH 1 3"]
    assert await phone.ok("NOOP") == [b"* 2 EXPUNGE"]
    assert await phone.ok("FETCH 1:2 UID") == [b"* 1 FETCH (UID 1)", b"* 2 FETCH (UID 3)"]


async def test_imaplib_goes_through_all_of_it(imap_port: int, mail_account: tuple[str, str]) -> None:
    def talk() -> None:
        client = imaplib.IMAP4("127.0.0.1", imap_port)
        client.login(*mail_account)
        assert client.create("Projects/Tea")[0] == "OK"
        assert client.append("Projects/Tea", "(\\Seen)", imaplib.Time2Internaldate(0), MAIL)[0] == "OK"
        assert client.select("Projects/Tea") == ("OK", [b"1"])
        assert client.search(None, "SUBJECT", "tea") == ("OK", [b"1"])
        status, found = client.fetch("1", "(ENVELOPE BODYSTRUCTURE INTERNALDATE)")
        assert status == "OK"
        assert found[0] is not None
        assert b'"Tea at five"' in found[0]
        assert client.copy("1", "INBOX")[0] == "OK"
        assert client.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
        assert client.expunge() == ("OK", [b"1"])
        assert client.close()[0] == "OK"
        assert client.delete("Projects/Tea")[0] == "OK"
        assert client.logout()[0] == "BYE"

    await asyncio.to_thread(talk)
