"""The mail store's answers are lost behind their COMMIT: clients see each command done, and done once."""

import pytest

from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.lost_answers import LostAnswers

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
# The channel asks three times by itself.
LOST = pytest.mark.parametrize("count", [1, 4])


@pytest.fixture
async def alice(imap: Connect) -> ImapClient:
    """Alice with three messages in her selected inbox, the last of them deleted, and two mailboxes more."""
    alice = await imap()
    for flags in ("", "", "(\\Deleted)"):
        assert (await alice.append("INBOX", MAIL, flags)).ok
    await alice.ok("CREATE Old/Below")
    await alice.ok("CREATE Gone")
    await alice.ok("SELECT INBOX")
    return alice


async def _names(alice: ImapClient) -> set[bytes]:
    listed = await alice.ok('LIST "" (Old* Gone* New*)')
    return {line.rpartition(b" ")[2].strip(b'"') for line in listed}


@LOST
@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("CREATE New/Below", {b"Old", b"Old/Below", b"Gone", b"New", b"New/Below"}),
        ("DELETE Gone", {b"Old", b"Old/Below"}),
        ("RENAME Old New", {b"New", b"New/Below", b"Gone"}),
        ("RENAME INBOX New", {b"Old", b"Old/Below", b"Gone", b"New"}),
    ],
)
async def test_mailboxes_come_go_and_are_renamed_once(
    alice: ImapClient, lost: LostAnswers, count: int, command: str, names: set[bytes]
) -> None:
    lost(count, "mailbox.after_commit")
    await alice.ok(command)
    assert not lost.left
    assert await _names(alice) == names


@LOST
async def test_messages_are_copied_moved_expunged_and_appended_once(
    alice: ImapClient, lost: LostAnswers, count: int
) -> None:
    lost(count, "mailbox.after_commit")
    copied = await alice.command("COPY 1 Archive")
    assert b" 1 1] COPY completed" in copied.text
    lost(count, "mailbox.after_commit")
    moved = await alice.ok("MOVE 2 Archive")
    assert b" 2 2] Moved" in moved[0]
    assert moved[1] == b"* 2 EXPUNGE"
    lost(count, "mailbox.after_commit")
    assert await alice.ok("EXPUNGE") == [b"* 2 EXPUNGE"]
    lost(count, "append.after_commit")
    assert (await alice.append("INBOX", MAIL)).ok
    (status,) = await alice.ok("STATUS Archive (MESSAGES UIDNEXT)")
    assert status == b'* STATUS "Archive" (MESSAGES 2 UIDNEXT 3)'
    assert await alice.ok("UID SEARCH ALL") == [b"* SEARCH 1 4"]


@LOST
async def test_flags_that_were_stored_by_a_lost_try_are_told(
    alice: ImapClient, lost: LostAnswers, count: int
) -> None:
    lost(count, "mailbox.after_commit")
    told = await alice.ok("STORE 1:2 FLAGS (\\Seen $Work)")
    assert [line for line in told if b" FETCH (FLAGS" in line] == [
        b"* 1 FETCH (FLAGS (\\Seen $Work \\Recent))",
        b"* 2 FETCH (FLAGS (\\Seen $Work \\Recent))",
    ]
