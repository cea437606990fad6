"""Names, hierarchy, subscriptions and counters (RFC 3501 s6.3)."""

import pytest

from postroom_testing.imap_client import Connect

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"


async def test_a_new_account_has_its_special_mailboxes(imap: Connect) -> None:
    alice = await imap()
    assert await alice.ok('LIST "" *') == [
        b'* LIST (\\HasNoChildren) "/" INBOX',
        b'* LIST (\\HasNoChildren \\Archive) "/" "Archive"',
        b'* LIST (\\HasNoChildren \\Drafts) "/" "Drafts"',
        b'* LIST (\\HasNoChildren \\Junk) "/" "Junk"',
        b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
        b'* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
    ]
    assert await alice.ok('LIST (SPECIAL-USE) "" (Sent Trash INBOX)') == [
        b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
        b'* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
    ]


async def test_an_empty_pattern_asks_for_the_delimiter(imap: Connect) -> None:
    alice = await imap()
    assert await alice.ok('LIST "" ""') == [b'* LIST (\\Noselect) "/" ""']
    assert await alice.ok('LSUB "" ""') == [b'* LSUB (\\Noselect) "/" ""']
    assert await alice.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL']


async def test_a_mailbox_is_made_with_those_above_it_and_keeps_those_below(imap: Connect) -> None:
    alice = await imap()
    await alice.ok("CREATE Work/2026/Tea")
    assert await alice.ok('LIST "" Work*') == [
        b'* LIST (\\HasChildren) "/" "Work"',
        b'* LIST (\\HasChildren) "/" "Work/2026"',
        b'* LIST (\\HasNoChildren) "/" "Work/2026/Tea"',
    ]
    await alice.ok("DELETE Work/2026")
    assert await alice.ok('LIST "" Work/%') == [
        b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Work/2026"'
    ]
    await alice.ok("RENAME Work Done")
    assert (await alice.ok('LIST "" Done*'))[-1] == b'* LIST (\\HasNoChildren) "/" "Done/2026/Tea"'
    assert await alice.ok('LIST "" Work*') == []


async def test_names_beyond_ascii_travel_in_modified_utf_7(imap: Connect) -> None:
    alice = await imap()
    await alice.ok('CREATE "&ZeVnLIqe-"')
    assert await alice.ok('LIST "" "&ZeVnLIqe-"') == [b'* LIST (\\HasNoChildren) "/" "&ZeVnLIqe-"']
    assert (await alice.command('SELECT "&ZeVnLIqe-"')).ok


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("CREATE INBOX", b"NO [ALREADYEXISTS] There is a mailbox of this name"),
        ("CREATE Sent", b"NO [ALREADYEXISTS] There is a mailbox of this name"),
        ("DELETE INBOX", b"NO [CANNOT] Not with this mailbox"),
        ("DELETE Nowhere", b"NO [NONEXISTENT] No such mailbox"),
        ("SELECT Nowhere", b"NO [NONEXISTENT] No such mailbox"),
        ("STATUS Nowhere (MESSAGES)", b"NO [NONEXISTENT] No such mailbox"),
        ("RENAME Nowhere Here", b"NO [NONEXISTENT] No such mailbox"),
        ("RENAME Sent Trash", b"NO [ALREADYEXISTS] There is a mailbox of this name"),
        ("RENAME Sent Sent/Below", b"NO [CANNOT] Not with this mailbox name"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_code(imap: Connect, command: str, text: bytes) -> None:
    alice = await imap()
    assert (await alice.command(command)).text == text


async def test_renaming_inbox_moves_its_messages_and_leaves_it_empty(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    await alice.ok("RENAME INBOX Old")
    assert await alice.ok("STATUS Old (MESSAGES)") == [b'* STATUS "Old" (MESSAGES 1)']
    assert await alice.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


async def test_status_counts(imap: Connect) -> None:
    alice = await imap()
    await alice.append("INBOX", MAIL)
    await alice.append("INBOX", MAIL, "(\\Seen)")
    (told,) = await alice.ok("STATUS INBOX (MESSAGES UNSEEN RECENT UIDNEXT)")
    assert told == b"* STATUS INBOX (MESSAGES 2 UNSEEN 1 RECENT 2 UIDNEXT 3)"


async def test_a_subscription_outlives_its_mailbox(imap: Connect) -> None:
    alice = await imap()
    await alice.ok("CREATE News/Daily")
    await alice.ok("SUBSCRIBE News/Daily")
    await alice.ok("DELETE News/Daily")
    await alice.ok("DELETE News")
    assert await alice.ok('LSUB "" News*') == [b'* LSUB () "/" "News/Daily"']
    assert await alice.ok('LSUB "" %ews') == [b'* LSUB (\\Noselect) "/" "News"']
    assert await alice.ok('LIST (SUBSCRIBED) "" News*') == [
        b'* LIST (\\NonExistent \\Noselect \\HasNoChildren \\Subscribed) "/" "News/Daily"'
    ]
    assert await alice.ok('LIST "" News*') == []
    await alice.ok("UNSUBSCRIBE News/Daily")
    assert await alice.ok('LSUB "" News*') == []


async def test_who_has_the_deleted_mailbox_selected_is_sent_away(imap: Connect) -> None:
    alice, phone = await imap(), await imap()
    await alice.ok("CREATE Short")
    await phone.ok("SELECT Short")
    await alice.ok("SELECT Short")
    await alice.ok("DELETE Short")
    assert await phone.response() == b"* BYE The selected mailbox was deleted"
    assert (await alice.command("FETCH 1 UID")).text == b"NO [NONEXISTENT] No such mailbox"
    assert (await alice.command("SELECT INBOX")).ok
