"""MESSAGELIMIT (RFC 9738) against the real mail store, where a command works on three messages at most."""

import re

import pytest

import mail_access.imap.moving
from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def filled(limited_imap: Connect, count: int = 5) -> ImapClient:
    """A session with INBOX selected, whose messages have the UIDs 2, 3 and so on."""
    client = await limited_imap()
    for _ in range(count + 1):
        await client.append("INBOX", MAIL)
    await client.ok("SELECT INBOX")
    await client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.ok("EXPUNGE")
    return client


async def uids(client: ImapClient, mailbox: str = "INBOX") -> list[int]:
    """Of all messages of a mailbox, as a session without the limit's reach sees them: one by one."""
    await client.ok(f"EXAMINE {mailbox}")
    found = [await client.ok(f"UID FETCH {uid} (UID)") for uid in range(1, 12)]
    return [int(re.findall(rb"UID (\d+)", line)[0]) for lines in found for line in lines]


async def test_the_limit_is_told_after_the_login(limited_imap: Connect) -> None:
    client = await limited_imap(None)
    assert b"MESSAGELIMIT" not in client.greeting
    (told,) = await (await limited_imap()).ok("CAPABILITY")
    assert b" MESSAGELIMIT=3" in told


@pytest.mark.parametrize(
    ("items", "kept"),
    [
        ("(UID FLAGS)", rb"\((UID|FLAGS) "),
        ("(FLAGS INTERNALDATE)", rb"INTERNALDATE"),
        ("(UID ENVELOPE)", rb"ENVELOPE"),
        ("BODY[TEXT]", rb"At five.*\\Seen"),
    ],
)
async def test_fetch_tells_the_newest_from_the_highest_uid_down(
    limited_imap: Connect, items: str, kept: bytes
) -> None:
    client = await filled(limited_imap)
    answer = await client.command(f"FETCH 1:* {items}")
    assert [line.split()[1] for line in answer.untagged] == [b"5", b"4", b"3"]
    assert all(re.search(kept, line, re.DOTALL) for line in answer.untagged)
    assert answer.text == b"OK [MESSAGELIMIT 3 4] FETCH completed"
    rest = await client.command(f"UID FETCH 1:3 {items}")
    assert [line.split()[1] for line in rest.untagged] == [b"1", b"2"]
    assert rest.text == b"OK FETCH completed"


async def test_as_many_as_the_limit_are_not_limited(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    for command in ("FETCH 2:4 FLAGS", "UID FETCH 2,4,6 FLAGS", "STORE 1:3 +FLAGS (\\Seen)", "SEARCH 3:5"):
        answer = await client.command(command)
        assert answer.ok
        assert b"MESSAGELIMIT" not in answer.tagged
        assert not any(b"MESSAGELIMIT" in line for line in answer.untagged)


async def test_fetch_of_changes_counts_what_has_changed(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    told = (await client.ok("STATUS INBOX (HIGHESTMODSEQ)"))[-1]
    modseq = int(re.findall(rb"HIGHESTMODSEQ (\d+)", told)[0])
    await client.ok("UID STORE 2:3 +FLAGS.SILENT (\\Seen)")
    answer = await client.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {modseq})")
    assert len(answer.untagged) == 2
    assert answer.text == b"OK FETCH completed"


async def test_a_partial_of_too_many_messages_is_refused(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    refused = await client.command("UID FETCH 1:* (FLAGS) (PARTIAL -1:-4)")
    assert refused.untagged == []
    assert refused.text.startswith(b"NO [MESSAGELIMIT 3] ")
    done = await client.command("UID FETCH 1:* (FLAGS) (PARTIAL -1:-3)")
    assert [line.split()[1] for line in done.untagged] == [b"3", b"4", b"5"]
    assert done.text == b"OK FETCH completed"


async def test_without_numbers_messages_come_in_the_same_order(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    await client.ok("ENABLE UIDONLY")
    answer = await client.command("UID FETCH 1:* (FLAGS)")
    assert [line.split()[1:3] for line in answer.untagged] == [
        [b"%d" % uid, b"UIDFETCH"] for uid in (6, 5, 4)
    ]
    assert answer.text == b"OK [MESSAGELIMIT 3 4] FETCH completed"


async def test_store_changes_the_newest(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    answer = await client.command("UID STORE 1:* +FLAGS (\\Flagged)")
    assert [line.split()[1] for line in answer.untagged] == [b"5", b"4", b"3"]
    assert answer.text == b"OK [MESSAGELIMIT 3 4] STORE completed"
    assert (await client.command("UID SEARCH 1:2 FLAGGED")).untagged == [b"* SEARCH"]
    assert (await client.command("UID STORE 1:3 +FLAGS (\\Flagged)")).text == b"OK STORE completed"


async def test_another_code_keeps_the_tagged_response(limited_imap: Connect) -> None:
    client, other = await filled(limited_imap), await limited_imap()
    answer = await client.command("UID STORE 1:* (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Seen)")
    assert re.match(rb"\* NO \[MESSAGELIMIT 3 4\] ", answer.untagged[-1])
    assert re.match(rb"OK \[MODIFIED 4:6\] ", answer.text)
    await other.ok("SELECT INBOX")
    await other.ok("UID STORE 5 +FLAGS.SILENT (\\Deleted)")
    await other.ok("EXPUNGE")
    answer = await client.command("STORE 1:* +FLAGS.SILENT (\\Seen)")
    assert any(line.startswith(b"* NO [MESSAGELIMIT 3 4] ") for line in answer.untagged)
    assert answer.text.startswith(b"NO [EXPUNGEISSUED] ")


@pytest.mark.parametrize("command", ["COPY 1:*", "UID COPY 1:9"])
async def test_copy_of_too_many_copies_none(limited_imap: Connect, command: str) -> None:
    client = await filled(limited_imap)
    refused = await client.command(f"{command} Archive")
    assert refused.text.startswith(b"NO [MESSAGELIMIT 3 4] ")
    assert await uids(client, "Archive") == []
    await client.ok("SELECT INBOX")
    assert (await client.command("UID COPY 4:9 Archive")).ok
    assert await uids(client, "Archive") == [1, 2, 3]


async def test_move_moves_the_newest_until_all_are_moved(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    first = await client.command("UID MOVE 1:* Archive")
    assert re.match(rb"\* OK \[COPYUID \d+ 4:6 1:3\] ", first.untagged[0])
    assert [line for line in first.untagged if line.endswith(b"EXPUNGE")] == [
        b"* %d EXPUNGE" % number for number in (5, 4, 3)
    ]
    assert first.text == b"OK [MESSAGELIMIT 3 4] MOVE completed"
    assert (await client.command("UID MOVE 1:* Archive")).text == b"OK MOVE completed"
    assert await uids(client) == []
    assert await uids(client, "Archive") == [1, 2, 3, 4, 5]


async def test_sets_with_gaps_move_and_copy_what_they_name(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    await client.ok("UID STORE 4 +FLAGS.SILENT (\\Deleted)")
    await client.ok("EXPUNGE")
    assert b" 3,5 1:2] " in (await client.command("COPY 2:3 Archive")).tagged
    await client.ok("MOVE 1,4 Archive")
    assert await uids(client) == [3, 5]
    assert await uids(client, "Archive") == [1, 2, 3, 4]


async def test_the_modseq_of_a_move_keeps_the_tagged_response(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    await client.ok("ENABLE QRESYNC")
    answer = await client.command("MOVE 1:* Archive")
    assert answer.untagged[-2] == b"* VANISHED 4:6"
    assert re.match(rb"\* NO \[MESSAGELIMIT 3 4\] ", answer.untagged[-1])
    assert answer.text.startswith(b"OK [HIGHESTMODSEQ ")


async def test_uid_expunge_counts_deleted_messages_alone(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    await client.ok("UID STORE 2,6 +FLAGS.SILENT (\\Deleted)")
    assert (await client.command("UID EXPUNGE 1:*")).text == b"OK EXPUNGE completed"
    await client.ok("APPEND INBOX (\\Deleted) {1+}\r\n.")
    await client.ok("UID STORE 3:5 +FLAGS.SILENT (\\Deleted)")
    answer = await client.command("UID EXPUNGE 1:*")
    assert [line for line in answer.untagged if line.endswith(b"EXPUNGE")] == [
        b"* %d EXPUNGE" % number for number in (4, 3, 2)
    ]
    assert answer.text == b"OK [MESSAGELIMIT 3 4] EXPUNGE completed"
    assert (await client.command("UID EXPUNGE 1:*")).text == b"OK EXPUNGE completed"
    assert await uids(client) == []


@pytest.mark.parametrize("command", ["EXPUNGE", "CLOSE"])
@pytest.mark.parametrize("at_once", [2, 3, 5, 100_000])
async def test_expunge_and_close_have_no_limit(
    limited_imap: Connect, monkeypatch: pytest.MonkeyPatch, command: str, at_once: int
) -> None:
    client = await filled(limited_imap, 6)
    await client.ok("UID STORE 2:3 +FLAGS.SILENT (\\Deleted)")
    await client.ok("UID STORE 5:7 +FLAGS.SILENT (\\Deleted)")
    monkeypatch.setattr(mail_access.imap.moving, "_EXPUNGED_AT_ONCE", at_once)
    answer = await client.command(command)
    assert answer.text == b"OK %b completed" % command.encode()
    told = [line for line in answer.untagged if line.endswith(b"EXPUNGE")]
    assert len(told) == (5 if command == "EXPUNGE" else 0)
    assert await uids(client) == [4]


async def test_counts_of_a_mailbox_have_no_limit(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    assert await client.ok("STATUS INBOX (MESSAGES UNSEEN)") == [b"* STATUS INBOX (MESSAGES 5 UNSEEN 5)"]


async def test_search_counts_the_messages_it_looks_at(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    await client.ok("UID STORE 2,3,5 +FLAGS.SILENT (\\Seen)")
    answer = await client.command("UID SEARCH UNSEEN")
    assert answer.untagged == [b"* SEARCH 6 4"]
    assert answer.text == b"OK [MESSAGELIMIT 3 4] SEARCH completed"
    assert (await client.command("SEARCH SEEN 1:3 UID 1:9")).text == b"OK SEARCH completed"
    assert (await client.command("UID SEARCH UIDBEFORE 4 SEEN")).untagged == [b"* SEARCH 2 3"]
    assert (await client.command("UID SEARCH UIDAFTER 4")).untagged == [b"* SEARCH 5 6"]
    assert (await client.command("UID SEARCH UIDAFTER 6")).untagged == [b"* SEARCH"]
    assert (await client.command("UID SEARCH UIDAFTER 1")).untagged == [b"* SEARCH 6 5 4"]
    answer = await client.command("SEARCH RETURN (COUNT MIN) TEXT five")
    assert answer.untagged[0].endswith(b" MIN 3 COUNT 3")
    assert answer.text == b"OK [MESSAGELIMIT 3 4] SEARCH completed"


async def test_what_is_saved_is_cut_off_and_then_all_that_is_searched(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    saved = await client.command("SEARCH RETURN (SAVE) ALL")
    assert saved.text == b"OK [MESSAGELIMIT 3 4] SEARCH completed, result saved"
    answer = await client.command("UID SEARCH UID $")
    assert (answer.untagged, answer.text) == ([b"* SEARCH 4 5 6"], b"OK SEARCH completed")
    assert (await client.command("SEARCH $")).untagged == [b"* SEARCH 3 4 5"]
    assert (await client.command("FETCH $ FLAGS")).text == b"OK FETCH completed"


async def test_changes_of_a_part_are_not_told(limited_imap: Connect) -> None:
    client = await filled(limited_imap)
    tag = client.send_command("UID SEARCH RETURN (UPDATE COUNT) UNSEEN")
    answer = await client.answer(tag)
    assert any(line.startswith(b'* NO [NOUPDATE "%b"] ' % tag) for line in answer.untagged)
    assert answer.text == b"OK [MESSAGELIMIT 3 4] SEARCH completed"
    await client.ok("UID STORE 6 +FLAGS.SILENT (\\Seen)")
    assert not any(b"REMOVEFROM" in line for line in await client.ok("NOOP"))


@pytest.mark.parametrize("command", ["SORT (ARRIVAL) UTF-8", "UID THREAD REFERENCES UTF-8"])
async def test_too_many_are_not_put_into_order(limited_imap: Connect, command: str) -> None:
    client = await filled(limited_imap)
    refused = await client.command(f"{command} ALL")
    assert refused.untagged == []
    assert refused.text.startswith(b"NO [MESSAGELIMIT 3 4] ")
    assert (await client.command(f"{command} 1:3")).ok


async def test_an_append_of_too_many_appends_none(limited_imap: Connect) -> None:
    client = await filled(limited_imap, 0)
    refused = await client.command("APPEND INBOX " + " ".join(["{1+}\r\n."] * 4))
    assert refused.text.startswith(b"NO [MESSAGELIMIT 3] ")
    assert await uids(client) == []
    assert (await client.command("APPEND INBOX " + " ".join(["{1+}\r\n."] * 3))).ok
