"""What the engines tell their shells; some commands are events of the server as they are."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from postroom_wire.sasl import Attempt, Mechanism
from postroom_wire.smtp.addresses import ForwardPath
from postroom_wire.smtp.capabilities import Capabilities
from postroom_wire.smtp.commands import Data, Mail, Rcpt, StartTls
from postroom_wire.smtp.replies import Reply


@dataclass(frozen=True, slots=True)
class NeedData:
    """Nothing more to do: send what there is to send in one write, and read on."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Check what the client says, then answer 235, 535 or 454. It is never to be logged.

    A `ScramOpening` and a `ScramProof` that is right are answered by `challenge`.
    """

    mechanism: Mechanism
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class ContentChunk:
    """The next octets of the content, dots undone. No answer."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class ContentEnd:
    """The content is whole and `size` octets long: keep it, then answer."""

    size: int


@dataclass(frozen=True, slots=True)
class ContentRefused:
    """The content will be refused at its end (`Answered` says how): forget what you have of it. No answer."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A fact for logs and metrics: the engine has answered `command` itself. No answer.

    `command` is a verb of the protocol, `CONTENT` for the end of a refused content, or `UNKNOWN`; never what
    the peer wrote.
    """

    command: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Close:
    """Send what there is to send and close the connection; `reply` was the last word."""

    reply: Reply


ServerEvent: TypeAlias = (
    NeedData
    | Mail
    | Rcpt
    | Data
    | ContentChunk
    | ContentEnd
    | ContentRefused
    | StartTls
    | Authenticate
    | Answered
    | Close
)


@dataclass(frozen=True, slots=True)
class Greeted:
    """The server took our EHLO or HELO, also after TLS: now `start_tls`, `authenticate`, `send` or `quit`."""

    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class TlsReady:
    """The server waits for the handshake: do it, then call `tls_started`."""


@dataclass(frozen=True, slots=True)
class TlsRefused:
    """The server wants no TLS now; the session goes on in plain text if the policy allows."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The server took the credentials."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class AuthenticationRefused:
    """The server did not take the credentials; `reply` says whether it may later."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class SendContent:
    """At least one recipient was taken and the server waits: `write_content` and `end_content`."""


class Stage(Enum):
    """Where a recipient's fate was decided."""

    LOCAL = "local"
    """Never sent: the server does not offer what the message needs. The reply is our own."""
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """What became of one recipient; exactly one of `delivered`, `transient`, `permanent` is true."""

    recipient: ForwardPath
    stage: Stage
    reply: Reply

    @property
    def delivered(self) -> bool:
        """Whether the server has taken responsibility for the message."""
        return self.reply.positive

    @property
    def transient(self) -> bool:
        """Whether to try again later.

        A bare 552 to RCPT means "too many recipients" by RFC 821 and is temporary: RFC 5321 s4.5.3.1.10.
        """
        too_many = self.stage is Stage.RCPT and self.reply.code == 552
        return self.reply.transient or (too_many and self.reply.enhanced in (None, "5.5.3"))

    @property
    def permanent(self) -> bool:
        """Whether to give up."""
        return not self.delivered and not self.transient


@dataclass(frozen=True, slots=True)
class MessageDone:
    """The end of one message: a result for each recipient, in the envelope's order."""

    results: tuple[RecipientResult, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """The server ends the session (421, a refused greeting, or our QUIT answered): close the connection.

    `reply` is its last word, None when it only hung up after our QUIT.
    """

    reply: Reply | None


ClientEvent: TypeAlias = (
    NeedData
    | Greeted
    | TlsReady
    | TlsRefused
    | Authenticated
    | AuthenticationRefused
    | SendContent
    | MessageDone
    | Closed
)
