"""Identifiers that services pass to each other: UUIDs, 16 octets on the wire (RFC 9562 s5.7)."""

import base64
import binascii
from typing import Final, NewType
from uuid import UUID

from uuid_utils.compat import uuid7

from postroom_contracts.errors import InvalidRequestError

TenantId = NewType("TenantId", UUID)
AccountId = NewType("AccountId", UUID)
MessageId = NewType("MessageId", UUID)
"""An accepted message: the queue id. Not the Message-ID: header field."""
MailboxId = NewType("MailboxId", UUID)
BlobId = NewType("BlobId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
ClaimId = NewType("ClaimId", UUID)
NodeId = NewType("NodeId", UUID)
UploadId = NewType("UploadId", UUID)
Uid = NewType("Uid", int)
Modseq = NewType("Modseq", int)

DEFAULT_TENANT: Final = TenantId(UUID("00000000-0000-7000-8000-000000000001"))
"""The tenant that exists from the first migration on."""

NOBODY: Final = AccountId(UUID(int=0))
"""The account of a capability that belongs to no account: the administrator's by token."""

_TEXT_LENGTH: Final = 26  # 128 bits in base32 without padding
_PADDING: Final = "======"


def new_id() -> UUID:
    """A fresh UUIDv7; later ones sort after earlier ones."""
    return uuid7()


def parse_id(octets: bytes) -> UUID:
    """The UUID in a request's field; raises `InvalidRequestError` for anything but 16 octets."""
    if len(octets) != 16:
        raise InvalidRequestError(f"an id has 16 octets, not {len(octets)}")
    return UUID(bytes=octets)


def queue_id_text(message_id: UUID) -> str:
    """The form for people, logs and the `250` reply: RFC 4648 s6 base32, 26 lower-case characters."""
    return base64.b32encode(message_id.bytes).decode("ascii").rstrip("=").lower()


def parse_queue_id(text: str) -> MessageId:
    """The reverse of `queue_id_text`, in any case; raises `InvalidRequestError`."""
    try:
        octets = base64.b32decode((text + _PADDING).encode("ascii"), casefold=True)
    except (UnicodeEncodeError, binascii.Error):
        raise InvalidRequestError("not a queue id") from None
    if len(text) != _TEXT_LENGTH or queue_id_text(found := UUID(bytes=octets)) != text.lower():
        raise InvalidRequestError("not a queue id")  # the last character holds three bits only
    return MessageId(found)
