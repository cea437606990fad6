"""COPY and MOVE into the mailbox that is selected (RFC 3501 s6.4.7, RFC 6851 s3.3)."""

import re

from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"Subject: Tea %d\r\n\r\nBring biscuits.\r\n"


async def filled(imap: Connect) -> tuple[ImapClient, ImapClient]:
    """Two sessions at an INBOX of three messages."""
    first, second = await imap(), await imap()
    for number in (1, 2, 3):
        await first.append("INBOX", MAIL % number, "(\\Flagged)" if number == 2 else "()")
    await first.ok("SELECT INBOX")
    await second.ok("EXAMINE INBOX")
    return first, second


async def test_copies_are_told_before_the_answer_and_to_other_sessions(imap: Connect) -> None:
    first, second = await filled(imap)
    answer = await first.command("COPY 2:3 INBOX")
    assert re.fullmatch(rb"OK \[COPYUID \d+ 2:3 4:5\] COPY completed", answer.text)
    assert answer.untagged[0] == b"* 5 EXISTS"
    (copy,) = await first.ok("FETCH 4 (UID FLAGS BODY.PEEK[])")
    assert copy.startswith(b"* 4 FETCH (UID 4 FLAGS (\\Flagged")
    assert copy.endswith(b"\r\n" + MAIL % 2 + b")")
    assert b"* 5 EXISTS" in await second.ok("NOOP")


async def test_moved_messages_are_the_last_ones_afterwards(imap: Connect) -> None:
    first, second = await filled(imap)
    answer = await first.command("MOVE 1:2 INBOX")
    assert answer.text.endswith(b"OK MOVE completed") or b"] MOVE completed" in answer.text
    told = b"\n".join(answer.untagged)
    assert re.search(rb"\* OK \[COPYUID \d+ 1:2 4:5\]", told)
    assert told.index(b"COPYUID") < told.index(b"EXPUNGE") < told.index(b" EXISTS")
    assert await first.ok("UID SEARCH ALL") == [b"* SEARCH 3 4 5"]
    assert await first.ok("FETCH 3 (UID BODY.PEEK[HEADER])") == [
        b"* 3 FETCH (UID 5 BODY[HEADER] {18}\r\nSubject: Tea 2\r\n\r\n)"
    ]
    assert [line.split()[-1] for line in await second.ok("NOOP") if b"EXPUNGE" in line] == [b"EXPUNGE"] * 2
    assert await second.ok("UID SEARCH ALL") == [b"* SEARCH 3 4 5"]
