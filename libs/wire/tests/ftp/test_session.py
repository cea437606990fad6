"""The engine: order, resolved commands, TLS, and the caller's own mistakes."""

import doctest
from collections.abc import Callable
from typing import TypeAlias

import pytest

import postroom_wire.ftp
from postroom_wire.ftp import (
    Answered,
    FtpPath,
    LocalProtocolError,
    NeedData,
    Policy,
    Reply,
    ServerSession,
    State,
    commands,
    extended_passive,
    plain_address,
)
from postroom_wire.ftp import standard_replies as replies
from postroom_wire.ftp.commands import OWN_COMMANDS, Target
from postroom_wire.ftp.parser import VERBS
from postroom_wire.ftp.state import TRANSITIONS

Fresh: TypeAlias = Callable[..., ServerSession]
Transferring: TypeAlias = Callable[[], ServerSession]
Said: TypeAlias = Callable[[ServerSession, bytes], Reply]
Asked: TypeAlias = Callable[[ServerSession, bytes, Reply], object]


def test_the_example_in_the_documentation_works() -> None:
    result = doctest.testmod(postroom_wire.ftp)
    assert result.attempted > 10
    assert result.failed == 0


def test_every_command_has_a_place_in_the_order() -> None:
    ordered = {kind for _, kind in TRANSITIONS}
    assert {verb.kind for verb in VERBS.values()} <= ordered
    assert set(OWN_COMMANDS) <= ordered


@pytest.mark.parametrize("verb", sorted(verb.decode() for verb in VERBS))
def test_before_login_no_argument_is_looked_at(verb: str, fresh: Fresh) -> None:
    session = fresh()
    session.receive_data(f"{verb} \xff\x01".encode("latin-1") + b"\r\n")
    event = session.next_event()
    if isinstance(event, Answered):
        assert event.reply.code in {202, 331, 500, 501, 503, 504, 530, 214}
        assert event.verb in {verb, verb.replace("X", "", 1), "CDUP"}


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"CWD a", commands.Cwd(FtpPath(("home", "a")))),
        (b"CDUP", commands.Cwd(FtpPath.ROOT)),
        (b"MLST", commands.Mlst(FtpPath(("home",)))),
        (b"MLST /", commands.Mlst(FtpPath.ROOT)),
        (b"DELE ../a", commands.Dele(FtpPath(("a",)))),
        (b"PORT 192,0,2,1,4,1", commands.Port(1025)),
        (b"EPRT |1|192.0.2.1|1025|", commands.Port(1025)),
        (b"STAT *", commands.Stat(Target(FtpPath(("home", "*")), postroom_wire.ftp.Glob("*"), "*"))),
    ],
)
def test_commands_come_resolved_and_checked(
    line: bytes, command: object, logged_in: Fresh, asked: Asked
) -> None:
    session = logged_in()
    asked(session, b"CWD home", replies.DIRECTORY_CHANGED)
    assert asked(session, line, replies.NO_SUCH_FILE) == command


def test_a_refused_cwd_stays_where_it_is(logged_in: Fresh, asked: Asked) -> None:
    session = logged_in()
    asked(session, b"CWD a", replies.NO_SUCH_FILE)
    assert session.cwd == FtpPath.ROOT
    asked(session, b"CWD a", replies.DIRECTORY_CHANGED)
    assert session.cwd == FtpPath(("a",))


def test_rename_carries_its_source(logged_in: Fresh, asked: Asked) -> None:
    session = logged_in()
    asked(session, b"RNFR a", replies.RENAME_PENDING)
    assert asked(session, b"RNTO b/c", replies.DONE) == commands.Rnto(FtpPath(("a",)), FtpPath(("b", "c")))


def test_auth_tls_forgets_all_that_came_in_the_clear(fresh: Fresh, said: Said) -> None:
    session = fresh(policy=Policy())
    session.receive_data(b"OPTS MLST type;\r\nAUTH TLS\r\nUSER eve\r\nPASS x\r\nDELE")
    session.next_event()
    assert session.next_event() == commands.Auth()
    session.answer(replies.TLS_GO_AHEAD)
    assert session.state is State.HANDSHAKE
    assert not session.wants_data
    assert session.next_event() == NeedData()
    with pytest.raises(LocalProtocolError):
        session.receive_data(b"USER eve\r\n")
    session.tls_established()
    assert session.secured
    assert session.next_event() == NeedData()
    session.data_to_send()
    assert said(session, b" /a") is replies.UNKNOWN_COMMAND  # the DELE is gone too
    assert said(session, b"PASS x") is replies.USER_FIRST
    assert session.facts == ("type", "size", "modify", "perm", "unique")


def test_auth_after_login_asks_for_a_new_login(logged_in: Fresh, said: Said, asked: Asked) -> None:
    session = logged_in()
    said(session, b"TYPE I")
    asked(session, b"CWD a", replies.DIRECTORY_CHANGED)
    asked(session, b"AUTH TLS", replies.TLS_GO_AHEAD)
    session.tls_established()
    session.data_to_send()
    assert (session.cwd, session.ascii, session.data_private) == (FtpPath.ROOT, True, False)
    assert said(session, b"PWD") is replies.NOT_LOGGED_IN


def test_without_a_policy_neither_passwords_nor_files_travel_in_the_clear(said: Said, asked: Asked) -> None:
    session = ServerSession(plain_address("192.0.2.1"))
    assert said(session, b"USER ann") is replies.TLS_REQUIRED
    asked(session, b"AUTH TLS", replies.TLS_GO_AHEAD)
    session.tls_established()
    said(session, b"USER ann")
    asked(session, b"PASS x", replies.LOGGED_IN)
    asked(session, b"EPSV", extended_passive(30_000))
    session.data_to_send()
    assert said(session, b"RETR a") is replies.PROT_REQUIRED


def test_a_refused_auth_changes_nothing(fresh: Fresh, said: Said, asked: Asked) -> None:
    session = fresh()
    assert asked(session, b"AUTH TLS", replies.TLS_UNAVAILABLE) == commands.Auth()
    session.data_to_send()
    assert said(session, b"PBSZ 0") is replies.PBSZ_NEEDS_TLS
    without = fresh(policy=Policy(tls_offered=False, login_needs_tls=False))
    assert said(without, b"AUTH TLS") is replies.TLS_UNAVAILABLE
    assert "AUTH" not in said(without, b"FEAT").text


def test_implicit_tls_is_secured_from_the_start(said: Said) -> None:
    session = ServerSession(plain_address("192.0.2.1"), implicit_tls=True)
    assert session.secured
    assert said(session, b"PBSZ 0") is replies.PBSZ_SET
    assert said(session, b"PROT P") is replies.PROT_PRIVATE
    assert session.data_private
    assert said(session, b"USER ann") is replies.PASSWORD_NEEDED


def test_passwords_are_not_shown(fresh: Fresh) -> None:
    session = fresh()
    session.receive_data(b"USER ann\r\nPASS se cret \r\n")
    session.next_event()
    event = session.next_event()
    assert event == commands.Pass("ann", "se cret ")
    assert "se cret" not in repr(event)


def test_the_caller_may_end_a_session_at_any_time(transferring: Transferring) -> None:
    session = transferring()
    session.close(replies.SHUTTING_DOWN)
    assert session.closed
    assert session.data_to_send() == replies.SHUTTING_DOWN.octets


def test_421_to_any_command_closes(logged_in: Fresh, asked: Asked) -> None:
    session = logged_in()
    asked(session, b"MKD a", replies.SHUTTING_DOWN)
    assert session.closed


def test_mistakes_of_the_caller_are_told_from_those_of_the_peer(logged_in: Fresh) -> None:
    session = logged_in()
    with pytest.raises(LocalProtocolError):
        session.answer(replies.DONE)
    with pytest.raises(LocalProtocolError):
        session.finish(replies.TRANSFER_COMPLETE)
    with pytest.raises(LocalProtocolError):
        session.tls_established()
    with pytest.raises(LocalProtocolError):
        session.close(replies.DONE)
    session.receive_data(b"MKD a\r\nEPSV\r\nRETR a\r\n")
    session.next_event()
    with pytest.raises(LocalProtocolError):
        session.next_event()
    with pytest.raises(LocalProtocolError):
        session.answer(replies.OPENING_DATA)
    session.answer(replies.DONE)
    session.next_event()
    session.answer(extended_passive(30_000))
    session.next_event()
    with pytest.raises(LocalProtocolError):
        session.answer(replies.TRANSFER_COMPLETE)
    session.answer(replies.OPENING_DATA)
    for reply in (replies.OPENING_DATA, replies.RENAME_PENDING):
        with pytest.raises(LocalProtocolError):
            session.finish(reply)
    assert session.state is State.TRANSFER
