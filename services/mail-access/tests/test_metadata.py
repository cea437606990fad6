"""GETMETADATA and SETMETADATA (RFC 5464), METADATA in LIST (RFC 9590), uses as metadata (RFC 6154)."""

import pytest

from postroom_testing.imap_client import Connect


async def test_annotations_of_mailboxes_and_of_the_account_are_apart(imap: Connect) -> None:
    alice = await imap()
    await alice.ok('SETMETADATA INBOX (/private/comment "My own comment" /shared/comment "")')
    await alice.ok('SETMETADATA "" (/private/comment "Mine")')
    assert await alice.ok("GETMETADATA INBOX (/shared/comment /private/comment /private/none)") == [
        b'* METADATA INBOX (/shared/comment "" /private/comment "My own comment" /private/none NIL)'
    ]
    assert await alice.ok('GETMETADATA "" /PRIVATE/Comment') == [b'* METADATA "" (/private/comment "Mine")']
    await alice.ok("SETMETADATA INBOX (/private/comment NIL)")
    assert await alice.ok("GETMETADATA INBOX /private/comment") == [
        b"* METADATA INBOX (/private/comment NIL)"
    ]
    bob = await imap("bob")
    assert await bob.ok("GETMETADATA INBOX /private/comment") == [b"* METADATA INBOX (/private/comment NIL)"]


async def test_values_of_any_octets_come_in_literals(imap: Connect) -> None:
    alice = await imap()
    await alice.ok("SETMETADATA INBOX (/private/a {9+}\r\none\r\ntwo! /private/b ~{3+}\r\na\0b)")
    assert await alice.ok("GETMETADATA INBOX (/private/a /private/b)") == [
        b"* METADATA INBOX (/private/a {9}\r\none\r\ntwo! /private/b ~{3}\r\na\0b)"
    ]


async def test_depth_and_size_choose_what_is_told(imap: Connect) -> None:
    alice = await imap()
    await alice.ok(
        'SETMETADATA INBOX (/private/f/small "SMALLER 5000" /private/f/long "12345678901234567890")'
    )
    for command in ("GETMETADATA (DEPTH 1) INBOX /private/f", "GETMETADATA INBOX (DEPTH infinity) /private"):
        assert await alice.ok(command) == [
            b'* METADATA INBOX (/private/f/long "12345678901234567890" /private/f/small "SMALLER 5000")'
        ]
    assert await alice.ok("GETMETADATA INBOX (DEPTH 1) (/private/none)") == []
    answer = await alice.command("GETMETADATA INBOX (MAXSIZE 19) (/private/f/small /private/f/long)")
    assert answer.untagged == [b'* METADATA INBOX (/private/f/small "SMALLER 5000")']
    assert answer.text == b"OK [METADATA LONGENTRIES 20] GETMETADATA completed"
    answer = await alice.command("GETMETADATA INBOX (MAXSIZE 20) /private/f/long")
    assert answer.text == b"OK GETMETADATA completed"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("SETMETADATA Nowhere (/private/a NIL)", b"NO [NONEXISTENT] No such mailbox"),
        ("GETMETADATA Nowhere /private/a", b"NO [NONEXISTENT] No such mailbox"),
        ('SETMETADATA "" (/private/a "x" /shared/comment "x")', b"NO [NOPERM] Not permitted"),
        (
            "SETMETADATA INBOX (/private/a {32769+}\r\n" + "x" * 32_769 + ")",
            b"NO [METADATA MAXSIZE 32768] Annotation too long",
        ),
        (
            "SETMETADATA INBOX (" + " ".join(f'/private/{number} "x"' for number in range(201)) + ")",
            b"NO [METADATA TOOMANY] Too many annotations",
        ),
        (
            'SETMETADATA INBOX (/private/a "x" /private/specialuse "\\\\Sent")',
            b"NO [USEATTR] No mailbox can have this special use",
        ),
        ("SETMETADATA INBOX (/other/a NIL)", b"BAD Syntax error in arguments"),
    ],
)
async def test_when_an_annotation_cannot_be_set_none_is(imap: Connect, command: str, text: bytes) -> None:
    alice = await imap()
    assert (await alice.command(command)).text == text
    assert await alice.ok("GETMETADATA (DEPTH 1) INBOX /private") == []
    assert await alice.ok('GETMETADATA (DEPTH 1) "" /private') == []


async def test_a_value_of_the_largest_size_is_kept(imap: Connect) -> None:
    alice = await imap()
    await alice.ok("SETMETADATA INBOX (/private/a {32768+}\r\n" + "x" * 32_768 + ")")
    (told,) = await alice.ok("GETMETADATA INBOX /private/a")
    assert told.count(b"x") == 32_768


async def test_annotations_follow_their_mailbox(imap: Connect) -> None:
    alice = await imap()
    for name in ("INBOX", "Work"):
        await alice.command(f"CREATE {name}")
        await alice.ok(f'SETMETADATA {name} (/private/comment "kept")')
    await alice.ok("RENAME Work Play")
    await alice.ok("RENAME INBOX Old")
    for name in (b"INBOX", b'"Play"', b'"Old"'):
        (told,) = await alice.ok(f"GETMETADATA {name.decode()} /private/comment")
        assert told == b"* METADATA " + name + b' (/private/comment "kept")'
    await alice.ok("DELETE Play")
    await alice.ok("CREATE Play")
    assert await alice.ok("GETMETADATA Play /private/comment") == [
        b'* METADATA "Play" (/private/comment NIL)'
    ]


async def test_special_uses_change_by_metadata(imap: Connect) -> None:
    alice = await imap()
    await alice.ok("CREATE SavedDrafts")
    assert await alice.ok("GETMETADATA Drafts /private/specialuse") == [
        b'* METADATA "Drafts" (/private/specialuse "\\\\Drafts")'
    ]
    await alice.ok('SETMETADATA SavedDrafts (/private/specialuse "\\\\Drafts")')
    await alice.ok("SETMETADATA Sent (/private/specialuse NIL)")
    assert await alice.ok('LIST "" (*Drafts Sent)') == [
        b'* LIST (\\HasNoChildren) "/" "Drafts"',
        b'* LIST (\\HasNoChildren \\Drafts) "/" "SavedDrafts"',
        b'* LIST (\\HasNoChildren) "/" "Sent"',
    ]


async def test_list_tells_metadata_of_mailboxes(imap: Connect) -> None:
    alice = await imap()
    await alice.ok("CREATE Work/Tea")
    await alice.ok("DELETE Work")
    await alice.ok('SETMETADATA INBOX (/shared/vendor/postroom/color "#b71c1c")')
    entries = "/shared/vendor/postroom/color"
    assert await alice.ok(f'LIST "" (INBOX Work Sent) RETURN (METADATA ("{entries}") STATUS (MESSAGES))') == [
        b'* LIST (\\HasNoChildren) "/" INBOX',
        b"* STATUS INBOX (MESSAGES 0)",
        b'* METADATA INBOX (/shared/vendor/postroom/color "#b71c1c")',
        b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
        b'* STATUS "Sent" (MESSAGES 0)',
        b'* METADATA "Sent" (/shared/vendor/postroom/color NIL)',
        b'* LIST (\\NonExistent \\Noselect \\HasChildren) "/" "Work"',
    ]
    assert await alice.ok('LIST "" Nowhere RETURN (METADATA (/private/comment))') == []


async def test_list_tells_no_metadata_of_who_is_listed_for_others_below(imap: Connect) -> None:
    """RFC 9590 s4, the second example."""
    alice = await imap()
    for command in ("CREATE Work/Tea", "UNSUBSCRIBE Work", "SUBSCRIBE Work/Tea", "SUBSCRIBE INBOX"):
        await alice.ok(command)
    told = await alice.ok(
        'LIST (SUBSCRIBED RECURSIVEMATCH) "" (INBOX Work) RETURN (METADATA (/private/none))'
    )
    assert told == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b"* METADATA INBOX (/private/none NIL)",
        b'* LIST (\\HasChildren) "/" "Work" ("CHILDINFO" ("SUBSCRIBED"))',
    ]


async def test_metadata_is_offered(imap: Connect) -> None:
    alice = await imap()
    (offered,) = await alice.ok("CAPABILITY")
    assert {b"METADATA", b"LIST-METADATA"} <= set(offered.split())
