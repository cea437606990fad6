"""The order of commands that an SMTP server keeps, as one table (RFC 5321 s4.1.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias

from postroom_wire.sasl import Mechanism
from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.addresses import check_domain
from postroom_wire.smtp.commands import (
    Auth,
    Command,
    Data,
    Ehlo,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
)
from postroom_wire.smtp.errors import CommandError
from postroom_wire.smtp.events import Authenticate, ContentEnd
from postroom_wire.smtp.limits import Limits
from postroom_wire.smtp.replies import Reply
from postroom_wire.smtp.trace import address_literal


class State(Enum):
    """Where a server session stands."""

    CONNECTED = auto()
    """No EHLO or HELO yet, or none since TLS began."""
    READY = auto()
    """Between transactions."""
    MAIL = auto()
    """There is a reverse path and no recipient."""
    RCPT = auto()
    """There is a recipient."""
    CONTENT = auto()
    """After 354, until the content's end is answered."""
    AUTH = auto()
    """Within a SASL exchange."""
    TLS = auto()
    """STARTTLS was accepted; waiting for the shell's handshake."""
    CLOSED = auto()


Step: TypeAlias = Command | Authenticate | ContentEnd

_GREETED: Final = (State.READY, State.MAIL, State.RCPT)
_BETWEEN_COMMANDS: Final = (State.CONNECTED, *_GREETED)

# The whole order. What is absent is out of order; a refused command stays put. The steps from AUTH and from
# CONTENT are taken whatever their answer is.
TRANSITIONS: Final[dict[tuple[State, type[Step]], State]] = {
    **{(state, Ehlo): State.READY for state in _BETWEEN_COMMANDS},  # resets, s4.1.4
    **{(state, Helo): State.READY for state in _BETWEEN_COMMANDS},
    **{(state, Noop): state for state in _BETWEEN_COMMANDS},
    **{(state, Vrfy): state for state in _BETWEEN_COMMANDS},
    **{(state, Help): state for state in _BETWEEN_COMMANDS},
    **{(state, Quit): State.CLOSED for state in _BETWEEN_COMMANDS},
    (State.CONNECTED, Rset): State.CONNECTED,
    **{(state, Rset): State.READY for state in _GREETED},
    (State.READY, StartTls): State.TLS,
    (State.READY, Auth): State.AUTH,
    (State.AUTH, Authenticate): State.READY,
    (State.READY, Mail): State.MAIL,
    (State.MAIL, Rcpt): State.RCPT,
    (State.RCPT, Rcpt): State.RCPT,
    (State.RCPT, Data): State.CONTENT,
    (State.CONTENT, ContentEnd): State.READY,
}

LEFT_BY_ANY_ANSWER: Final = (State.AUTH, State.CONTENT)

# The events that wait for the shell's reply, and the codes with which each may be accepted.
Awaited: TypeAlias = Mail | Rcpt | Data | StartTls | Authenticate | ContentEnd
ACCEPTANCE: Final[dict[type[Awaited], tuple[int, ...]]] = {
    Mail: (250,),
    Rcpt: (250, 251),
    Data: (354,),
    StartTls: (220,),
    Authenticate: (235,),
    ContentEnd: (250,),
}


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What a listener offers, or a connection. A wrong host name raises `AddressError`."""

    hostname: str
    lmtp: bool = False
    """LHLO instead of EHLO, and one reply for each recipient at the content's end (RFC 2033)."""
    starttls: bool = False
    """Offered while TLS is not active."""
    mechanisms: tuple[Mechanism, ...] = ()
    """Offered while TLS is active, or where the session says that plain text is safe; those that fit it."""
    auth_required: bool = False
    """Submission: no MAIL before AUTH (RFC 6409 s4.3)."""
    limits: Limits = field(default_factory=Limits)
    peer_address: str = ""
    """The client's IP address: the reply to EHLO says it, so that everybody can see what we take it for."""

    def __post_init__(self) -> None:
        check_domain(self.hostname)

    def check_line(self, verb: str, size: int) -> None:
        """Whether this verb is known here, and its line no longer than it may be. Raises `CommandError`."""
        if size > self.limits.command_line:
            longer = {"AUTH": self.limits.auth_line, "MAIL": self.limits.mail_line}
            if size > longer.get(verb, 0):
                raise CommandError(standard_replies.LINE_TOO_LONG)
        # RFC 2033 s4.1: LMTP has no EHLO and HELO, SMTP no LHLO
        if verb in (("EHLO", "HELO") if self.lmtp else ("LHLO",)):
            raise CommandError(standard_replies.UNKNOWN_COMMAND)

    def check_starttls(self, *, tls_active: bool) -> None:
        """Whether TLS may begin. Raises `CommandError`."""
        if tls_active:
            raise CommandError(standard_replies.TLS_ACTIVE)
        if not self.starttls:
            raise CommandError(standard_replies.NOT_IMPLEMENTED)

    def greeting(self) -> Reply:
        """The first words of a connection, RFC 5321 s4.2."""
        return Reply(220, None, f"{self.hostname} {'LMTP' if self.lmtp else 'ESMTP'}")

    def helo_reply(self) -> Reply:
        """The reply to HELO."""
        return Reply(250, None, self.hostname)

    def ehlo_reply(self, *, tls_active: bool, mechanisms: Sequence[Mechanism]) -> Reply:
        """The reply to EHLO or LHLO with all that is offered at this moment."""
        seen = f" sees {address_literal(self.peer_address)}" if self.peer_address else ""
        lines = [
            f"{self.hostname}{seen}",
            "PIPELINING",
            f"SIZE {self.limits.message}",
            "8BITMIME",
            "SMTPUTF8",
        ]
        if self.starttls and not tls_active:
            lines.append("STARTTLS")
        if mechanisms:
            lines.append(" ".join(("AUTH", *(mechanism.value for mechanism in mechanisms))))
        return Reply(250, None, "\n".join((*lines, "ENHANCEDSTATUSCODES")))
