"""What the engine tells its shell, beside the commands that are to be answered."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from postroom_wire.ftp.commands import Command
from postroom_wire.ftp.replies import Reply


@dataclass(frozen=True, slots=True)
class NeedData:
    """Nothing more to do now: read on, or wait for the transfer to end."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A fact for logs and metrics: the engine has answered a command itself. No answer."""

    verb: str
    """A verb of ours in capitals; empty for what is none, never what the peer wrote."""
    reply: Reply


@dataclass(frozen=True, slots=True)
class Interrupt:
    """ABOR has come during a transfer: end it, and say so by `finish(TRANSFER_ABORTED)`. No other answer.

    The ABOR itself comes as a command in its turn. A transfer that has ended well just then may also be
    finished as such.
    """


NEED_DATA: Final = NeedData()
INTERRUPT: Final = Interrupt()

Event: TypeAlias = Command | Answered | Interrupt | NeedData
