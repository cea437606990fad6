"""The order of commands: RFC 959 s5.4 and s6, RFC 4217 s9."""

from enum import Enum, auto
from typing import Final

from postroom_wire.ftp import commands
from postroom_wire.ftp.commands import TRANSFERS, AnyCommand
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.standard_replies import (
    ALREADY_LOGGED_IN,
    BAD_SEQUENCE,
    NOT_LOGGED_IN,
    PBSZ_NEEDS_TLS,
    PROT_NEEDS_PBSZ,
    RNFR_FIRST,
    TLS_ALREADY,
    USER_FIRST,
)


class State(Enum):
    """Where the dialogue stands."""

    CONNECTED = auto()
    NEED_PASSWORD = auto()
    READY = auto()
    RENAMING = auto()  # RNFR was accepted
    RESTARTING = auto()  # REST was accepted
    TRANSFER = auto()  # 150 is sent, the final reply is not
    HANDSHAKE = auto()  # 234 is sent, TLS is not yet there
    CLOSED = auto()


class Protection(Enum):
    """How far the security of the control connection has come."""

    CLEAR = auto()
    SECURED = auto()
    SIZED = auto()  # PBSZ was accepted


_LOGGED_IN: Final = (State.READY, State.RENAMING, State.RESTARTING)
_BETWEEN_COMMANDS: Final = (State.CONNECTED, State.NEED_PASSWORD, *_LOGGED_IN)
_ANY_TIME: Final = (
    commands.Abor,
    commands.Feat,
    commands.Help,
    commands.Noop,
    commands.OptsMlst,
    commands.OptsUtf8,
    commands.Pbsz,
    commands.Prot,
    commands.Syst,
)
# What may stand between REST and the transfer that it is for; clients differ in when they send PASV.
_PREPARING: Final = (
    commands.Allo,
    commands.Epsv,
    commands.EpsvAll,
    commands.Mode,
    commands.Pasv,
    commands.Port,
    commands.Stru,
    commands.Type,
)
_AFTER_LOGIN: Final = (
    *_PREPARING,
    commands.Acct,
    commands.Cwd,
    commands.Dele,
    commands.Mdtm,
    commands.Mkd,
    commands.Mlst,
    commands.Pwd,
    commands.Rmd,
    commands.Size,
    commands.Stat,
    commands.Status,
)

# The whole order of commands: where an accepted one leads. What is absent is out of order.
# In TRANSFER it is no error to send more, but it waits: servers "should queue any commands that arrive
# while a preceding command is in progress", RFC 959 s4.2, since an early refusal would be taken for the
# result of the transfer. Only what asks how it goes is answered at once.
TRANSITIONS: Final[dict[tuple[State, type[AnyCommand]], State]] = {
    **{(state, command): state for state in _BETWEEN_COMMANDS for command in _ANY_TIME},
    **{(state, commands.Quit): State.CLOSED for state in _BETWEEN_COMMANDS},
    **{(state, commands.Auth): State.HANDSHAKE for state in _BETWEEN_COMMANDS},
    **{(state, commands.Rein): State.CONNECTED for state in _BETWEEN_COMMANDS},
    (State.CONNECTED, commands.User): State.NEED_PASSWORD,
    (State.NEED_PASSWORD, commands.User): State.NEED_PASSWORD,
    (State.NEED_PASSWORD, commands.Pass): State.READY,
    **{(state, command): State.READY for state in _LOGGED_IN for command in _AFTER_LOGIN},
    **{(State.RESTARTING, command): State.RESTARTING for command in _PREPARING},
    **{(state, commands.Rest): State.RESTARTING for state in _LOGGED_IN},
    **{(state, command): State.TRANSFER for state in _LOGGED_IN for command in TRANSFERS},
    **{(state, commands.Rnfr): State.RENAMING for state in _LOGGED_IN},
    (State.RENAMING, commands.Rnto): State.READY,
    (State.TRANSFER, commands.Noop): State.TRANSFER,
    (State.TRANSFER, commands.Status): State.TRANSFER,
}

# "A failure at any point in the sequence necessitates the repetition of the entire sequence", RFC 959 s4.2.
# That is when the service says no; what the engine refuses leaves the sequence where it is.
AFTER_FAILURE: Final = {
    State.NEED_PASSWORD: State.CONNECTED,
    State.RENAMING: State.READY,
    State.RESTARTING: State.READY,
}

# The order of the security commands beside it, RFC 4217 s9; all other commands are free here.
PROTECTING: Final[dict[tuple[Protection, type[AnyCommand]], Protection]] = {
    (Protection.CLEAR, commands.Auth): Protection.SECURED,
    (Protection.SECURED, commands.Pbsz): Protection.SIZED,
    (Protection.SIZED, commands.Pbsz): Protection.SIZED,
    (Protection.SIZED, commands.Prot): Protection.SIZED,
}
_UNPROTECTED_REFUSALS: Final[dict[type[AnyCommand], Reply]] = {
    commands.Auth: TLS_ALREADY,
    commands.Pbsz: PBSZ_NEEDS_TLS,
    commands.Prot: PROT_NEEDS_PBSZ,
}
_REFUSALS: Final[dict[type[AnyCommand], Reply]] = {
    commands.Pass: USER_FIRST,
    commands.User: ALREADY_LOGGED_IN,
    commands.Rnto: RNFR_FIRST,
}


def out_of_order(state: State, protection: Protection, kind: type[AnyCommand]) -> Reply | None:
    """Why a command cannot come now, or None when it can."""
    if (state, kind) not in TRANSITIONS:
        if state not in _LOGGED_IN and kind is not commands.Pass:
            return NOT_LOGGED_IN
        return _REFUSALS.get(kind, BAD_SEQUENCE)
    if kind in _UNPROTECTED_REFUSALS and (protection, kind) not in PROTECTING:
        return _UNPROTECTED_REFUSALS[kind]
    return None
