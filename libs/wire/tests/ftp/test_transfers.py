"""Data connections, transfers and what comes while one is in progress."""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TypeAlias

import pytest

from postroom_wire.ftp import (
    Answered,
    FtpPath,
    Interrupt,
    NeedData,
    Reply,
    ServerSession,
    commands,
    extended_passive,
    passive,
)
from postroom_wire.ftp import standard_replies as replies
from postroom_wire.ftp.commands import TRANSFERS, Target

_PASSIVE = passive(IPv4Address("192.0.2.9"), 30_000)

Fresh: TypeAlias = Callable[..., ServerSession]
Transferring: TypeAlias = Callable[[], ServerSession]
Said: TypeAlias = Callable[[ServerSession, bytes], Reply]
Asked: TypeAlias = Callable[[ServerSession, bytes, Reply], object]


@pytest.mark.parametrize(
    ("line", "prefix", "path", "pattern"),
    [
        (b"LIST", "", "/", None),
        (b"LIST -la", "", "/", None),
        (b"LIST -a -l", "", "/", None),
        (b"LIST -la d", "d/", "/d", None),
        (b"LIST -- -d", "-d/", "/-d", None),
        (b"LIST ./-d", "./-d/", "/-d", None),
        (b"LIST /d/", "/d/", "/d", None),
        (b"LIST /", "/", "/", None),
        (b"LIST ..", "../", "/", None),
        (b"LIST *.txt", "*.txt/", "/*.txt", "*.txt"),
        (b"LIST -la d/[ab]?", "d/[ab]?/", "/d/[ab]?", "[ab]?"),
        (b"LIST a b", "a b/", "/a b", None),
        (b"LIST a -l", "a -l/", "/a -l", None),
    ],
)
def test_listings_take_options_and_patterns(
    line: bytes, prefix: str, path: str, pattern: str | None, logged_in: Fresh, asked: Asked
) -> None:
    session = logged_in()
    asked(session, b"EPSV", extended_passive(30_000))
    session.receive_data(line.replace(b"LIST", b"NLST") + b"\r\n")
    event = session.next_event()
    assert isinstance(event, commands.Nlst)
    assert (str(event.target.path), event.target.inside("x")) == (path, prefix + "x")
    assert (event.target.pattern.pattern if event.target.pattern else None) == pattern


def test_names_that_match_a_pattern_are_shown_beside_it(logged_in: Fresh, asked: Asked) -> None:
    session = logged_in()
    asked(session, b"EPSV", extended_passive(30_000))
    session.receive_data(b"NLST d/*.txt\r\n")
    event = session.next_event()
    assert isinstance(event, commands.Nlst)
    assert event.target.beside("x.txt") == "d/x.txt"
    assert Target(FtpPath.ROOT, None, "*").beside("x") == "x"


@pytest.mark.parametrize("setup", [b"PASV", b"EPSV", b"PORT 192,0,2,1,4,1", b"EPRT |1|192.0.2.1|1025|"])
@pytest.mark.parametrize("line", [b"RETR a", b"STOR a", b"APPE a", b"LIST", b"NLST", b"MLSD"])
def test_each_transfer_needs_a_data_connection_of_its_own(
    setup: bytes, line: bytes, logged_in: Fresh, said: Said, asked: Asked
) -> None:
    session = logged_in()
    assert said(session, line) is replies.DATA_PORT_FIRST
    asked(session, setup, _PASSIVE if setup == b"PASV" else replies.PORT_SET)
    assert isinstance(asked(session, line, replies.OPENING_DATA), TRANSFERS)
    session.finish(replies.TRANSFER_COMPLETE)
    session.data_to_send()
    assert said(session, line) is replies.DATA_PORT_FIRST


def test_a_refused_transfer_leaves_the_data_port_and_a_failed_connection_does_not(
    logged_in: Fresh, said: Said, asked: Asked
) -> None:
    session = logged_in()
    asked(session, b"EPSV", extended_passive(30_000))
    asked(session, b"RETR missing", replies.NO_SUCH_FILE)
    asked(session, b"RETR a", replies.CANNOT_OPEN_DATA)
    session.data_to_send()
    assert said(session, b"RETR a") is replies.DATA_PORT_FIRST


def test_pasv_is_for_ipv4_and_does_not_end_the_session(logged_in: Fresh, said: Said, asked: Asked) -> None:
    session = logged_in("2001:db8::1")
    assert said(session, b"PASV") is replies.PASV_NEEDS_IPV4
    assert said(session, b"PORT 192,0,2,1,4,1") is replies.PORT_NEEDS_IPV4
    assert said(session, b"EPSV 1") is replies.USE_PROTOCOL_2
    assert asked(session, b"EPSV 2", extended_passive(30_000)) == commands.Epsv()
    assert not session.closed


def test_rest_gives_its_offset_to_one_transfer_only(logged_in: Fresh, said: Said, asked: Asked) -> None:
    session = logged_in()
    said(session, b"TYPE I")
    for line, command in (
        (b"STOR a", commands.Stor(FtpPath(("a",)), 7)),
        (b"RETR a", commands.Retr(FtpPath(("a",)), 7)),
        (b"APPE a", commands.Stor(FtpPath(("a",)), 7)),  # RFC 3659 s5.3
    ):
        said(session, b"REST 7")
        asked(session, b"EPSV", extended_passive(30_000))
        assert asked(session, line, replies.OPENING_DATA) == command
        session.finish(replies.TRANSFER_COMPLETE)
    asked(session, b"EPSV", extended_passive(30_000))
    assert asked(session, b"APPE a", replies.OPENING_DATA) == commands.Appe(FtpPath(("a",)))


@pytest.mark.parametrize("between", [b"RETR missing", b"MKD d", b"CWD a"])
def test_what_the_service_answers_after_rest_forgets_it(
    between: bytes, logged_in: Fresh, said: Said, asked: Asked
) -> None:
    session = logged_in()
    said(session, b"TYPE I")
    asked(session, b"EPSV", extended_passive(30_000))
    said(session, b"REST 7")
    asked(session, between, replies.NO_SUCH_FILE)
    assert asked(session, b"RETR a", replies.OPENING_DATA) == commands.Retr(FtpPath(("a",)), 0)


def test_commands_wait_for_the_end_of_a_transfer_and_questions_do_not(
    transferring: Transferring, said: Said
) -> None:
    """RFC 959 s4.2: an early 503 would be taken for the transfer's result."""
    session = transferring()
    assert said(session, b"NOOP") is replies.NOTHING_DONE
    assert "In progress: RETR" in said(session, b"STAT").text
    session.receive_data(b"PWD\r\nNOOP\r\nSTOR b\r\nQUIT\r\n")
    assert session.next_event() == NeedData()
    session.finish(replies.TRANSFER_COMPLETE)
    events = [session.next_event() for _ in range(4)]
    assert [event.reply.code for event in events if isinstance(event, Answered)] == [257, 200, 425, 221]
    assert session.closed
    assert session.data_to_send().startswith(replies.TRANSFER_COMPLETE.octets + b"257 ")


def test_abort_is_told_once_and_answered_in_its_turn(transferring: Transferring) -> None:
    session = transferring()
    session.receive_data(b"\xff\xf4\xff\xf2ABOR\r\n")
    assert session.next_event() == Interrupt()
    assert session.next_event() == NeedData()
    session.finish(replies.TRANSFER_ABORTED)
    assert session.next_event() == commands.Abor()
    session.answer(replies.ABORTED)
    assert session.data_to_send() == b"426 Connection closed; transfer aborted\r\n226 Abort successful\r\n"


def test_an_abort_whose_data_mark_lost_its_iac_is_understood(transferring: Transferring) -> None:
    session = transferring()
    session.receive_data(b"\xff\xf4\xf2ABOR\r\n")
    assert session.next_event() == Interrupt()


def test_an_abort_of_one_transfer_does_not_touch_the_next(transferring: Transferring, asked: Asked) -> None:
    session = transferring()
    session.receive_data(b"ABOR\r\n")
    session.next_event()
    session.finish(replies.TRANSFER_COMPLETE)  # it was just done
    session.next_event()
    session.answer(replies.ABORTED)
    asked(session, b"EPSV", extended_passive(30_000))
    asked(session, b"RETR a", replies.OPENING_DATA)
    assert session.next_event() == NeedData()
