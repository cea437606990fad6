"""The pieces of APPEND and REPLACE (RFC 3501 s6.3.11, RFC 3502, RFC 4469, RFC 6855, RFC 8508)."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.append_parser import (
    AnnouncedLiteral,
    AppendPiece,
    AppendReader,
    parse_append_command,
)
from postroom_wire.imap.commands import Append, Replace
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import MESSAGE_TOO_BIG, SYNTAX_ERROR, Refusal, RemoteProtocolError
from postroom_wire.imap.events import AppendMessageEnded, AppendMessageStarted, AppendUrl
from postroom_wire.imap.flags import SEEN, Flag
from postroom_wire.imap.limits import DEFAULT_LIMITS, Limits
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.sequence import STAR

INBOX = MailboxName("INBOX")
ENDED = AppendMessageEnded()
ONE = AppendMessageStarted((), None, 1)
PARTS = AppendMessageStarted((), None, None)


def pieces(*texts: bytes, single: bool = False, limits: Limits = DEFAULT_LIMITS) -> list[AppendPiece]:
    reader = AppendReader(limits, single=single)
    return [piece for text in texts for piece in reader.read(Cursor(text))]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b"APPEND saved {310}", Append(MailboxName("saved"))),
        (b'append "a b" {0+}', Append(MailboxName("a b"))),
        (b"APPEND {5}\r\ninbox () {1}", Append(INBOX)),
        (b"REPLACE 4 x {1}", Replace(4, MailboxName("x"))),
        (b"REPLACE * inbox {1}", Replace(STAR, INBOX)),
        (b"uid replace 2000 x {1}", Replace(2000, MailboxName("x"), uid=True)),
    ],
)
def test_the_head_says_where_messages_go(text: bytes, command: Append | Replace) -> None:
    cursor = Cursor(text)
    assert parse_append_command(cursor) == command
    assert cursor.next_is(b" ")


@pytest.mark.parametrize(
    ("text", "begun", "literal"),
    [
        (b" {310}", AppendMessageStarted((), None, 310), AnnouncedLiteral(310, True)),
        (b" ~{3+}", AppendMessageStarted((), None, 3), AnnouncedLiteral(3, False)),
        (b" (\\Seen \\Recent $x) {1}", AppendMessageStarted((SEEN, Flag("$x")), None, 1), None),
        (
            b' () " 7-Feb-1994 21:52:25 -0800" {7}',
            AppendMessageStarted((), datetime(1994, 2, 8, 5, 52, 25, tzinfo=UTC), 7),
            None,
        ),
        (b" utf8 (~{3}", AppendMessageStarted((), None, 3, utf8=True), AnnouncedLiteral(3, True)),
        (b" CATENATE (TEXT {3}", PARTS, AnnouncedLiteral(3, True)),
        (b" (\\Seen) catenate (text ~{3}", AppendMessageStarted((SEEN,), None, None), None),
    ],
)
def test_a_message_begins_up_to_its_literal(
    text: bytes, begun: AppendMessageStarted, literal: AnnouncedLiteral | None
) -> None:
    reader = AppendReader(DEFAULT_LIMITS, single=False)
    assert reader.read(Cursor(text)) == [begun]
    assert reader.literal is not None
    assert literal in {None, reader.literal}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((b" {1}", b""), [ONE, ENDED]),
        ((b" UTF8 (~{1}", b")"), [AppendMessageStarted((), None, 1, utf8=True), ENDED]),
        ((b' CATENATE (URL a URL "b)" URL {1}\r\nc)',), [PARTS, *map(AppendUrl, (b"a", b"b)", b"c")), ENDED]),
        (
            (b" CATENATE (TEXT {1}", b" URL a UTF8 (~{1}", b") TEXT {2}", b")"),
            [PARTS, AppendUrl(b"a"), ENDED],
        ),
        (
            (b" {1}", b" CATENATE (URL a) () {2}", b""),
            [ONE, ENDED, PARTS, AppendUrl(b"a"), ENDED, AppendMessageStarted((), None, 2), ENDED],
        ),
    ],
)
def test_pieces_make_messages(texts: tuple[bytes, ...], expected: list[AppendPiece]) -> None:
    assert pieces(*texts) == expected


@pytest.mark.parametrize(
    "texts",
    [
        (b"{5}",),
        (b" (\\Seen){5}",),
        (b' "x" {5}',),
        (b" {5}x",),
        (b" {4294967296}",),
        (b" UTF8 ({5}",),
        (b" UTF8 ~{5}",),
        (b" CATENATE {5}",),
        (b" CATENATE (TEXT)",),
        (b" CATENATE (URL)",),
        (b" CATENATE (URL a",),
        (b" CATENATE (URL a))",),
        (b" CATENATE (URL a) ",),
        (b" {1}", b"x"),
        (b" {1}", b")"),
        (b" UTF8 (~{1}", b""),
        (b" CATENATE (TEXT {1}", b""),
        (b" CATENATE (TEXT {1}", b"TEXT {1}"),
        (b" CATENATE (UTF8 (~{1}", b" URL a)"),
        (b" ",),
        (b"",),
    ],
)
def test_other_pieces_are_refused(texts: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        pieces(*texts)
    assert caught.value.refusal == SYNTAX_ERROR


@pytest.mark.parametrize(
    ("texts", "refusal"),
    [
        ((b" {11}",), MESSAGE_TOO_BIG),
        ((b" CATENATE (TEXT {6}", b" TEXT {5}"), MESSAGE_TOO_BIG),
        ((b" {10}", b" {10}", b" {1}"), MESSAGE_TOO_BIG),
    ],
)
def test_too_much_is_refused(texts: tuple[bytes, ...], refusal: Refusal) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        pieces(*texts, limits=Limits(append_limit=10, append_total=20))
    assert caught.value.refusal == refusal


def test_only_one_message_replaces_another() -> None:
    assert pieces(b" {1}", b"", single=True)
    with pytest.raises(RemoteProtocolError):
        pieces(b" {1}", b" {1}", single=True)


TOKENS = [b" ", b"(", b")", b"{1}", b"~{2+}", b"CATENATE", b"TEXT", b"URL", b"UTF8", b"a", b"\\Seen", b'"b"']


@given(
    st.lists(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=10).map(b"".join), max_size=4)
)
def test_any_pieces_are_messages_or_refused(texts: list[bytes]) -> None:
    reader = AppendReader(DEFAULT_LIMITS, single=False)
    for text in texts:
        try:
            reader.read(Cursor(text))
        except RemoteProtocolError:
            return
