"""What an SMTP client may do when, as one table, and what it is told before it begins."""

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from postroom_wire.smtp.addresses import check_domain
from postroom_wire.smtp.limits import ClientLimits, ClientTimeouts


class ClientState(Enum):
    """Where a client session stands."""

    GREETING = auto()
    """Waiting for the server's first words."""
    HELLO = auto()
    """EHLO or HELO is sent."""
    READY = auto()
    """Between commands: the shell says what comes next."""
    STARTTLS = auto()
    TLS = auto()
    """Waiting for the shell's handshake."""
    AUTH = auto()
    MESSAGE = auto()
    """MAIL, RCPT and DATA are under way."""
    CONTENT = auto()
    """The server waits for the content, which the shell writes."""
    END = auto()
    """The content has ended; waiting for the server to take it."""
    QUIT = auto()
    CLOSED = auto()


class Call(Enum):
    """What a shell can ask of a client session."""

    START_TLS = auto()
    TLS_STARTED = auto()
    AUTHENTICATE = auto()
    SEND = auto()
    WRITE_CONTENT = auto()
    END_CONTENT = auto()
    QUIT = auto()


# What is absent is a bug of the shell.
CALLS: Final[dict[tuple[ClientState, Call], ClientState]] = {
    (ClientState.READY, Call.START_TLS): ClientState.STARTTLS,
    (ClientState.TLS, Call.TLS_STARTED): ClientState.HELLO,
    (ClientState.READY, Call.AUTHENTICATE): ClientState.AUTH,
    (ClientState.READY, Call.SEND): ClientState.MESSAGE,
    (ClientState.CONTENT, Call.WRITE_CONTENT): ClientState.CONTENT,
    (ClientState.CONTENT, Call.END_CONTENT): ClientState.END,
    (ClientState.READY, Call.QUIT): ClientState.QUIT,
}


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Who we are to servers. A wrong name raises `AddressError`."""

    helo_name: str
    """Our own host name or address literal."""
    plaintext_auth: bool = False
    """Whether credentials may be sent without TLS: to a loopback peer only."""
    limits: ClientLimits = field(default_factory=ClientLimits)
    timeouts: ClientTimeouts = field(default_factory=ClientTimeouts)

    def __post_init__(self) -> None:
        check_domain(self.helo_name)
