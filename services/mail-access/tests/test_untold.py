"""Messages that another session expunged are fetched as before, until EXPUNGE is told (RFC 2180 s4.1.3)."""

import asyncpg

from postroom_embedded.postgres import PostgresAddress
from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"Subject: Tea at five\r\nMessage-ID: <1@example.org>\r\n\r\nBring biscuits.\r\n"


async def two_sessions(imap: Connect) -> tuple[ImapClient, ImapClient]:
    """The second knows three messages, of which the first has expunged the second and flagged the third."""
    first, second = await imap(), await imap()
    for number in range(3):
        await first.append("INBOX", MAIL, "(\\Flagged $Tea)" if number == 1 else "()")
    await first.ok("SELECT INBOX")
    await second.ok("SELECT INBOX")
    await first.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    await first.ok("EXPUNGE")
    return first, second


async def test_all_of_a_message_that_is_gone_untold_is_fetched(imap: Connect) -> None:
    _, session = await two_sessions(imap)
    before = await session.ok("FETCH 1 (RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
    after = await session.ok("FETCH 2 (RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
    assert len(before) == len(after) == 1
    date = before[0].index(b"INTERNALDATE"), before[0].index(b"ENVELOPE")
    assert after[0][: date[0]] == before[0][: date[0]].replace(b"* 1 ", b"* 2 ")
    assert after[0][date[1] :] == before[0][date[1] :]
    flags = await session.ok("FETCH 1:* (UID FLAGS)")
    assert flags[1] == b"* 2 FETCH (UID 2 FLAGS (\\Flagged \\Deleted $Tea))"
    assert [line.split()[1] for line in flags] == [b"1", b"2", b"3"]
    assert await session.ok("FETCH 2:3 BODY.PEEK[HEADER.FIELDS (SUBJECT)]") == [
        b"* %d FETCH (BODY[HEADER.FIELDS (SUBJECT)] {24}\r\nSubject: Tea at five\r\n\r\n)" % number
        for number in (2, 3)
    ]
    assert await session.ok("NOOP") == [b"* 2 EXPUNGE"]
    assert (await session.command("FETCH 3 UID")).text.startswith(b"BAD")


async def test_what_is_gone_is_not_marked_as_seen(imap: Connect) -> None:
    _, session = await two_sessions(imap)
    (told,) = await session.ok("FETCH 2 BODY[TEXT]")
    assert told == b"* 2 FETCH (BODY[TEXT] {17}\r\nBring biscuits.\r\n)"


async def test_a_message_whose_octets_may_be_gone_is_refused(
    own_imap: Connect, own_database: PostgresAddress
) -> None:
    _, session = await two_sessions(own_imap)
    connection = await asyncpg.connect(own_database.url("mailstore"))
    try:
        await connection.execute("DELETE FROM mailstore.expunged")
    finally:
        await connection.close()
    for items in ("UID", "BODY.PEEK[]"):
        gone = await session.command(f"FETCH 1:3 ({items})")
        assert gone.text == b"NO [EXPUNGEISSUED] Some of the messages were expunged"
        assert [line.split()[1] for line in gone.untagged] == [b"1", b"3"]
    assert (await session.command("UID FETCH 2 (BODY.PEEK[])")).ok


async def test_nobody_reads_messages_that_were_gone_before(imap: Connect) -> None:
    await two_sessions(imap)
    late = await imap()
    await late.ok("SELECT INBOX")
    assert await late.ok("UID FETCH 2 (BODY.PEEK[])") == []
    assert await late.ok("UID FETCH 1:3 (UID)") == [b"* 1 FETCH (UID 1)", b"* 2 FETCH (UID 3)"]
