"""UIDONLY (RFC 9586) against the real mail store."""

import re

import pytest

from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def filled(connect: Connect, count: int = 4) -> tuple[ImapClient, ImapClient]:
    """A session of UIDs only, and another; the first message is gone, so that numbers and UIDs differ."""
    other, client = await connect(), await connect()
    for _ in range(count):
        await other.append("INBOX", MAIL)
    await other.ok("SELECT INBOX")
    await other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    assert await client.ok("ENABLE UIDONLY") == [b"* ENABLED UIDONLY"]
    return client, other


@pytest.mark.parametrize(
    "command",
    [
        "FETCH 1 (FLAGS)",
        "STORE 1 +FLAGS (\\Seen)",
        "COPY 1 Archive",
        "MOVE * Archive",
        "SEARCH ALL",
        "UID SEARCH 1:*",
        "SORT (ARRIVAL) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
    ],
)
async def test_message_numbers_are_refused_and_nothing_happens(imap: Connect, command: str) -> None:
    client, _ = await filled(imap, 2)
    await client.ok("SELECT INBOX")
    answer = await client.command(command)
    assert (answer.untagged, answer.text) == ([], b"BAD [UIDREQUIRED] Only UIDs are in use")
    assert await client.ok("UID FETCH 1:* (UID FLAGS)") == [b"* 2 UIDFETCH (UID 2 FLAGS ())"]


async def test_replace_by_number_is_refused(imap: Connect) -> None:
    client, _ = await filled(imap, 2)
    await client.ok("SELECT INBOX")
    answer = await client.command(f"REPLACE 1 INBOX {{{len(MAIL)}+}}\r\n".encode() + MAIL)
    assert answer.text.startswith(b"BAD [UIDREQUIRED] ")
    assert (await client.command(f"UID REPLACE 2 INBOX {{{len(MAIL)}+}}\r\n".encode() + MAIL)).ok


async def test_numbers_of_the_resynchronization_are_refused(imap: Connect) -> None:
    client, _ = await filled(imap, 2)
    await client.ok("ENABLE QRESYNC")
    answer = await client.command("SELECT INBOX (QRESYNC (1 1 1:9 (1 2)))")
    assert answer.text.startswith(b"BAD [UIDREQUIRED] ")


async def test_fetch_names_messages_by_uid(imap: Connect) -> None:
    client, _ = await filled(imap, 3)
    told = await client.ok("SELECT INBOX")
    assert b"* 2 EXISTS" in told
    assert not any(b"UNSEEN" in line for line in told)
    assert await client.ok("UID FETCH 2:3 (FLAGS RFC822.SIZE)") == [
        b"* %d UIDFETCH (FLAGS () RFC822.SIZE %d)" % (uid, len(MAIL)) for uid in (2, 3)
    ]
    assert await client.ok("UID FETCH 3 (UID)") == [b"* 3 UIDFETCH (UID 3)"]
    (body,) = await client.ok("UID FETCH 3 (UID BODY[TEXT])")
    assert body == b"* 3 UIDFETCH (UID 3 BODY[TEXT] {10}\r\nAt five.\r\n FLAGS (\\Seen))"
    assert await client.ok("UID FETCH 2:3 (FLAGS UID)") == [  # RFC 9586 s3.3
        b"* 2 UIDFETCH (UID 2 FLAGS ())",
        b"* 3 UIDFETCH (UID 3 FLAGS (\\Seen))",
    ]
    (envelope,) = await client.ok("UID FETCH 3 ENVELOPE")
    assert envelope.startswith(b"* 3 UIDFETCH (ENVELOPE (")


async def test_stores_and_news_name_messages_by_uid(imap: Connect) -> None:
    client, other = await filled(imap)
    await client.ok("SELECT INBOX")
    assert await client.ok("UID STORE 2 +FLAGS (\\Flagged)") == [b"* 2 UIDFETCH (FLAGS (\\Flagged))"]
    await other.ok("UID STORE 3 +FLAGS (\\Answered)")
    await other.append("INBOX", MAIL)
    await other.ok("UID STORE 4 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    told = await client.ok("NOOP")
    assert told[0] == b"* VANISHED 4"
    assert b"* 3 EXISTS" in told
    assert not any(b" FETCH " in line or b"EXPUNGE" in line for line in told)
    assert b"* 3 UIDFETCH (FLAGS (\\Answered))" in told
    moved = await client.command("UID MOVE 2 Archive")
    assert b"* VANISHED 2" in moved.untagged


async def test_modseqs_come_with_uids(imap: Connect) -> None:
    client, other = await filled(imap)
    await client.ok("ENABLE QRESYNC")
    await client.ok("SELECT INBOX")
    (silent,) = await client.ok("UID STORE 2 +FLAGS.SILENT (\\Flagged)")
    assert re.fullmatch(rb"\* 2 UIDFETCH \(MODSEQ \(\d+\)\)", silent)
    await other.ok("UID STORE 3 +FLAGS (\\Seen)")
    (news,) = await client.ok("NOOP")
    assert re.fullmatch(rb"\* 3 UIDFETCH \(FLAGS \(\\Seen\) MODSEQ \(\d+\)\)", news)
    (seen,) = await client.ok("UID FETCH 4 BODY[TEXT]")
    assert re.search(rb" FLAGS \(\\Seen\) MODSEQ \(\d+\)\)$", seen)
    (changed,) = await client.ok("UID FETCH 3 (FLAGS) (CHANGEDSINCE 1)")
    assert re.fullmatch(rb"\* 3 UIDFETCH \(FLAGS \(\\Seen\) MODSEQ \(\d+\)\)", changed)
    failed = await client.command("UID STORE 2:3 (UNCHANGEDSINCE 1) FLAGS (\\Draft)")
    assert failed.text == b"OK [MODIFIED 2:3] STORE completed"
