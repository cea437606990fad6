"""UIDONLY (RFC 9586): which commands speak of message numbers, and the responses without them."""

import pytest

from postroom_wire.imap import fetch_response
from postroom_wire.imap.commands import Fetch, Replace
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.state import may_tell_expunges, uses_message_numbers

NUMBERED = [
    b"FETCH 1 FLAGS",
    b"STORE 1:* +FLAGS (\\Seen)",
    b"COPY 1 x",
    b"MOVE $ x",
    b"SEARCH ALL",
    b"SEARCH UID 1",
    b"UID SEARCH 1",
    b"UID SEARCH NOT (SEEN OR 2:* ANSWERED)",
    b"UID SEARCH 1,$",
    b"SORT (DATE) UTF-8 ALL",
    b"UID SORT (DATE) UTF-8 1",
    b"THREAD REFERENCES UTF-8 ALL",
    b"SELECT x (QRESYNC (1 1 1:2 (1 2)))",
    b"EXAMINE x (QRESYNC (1 1 (1 2)))",
]
NOT_NUMBERED = [
    b"UID FETCH 1:* FLAGS",
    b"UID STORE $ FLAGS ()",
    b"UID COPY 1 x",
    b"UID MOVE 1 x",
    b"UID SEARCH UID 1:*",
    b"UID SEARCH $ SEEN",
    b"UID SORT (DATE) UTF-8 ALL",
    b"UID THREAD REFERENCES UTF-8 UID 7",
    b"UID EXPUNGE 1",
    b"EXPUNGE",
    b"SELECT x (QRESYNC (1 1 1:2))",
    b"SELECT x (CONDSTORE)",
    b"NOOP",
]


@pytest.mark.parametrize("text", NUMBERED)
def test_message_numbers_are_found(text: bytes) -> None:
    assert uses_message_numbers(parse_command(b"a " + text).command)


@pytest.mark.parametrize("text", NOT_NUMBERED)
def test_uids_are_none(text: bytes) -> None:
    assert not uses_message_numbers(parse_command(b"a " + text).command)


def test_replace_names_its_message_in_either_way() -> None:
    assert uses_message_numbers(Replace(1, MailboxName("x")))
    assert not uses_message_numbers(Replace(1, MailboxName("x"), uid=True))


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (b"FETCH 1 FLAGS", False),
        (b"UID FETCH 1 FLAGS", True),
        (b"STORE 1 FLAGS ()", False),
        (b"SEARCH ALL", False),
        (b"UID SEARCH ALL", True),
        (b"UID SEARCH 1", False),  # RFC 7162 s3.2.10.2
        (b"UID SORT (DATE) UTF-8 OR SEEN 1", False),
        (b"UID THREAD REFS UTF-8 $", True),
        (b"COPY 1 x", True),
        (b"NOOP", True),
    ],
)
def test_expunges_wait_where_numbers_are_used(text: bytes, may: bool) -> None:
    assert may_tell_expunges(parse_command(b"a " + text).command) is may


def test_responses_have_the_uid_in_place_of_the_number() -> None:
    assert fetch_response.fetch(25996, [b"FLAGS (\\Seen)"], uid_only=True) == (
        b"* 25996 UIDFETCH (FLAGS (\\Seen))\r\n"
    )
    assert b"".join(fetch_response.uid_only_flags([(7, "()"), (9, "(\\Seen)")])) == (
        b"* 7 UIDFETCH (FLAGS ())\r\n* 9 UIDFETCH (FLAGS (\\Seen))\r\n"
    )
    assert b"".join(fetch_response.uid_only_with_modseqs([(7, "()", 3)])) == (
        b"* 7 UIDFETCH (FLAGS () MODSEQ (3))\r\n"
    )
    assert b"".join(fetch_response.uid_only_modseqs([(7, 3)])) == b"* 7 UIDFETCH (MODSEQ (3))\r\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [(b"UID FETCH 1 (FLAGS UID)", True), (b"UID FETCH 1 FLAGS", False), (b"FETCH 1 UID", False)],
)
def test_a_fetch_by_uid_says_whether_the_uid_is_wanted_too(text: bytes, names: bool) -> None:
    command = parse_command(b"a " + text).command
    assert isinstance(command, Fetch)
    assert command.names_uid is names
