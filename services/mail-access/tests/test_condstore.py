"""CONDSTORE (RFC 7162 s3.1) against the real mail store, with several sessions and processes."""

import asyncio
import re

import pytest

from postroom_testing.imap_client import Answer, Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


def highest(answer: Answer | list[bytes]) -> int:
    """The one HIGHESTMODSEQ of an answer."""
    lines = answer if isinstance(answer, list) else [*answer.untagged, answer.tagged]
    (found,) = re.findall(rb"\[HIGHESTMODSEQ (\d+)\]", b"\n".join(lines))
    return int(found)


def modseqs(lines: list[bytes]) -> dict[int, int]:
    """MODSEQ by UID of FETCH responses that have both."""
    found = re.findall(
        rb"\* \d+ FETCH \(UID (\d+)(?: FLAGS \([^)]*\))? MODSEQ \((\d+)\)\)", b"\n".join(lines)
    )
    return {int(uid): int(modseq) for uid, modseq in found}


async def filled(connect: Connect, count: int = 3) -> ImapClient:
    client = await connect()
    for _ in range(count):
        await client.append("INBOX", MAIL)
    return client


async def owner(client: ImapClient, round_number: int) -> tuple[bytes, ...]:
    """Who has marked the first message in this round."""
    (fetched,) = [line for line in await client.ok("FETCH 1 FLAGS") if line.startswith(b"* 1 FETCH")]
    return tuple(re.findall(rb"\$owner%dx\d" % round_number, fetched))


async def status(client: ImapClient) -> int:
    lines = b"\n".join(await client.ok("STATUS INBOX (HIGHESTMODSEQ)"))
    found = re.search(rb"\* STATUS INBOX \(HIGHESTMODSEQ (\d+)\)", lines)
    assert found is not None
    return int(found[1])


async def test_the_mailbox_s_modseq_is_that_of_its_last_change(imap: Connect) -> None:
    alice, other = await filled(imap), await imap()
    first = highest(await alice.command("SELECT INBOX"))
    assert await status(other) == first
    told = modseqs(await alice.ok("UID FETCH 1:* (MODSEQ)"))
    assert list(told) == [1, 2, 3]
    assert sorted(told.values()) == list(told.values())
    assert told[3] == first
    await other.append("Archive", MAIL)
    assert await status(other) == first
    await other.append("INBOX", MAIL)
    assert await status(other) > first
    assert highest(await other.command("EXAMINE INBOX")) == await status(other)


async def test_only_what_changed_since_is_fetched(imap: Connect) -> None:
    alice = await filled(imap)
    before = highest(await alice.command("SELECT INBOX (CONDSTORE)"))
    stored = modseqs(await alice.ok("STORE 2 +FLAGS.SILENT (\\Flagged)"))
    assert list(stored) == [2]
    fetched = await alice.ok(f"FETCH 1:* (FLAGS) (CHANGEDSINCE {before})")
    assert fetched == [b"* 2 FETCH (FLAGS (\\Flagged \\Recent) MODSEQ (%d))" % stored[2]]
    assert await alice.ok(f"UID FETCH 1:* FLAGS (CHANGEDSINCE {stored[2]})") == []
    assert len(await alice.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1)")) == 3


@pytest.mark.parametrize(
    "command",
    [
        "FETCH 1 (MODSEQ)",
        "FETCH 1 (FLAGS) (CHANGEDSINCE 1)",
        "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)",
        "STATUS Archive (HIGHESTMODSEQ)",
        "ENABLE CONDSTORE",
        "SEARCH MODSEQ 1",
    ],
)
async def test_whoever_asks_for_modseqs_is_told_them_from_then_on(imap: Connect, command: str) -> None:
    alice, other = await filled(imap), await imap()
    before = highest(await alice.command("SELECT INBOX"))
    await other.ok("SELECT INBOX")
    await other.ok("STORE 2 +FLAGS (\\Flagged)")
    assert modseqs(await alice.ok("NOOP")) == {}
    answer = await alice.command(command)
    assert answer.ok
    told = highest(answer.untagged)  # RFC 7162 s3.1: the first such command tells it
    assert told > before
    await other.ok("STORE 3 +FLAGS (\\Flagged)")
    news = await alice.ok("NOOP")
    assert list(modseqs(news)) == [3]
    assert b"HIGHESTMODSEQ" not in b"".join(news)  # the client can reckon it from what it was told


async def test_whoever_never_asked_is_told_none(imap: Connect) -> None:
    alice, other = await filled(imap), await imap()
    await alice.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    await other.ok("STORE 2 +FLAGS (\\Flagged)")
    assert await alice.ok("NOOP") == [b"* 2 FETCH (UID 2 FLAGS (\\Flagged \\Recent))"]
    assert await other.ok("STORE 1 +FLAGS.SILENT (\\Seen)") == []
    assert await other.ok("STORE 1 +FLAGS (\\Draft)") == [b"* 1 FETCH (FLAGS (\\Seen \\Draft))"]


async def test_a_store_on_a_condition_leaves_what_changed(imap: Connect) -> None:
    alice, other = await filled(imap), await imap()
    before = highest(await alice.command("SELECT INBOX (CONDSTORE)"))
    await other.ok("SELECT INBOX")
    await other.ok("STORE 2 +FLAGS (\\Flagged)")
    answer = await alice.command(f"STORE 1:3 (UNCHANGEDSINCE {before}) +FLAGS.SILENT (\\Deleted)")
    assert answer.text == b"OK [MODIFIED 2] STORE completed"
    told = modseqs(answer.untagged)
    assert list(told) == [1, 3, 2]
    assert told[1] == told[3] > told[2] > before
    assert any(b"UID 2 FLAGS (\\Flagged" in line for line in answer.untagged)
    again = await alice.command(f"UID STORE 1:3 (UNCHANGEDSINCE {told[2]}) +FLAGS (\\Deleted)")
    assert again.text == b"OK [MODIFIED 1,3] STORE completed"
    assert await alice.ok("SEARCH DELETED") == [b"* SEARCH 1 2 3"]


async def test_zero_asks_whether_a_keyword_is_there(imap: Connect) -> None:
    alice = await filled(imap, 1)
    await alice.ok("SELECT INBOX")
    first = await alice.command("STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)")
    assert first.text == b"OK STORE completed"
    second = await alice.command("STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)")
    assert second.text == b"OK [MODIFIED 1] STORE completed"
    assert (await alice.command("STORE 1 (UNCHANGEDSINCE 0) +FLAGS (\\Seen)")).text.startswith(
        b"OK [MODIFIED 1]"
    )


async def test_a_condition_is_told_by_numbers_while_others_are_gone(imap: Connect) -> None:
    """RFC 7162 s3.1.3, example 11."""
    alice, other = await filled(imap, 4), await imap()
    before = highest(await alice.command("SELECT INBOX (CONDSTORE)"))
    await other.ok("SELECT INBOX")
    await other.ok("STORE 3 +FLAGS (\\Flagged)")
    await other.ok("STORE 1:2 +FLAGS (\\Deleted)")
    await other.ok("EXPUNGE")
    answer = await alice.command(f"STORE 1:4 (UNCHANGEDSINCE {before}) +FLAGS.SILENT (\\Seen)")
    assert answer.text.startswith(b"NO [MODIFIED 3] ")
    assert not any(line.endswith(b"EXPUNGE") for line in answer.untagged)
    assert highest(answer.untagged) < min(modseqs(answer.untagged).values())
    news = await alice.command("NOOP")
    assert [line for line in news.untagged if line.endswith(b"EXPUNGE")] == [b"* 2 EXPUNGE", b"* 1 EXPUNGE"]
    assert highest(news.untagged) == await status(other)


async def test_a_flag_that_is_there_already_changes_no_modseq(imap: Connect) -> None:
    alice = await filled(imap)
    await alice.ok("SELECT INBOX (CONDSTORE)")
    first = modseqs(await alice.ok("STORE 1 +FLAGS (\\Seen)"))
    assert modseqs(await alice.ok("STORE 1 +FLAGS (\\Seen)")) == first
    assert await alice.ok("STORE 1 +FLAGS.SILENT (\\Seen)") == []


async def test_a_fetch_that_marks_as_seen_tells_uid_and_modseq(imap: Connect) -> None:
    alice = await filled(imap, 1)
    before = highest(await alice.command("SELECT INBOX (CONDSTORE)"))
    (fetched,) = [line for line in await alice.ok("FETCH 1 BODY[TEXT]") if b"FETCH" in line]
    found = re.search(rb"\r\nAt five.\r\n UID 1 FLAGS \(\\Seen \\Recent\) MODSEQ \((\d+)\)\)$", fetched)
    assert found is not None
    assert int(found[1]) > before


async def test_a_silent_store_tells_what_others_changed_meanwhile(
    own_imap: Connect, own_twin: Connect
) -> None:
    """Both before its session heard of it, and for a client that knows nothing of MODSEQs."""
    alice, other = await filled(own_imap), await own_twin()
    await alice.ok("SELECT INBOX")
    await other.ok("SELECT INBOX")
    for number in (1, 2, 3):
        await other.ok(f"STORE {number} +FLAGS (\\Flagged $Work)")
        told = await alice.ok(f"STORE {number} +FLAGS.SILENT (\\Seen)")
        told += await alice.ok("NOOP")
        assert b"* %d FETCH (UID %d FLAGS (\\Seen \\Flagged $Work \\Recent))" % (number, number) in told


async def test_of_two_processes_that_compare_one_wins(own_imap: Connect, own_twin: Connect) -> None:
    sessions = [await filled(own_imap), await own_imap(), await own_twin(), await own_twin()]
    for round_number in range(5):
        known = [highest(await session.command("SELECT INBOX (CONDSTORE)")) for session in sessions]
        before = max(known)
        answers = await asyncio.gather(
            *(
                session.command(f"STORE 1 (UNCHANGEDSINCE {before}) +FLAGS ($owner{round_number}x{at})")
                for at, session in enumerate(sessions)
            )
        )
        assert sorted(b"MODIFIED" in answer.text for answer in answers) == [False, True, True, True]
        owners = {await owner(session, round_number) for session in sessions}
        assert len(owners) == 1
        assert len(owners.pop()) == 1


async def test_an_expunge_that_cannot_be_told_yet_holds_the_modseq_back(imap: Connect) -> None:
    """RFC 7162 s3.2, s6: a client that goes away now still learns of it."""
    alice, other = await filled(imap), await imap()
    before = highest(await alice.command("SELECT INBOX (CONDSTORE)"))
    await other.ok("SELECT INBOX")
    await other.ok("STORE 3 +FLAGS.SILENT (\\Deleted)")
    await alice.ok("NOOP")
    await other.ok("EXPUNGE")
    expunged = await status(other)
    answer = await alice.command("STORE 1 +FLAGS.SILENT (\\Seen)")
    assert modseqs(answer.untagged)[1] > expunged
    assert before <= highest(answer.untagged) < expunged
    news = await alice.command("NOOP")
    assert b"* 3 EXPUNGE" in news.untagged
    assert highest(news.untagged) > expunged


async def test_an_expunge_tells_the_new_modseq(imap: Connect) -> None:
    alice = await filled(imap)
    before = highest(await alice.command("SELECT INBOX (CONDSTORE)"))
    await alice.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    answer = await alice.command("UID EXPUNGE 1")
    found = re.fullmatch(rb"OK \[HIGHESTMODSEQ (\d+)\] EXPUNGE completed", answer.text)
    assert found is not None
    assert int(found[1]) == await status(alice) > before
    nothing = await alice.command("UID EXPUNGE 3")
    assert nothing.text == b"OK EXPUNGE completed"
    moved = await alice.command("MOVE 1 Archive")
    assert highest([moved.tagged]) == await status(alice)


async def test_what_was_selected_before_is_left_with_a_word(imap: Connect) -> None:
    """RFC 7162 s3.2.11."""
    alice = await filled(imap, 1)
    assert not any(b"[CLOSED]" in line for line in await alice.ok("SELECT INBOX"))
    again = await alice.ok("EXAMINE INBOX")
    assert again[0].startswith(b"* OK [CLOSED] ")
    gone = await alice.command("SELECT nowhere")
    assert gone.untagged[0].startswith(b"* OK [CLOSED] ")
    assert not any(b"[CLOSED]" in line for line in await alice.ok("SELECT INBOX"))


async def test_an_annotation_is_a_change_of_its_mailbox(imap: Connect) -> None:
    """RFC 7162 s3.2."""
    alice, other = await filled(imap, 1), await imap()
    before = highest(await alice.command("SELECT INBOX (CONDSTORE)"))
    await other.ok('SETMETADATA Archive (/private/comment "Old")')
    assert await status(other) == before
    await other.ok('SETMETADATA INBOX (/private/comment "New")')
    after = await status(other)
    assert after > before
    assert highest(await alice.ok("NOOP")) == after
    assert highest(await alice.command("SELECT INBOX")) == after
