"""IMAP4rev2 (RFC 9051) beside IMAP4rev1 in one process, and UTF8=ACCEPT (RFC 6855)."""

import re

import pytest

from postroom_testing.imap_client import Connect, ImapClient

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
FOLDED_IN = {
    *(b"ENABLE", b"IDLE", b"NAMESPACE", b"UNSELECT", b"UIDPLUS", b"ESEARCH", b"SEARCHRES"),
    *(b"LIST-EXTENDED", b"LIST-STATUS", b"MOVE", b"STATUS=SIZE", b"BINARY"),
}


async def enabled(connect: Connect, *names: str) -> ImapClient:
    client = await connect()
    told = await client.ok(f"ENABLE {' '.join(names)}")
    assert told == [f"* ENABLED {' '.join(names)}".encode()]
    return client


async def test_both_revisions_are_offered_with_all_that_the_second_has(imap: Connect) -> None:
    client = await imap(None)
    before = client.greeting.split(b"]")[0].split()
    assert {b"IMAP4rev1", b"IMAP4rev2", b"SASL-IR", b"LITERAL-"} <= set(before)
    client = await imap()
    (after,) = await client.ok("CAPABILITY")
    assert {b"IMAP4rev1", b"IMAP4rev2", *FOLDED_IN} <= set(after.split())


async def test_select_tells_what_the_revision_has(imap: Connect) -> None:
    old, new = await imap(), await enabled(imap, "IMAP4rev2")
    await old.append("INBOX", MAIL)
    await old.append("INBOX", MAIL)
    await old.ok("CREATE INBOX/below")
    told = await new.ok("SELECT inbox")
    assert not [line for line in told if b"RECENT" in line or b"UNSEEN" in line]
    assert b'* LIST (\\HasChildren) "/" INBOX' in told
    assert b"* 2 EXISTS" in told
    assert await new.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ())"]
    told = await old.ok("SELECT INBOX")  # the other session has claimed nothing
    assert b"* 2 RECENT" in told
    assert any(b"[UNSEEN 1]" in line for line in told)
    assert not any(line.startswith(b"* LIST") for line in told)
    again = await new.ok("EXAMINE Archive")
    assert again[0].startswith(b"* OK [CLOSED] ")
    assert b'* LIST (\\HasNoChildren \\Archive) "/" "Archive"' in again


async def test_news_are_told_without_recent_and_with_uid(imap: Connect) -> None:
    old, new = await imap(), await enabled(imap, "IMAP4rev2")
    await old.append("INBOX", MAIL)
    await old.ok("SELECT INBOX")
    await new.ok("SELECT INBOX")
    await old.append("INBOX", MAIL)
    await old.ok("STORE 1 +FLAGS (\\Flagged)")
    assert await new.ok("NOOP") == [b"* 2 EXISTS", b"* 1 FETCH (UID 1 FLAGS (\\Flagged))"]
    assert await new.ok("STORE 1 +FLAGS (\\Seen)") == [b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Flagged))"]


async def test_search_answers_in_the_form_of_the_revision(imap: Connect) -> None:
    old, new = await imap(), await enabled(imap, "IMAP4rev2")
    await old.append("INBOX", MAIL)
    await old.ok("SELECT INBOX")
    await new.ok("SELECT INBOX")
    assert await old.ok("SEARCH ALL") == [b"* SEARCH 1"]
    (found,) = await new.ok("UID SEARCH ALL")
    assert re.fullmatch(rb'\* ESEARCH \(TAG "t\d+"\) UID ALL 1', found)
    (nothing,) = await new.ok("SEARCH FLAGGED")
    assert re.fullmatch(rb'\* ESEARCH \(TAG "t\d+"\)', nothing)


async def test_enabling_it_while_a_mailbox_is_selected_ends_recent(imap: Connect) -> None:
    client = await imap()
    await client.append("INBOX", MAIL)
    await client.ok("SELECT INBOX")
    assert await client.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]
    await client.ok("ENABLE IMAP4rev2")
    assert await client.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ())"]


@pytest.mark.parametrize("revision", ["IMAP4rev2", "UTF8=ACCEPT"])
async def test_mailbox_names_go_in_utf8(imap: Connect, revision: str) -> None:
    new, old = await enabled(imap, revision), await imap()
    await new.ok('CREATE "Entwürfe/Q&A"')
    assert await old.ok('LIST "" Entw*Q*') == [b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe/Q&-A"']
    assert await new.ok('LIST "" "Entwü*"') == [
        '* LIST (\\HasChildren) "/" "Entwürfe"'.encode(),
        '* LIST (\\HasNoChildren) "/" "Entwürfe/Q&A"'.encode(),
    ]
    assert await new.ok('STATUS "Entwürfe/Q&A" (MESSAGES)') == [
        '* STATUS "Entwürfe/Q&A" (MESSAGES 0)'.encode()
    ]
    await new.ok('SUBSCRIBE "Entwürfe/Q&A"')
    assert '* LSUB () "/" "Entwürfe/Q&A"'.encode() in await new.ok('LSUB "" *')
    assert (await new.append('"Entwürfe/Q&A"', MAIL)).ok
    await new.ok('SELECT "Entwürfe/Q&A"')
    await old.ok("CREATE &ZeVnLIqe-")
    await new.ok('RENAME "日本語" "台北"')
    assert await old.ok('LIST "" &U,BTFw-') == [b'* LIST (\\HasNoChildren) "/" "&U,BTFw-"']
    await new.ok('COPY 1 "台北"')
    assert await old.ok("STATUS &U,BTFw- (MESSAGES)") == [b'* STATUS "&U,BTFw-" (MESSAGES 1)']
    decomposed = await new.command('CREATE "cafe\u0301"')
    assert decomposed.text.startswith(b"NO [CANNOT] ")
    broken = await new.command(b'SELECT "\xff"')
    assert broken.text.startswith(b"BAD ")


async def test_who_enabled_nothing_may_send_names_in_utf8_and_is_told_utf7(imap: Connect) -> None:
    client = await imap()
    await client.ok('CREATE "Entwürfe"')
    assert await client.ok('LIST "" Entw*') == [b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe"']


async def test_ranges_may_have_63_bits(imap: Connect) -> None:
    client = await enabled(imap, "IMAP4rev2")
    await client.append("INBOX", MAIL)
    await client.ok("SELECT INBOX")
    assert await client.ok("FETCH 1 BODY.PEEK[]<4294967296.9223372036854775807>") == [
        b"* 1 FETCH (BODY[]<4294967296> {0}\r\n)"
    ]
    (found,) = await client.ok("SEARCH SMALLER 9223372036854775807")
    assert found.endswith(b"ALL 1")
