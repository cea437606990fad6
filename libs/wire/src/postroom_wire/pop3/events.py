"""What the engine tells its shell."""

from dataclasses import dataclass
from typing import TypeAlias

from postroom_wire.sasl import Attempt


@dataclass(frozen=True, slots=True)
class NeedData:
    """Nothing more to do: send what there is to send in one write, and read on."""


@dataclass(frozen=True, slots=True)
class SendData:
    """Much is waiting: send it, let the peer take it, then ask for the next event."""


@dataclass(frozen=True, slots=True)
class Login:
    """Check what the client says, then `accept_login` or `refuse_login`. It is never to be logged.

    A `ScramOpening` is answered by `challenge`.
    """

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send what there is to send, negotiate TLS, then call `tls_started`."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Read message `number` (from 1), then `begin_content`, `send_content` for each chunk and `end_content`.

    Or `refuse_content`, before the first chunk. Of `lines` is not None, that many lines of the body are
    wanted.
    """

    number: int
    lines: int | None


@dataclass(frozen=True, slots=True)
class Update:
    """Remove the messages of these numbers, then `updated` or `update_failed`."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A fact for logs and metrics: the engine has answered `command` itself. No answer.

    `command` is a keyword of the protocol or `UNKNOWN`; never what the peer wrote.
    """

    command: str
    positive: bool


@dataclass(frozen=True, slots=True)
class Close:
    """Send what there is to send and close the connection."""


ServerEvent: TypeAlias = NeedData | SendData | Login | StartTls | Retrieve | Update | Answered | Close
