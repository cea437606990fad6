"""What the POP3 engine promises to its shell."""

from itertools import pairwise
from time import perf_counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_testing.pop3_shell import Shell, converse
from postroom_wire.pop3 import (
    Answered,
    Close,
    Limits,
    LocalProtocolError,
    Login,
    Maildrop,
    Message,
    NeedData,
    Retrieve,
    SendData,
    ServerConfig,
    ServerSession,
    State,
    Update,
)
from postroom_wire.pop3.commands import Capa, Command, Pass, Quit, Stat, Stls, User
from postroom_wire.pop3.state import TRANSITIONS
from postroom_wire.sasl import Credentials


@given(
    octets=st.lists(
        st.sampled_from(
            (
                b"USER mrose\r\n",
                b"PASS secret word\r\n",
                b"RETR 1\r\n",
                b"TOP 1 1\r\n",
                b"LIST\r\n",
                b"DELE 1\r\n",
                b"CAPA\r\n",
                b"\r\n",
                b"UIDL\r\n",
                b"RSET\r\n",
                b"NOOP\r\n",
                b"STAT\r\n",
                b"PASS x\r\n",
                b"USER y\r\n",
                b"RETR 3\r\n",
                b"DELE 9\r\n",
                b"\n",
                b"\r",
                b"\0",
                b"QUIT\r\n",
            )
        )
        | st.binary(max_size=6),
        max_size=30,
    ).map(b"".join),
    cuts=st.sets(st.integers(0, 300)),
)
def test_any_octets_are_answered_the_same_wherever_the_network_cuts(octets: bytes, cuts: set[int]) -> None:
    edges = sorted({0, len(octets)} | {cut for cut in cuts if cut < len(octets)})
    whole = converse([octets])
    pieces = converse(octets[a:b] for a, b in pairwise(edges))
    assert pieces.said == whole.said
    assert pieces.removed == whole.removed


def test_a_login_in_plain_text_needs_a_loopback_peer() -> None:
    client = b"CAPA\r\nUSER mrose\r\nPASS secret word\r\nQUIT\r\n"
    shell = converse([client], plaintext=False)
    assert b"\r\nUSER\r\n" not in shell.said
    assert b"\r\nSTLS\r\n" in shell.said
    assert (
        b"-ERR Start TLS before you log in\r\n-ERR Command not allowed now\r\n+OK Goodbye\r\n" in shell.said
    )
    assert not any(isinstance(event, Login) for event in shell.events)


@pytest.mark.parametrize("ahead", [b"", b"USER mrose\r\nPASS secret word\r\nDELE 1\r\nQUIT\r\n", b"USER x"])
def test_what_came_before_tls_is_dropped(ahead: bytes) -> None:
    shell = converse(
        [b"STLS\r\n" + ahead, b"CAPA\r\nSTLS\r\nUSER mrose\r\nPASS secret word\r\n"], plaintext=False
    )
    before, _, after = shell.said.partition(b"<TLS>")
    assert before == b"+OK POP3 server ready\r\n+OK Begin TLS negotiation\r\n"
    assert after.startswith(b"+OK Capability list follows\r\n")
    assert b"\r\nUSER\r\n" in after
    assert b"\r\nSTLS\r\n" not in after
    assert b"-ERR Command not permitted when TLS active\r\n" in after
    assert shell.session.state is State.TRANSACTION


def test_a_user_given_before_tls_is_forgotten() -> None:
    shell = converse([b"USER mrose\r\nSTLS\r\n", b"PASS secret word\r\n"])
    assert shell.said.endswith(b"<TLS>-ERR Command not allowed now\r\n")


def test_tls_is_refused_where_there_is_none() -> None:
    shell = Shell(ServerSession(ServerConfig(offers_tls=False)))
    shell.receive(b"STLS\r\nCAPA\r\n")
    assert b"-ERR TLS is not available\r\n" in shell.said
    assert b"\r\nSTLS\r\n" not in shell.said


START: Final = b"USER mrose\r\nPASS secret word\r\n"


def test_only_quit_removes_messages() -> None:
    assert converse([START + b"DELE 2\r\nDELE 1\r\n"]).removed == ()
    shell = converse([START + b"DELE 2\r\nDELE 1\r\nQUIT\r\nNOOP\r\n"])
    assert shell.removed == (1, 2)
    assert shell.said.endswith(b"+OK Message 1 deleted\r\n+OK Goodbye\r\n")
    assert shell.session.state is State.CLOSED


def test_a_failed_update_is_told() -> None:
    shell = Shell(ServerSession(ServerConfig(plaintext_login=True)), update_works=False)
    shell.receive(START + b"DELE 1\r\nQUIT\r\n")
    assert shell.said.endswith(b"-ERR [SYS/TEMP] Some deleted messages not removed\r\n")


def test_a_session_without_deletions_needs_no_update() -> None:
    shell = converse([START + b"QUIT\r\n"])
    assert not any(isinstance(event, Update) for event in shell.events)
    assert shell.events[-2:] == [Answered("QUIT", positive=True), Close()]


def test_too_many_bad_commands_end_the_session() -> None:
    shell = converse([b"X\r\n" * 30])
    assert shell.said.count(b"-ERR Unknown command\r\n") == Limits().bad_commands
    assert shell.said.endswith(b"-ERR Too many errors\r\n")
    assert shell.events[-1] == Close()


def test_a_good_command_forgives_the_bad_ones() -> None:
    shell = converse([(b"X\r\n" * 19 + b"CAPA\r\n") * 3])
    assert shell.session.state is State.AUTHORIZATION


def test_too_many_refused_logins_end_the_session() -> None:
    shell = converse([b"USER x\r\nPASS y\r\n" * 9])
    assert shell.said.count(b"-ERR [AUTH]") == Limits().refused_logins
    assert shell.events[-1] == Close()


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_long_line_is_refused_and_the_next_one_heard(end: bytes) -> None:
    shell = Shell(ServerSession(ServerConfig(plaintext_login=True)))
    for _ in range(100):
        shell.receive(b"x" * 1_000)
    shell.receive(end + b"NOOP\r\n")
    assert shell.said.endswith(b"-ERR Line too long\r\n-ERR Command not allowed now\r\n")


def test_a_bare_line_feed_ends_no_command() -> None:
    assert converse([b"QUIT\nQUIT\r\n"]).said.endswith(b"-ERR A line ends with CRLF\r\n+OK Goodbye\r\n")


@pytest.mark.parametrize("line", [b"USER a\0b", b"PASS \0", b"USER \xff", b"PASS "])
def test_credentials_are_text(line: bytes) -> None:
    assert converse([b"USER x\r\n" + line + b"\r\n"]).said.endswith(b"-ERR Wrong arguments\r\n")


def test_long_listings_are_sent_in_pieces() -> None:
    session = ServerSession(ServerConfig(plaintext_login=True, limits=Limits(output=8_192)))
    session.receive_data(START + b"UIDL\r\nLIST\r\n")
    said, most = b"", 0
    while not isinstance(event := session.next_event(), NeedData):
        if isinstance(event, Login):
            session.accept_login(Maildrop([Message(1, "x" * 10)] * 20_000))
        if isinstance(event, SendData):
            most = max(most, len(out := session.data_to_send()))
            said += out
    said += session.data_to_send()
    assert most < 24_576
    assert said.count(b" xxxxxxxxxx\r\n") == 20_000
    assert said.endswith(b"20000 1\r\n.\r\n")


def test_pipelined_commands_are_answered_in_one_write() -> None:
    session = ServerSession(ServerConfig(plaintext_login=True))
    session.receive_data(b"CAPA\r\nNOOP\r\nQUIT\r\n")
    while not isinstance(session.next_event(), Close):
        pass
    assert session.data_to_send().endswith(b".\r\n-ERR Command not allowed now\r\n+OK Goodbye\r\n")
    assert session.data_to_send() == b""


def test_a_session_can_be_ended_from_our_side() -> None:
    session = ServerSession(ServerConfig())
    session.end()
    assert session.next_event() == Close()
    assert session.data_to_send() == (
        b"+OK POP3 server ready\r\n-ERR [SYS/TEMP] Shutting down, try again soon\r\n"
    )


def test_nothing_is_said_within_a_message() -> None:
    session = ServerSession(ServerConfig(plaintext_login=True))
    session.receive_data(START + b"RETR 1\r\n")
    while not isinstance(event := session.next_event(), Retrieve):
        if isinstance(event, Login):
            session.accept_login(Maildrop([Message(5, "x")]))
    session.begin_content()
    session.send_content(b"\r\nabc")
    session.end()
    assert session.data_to_send().endswith(b"+OK 5 octets\r\n\r\nabc")
    assert session.next_event() == Close()


def test_a_shell_that_breaks_the_order_is_told() -> None:
    session = ServerSession(ServerConfig(plaintext_login=True))
    for wrong in (session.updated, session.tls_started, session.begin_content, session.end_content):
        with pytest.raises(LocalProtocolError):
            wrong()
    with pytest.raises(LocalProtocolError):
        session.send_content(b"x")
    session.receive_data(START)
    while not isinstance(session.next_event(), Login):
        pass
    with pytest.raises(LocalProtocolError):
        session.next_event()
    with pytest.raises(LocalProtocolError):
        session.receive_data(b"x" * 70_000)


@pytest.mark.parametrize("unique_id", ["", "x" * 71, "a b", "é", "a\n"])
def test_a_unique_id_has_1_to_70_printable_characters(unique_id: str) -> None:
    with pytest.raises(LocalProtocolError):
        Maildrop([Message(1, unique_id)])


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(Login(Credentials("", "ann", "secret"))) + repr(Pass("secret"))


COMMANDS: Final[tuple[Command, ...]] = (User("x"), Pass("x"), Stls(), Capa(), Stat(), Quit())


def test_what_the_table_lacks_is_refused_and_changes_nothing() -> None:
    lines = {User: b"USER x", Pass: b"PASS x", Stls: b"STLS", Capa: b"CAPA", Stat: b"STAT", Quit: b"QUIT"}
    ways = {State.AUTHORIZATION: b"", State.USER_GIVEN: b"USER mrose\r\n", State.TRANSACTION: START}
    for state, way in ways.items():
        for command in COMMANDS:
            if (state, type(command)) not in TRANSITIONS:
                shell = converse([way, lines[type(command)] + b"\r\n"])
                assert shell.said.endswith(b"-ERR Command not allowed now\r\n")
                assert shell.session.state is state


def test_a_command_costs_the_same_whatever_waits_to_be_sent() -> None:
    """Ten commands while nothing, and while nearly `Limits.output`, waits: the best of many tries each."""
    shell = Shell(ServerSession(ServerConfig(plaintext_login=True)))
    shell.receive(b"USER mrose\r\nPASS secret word\r\n")

    def ten() -> float:
        shell.session.receive_data(b"NOOP\r\n" * 10)
        started = perf_counter()
        while not isinstance(shell.session.next_event(), NeedData):
            pass
        return perf_counter() - started

    first = min(ten() for _ in range(50))
    for _ in range(1_000):
        ten()
    assert min(ten() for _ in range(50)) < first * 5
    assert len(shell.session.data_to_send()) == len(b"+OK\r\n") * 11_000
