"""The framing of command lines and the Telnet commands among them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.ftp import Limits, Reply
from postroom_wire.ftp import standard_replies as replies
from postroom_wire.ftp.lines import LineReader

_LIMITS = Limits(max_line=32, max_skipped=64)


def read(*chunks: bytes, limits: Limits = _LIMITS) -> list[bytes | Reply]:
    reader, lines = LineReader(limits), list[bytes | Reply]()
    for chunk in chunks:
        reader.feed(chunk)
        while (line := reader.next_line()) is not None:
            lines.append(line)
    return lines


def test_only_crlf_ends_a_line() -> None:
    assert read(b"NOOP\r\nPWD", b"\r", b"\nQUIT") == [b"NOOP", b"PWD"]


def test_a_bare_line_feed_is_answered_at_once_and_takes_the_rest_of_the_line_with_it() -> None:
    assert read(b"RETR a\nDELE b\nX\r\nNOOP\r\n") == [replies.BARE_LINE_FEED, b"NOOP"]
    assert read(b"NOOP\n") == [replies.BARE_LINE_FEED]


@pytest.mark.parametrize("line", [b"RETR a\0b", b"RETR a\rb", b"RETR a\r\0b", b"\0", b"RETR a\r"])
def test_nul_and_cr_are_refused(line: bytes) -> None:
    assert read(line + b"\r\nNOOP\r\n") == [replies.ILLEGAL_OCTET, b"NOOP"]


def test_a_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    longest = b"x" * (_LIMITS.max_line - 2)
    assert read(longest + b"\r\n") == [longest]
    assert read(longest + b"x\r\nNOOP\r\n") == [replies.LINE_TOO_LONG, b"NOOP"]
    assert read(longest + b"xx") == [replies.LINE_TOO_LONG]


def test_a_line_without_end_ends_the_session() -> None:
    assert read(b"x" * 200, b"\r\nNOOP\r\n") == [replies.LINE_TOO_LONG, replies.LINE_FLOOD]
    assert read(b"\n", b"x" * 64, b"\r", b"\nNOOP\r\n") == [replies.BARE_LINE_FEED, b"NOOP"]
    assert read(b"\n" + b"x" * 64 + b"\r\nNOOP\r\n") == [replies.BARE_LINE_FEED, b"NOOP"]
    assert read(b"\n" + b"x" * 65 + b"\r\nNOOP\r\n") == [replies.BARE_LINE_FEED, replies.LINE_FLOOD]


@given(st.binary(max_size=300), st.sets(st.integers(1, 300)))
def test_lines_do_not_depend_on_where_the_network_cuts(octets: bytes, cuts: set[int]) -> None:
    octets = octets.replace(b"\x01", b"\r\n").replace(b"\x02", b"\xff").replace(b"\x03", b"\n" * 3)
    edges = [0, *sorted(cut for cut in cuts if cut < len(octets)), len(octets)]
    chunks = [octets[a:b] for a, b in pairwise(edges)]
    assert read(*chunks) == read(octets)


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"\xff\xf4\xff\xf2ABOR\r\n", b"ABOR"),  # IP, then Synch in line
        (b"\xff\xf4\xffABOR\r\n", b"ABOR"),  # the same with its DM out of band
        (b"\xff\xf4\xf2ABOR\r\n", b"\xf2ABOR"),  # the same with its last IAC out of band: the parser's task
        (b"NO\xff\xf1OP\r\n", b"NOOP"),  # NOP
        (b"\xff\xfd\x06\xff\xfb\xffNOOP\r\n", b"NOOP"),  # DO, WILL
        (b"\xff\xfa\x18\x00\xff\xff\r\n\xff\xf0NOOP\r\n", b"NOOP"),  # a subnegotiation
        (b"MKD a\xff\xffb\r\n", b"MKD a\xffb"),  # the octet 255 itself
    ],
)
def test_telnet_commands_are_taken_out(sent: bytes, line: bytes) -> None:
    assert read(sent) == [line]
    assert read(*(sent[at : at + 1] for at in range(len(sent)))) == [line]
