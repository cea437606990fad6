"""ENABLE (RFC 5161): what needs it, and what it tells."""

import pytest

from postroom_testing.imap_client import Connect


@pytest.mark.parametrize(
    "command",
    [
        "SELECT INBOX (QRESYNC (1 1))",
        "EXAMINE Archive (QRESYNC (1 1) CONDSTORE)",
        "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
    ],
)
async def test_qresync_must_be_enabled_first(imap: Connect, command: str) -> None:
    client = await imap()
    await client.append("INBOX", b"Subject: Tea\r\n\r\nAt five.\r\n")
    await client.ok("SELECT INBOX")
    await client.ok("ENABLE CONDSTORE")
    answer = await client.command(command)
    assert (answer.untagged, answer.text) == ([], b"BAD Enable QRESYNC first")
    assert await client.ok("SEARCH ALL") == [b"* SEARCH 1"]  # still selected


async def test_enable_tells_what_is_newly_on(imap: Connect) -> None:
    client = await imap()
    assert await client.ok("ENABLE X-NONE") == [b"* ENABLED"]
    assert await client.ok("ENABLE QRESYNC CONDSTORE") == [b"* ENABLED CONDSTORE QRESYNC"]
    assert await client.ok("ENABLE QRESYNC") == [b"* ENABLED"]
