"""MAILBOXID (RFC 8474 s4) and APPENDLIMIT (RFC 7889)."""

import re

from postroom_testing.imap_client import Connect, ImapClient


async def _mailbox_id(client: ImapClient, name: str) -> bytes:
    (told,) = await client.ok(f"STATUS {name} (MAILBOXID)")
    found = re.search(rb"\(MAILBOXID \((F[0-9a-f]+-[0-9a-f]+)\)\)\Z", told)
    assert found is not None
    return found[1]


async def test_create_select_and_status_name_the_same_mailbox(imap: Connect) -> None:
    alice = await imap()
    made = await alice.command("CREATE a")
    object_id = await _mailbox_id(alice, "a")
    assert made.text == b"OK [MAILBOXID (%b)] CREATE completed" % object_id
    for command in ("SELECT a", "EXAMINE a"):
        assert b"* OK [MAILBOXID (%b)] Object id" % object_id in await alice.ok(command)
    assert object_id != await _mailbox_id(alice, "INBOX")


async def test_a_mailbox_keeps_its_id_when_it_is_renamed_and_loses_it_when_it_is_made_anew(
    imap: Connect,
) -> None:
    alice = await imap()
    await alice.ok("CREATE a")
    before = await _mailbox_id(alice, "a")
    await alice.ok("RENAME a b")
    assert await _mailbox_id(alice, "b") == before
    await alice.ok("DELETE b")
    await alice.ok("CREATE b")
    assert await _mailbox_id(alice, "b") != before


async def test_renaming_inbox_makes_another_mailbox(imap: Connect) -> None:
    alice = await imap()
    before = await _mailbox_id(alice, "INBOX")
    await alice.ok("RENAME INBOX old")
    assert await _mailbox_id(alice, "INBOX") == before
    assert await _mailbox_id(alice, "old") != before


async def test_the_append_limit_is_told_by_capability_status_and_list(imap: Connect) -> None:
    alice = await imap()
    (capability,) = await alice.ok("CAPABILITY")
    limit = re.search(rb" APPENDLIMIT=(\d+)", capability)
    assert limit is not None
    assert await alice.ok("STATUS INBOX (APPENDLIMIT)") == [b"* STATUS INBOX (APPENDLIMIT %b)" % limit[1]]
    listed = await alice.ok('LIST "" INBOX RETURN (STATUS (APPENDLIMIT))')
    assert listed[1:] == [b"* STATUS INBOX (APPENDLIMIT %b)" % limit[1]]
    answer = await alice.command(b"APPEND INBOX {%d}" % (int(limit[1]) + 1))
    assert answer.text == b"NO [TOOBIG] Message too big"
