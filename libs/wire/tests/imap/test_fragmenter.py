"""Lines, literals and their limits (RFC 3501 s4.3, RFC 7888)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_testing.imap_fragments import CONTINUE, NOOP, Told, fed, refused
from postroom_wire.imap.errors import (
    COMMAND_TOO_LONG,
    LINE_TOO_LONG,
    LITERAL_TOO_BIG,
    MESSAGE_TOO_BIG,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
)
from postroom_wire.imap.message_limit import message_limit, too_many

STREAMS: dict[str, tuple[bytes, list[Told]]] = {
    "a line": (b"a NOOP\r\n", [("command", b"a NOOP")]),
    "two lines": (b"a NOOP\r\nb NOOP\r\n", [("command", b"a NOOP"), ("command", b"b NOOP")]),
    "an empty line": (b"\r\n", [("command", b"")]),
    "bare CR and LF are inside a line": (b"a\rb\nc\r\r\n", [("command", b"a\rb\nc\r")]),
    "a synchronising literal": (
        b"a LOGIN {3}\r\nx\r\n b\r\n", [CONTINUE, ("command", b"a LOGIN {3}\r\nx\r\n b")],
    ),
    "RFC 7888 s3": (
        b"a LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\n",
        [("command", b"a LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man")],
    ),
    "an empty literal": (b"a X {0+}\r\n\r\n", [("command", b"a X {0+}\r\n")]),
    "a literal that holds a literal": (b"a X {6+}\r\n{9+}\r\n\r\n", [("command", b"a X {6+}\r\n{9+}\r\n")]),
    "leading zeros": (b"a X {0000000000003+}\r\nabc\r\n", [("command", b"a X {0000000000003+}\r\nabc")]),
    "no literal": (b"a X {3 }\r\nb {}\r\nc {+}\r\nd 3}\r\n", [
        ("command", b"a X {3 }"), ("command", b"b {}"), ("command", b"c {+}"), ("command", b"d 3}"),
    ]),
    "a line beyond the limit": (b"a " + b"x" * 60 + b"\r\nz NOOP\r\n", [refused(b"a", LINE_TOO_LONG), NOOP]),
    "a line of the limit": (b"a " + b"x" * 38 + b"\r\n", [("command", b"a " + b"x" * 38)]),
    "a line beyond it by one": (b"a " + b"x" * 39 + b"\r\nz NOOP\r\n", [refused(b"a", LINE_TOO_LONG), NOOP]),
    "a long line before a literal": (
        b"a " + b"x" * 60 + b" {8+}\r\nz NOOP\r\n\r\nz NOOP\r\n", [refused(b"a", LINE_TOO_LONG), NOOP],
    ),
    "a long line before a literal that waits": (
        b"a " + b"x" * 60 + b" {8}\r\nz NOOP\r\n", [refused(b"a", LINE_TOO_LONG), NOOP],
    ),
    "a long line without a tag": (b"x" * 60 + b" y\r\nz NOOP\r\n", [refused(None, LINE_TOO_LONG), NOOP]),
    "a literal beyond the limit waits in vain": (
        b"a X {31}\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "a literal beyond the limit is skipped": (
        b"a X {31+}\r\n" + b"\r\n" * 15 + b"y more\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "all literals of a refused command are skipped": (
        b"a X {31+}\r\n" + b"y" * 31 + b" {5+}\r\n\r\n\r\n1 {2+}\r\n12\r\nz NOOP\r\n",
        [refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "a refused command ends where its client waits": (
        b"a X {31+}\r\n" + b"y" * 31 + b" {5}\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "a later literal beyond the limit": (
        b"a X {2+}\r\nhi {31+}\r\n" + b"y" * 31 + b"\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "a literal bomb": (b"a X {4294967295}\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP]),
    "a literal bomb that does not wait": (
        b"a X {4294967295+}\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG, fatal=True)],
    ),
    "a literal of more digits than a number": (
        b"a X {" + b"9" * 30 + b"}\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "too many literals": (
        b"a {1+}\r\nx{1+}\r\nx{1+}\r\nx{1+}\r\nx\r\nz NOOP\r\n", [refused(b"a", TOO_MANY_ITEMS), NOOP],
    ),
    "each command has its own number of literals": (
        b"a {1+}\r\nx{1+}\r\nx{1+}\r\nx\r\n" * 2, [("command", b"a {1+}\r\nx{1+}\r\nx{1+}\r\nx")] * 2,
    ),
    "a message after a command with a literal": (
        b"a X {1+}\r\nx\r\nb APPEND {1+}\r\nx {3+}\r\nabc\r\nz NOOP\r\n",
        [("command", b"a X {1+}\r\nx"), ("append", b"b 3"), ("message", b"abc"), ("appended", b"b"), NOOP],
    ),
    "a refused command of all that may be skipped": (
        b"a X {200+}\r\n" + b"y" * 200 + b"\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "literals beyond the command's limit": (
        b"a" + b" {30+}\r\n123456789 123456789 123456789 " * 3 + b"\r\nz NOOP\r\n",
        [refused(b"a", COMMAND_TOO_LONG), NOOP],
    ),
    "lines beyond the command's limit": (
        b"a {30+}\r\n" + b"x" * 30 + b" {20+}\r\n" + b"x" * 20 + b" more than fits\r\nz NOOP\r\n",
        [refused(b"a", COMMAND_TOO_LONG), NOOP],
    ),
    "an endless line is given up": (
        b"a " + b"x" * 400, [refused(b"a", LINE_TOO_LONG), refused(None, COMMAND_TOO_LONG, fatal=True)],
    ),
    "endless literals of a refused command are given up": (
        b"a X {31+}\r\n" + b"y" * 31 + b" {199+}\r\nz NOOP\r\n",
        [refused(b"a", LITERAL_TOO_BIG), refused(None, COMMAND_TOO_LONG, fatal=True)],
    ),
    "a message": (
        b"a APPEND x (\\Seen) {9}\r\nab\r\n{5+}\r\r\nz NOOP\r\n",
        [("append", b"a 9"), CONTINUE, ("message", b"ab\r\n{5+}\r"), ("appended", b"a"), NOOP],
    ),
    "a message that does not wait": (
        b"a append INBOX {50+}\r\n" + b"m" * 50 + b"\r\nz NOOP\r\n",
        [("append", b"a 50"), ("message", b"m" * 50), ("appended", b"a"), NOOP],
    ),
    "an empty message": (
        b"a APPEND x {0+}\r\n\r\n", [("append", b"a 0"), ("message", b""), ("appended", b"a")],
    ),
    "a message to a mailbox that is a literal": (
        b"a APPEND {5}\r\ninbox {3+}\r\nabc\r\n",
        [CONTINUE, ("append", b"a 3"), ("message", b"abc"), ("appended", b"a")],
    ),
    "a message beyond the limit waits in vain": (
        b"a APPEND x {51}\r\nz NOOP\r\n", [refused(b"a", MESSAGE_TOO_BIG), NOOP],
    ),
    "a message beyond the limit is skipped": (
        b"a APPEND x {51+}\r\n" + b"\r\n " * 17 + b"\r\nz NOOP\r\n", [refused(b"a", MESSAGE_TOO_BIG), NOOP],
    ),
    "a message for a broken head": (
        b"a APPEND x y {8+}\r\n\r\n\r\n\r\n\r\n\r\nz NOOP\r\n", [refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "a second message": (
        b"a APPEND x {3+}\r\nabc () {4}\r\ndefg\r\nz NOOP\r\n",
        [
            ("append", b"a 3"), ("message", b"abc"), ("append", b"a 4"), CONTINUE, ("message", b"defg"),
            ("appended", b"a"), NOOP,
        ],
    ),
    "something else than a second message": (
        b"a APPEND x {3+}\r\nabc x {8+}\r\nz NOOP\r\n\r\nz NOOP\r\n",
        [("append", b"a 3"), refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "a second message beyond the limit": (
        b"a APPEND x {3+}\r\nabc {51+}\r\n" + b"y" * 51 + b"\r\nz NOOP\r\n",
        [("append", b"a 3"), refused(b"a", MESSAGE_TOO_BIG), NOOP],
    ),
    "messages beyond the limit of all": (
        b"a APPEND x {50+}\r\n" + b"y" * 50 + b" {50+}\r\n" + b"y" * 50 + b" {21}\r\nz NOOP\r\n",
        [
            ("append", b"a 50"), ("message", b"y" * 50), ("append", b"a 50"),
            refused(b"a", MESSAGE_TOO_BIG), NOOP,
        ],
    ),
    "more messages than may be": (
        b"a APPEND x" + b" {1+}\r\ny" * 4 + b"\r\nz NOOP\r\n",
        [("append", b"a 1"), ("message", b"y")] * 2
        + [("append", b"a 1"), refused(b"a", too_many(message_limit(3))), NOOP],
    ),
    "a message with NUL": (
        b"a APPEND x ~{3+}\r\na\0c\r\n", [("append", b"a 3"), ("message", b"a\0c"), ("appended", b"a")],
    ),
    "a message with UTF-8 in its header": (
        b"a APPEND x UTF8 (~{2}\r\nhi)\r\nz NOOP\r\n",
        [("append", b"a 2"), CONTINUE, ("message", b"hi"), ("appended", b"a"), NOOP],
    ),
    "a message of UTF-8 that does not end": (
        b"a APPEND x UTF8 (~{2+}\r\nhi\r\nz NOOP\r\n",
        [("append", b"a 2"), refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "a message of UTF-8 without a literal8": (
        b"a APPEND x UTF8 ({2+}\r\nhi)\r\nz NOOP\r\n", [refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "a message of parts": (
        b"a APPEND x CATENATE (URL a TEXT {2}\r\nhi URL b UTF8 (~{1+}\r\nx) URL {3+}\r\nc d)\r\n",
        [("append", b"a ?"), CONTINUE, ("message", b"<a>hi<b>x<c d>"), ("appended", b"a")],
    ),
    "a message of URLs alone": (
        b'a APPEND x () CATENATE (URL "/a;b")\r\nz NOOP\r\n',
        [("append", b"a ?"), ("message", b"</a;b>"), ("appended", b"a"), NOOP],
    ),
    "a URL that is a literal and waits": (
        b"a APPEND x CATENATE (URL {2}\r\n/a TEXT {1+}\r\ny)\r\nz NOOP\r\n",
        [CONTINUE, ("append", b"a ?"), ("message", b"</a>y"), ("appended", b"a"), NOOP],
    ),
    "a URL between messages that is a literal and too large": (
        b"a APPEND x {1+}\r\ny CATENATE (URL {31+}\r\n" + b"u" * 31 + b")\r\nz NOOP\r\n",
        [("append", b"a 1"), refused(b"a", LITERAL_TOO_BIG), NOOP],
    ),
    "parts beyond the limit": (
        b"a APPEND x CATENATE (TEXT {30+}\r\n" + b"y" * 30 + b" TEXT {21+}\r\n" + b"y" * 21 + b")\r\n",
        [("append", b"a ?"), refused(b"a", MESSAGE_TOO_BIG)],
    ),
    "more parts than may be": (
        b"a APPEND x CATENATE (URL a TEXT {1+}\r\nx URL b URL c URL d URL e)\r\nz NOOP\r\n",
        [("append", b"a ?"), refused(b"a", TOO_MANY_ITEMS), NOOP],
    ),
    "parts that are no parts": (
        b"a APPEND x CATENATE (BODY {3+}\r\nabc)\r\nz NOOP\r\n", [refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "parts that do not end": (
        b"a APPEND x CATENATE (TEXT {3+}\r\nabc\r\nz NOOP\r\n",
        [("append", b"a ?"), refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "no parts": (b"a APPEND x CATENATE ()\r\nz NOOP\r\n", [refused(b"a", SYNTAX_ERROR), NOOP]),
    "no message": (b"a APPEND x\r\nz NOOP\r\n", [refused(b"a", SYNTAX_ERROR), NOOP]),
    "a replacement": (
        b"a REPLACE 4 x () {2}\r\nhi\r\nz NOOP\r\n",
        [("append", b"a 2"), CONTINUE, ("message", b"hi"), ("appended", b"a"), NOOP],
    ),
    "a replacement in a mailbox that is a literal": (
        b"a uid replace * {1+}\r\nx {2+}\r\nhi\r\n",
        [("append", b"a 2"), ("message", b"hi"), ("appended", b"a")],
    ),
    "two replacements": (
        b"a REPLACE 4 x {2+}\r\nhi {2+}\r\nho\r\nz NOOP\r\n",
        [("append", b"a 2"), refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "a replacement of several messages": (
        b"a REPLACE 4:5 x {2+}\r\nhi\r\nz NOOP\r\n", [("command", b"a REPLACE 4:5 x {2+}\r\nhi"), NOOP],
    ),
    "a replacement of nothing": (
        b"a REPLACE 0 x {2+}\r\nhi\r\nz NOOP\r\n", [refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "more message than announced": (
        b"a APPEND x {3+}\r\nabcd\r\nz NOOP\r\n", [("append", b"a 3"), refused(b"a", SYNTAX_ERROR), NOOP],
    ),
    "a message that ends with CR": (
        b"a APPEND x {3+}\r\nabc\rx\r\nz NOOP\r\n", [("append", b"a 3"), refused(b"a", SYNTAX_ERROR), NOOP],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_taken_apart(name: str) -> None:
    octets, told = STREAMS[name]
    assert fed([octets]) == told


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_at_any_octet_is_the_same(name: str) -> None:
    octets, told = STREAMS[name]
    assert fed(octets[at : at + 1] for at in range(len(octets))) == told
    for cut in range(len(octets)):
        assert fed([octets[:cut], octets[cut:]]) == told


@given(
    octets=st.lists(
        st.sampled_from(
            [
                b"a",
                b"a X ",
                b"a APPEND x ",
                b" CATENATE (",
                b"TEXT ",
                b"URL ",
                b" ~",
                b"{5}",
                b"{5+}",
                b"{31+}",
                b"{40}",
                b"\r",
                b"\n",
                b"\r\n",
            ]
        )
        | st.binary(max_size=5)
        | st.just(b"x" * 45),
        max_size=20,
    ).map(b"".join),
    cuts=st.sets(st.integers(0, 200)),
    authenticated=st.booleans(),
    accept=st.booleans(),
)
def test_any_stream_is_the_same_however_it_is_cut(
    octets: bytes, cuts: set[int], authenticated: bool, accept: bool
) -> None:
    edges = sorted({0, len(octets)} | {cut for cut in cuts if cut < len(octets)})
    chunks = [octets[a:b] for a, b in pairwise(edges)]
    whole = fed([octets], authenticated=authenticated, accept=accept)
    assert fed(chunks, authenticated=authenticated, accept=accept) == whole
