"""Which command is legal when, and where it leads (RFC 1939 s3 to s6).

A session is in AUTHORIZATION until PASS or AUTH, in TRANSACTION until QUIT, in UPDATE while what was marked
is removed. USER_GIVEN is AUTHORIZATION after an accepted USER, SASL after an AUTH that was begun, TLS while
STLS negotiates. `TRANSITIONS` is the whole of it: what is absent is refused and changes nothing. A refused
login moves along `AFTER_REFUSAL`.
"""

from enum import Enum
from typing import Final

from postroom_wire.pop3.commands import (
    Auth,
    Capa,
    Command,
    Dele,
    Lang,
    List,
    Noop,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
    Utf8,
)


class State(Enum):
    """s3, with the steps within AUTHORIZATION."""

    AUTHORIZATION = "authorization"
    USER_GIVEN = "authorization, user given"
    SASL = "authorization, within an exchange of SASL"
    TLS = "authorization, negotiating TLS"
    TRANSACTION = "transaction"
    UPDATE = "update"
    CLOSED = "closed"


_IN_TRANSACTION: Final[tuple[type[Command], ...]] = (
    Stat,
    List,
    Uidl,
    Top,
    Retr,
    Dele,
    Rset,
    Noop,
    Capa,
    Lang,
)

TRANSITIONS: Final[dict[tuple[State, type[Command]], State]] = {
    (State.AUTHORIZATION, User): State.USER_GIVEN,
    (State.AUTHORIZATION, Auth): State.SASL,
    (State.SASL, Auth): State.TRANSACTION,
    (State.AUTHORIZATION, Utf8): State.AUTHORIZATION,
    (State.USER_GIVEN, Utf8): State.USER_GIVEN,
    (State.AUTHORIZATION, Lang): State.AUTHORIZATION,
    (State.USER_GIVEN, Lang): State.USER_GIVEN,
    (State.AUTHORIZATION, Capa): State.AUTHORIZATION,
    (State.AUTHORIZATION, Stls): State.TLS,
    (State.AUTHORIZATION, Quit): State.CLOSED,  # without UPDATE, s6
    (State.USER_GIVEN, User): State.USER_GIVEN,
    (State.USER_GIVEN, Pass): State.TRANSACTION,
    (State.USER_GIVEN, Capa): State.USER_GIVEN,
    (State.USER_GIVEN, Stls): State.TLS,
    (State.USER_GIVEN, Quit): State.CLOSED,
    **{(State.TRANSACTION, command): State.TRANSACTION for command in _IN_TRANSACTION},
    (State.TRANSACTION, Quit): State.UPDATE,
}

AFTER_REFUSAL: Final[dict[tuple[State, type[Command]], State]] = {
    (State.USER_GIVEN, Pass): State.AUTHORIZATION,
    (State.SASL, Auth): State.AUTHORIZATION,
}
