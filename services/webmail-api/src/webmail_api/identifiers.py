"""Opaque identifiers in addresses and documents, and the cursors of lists: base64url without padding."""

import base64
import binascii
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from postroom_contracts.errors import (
    InvalidRequestError,
    MailboxNotFoundError,
    MessageNotFoundError,
    NodeNotFoundError,
    PostroomError,
)

_UUID_OCTETS: Final = 16
_UID_OCTETS: Final = 4
_MAX_CURSOR: Final = 2_000


@dataclass(frozen=True, slots=True)
class MessageKey:
    """A message in its mailbox. It is another one after a move."""

    mailbox_id: bytes
    uid: int

    @classmethod
    def parse(cls, text: str) -> "MessageKey":
        """From a message's id; raises `MessageNotFoundError`, since no message has any other."""
        octets = _decode(text, _UUID_OCTETS + _UID_OCTETS)
        if octets is None:
            raise MessageNotFoundError("not an id of a message")
        return cls(octets[:_UUID_OCTETS], int.from_bytes(octets[_UUID_OCTETS:], "big"))

    def __str__(self) -> str:
        return encode(self.mailbox_id + self.uid.to_bytes(_UID_OCTETS, "big"))


def mailbox_id(text: str) -> bytes:
    """From a mailbox's id; raises `MailboxNotFoundError`."""
    return _id(text, MailboxNotFoundError)


def node_id(text: str) -> bytes:
    """From a file's or directory's id; raises `NodeNotFoundError`."""
    return _id(text, NodeNotFoundError)


def uid_cursor(uid: int) -> str:
    """A place in a mailbox: before the message of this UID."""
    return encode(uid.to_bytes(_UID_OCTETS, "big"))


def parse_uid_cursor(text: str) -> int:
    """Raises `InvalidRequestError`."""
    octets = _decode(text, _UID_OCTETS)
    if octets is None:
        raise InvalidRequestError("not a cursor of ours")
    return int.from_bytes(octets, "big")


def text_cursor(text: str) -> str | None:
    """The core's cursor in our form; None where there is none."""
    return encode(text.encode()) if text else None


def parse_text_cursor(text: str | None) -> str:
    """The core's cursor; raises `InvalidRequestError`."""
    if not text:
        return ""
    octets = _decode(text, None)
    try:
        if octets is not None:
            return octets.decode()
    except UnicodeDecodeError:
        pass
    raise InvalidRequestError("not a cursor of ours")


def encode(octets: bytes) -> str:
    """The form of all identifiers."""
    return base64.urlsafe_b64encode(octets).decode("ascii").rstrip("=")


def uuid_text(octets: bytes) -> str:
    """A UUID as people write it."""
    return str(UUID(bytes=octets))


def _id(text: str, absent: type[PostroomError]) -> bytes:
    octets = _decode(text, _UUID_OCTETS)
    if octets is None:
        raise absent("not an id")
    return octets


def _decode(text: str, size: int | None) -> bytes | None:
    if len(text) > _MAX_CURSOR or not text.isascii():
        return None
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # One spelling only, so that equal things have equal ids.
    return octets if encode(octets) == text and (size is None or len(octets) == size) else None
