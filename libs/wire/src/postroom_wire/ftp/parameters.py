"""What a session remembers between commands: RFC 959 s4.1.2."""

from dataclasses import dataclass
from enum import Enum

from postroom_wire.ftp.facts import DEFAULT_FACTS
from postroom_wire.ftp.paths import FtpPath


@dataclass(frozen=True, slots=True)
class Policy:
    """What this listener asks of its clients."""

    tls_offered: bool = True
    """AUTH TLS is listed and understood; else it is answered with 431."""
    login_needs_tls: bool = True
    """USER is refused before TLS."""
    data_needs_tls: bool = True
    """Under TLS, transfers are refused without PROT P: RFC 4217 s10.2."""


class DataChannel(Enum):
    """How the next data connection is to be made."""

    NONE = "none"
    ACTIVE = "active"
    PASSIVE = "passive"


@dataclass(slots=True)
class Parameters:
    """All that AUTH and REIN reset: RFC 4217 s4.2, RFC 959 s4.1.1."""

    user: str = ""
    """As given by USER; whether it is logged in is the state's business."""
    cwd: FtpPath = FtpPath.ROOT
    ascii: bool = True
    private: bool = False
    facts: tuple[str, ...] = DEFAULT_FACTS
    offset: int = 0
    source: FtpPath = FtpPath.ROOT
    channel: DataChannel = DataChannel.NONE
    epsv_all: bool = False
