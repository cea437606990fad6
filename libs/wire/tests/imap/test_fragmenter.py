"""Lines, literals and their limits (RFC 3501 s4.3, RFC 7888)."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.errors import (
    COMMAND_TOO_LONG,
    LINE_TOO_LONG,
    LITERAL_TOO_BIG,
    MESSAGE_TOO_BIG,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    LocalProtocolError,
    Refusal,
    Tag,
)
from postroom_wire.imap.events import (
    NEED_DATA,
    AppendContent,
    AppendEnded,
    AppendStarted,
    CommandComplete,
    CommandRefused,
    ContinuationRequest,
    LineReceived,
)
from postroom_wire.imap.fragmenter import Fragmenter
from postroom_wire.imap.limits import Limits

SMALL = Limits(
    max_line=40,
    max_command=80,
    max_literals=3,
    max_literal=30,
    max_literal_before_login=20,
    max_non_synchronizing_before_login=10,
    append_limit=50,
    max_append_chunk=7,
    max_skipped=200,
)

Told = tuple[str, bytes] | tuple[str, Tag | None, Refusal, bool]


class Listener:
    """Notes what is said, a message in one piece however it came."""

    def __init__(self, limits: Limits, *, authenticated: bool, accept: bool) -> None:
        self.fragmenter = Fragmenter(limits)
        self.fragmenter.authenticated = authenticated
        self.told: list[Told] = []
        self._limits = limits
        self._accept = accept
        self._content = b""

    def hear(self, octets: bytes) -> None:
        self.fragmenter.receive_data(octets)
        while (event := self.fragmenter.next_event()) is not NEED_DATA:
            match event:
                case CommandComplete(octets):
                    self.told.append(("command", octets))
                case ContinuationRequest(octets):
                    self.told.append(("continue", octets))
                case CommandRefused(tag, refusal, fatal):
                    self.told.append(("refused", tag, refusal, fatal))
                case LineReceived():
                    pytest.fail("no line is expected")
                case AppendStarted() | AppendContent() | AppendEnded():
                    self._hear_append(event)

    def _hear_append(self, event: AppendStarted | AppendContent | AppendEnded) -> None:
        match event:
            case AppendStarted(tag, append):
                self._content = b""
                self.told.append(("append", tag + b" %d" % append.size))
                if not self._accept:
                    self.fragmenter.refuse_append()
                elif request := self.fragmenter.accept_append():
                    self.told.append(("continue", request))
            case AppendContent(octets):
                assert 0 < len(octets) <= self._limits.max_append_chunk
                self._content += octets
            case AppendEnded(tag):
                self.told.append(("appended", tag + b" " + self._content))


def fed(chunks: Iterable[bytes], *, authenticated: bool = True, accept: bool = True) -> list[Told]:
    """All that is said of these chunks."""
    listener = Listener(SMALL, authenticated=authenticated, accept=accept)
    for chunk in chunks:
        listener.hear(chunk)
    return listener.told


def refused(tag: bytes | None, refusal: Refusal, *, fatal: bool = False) -> Told:
    return ("refused", None if tag is None else Tag(tag), refusal, fatal)


CONTINUE: Told = ("continue", b"+ Ready for literal\r\n")
NOOP: Told = ("command", b"z NOOP")
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
        [("command", b"a X {1+}\r\nx"), ("append", b"b 3"), ("appended", b"b abc"), NOOP],
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
        [("append", b"a 9"), CONTINUE, ("appended", b"a ab\r\n{5+}\r"), NOOP],
    ),
    "a message that does not wait": (
        b"a append INBOX {50+}\r\n" + b"m" * 50 + b"\r\nz NOOP\r\n",
        [("append", b"a 50"), ("appended", b"a " + b"m" * 50), NOOP],
    ),
    "an empty message": (b"a APPEND x {0+}\r\n\r\n", [("append", b"a 0"), ("appended", b"a ")]),
    "a message to a mailbox that is a literal": (
        b"a APPEND {5}\r\ninbox {3+}\r\nabc\r\n", [CONTINUE, ("append", b"a 3"), ("appended", b"a abc")],
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
        b"a APPEND x {3+}\r\nabc {8+}\r\nz NOOP\r\n\r\nz NOOP\r\n",
        [("append", b"a 3"), refused(b"a", SYNTAX_ERROR), NOOP],
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
            [b"a", b"a X ", b"a APPEND x ", b"{5}", b"{5+}", b"{31+}", b"{40}", b"\r", b"\n", b"\r\n"]
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


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"a X {20}\r\n" + b"y" * 20 + b"\r\n", [CONTINUE, ("command", b"a X {20}\r\n" + b"y" * 20)]),
        (b"a X {21}\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP]),
        (b"a X {10+}\r\n" + b"y" * 10 + b"\r\n", [("command", b"a X {10+}\r\n" + b"y" * 10)]),
        (b"a X {11+}\r\n" + b"y" * 11 + b"\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP]),
        (b"a APPEND x {21}\r\nz NOOP\r\n", [refused(b"a", LITERAL_TOO_BIG), NOOP]),
        (
            b"a APPEND x {10+}\r\n" + b"y" * 10 + b"\r\n",
            [("append", b"a 10"), ("appended", b"a " + b"y" * 10)],
        ),
    ],
)
def test_before_login_less_is_taken(octets: bytes, told: list[Told]) -> None:
    assert fed([octets], authenticated=False) == told


def test_the_limits_are_those_that_were_promised() -> None:
    limits = Limits()
    assert (limits.max_line, limits.max_literal_before_login) == (65_536, 8_192)
    assert limits.max_non_synchronizing_before_login == 4_096  # RFC 7888 s5
    assert limits.max_nesting == 32


@pytest.mark.parametrize("mark", [b"{8}", b"{8+}"])
def test_a_message_refused_by_the_caller_does_not_disturb_the_next_command(mark: bytes) -> None:
    coming = b"\r\n\r\n\r\n\r\n\r\n" if b"+" in mark else b""
    stream = b"a APPEND x " + mark + b"\r\n" + coming + b"z NOOP\r\n"
    told = fed([stream], accept=False)
    assert told == [("append", b"a 8"), NOOP]
    assert fed((stream[at : at + 1] for at in range(len(stream))), accept=False) == told


@pytest.mark.parametrize("arrived", range(15))
def test_a_message_abandoned_under_way_does_not_disturb_the_next_command(arrived: int) -> None:
    fragmenter = Fragmenter(SMALL)
    fragmenter.authenticated = True
    head, rest = b"a APPEND x {12}\r\n", b"0123456\r\n890\r\nz NOOP\r\n"
    fragmenter.receive_data(head)
    assert isinstance(fragmenter.next_event(), AppendStarted)
    fragmenter.accept_append()
    fragmenter.receive_data(rest[:arrived])
    while isinstance(event := fragmenter.next_event(), AppendContent):
        pass
    if isinstance(event, AppendEnded):
        assert arrived == 14
        return
    fragmenter.abandon_append()
    fragmenter.receive_data(rest[arrived:])
    assert fragmenter.next_event() == CommandComplete(b"z NOOP")


def test_the_next_event_needs_the_callers_word_on_a_message() -> None:
    fragmenter = Fragmenter(SMALL)
    fragmenter.authenticated = True
    fragmenter.receive_data(b"a APPEND x {3}\r\n")
    assert isinstance(fragmenter.next_event(), AppendStarted)
    with pytest.raises(LocalProtocolError):
        fragmenter.next_event()


@pytest.mark.parametrize(
    "misuse",
    [
        Fragmenter.accept_append,
        Fragmenter.refuse_append,
        Fragmenter.abandon_append,
    ],
)
def test_a_word_on_a_message_needs_a_message(misuse: Callable[[Fragmenter], object]) -> None:
    with pytest.raises(LocalProtocolError):
        misuse(Fragmenter())


def test_what_was_sent_ahead_can_be_dropped() -> None:
    fragmenter = Fragmenter()
    fragmenter.receive_data(b"a STARTTLS\r\nb LOGIN evil twin\r\nc NO")
    assert fragmenter.next_event() == CommandComplete(b"a STARTTLS")
    assert fragmenter.drop_buffered() == len(b"b LOGIN evil twin\r\nc NO")
    fragmenter.receive_data(b"d NOOP\r\n")
    assert fragmenter.next_event() == CommandComplete(b"d NOOP")


def test_nothing_is_taken_after_a_fatal_refusal() -> None:
    told = fed([b"a X {4294967295+}\r\n", b"b NOOP\r\n" * 1_000])
    assert told == [refused(b"a", LITERAL_TOO_BIG, fatal=True)]


def test_what_waits_for_more_is_bounded_while_a_message_passes() -> None:
    fragmenter = Fragmenter()
    fragmenter.authenticated = True
    fragmenter.receive_data(b"a APPEND x {52428800+}\r\n")
    assert isinstance(fragmenter.next_event(), AppendStarted)
    fragmenter.accept_append()
    chunk, passed = bytes(1_048_576), 0
    for _ in range(50):
        fragmenter.receive_data(chunk)
        while isinstance(event := fragmenter.next_event(), AppendContent):
            assert len(event.octets) <= Limits().max_append_chunk
            passed += len(event.octets)
        assert fragmenter.stored < 1_000
    fragmenter.receive_data(b"\r\n")
    assert fragmenter.next_event() == AppendEnded(Tag(b"a"))
    assert passed == 52_428_800


def test_octets_that_arrive_one_by_one_are_searched_once() -> None:
    line = b"a " + b"x" * 65_000

    class Counting(bytearray):
        searched = 0

        def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]  # only what is used
            Counting.searched += len(self) - start
            return super().find(sub, start)

    fragmenter = Fragmenter()
    fragmenter._buffer = Counting()  # pyright: ignore[reportPrivateUsage] - to count its work
    for at in range(len(line)):
        fragmenter.receive_data(line[at : at + 1])
        assert fragmenter.next_event() is NEED_DATA
    assert Counting.searched <= 2 * len(line) + 2
