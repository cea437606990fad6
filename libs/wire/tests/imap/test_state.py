"""The table of states, and what goes with it (RFC 3501 s3, s6.1.1, s7.4.1)."""

from itertools import product
from typing import get_args

import pytest

from postroom_wire.imap.capability import capabilities
from postroom_wire.imap.commands import Authenticate, Command, Login
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.state import AFTER_NO, TRANSITIONS, State, may_tell_expunges
from postroom_wire.sasl import Mechanism

COMMAND_TYPES = get_args(Command)


def test_the_table_of_states_is_closed() -> None:
    assert {command for _, command in TRANSITIONS} == set(COMMAND_TYPES)
    assert not [place for place in TRANSITIONS if place[0] is State.LOGOUT]
    assert set(AFTER_NO) <= set(TRANSITIONS)
    for (before, command), after in TRANSITIONS.items():
        if command in {Login, Authenticate}:
            assert (before, after) == (State.NOT_AUTHENTICATED, State.AUTHENTICATED)
        elif before is State.NOT_AUTHENTICATED:
            assert after in {State.NOT_AUTHENTICATED, State.LOGOUT}


def test_what_is_legal_with_a_mailbox_is_legal_without_but_for_its_messages() -> None:
    for command in COMMAND_TYPES:
        if (State.AUTHENTICATED, command) in TRANSITIONS:
            assert (State.SELECTED, command) in TRANSITIONS


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (b"FETCH 1 FLAGS", False),
        (b"STORE 1 FLAGS ()", False),
        (b"SEARCH ALL", False),
        (b"UID FETCH 1 FLAGS", True),
        (b"UID STORE 1 FLAGS ()", True),
        (b"UID SEARCH ALL", True),
        (b"COPY 1 x", True),
        (b"MOVE 1 x", True),
        (b"NOOP", True),
        (b"IDLE", True),
        (b"CHECK", True),
        (b"EXPUNGE", True),
    ],
)
def test_expunges_are_not_told_while_sequence_numbers_are_in_use(text: bytes, allowed: bool) -> None:
    assert may_tell_expunges(parse_command(b"a " + text).command) is allowed


def test_capabilities_fit_the_connection() -> None:
    for offers_tls, takes_passwords in product((True, False), repeat=2):
        names = capabilities(
            State.NOT_AUTHENTICATED,
            offers_tls=offers_tls,
            takes_passwords=takes_passwords,
            append_limit=7,
            mechanisms=(Mechanism.PLAIN, Mechanism.SCRAM_SHA_256) if takes_passwords else (),
        )
        assert (b"STARTTLS" in names) is offers_tls
        assert (b"AUTH=PLAIN" in names) is takes_passwords
        assert (b"AUTH=SCRAM-SHA-256" in names) is takes_passwords
        assert (b"LOGINDISABLED" in names) is not takes_passwords
        assert {b"IMAP4rev1", b"SASL-IR", b"LITERAL-"} <= set(names)
        assert b"LITERAL+" not in names
    after = capabilities(State.AUTHENTICATED, offers_tls=False, takes_passwords=True, append_limit=7)
    assert {b"IMAP4rev1", b"LITERAL+", b"IDLE", b"UIDPLUS", b"MOVE", b"SPECIAL-USE", b"CHILDREN"} <= set(
        after
    )
    assert not {b"LITERAL-", b"LOGINDISABLED"} & set(after)
