"""What the fragmenter promises its caller: limits, messages that can be abandoned, and bounded work."""

from collections.abc import Callable

import pytest

from postroom_testing.imap_fragments import CONTINUE, NOOP, SMALL, Told, fed, refused
from postroom_wire.imap.errors import (
    LITERAL_TOO_BIG,
    LocalProtocolError,
    Tag,
)
from postroom_wire.imap.events import (
    NEED_DATA,
    AppendContent,
    AppendEnded,
    AppendMessageEnded,
    AppendMessageStarted,
    AppendStarted,
    CommandComplete,
)
from postroom_wire.imap.fragmenter import Fragmenter
from postroom_wire.imap.limits import Limits


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
            [("append", b"a 10"), ("message", b"y" * 10), ("appended", b"a")],
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
    assert told == [("append", b"a"), NOOP]
    assert fed((stream[at : at + 1] for at in range(len(stream))), accept=False) == told


ABANDONED = (
    b"a APPEND x {12+}\r\n0123456\r\n890\r\nz NOOP\r\n",
    b"a APPEND x {2+}\r\n\r\n {3+}\r\n\r\n\r\r\nz NOOP\r\n",
    b"a APPEND x CATENATE (URL a TEXT {2+}\r\n\r\n URL {4+}\r\n\r\n\r\n TEXT {1+}\r\nz)\r\nz NOOP\r\n",
    b"a REPLACE 1 x CATENATE (URL a URL b)\r\nz NOOP\r\n",
)


@pytest.mark.parametrize("stream", ABANDONED)
@pytest.mark.parametrize("events", range(1, 12))
def test_messages_abandoned_at_any_event_do_not_disturb_the_next_command(stream: bytes, events: int) -> None:
    for arrived in range(len(stream)):
        fragmenter = Fragmenter(SMALL)
        fragmenter.authenticated = True
        fragmenter.receive_data(stream[:arrived])
        if not abandon_after(fragmenter, events):
            continue
        fragmenter.receive_data(stream[arrived:])
        assert fragmenter.next_event() == CommandComplete(b"z NOOP")
        assert fragmenter.next_event() is NEED_DATA


def abandon_after(fragmenter: Fragmenter, events: int) -> bool:
    """Stop after so many events or when no more come; False when there is nothing to stop."""
    begun = False
    for _ in range(events):
        match fragmenter.next_event():
            case AppendStarted():
                fragmenter.accept_append()
                begun = True
            case AppendEnded() | CommandComplete():
                return False
            case event if event is NEED_DATA:
                break
            case _:
                pass
    if begun:
        fragmenter.abandon_append()
    return begun


def test_who_waits_for_the_rest_of_abandoned_messages_goes_on_with_the_next_command() -> None:
    fragmenter = Fragmenter(SMALL)
    fragmenter.authenticated = True
    fragmenter.receive_data(b"a APPEND x CATENATE (URL a TEXT {12}\r\n")
    assert abandon_after(fragmenter, 3)  # before the continuation
    fragmenter.receive_data(b"z NOOP\r\n")
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
    assert isinstance(fragmenter.next_event(), AppendMessageStarted)
    chunk, passed = bytes(1_048_576), 0
    for _ in range(50):
        fragmenter.receive_data(chunk)
        while isinstance(event := fragmenter.next_event(), AppendContent):
            assert len(event.octets) <= Limits().max_append_chunk
            passed += len(event.octets)
        assert fragmenter.stored < 1_000
    fragmenter.receive_data(b"\r\n")
    assert fragmenter.next_event() == AppendMessageEnded()
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
