"""GETMETADATA and SETMETADATA (RFC 5464), and METADATA in LIST (RFC 9590)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.commands import List
from postroom_wire.imap.errors import BAD_MAILBOX_NAME, SYNTAX_ERROR, TOO_MANY_ITEMS, RemoteProtocolError
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.metadata import GetMetadata, SetMetadata, long_entries, metadata
from postroom_wire.imap.parser import parse_command

INBOX = MailboxName("INBOX")
BOTH = ("/shared/comment", "/private/comment")

COMMANDS = {
    b'GETMETADATA "" /shared/comment': GetMetadata(None, ("/shared/comment",)),
    b'GETMETADATA "INBOX" (/shared/comment "/private/Comment")': GetMetadata(INBOX, BOTH),
    b"GETMETADATA INBOX (/shared/comment /SHARED/comment)": GetMetadata(INBOX, ("/shared/comment",)),
    b"GETMETADATA INBOX (MAXSIZE 1024) (/shared/comment /private/comment)": GetMetadata(INBOX, BOTH, 1_024),
    b"GETMETADATA (depth infinity maxsize 0) INBOX /private": GetMetadata(INBOX, ("/private",), 0, -1),
    b"GETMETADATA INBOX (DEPTH 1) (/private/filters/values)": GetMetadata(
        INBOX, ("/private/filters/values",), depth=1
    ),
    b"GETMETADATA INBOX ({8}\r\n/private)": GetMetadata(INBOX, ("/private",)),
    b"SETMETADATA INBOX (/private/comment {33}\r\nMy new comment across\r\ntwo lines.)": SetMetadata(
        INBOX, (("/private/comment", b"My new comment across\r\ntwo lines."),)
    ),
    b'SETMETADATA "" (/private/comment NIL /shared/comment "x" /private/COMMENT "")': SetMetadata(
        None, (("/private/comment", b""), ("/shared/comment", b"x"))
    ),
    b"SETMETADATA INBOX (/private/comment ~{3}\r\na\x00b)": SetMetadata(
        INBOX, (("/private/comment", b"a\x00b"),)
    ),
    b'LIST "" % RETURN (METADATA ("/shared/vendor/a" /private/comment))': List(
        b"", (b"%",), metadata=("/shared/vendor/a", "/private/comment"), extended=True
    ),
}
REFUSED = {
    b"GETMETADATA INBOX": SYNTAX_ERROR,
    b"GETMETADATA a//b /private": BAD_MAILBOX_NAME,
    b"GETMETADATA INBOX ()": SYNTAX_ERROR,
    b"GETMETADATA INBOX comment": SYNTAX_ERROR,
    b"GETMETADATA INBOX /other/comment": SYNTAX_ERROR,
    b'GETMETADATA INBOX "/private/*"': SYNTAX_ERROR,
    b"GETMETADATA INBOX /private/": SYNTAX_ERROR,
    b"GETMETADATA INBOX /private//a": SYNTAX_ERROR,
    b'GETMETADATA INBOX "/private/\xc3\xa4"': SYNTAX_ERROR,
    b"GETMETADATA INBOX /private/" + b"a" * 1_020: SYNTAX_ERROR,
    b"GETMETADATA INBOX (DEPTH 2) /private": SYNTAX_ERROR,
    b"GETMETADATA INBOX (MAXSIZE) /private": SYNTAX_ERROR,
    b"GETMETADATA INBOX (UNHEARD 1) /private": SYNTAX_ERROR,
    b"SETMETADATA INBOX ()": SYNTAX_ERROR,
    b"SETMETADATA INBOX (/private/comment)": SYNTAX_ERROR,
    b"SETMETADATA INBOX (/private/comment atom)": SYNTAX_ERROR,
    b"SETMETADATA INBOX (/private/comment ~{3}\r\nab)": SYNTAX_ERROR,
    b"SETMETADATA INBOX (/private/comment {3}\r\na\x00b)": SYNTAX_ERROR,
    b"SETMETADATA INBOX (" + b" ".join([b"/private NIL"] * 257) + b")": TOO_MANY_ITEMS,
    b'LIST "" % RETURN (METADATA)': SYNTAX_ERROR,
    b'LIST "" % RETURN (METADATA ())': SYNTAX_ERROR,
}


@pytest.mark.parametrize("text", COMMANDS)
def test_commands_are_read(text: bytes) -> None:
    assert parse_command(b"a " + text).command == COMMANDS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_command_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a " + text)
    assert refused.value.refusal is REFUSED[text]


def test_responses_have_the_form_of_the_rfc() -> None:
    values = [("/private/comment", b"My own comment"), ("/shared/comment", None)]
    expected = b'* METADATA INBOX (/private/comment "My own comment" /shared/comment NIL)\r\n'
    assert metadata(INBOX, values) == expected
    assert metadata(None, [("/private/a b", b"a\x00b")]) == (
        b'* METADATA "" ("/private/a b" ~{3}\r\na\x00b)\r\n'
    )
    assert long_entries(2_199) == b"METADATA LONGENTRIES 2199"


@given(st.binary(max_size=50))
def test_what_is_told_can_be_said_back(value: bytes) -> None:
    told = metadata(INBOX, [("/private/comment", value)])
    said = b"a SETMETADATA INBOX" + told.removeprefix(b"* METADATA INBOX").removesuffix(b"\r\n")
    assert parse_command(said).command == SetMetadata(INBOX, (("/private/comment", value),))


@given(st.binary(max_size=80))
def test_any_octets_are_a_command_or_refused(octets: bytes) -> None:
    for head in (b"a GETMETADATA INBOX ", b"a SETMETADATA INBOX (", b'a LIST "" % RETURN (METADATA '):
        with suppress(RemoteProtocolError):
            parse_command(head + octets)
