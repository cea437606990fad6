"""What the fragmenter and the session tell their caller."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final, TypeAlias

from postroom_wire.imap.commands import Append, Command, Replace
from postroom_wire.imap.errors import Refusal, Tag
from postroom_wire.imap.flags import Flag

CONTINUE: Final = b"+ Ready for literal\r\n"


class NeedData(Enum):
    """Nothing can be said before more octets come."""

    NEED_DATA = "need data"


NEED_DATA: Final = NeedData.NEED_DATA


@dataclass(frozen=True, slots=True)
class CommandComplete:
    """A whole command with its literals inside, without its last CRLF."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LineReceived:
    """The line that `expect_line` waited for, without its CRLF."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ContinuationRequest:
    """Write these octets: the client waits for them."""

    octets: bytes = CONTINUE


@dataclass(frozen=True, slots=True)
class CommandRefused:
    """Write the refusal. Where `fatal`, say BYE and close: the stream cannot be followed any more.

    While an APPEND is open it also ends that: nothing of its message may be kept.
    """

    tag: Tag | None
    refusal: Refusal
    fatal: bool = False

    def encode(self) -> bytes:
        """The response line."""
        return self.refusal.encode(self.tag)


@dataclass(frozen=True, slots=True)
class AppendStarted:
    """Messages are announced: answer by `accept_append` or `refuse_append` before the next event."""

    tag: Tag
    append: Append | Replace


@dataclass(frozen=True, slots=True)
class AppendMessageStarted:
    """One message of an APPEND begins: what follows up to its end are its octets, in their order.

    `date_time` in UTC; `size` in octets, None for a message of parts; `utf8`: its headers may have UTF-8.
    """

    flags: tuple[Flag, ...]
    date_time: datetime | None
    size: int | None
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class AppendUrl:
    """The next octets of the message are those that this URL names (RFC 4469 s3)."""

    url: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppendContent:
    """The next octets of the message."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AppendMessageEnded:
    """That was all of the message; another one may follow."""


@dataclass(frozen=True, slots=True)
class AppendEnded:
    """All messages are whole and the command ended as it should: only now may they be stored for good."""

    tag: Tag


AppendEvent: TypeAlias = AppendMessageStarted | AppendUrl | AppendContent | AppendMessageEnded | AppendEnded


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A command that its state allows; answer it before the next event."""

    tag: Tag
    command: Command


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """The client's answer to a challenge, decoded; answer with the next one or with the command's end."""

    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdleEnded:
    """DONE: end the IDLE command."""


FragmentEvent: TypeAlias = (
    CommandComplete | LineReceived | ContinuationRequest | CommandRefused | AppendStarted | AppendEvent
)
SessionEvent: TypeAlias = (
    CommandReceived
    | SaslResponse
    | IdleEnded
    | ContinuationRequest
    | CommandRefused
    | AppendStarted
    | AppendEvent
)
