"""The bounds of a session, and what it makes of any octets."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.ftp import (
    Answered,
    Interrupt,
    Limits,
    NeedData,
    Reply,
    ServerSession,
    State,
)
from postroom_wire.ftp import standard_replies as replies
from postroom_wire.ftp.commands import TRANSFERS
from postroom_wire.ftp.parser import VERBS

Fresh: TypeAlias = Callable[..., ServerSession]
Transferring: TypeAlias = Callable[[], ServerSession]
Said: TypeAlias = Callable[[ServerSession, bytes], Reply]
Asked: TypeAlias = Callable[[ServerSession, bytes, Reply], object]


def test_failed_logins_are_counted_over_the_whole_session(fresh: Fresh, said: Said, asked: Asked) -> None:
    session = fresh(limits=Limits(max_login_failures=2))
    for answer in (replies.LOGIN_FAILED, replies.TOO_MANY_LOGIN_FAILURES):
        assert not session.closed
        said(session, b"USER ann")
        asked(session, b"PASS x", replies.LOGIN_FAILED)
        assert session.data_to_send() == answer.octets
    assert session.closed


def test_what_is_no_wrong_password_does_not_count(logged_in: Fresh, asked: Asked) -> None:
    session = logged_in(limits=Limits(max_login_failures=1))
    asked(session, b"CWD a", replies.NOT_LOGGED_IN)
    assert not session.closed


def test_the_longest_user_name_and_the_largest_offset_are_taken(
    fresh: Fresh, logged_in: Fresh, said: Said
) -> None:
    assert said(fresh(), b"USER " + b"a" * 320) is replies.PASSWORD_NEEDED
    assert said(logged_in(), b"REST 9223372036854775807") is replies.RESTART_SET


def test_a_peer_that_does_not_speak_ftp_is_sent_away(fresh: Fresh) -> None:
    session = fresh(limits=Limits(max_refusals=3))
    session.receive_data(b"POST / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\nUSER ann\r\n")
    events = [session.next_event() for _ in range(4)]
    assert [event.reply.code for event in events if isinstance(event, Answered)] == [500, 500, 500, 421]
    assert session.closed
    assert session.next_event() == NeedData()
    session.receive_data(b"USER ann\r\n")
    assert session.next_event() == NeedData()


def test_refusals_with_work_between_them_do_not_add_up(logged_in: Fresh, said: Said) -> None:
    session = logged_in(limits=Limits(max_refusals=1))
    for _ in range(5):
        said(session, b"MFMT x")
        said(session, b"NOOP")
        said(session, b"SIZE a")
    assert not session.closed


def test_a_line_without_end_closes_the_session(fresh: Fresh) -> None:
    session = fresh(limits=Limits(max_line=32, max_skipped=32))
    session.receive_data(b"x" * 100)
    assert session.next_event() == Answered("", replies.LINE_TOO_LONG)
    assert session.next_event() == Answered("", replies.LINE_FLOOD)
    assert session.closed


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"USER " + b"a" * 321, replies.ARGUMENT_TOO_LONG),
        (b"USER caf\xe9", replies.NOT_UTF8),
        (b"USER a\0", replies.ILLEGAL_OCTET),
    ],
)
def test_user_names_have_bounds(line: bytes, reply: Reply, fresh: Fresh, said: Said) -> None:
    assert said(fresh(), line) is reply


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"CWD " + b"a" * 256, replies.PATH_TOO_LONG),
        (b"MKD caf\xe9", replies.NOT_UTF8),
        (b"STAT caf\xe9", replies.NOT_UTF8),
        (b"DELE a\0b", replies.ILLEGAL_OCTET),
        (b"RNFR ", replies.MISSING_ARGUMENT),
        (b"OPTS MLST \xe9", replies.NOT_UTF8),
        (b"USER bob", replies.ALREADY_LOGGED_IN),
        (b"PASS x", replies.USER_FIRST),
    ],
)
def test_bad_arguments_have_an_answer_each(line: bytes, reply: Reply, logged_in: Fresh, said: Said) -> None:
    assert said(logged_in(), line) is reply


def test_the_password_has_a_bound(fresh: Fresh, said: Said) -> None:
    session = fresh()
    said(session, b"USER ann")
    assert said(session, b"PASS " + b"x" * 1025) is replies.ARGUMENT_TOO_LONG


def test_reading_stops_while_too_much_waits(transferring: Transferring) -> None:
    session = transferring()
    session.receive_data(b"PWD\r\n" * 14_000)
    assert session.next_event() == NeedData()
    assert not session.wants_data
    session.finish(replies.TRANSFER_COMPLETE)
    while not isinstance(session.next_event(), NeedData):
        session.data_to_send()
    assert session.wants_data


_LINES = st.tuples(
    st.sampled_from(sorted(VERBS)) | st.binary(max_size=6),
    st.sampled_from([b"", b" ", b" a", b" TLS", b" P", b" 0", b" 192,0,2,1,4,1", b" |1|192.0.2.1|1025|"])
    | st.binary(max_size=12).map(lambda argument: b" " + argument),
    st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r", b""]),
).map(b"".join)
_OCTETS = st.lists(_LINES, max_size=30).map(b"".join) | st.binary(max_size=200)


@given(octets=_OCTETS, login=st.booleans(), data=st.data())
def test_any_octets_are_commands_or_get_a_reply(
    octets: bytes, login: bool, data: st.DataObject, fresh: Fresh, logged_in: Fresh
) -> None:
    session = logged_in() if login else fresh()
    session.receive_data(octets)
    while not session.closed:
        match session.next_event():
            case NeedData():
                if session.state is not State.TRANSFER:
                    break
                session.finish(data.draw(st.sampled_from([replies.TRANSFER_COMPLETE, replies.LOCAL_ERROR])))
            case Answered(reply=reply):
                assert session.data_to_send() == reply.octets
            case Interrupt():
                session.finish(replies.TRANSFER_ABORTED)
                session.data_to_send()
            case command:
                good = replies.OPENING_DATA if isinstance(command, TRANSFERS) else replies.DONE
                session.answer(data.draw(st.sampled_from([good, replies.NO_SUCH_FILE])))
                if session.state is State.HANDSHAKE:
                    session.tls_established()
                assert session.data_to_send().endswith(b"\r\n")
