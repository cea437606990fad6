"""An empty mailbox has no sequence numbers, not even `*` (RFC 3501 s9 seq-number), while no UID is wrong."""

import pytest

from postroom_testing.imap_client import Connect


@pytest.mark.parametrize(
    "command", ["FETCH 1:* FLAGS", "FETCH * UID", "STORE 1:* +FLAGS (\\Seen)", "COPY 1:* Sent"]
)
async def test_sequence_numbers_of_an_empty_mailbox_are_bad(imap: Connect, command: str) -> None:
    client = await imap()
    await client.ok("SELECT INBOX")
    assert (await client.command(command)).text.startswith(b"BAD ")
    await client.ok("NOOP")


@pytest.mark.parametrize(
    "command",
    [
        "UID FETCH 1:* FLAGS",
        "UID FETCH *:4294967295 (BODY.PEEK[])",
        "UID STORE 1:* +FLAGS.SILENT (\\Seen)",
        "UID COPY 1:* Sent",
        "UID MOVE 1:4294967295,*:1 Sent",
        "UID EXPUNGE 1:*",
        "EXPUNGE",
    ],
)
async def test_uids_of_an_empty_mailbox_name_nothing(imap: Connect, command: str) -> None:
    client = await imap()
    await client.ok("SELECT INBOX")
    assert await client.ok(command) == []


async def test_searches_of_an_empty_mailbox_find_nothing(imap: Connect) -> None:
    client = await imap()
    await client.ok("SELECT INBOX")
    for keys in ("ALL", "UID 1:*", "NOT ALL"):
        assert await client.ok(f"SEARCH {keys}") == [b"* SEARCH"]
