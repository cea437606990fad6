"""The two kinds of protocol error, and the constant replies to theirs (RFC 3501 s7.1, RFC 5530)."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final, NewType

Tag = NewType("Tag", bytes)

# text = 1*TEXT-CHAR; we send no controls
_TEXT: Final = re.compile(rb"[\x20-\x7e]+")


class Condition(Enum):
    """resp-cond-state: how a command ended."""

    OK = b"OK"
    NO = b"NO"
    BAD = b"BAD"


class LocalProtocolError(Exception):
    """Our own side broke the protocol: a bug."""


def check_text(text: bytes) -> bytes:
    """The text itself, if it can stand in a response.

    One that begins with "[" would be read as a response code.
    """
    if text.startswith(b"[") or not _TEXT.fullmatch(text):
        raise LocalProtocolError("not a text that can be sent")
    return text


@dataclass(frozen=True, slots=True)
class Refusal:
    """A constant text for the peer, with its response code in wire form."""

    condition: Condition
    text: bytes
    code: bytes | None = None

    def __post_init__(self) -> None:
        check_text(self.text)

    def encode(self, tag: Tag | None) -> bytes:
        """The response line; untagged when the command's tag could not be read."""
        code = b"" if self.code is None else b"[" + self.code + b"] "
        return (tag or b"*") + b" " + self.condition.value + b" " + code + self.text + b"\r\n"


class RemoteProtocolError(Exception):
    """The peer sent what the grammar or a limit does not allow.

    `refusal` is what it is told; `detail` is for the log only. `tag` is None where none could be read.
    """

    def __init__(self, refusal: Refusal, detail: str, tag: Tag | None = None) -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.detail = detail
        self.tag = tag

    def encode(self) -> bytes:
        """The response that answers it."""
        return self.refusal.encode(self.tag)


NO_TAG: Final = Refusal(Condition.BAD, b"A command begins with a tag and a space")
UNKNOWN_COMMAND: Final = Refusal(Condition.BAD, b"Command unknown")
SYNTAX_ERROR: Final = Refusal(Condition.BAD, b"Syntax error in arguments")
WRONG_STATE: Final = Refusal(Condition.BAD, b"Command not allowed in this state")
LINE_TOO_LONG: Final = Refusal(Condition.BAD, b"Line too long", b"TOOBIG")
COMMAND_TOO_LONG: Final = Refusal(Condition.BAD, b"Command too long", b"TOOBIG")
LITERAL_TOO_BIG: Final = Refusal(Condition.BAD, b"Literal too big", b"TOOBIG")
MESSAGE_TOO_BIG: Final = Refusal(Condition.NO, b"Message too big", b"TOOBIG")
NESTED_TOO_DEEPLY: Final = Refusal(Condition.BAD, b"Nested too deeply")
TOO_MANY_ITEMS: Final = Refusal(Condition.NO, b"Too many items in one command", b"LIMIT")
BAD_CHARSET: Final = Refusal(Condition.NO, b"Charset not supported", b"BADCHARSET (US-ASCII UTF-8)")
BAD_STRING: Final = Refusal(Condition.BAD, b"String is not valid in its charset")
BAD_MAILBOX_NAME: Final = Refusal(Condition.NO, b"Mailbox name not allowed", b"CANNOT")
BAD_FLAG: Final = Refusal(Condition.BAD, b"Flag unknown")
BAD_SEQUENCE_NUMBER: Final = Refusal(Condition.BAD, b"No such message sequence number")
BAD_BASE64: Final = Refusal(Condition.BAD, b"Not base64")
CANCELLED: Final = Refusal(Condition.BAD, b"Authentication cancelled")
EXPECTED_DONE: Final = Refusal(Condition.BAD, b"Expected DONE")
