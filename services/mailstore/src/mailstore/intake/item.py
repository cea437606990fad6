"""One message that an edge service hands over, checked."""

import datetime as dt
import hashlib
from dataclasses import dataclass
from uuid import UUID

import zstandard
from google.protobuf.timestamp_pb2 import Timestamp

from postroom.mailstore.v1 import content_pb2, delivery_pb2
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import parse_id
from postroom_runtime.traces import is_traceparent

MAX_RECIPIENTS = 1_000
MAX_ADDRESS = 320
STAGED_LIMIT = 256 * 1024
DIGEST_SIZE = hashlib.sha256().digest_size
_YEARS = range(1970, 9_000)  # what comes after them may be beyond what a client of the database can read


@dataclass(frozen=True, slots=True)
class Inline:
    """Octets that came along, as one zstd frame."""

    zstd: bytes


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Octets that lie in the object store; `parts` are (number, etag), empty for a single PUT."""

    upload_id: UUID
    parts: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class MessageContent:
    """The octets of a message: SHA-256, size before compression, and where they are."""

    digest: bytes
    size: int
    source: Inline | Uploaded


@dataclass(frozen=True, slots=True)
class LocalRecipient:
    """A recipient in this house."""

    address: str
    account_id: UUID


@dataclass(frozen=True, slots=True)
class RemoteRecipient:
    """A recipient elsewhere; `domain` in lower case."""

    address: str
    domain: str


@dataclass(frozen=True, slots=True)
class IntakeItem:
    """A message with its envelope."""

    id: UUID
    tenant_id: UUID
    reverse_path: str
    recipients: tuple[LocalRecipient | RemoteRecipient, ...]
    content: MessageContent
    eight_bit: bool
    smtp_utf8: bool
    received_at: dt.datetime
    traceparent: str
    sender_account_id: UUID | None


def parse_content(content: content_pb2.Content) -> MessageContent:
    """Check a Content; raises InvalidRequestError."""
    if len(content.digest) != DIGEST_SIZE or content.size < 0:
        raise InvalidRequestError("digest or size is not valid")
    match content.WhichOneof("octets"):
        case "zstd":
            if content.size > STAGED_LIMIT or len(content.zstd) > STAGED_LIMIT + 1024:
                raise InvalidRequestError("inline content is over the limit")
            _check_frame(content.zstd, content.size)
            return MessageContent(content.digest, content.size, Inline(content.zstd))
        case "upload":
            parts = tuple((part.number, part.etag) for part in content.upload.parts)
            upload = Uploaded(parse_id(content.upload.upload_id), parts)
            return MessageContent(content.digest, content.size, upload)
        case _:
            raise InvalidRequestError("content is missing")


def parse_item(item: delivery_pb2.AcceptItem, sender_account_id: UUID | None) -> IntakeItem:
    """Check an AcceptItem; raises InvalidRequestError."""
    if not 0 < len(item.recipients) <= MAX_RECIPIENTS:
        raise InvalidRequestError("no or too many recipients")
    return IntakeItem(
        id=parse_id(item.id),
        tenant_id=parse_id(item.tenant_id),
        reverse_path=clean_address(item.reverse_path),
        recipients=tuple(_recipient(recipient) for recipient in item.recipients),
        content=parse_content(item.content),
        eight_bit=item.eight_bit,
        smtp_utf8=item.smtp_utf8,
        received_at=parse_instant(item.received_at),
        traceparent=item.traceparent if is_traceparent(item.traceparent) else "",
        sender_account_id=sender_account_id,
    )


def parse_instant(timestamp: Timestamp) -> dt.datetime:
    """The instant of a request's field; raises InvalidRequestError."""
    try:
        instant = timestamp.ToDatetime(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise InvalidRequestError("not a time") from None
    if instant.year not in _YEARS:
        raise InvalidRequestError("a time out of range")
    return instant


def clean_address(address: str) -> str:
    """An address that Postgres and log lines can hold; raises InvalidRequestError."""
    if len(address) > MAX_ADDRESS or any(character < " " or character == "\x7f" for character in address):
        raise InvalidRequestError("an address is too long or has control characters")
    return address


def _check_frame(frame: bytes, size: int) -> None:
    """The frame's own header says how large its content is; a broken body is found by the first who reads."""
    try:
        said = zstandard.frame_content_size(frame)
    except zstandard.ZstdError:
        said = -1
    if said != size:
        raise InvalidRequestError("not a zstd frame of that size")


def _recipient(recipient: delivery_pb2.Recipient) -> LocalRecipient | RemoteRecipient:
    address = clean_address(recipient.address)
    match recipient.WhichOneof("destination"):
        case "account_id":
            return LocalRecipient(address, parse_id(recipient.account_id))
        case "remote_address":
            remote = clean_address(recipient.remote_address)
            _, at, domain = remote.rpartition("@")
            if not at or not domain:
                raise InvalidRequestError("a remote address has no domain")
            return RemoteRecipient(remote, domain.lower())
        case _:
            raise InvalidRequestError("a recipient has no destination")
