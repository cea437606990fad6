"""Delivery status notifications (RFC 3464, RFC 6522; UTF-8 addresses as RFC 6533 s3 has them)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from postroom_wire.mime.charset import clean_line
from postroom_wire.mime.compose import Entity, Mailbox, multipart, text_entity, write_message
from postroom_wire.mime.dates import format_date
from postroom_wire.mime.header_writer import (
    HeaderError,
    mailbox,
    message_ids,
    parameterized,
    unstructured,
    write_fields,
)
from postroom_wire.mime.limits import DEFAULT_LIMITS, Limits
from postroom_wire.mime.scan import scan
from postroom_wire.mime.transfer import encode_quoted_printable

_STATUS: Final = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_NOT_QCHAR: Final = re.compile(r"[^!-\[\]-~]")
_NOT_PRINTABLE: Final = re.compile(r"[^ -~]")
_MAX_FIELD: Final = 800
_MAX_RETURNED: Final = 64 * 1024
_MAX_7BIT_LINE: Final = 998
_HEADER_ONLY: Final = Limits(headers=1, parts=1, addresses=1)


class Action(Enum):
    """action-value (s2.3.3)."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What became of one recipient (s2.3). Instants are aware.

    `original_recipient` is the ORCPT parameter as it came (`rfc822;ann@example.com`), `diagnostic` the remote
    server's reply, `remote_mta` its name.
    """

    recipient: str
    action: Action
    status: str
    original_recipient: str | None = None
    remote_mta: str | None = None
    diagnostic: str | None = None
    last_attempt: datetime | None = None
    will_retry_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A notification to write. `sender` is who it comes from, `recipient` the original's reverse-path.

    `original` is the original message or as much of its beginning as is at hand; only its header is returned.
    """

    reporting_mta: str
    sender: Mailbox
    recipient: str
    message_id: str
    date: datetime
    statuses: Sequence[RecipientStatus]
    original: bytes
    arrival_date: datetime | None = None
    envelope_id: str | None = None


def compose_delivery_report(report: DeliveryReport) -> bytes:
    """The multipart/report: a text for people, message/delivery-status, the original's header.

    It is to be sent with the null reverse-path (s2). Raises HeaderError for a broken address, identifier or
    status.
    """
    fields = [
        ("Date", [format_date(report.date)]),
        ("From", mailbox(report.sender.name, report.sender.address)),
        ("To", mailbox("", report.recipient)),
        ("Subject", unstructured(_subject(report.statuses))),
        ("Message-ID", message_ids([report.message_id])),
        ("Auto-Submitted", ["auto-replied"]),  # RFC 3834 s5
    ]
    parts = [text_entity(_explanation(report)), _delivery_status(report), _original_header(report.original)]
    return write_message(fields, multipart("report", parts, [("report-type", "delivery-status")]))


def _subject(statuses: Sequence[RecipientStatus]) -> str:
    actions = {status.action for status in statuses}
    if Action.FAILED in actions:
        return "Undelivered mail returned to sender"
    return "Delayed mail" if Action.DELAYED in actions else "Successful mail delivery report"


_INTRODUCTIONS: Final = {
    Action.FAILED: "Your message could not be delivered to:",
    Action.DELAYED: "Your message has not been delivered yet, and there is nothing that you need to do, to:",
    Action.DELIVERED: "Your message was delivered to:",
    Action.RELAYED: "Your message was passed on to a system that may not report what becomes of it, to:",
    Action.EXPANDED: "Your message was delivered to a list and passed on to its members, to:",
}


def _explanation(report: DeliveryReport) -> str:
    lines = [f"This is the mail system at {_printable(report.reporting_mta)}.", ""]
    for action, introduction in _INTRODUCTIONS.items():
        concerned = [status for status in report.statuses if status.action is action]
        if concerned:
            lines += [introduction, "", *(line for status in concerned for line in _reason(status))]
    lines += ["Below are the details for mail software, and the header of your message.", ""]
    return "\r\n".join(lines)


def _reason(status: RecipientStatus) -> list[str]:
    lines = [f"  {clean_line(status.recipient)}"]
    if status.diagnostic is not None:
        by = "" if status.remote_mta is None else f"{_printable(status.remote_mta)} said: "
        lines.append(f"    {by}{_printable(status.diagnostic)}")
    if status.will_retry_until is not None:
        lines.append(f"    We try again until {format_date(status.will_retry_until)}.")
    return [*lines, ""]


def _delivery_status(report: DeliveryReport) -> Entity:
    fields = [("Reporting-MTA", ["dns;", _printable(report.reporting_mta)])]
    if report.envelope_id is not None:
        fields.insert(0, ("Original-Envelope-Id", [_printable(report.envelope_id)]))
    if report.arrival_date is not None:
        fields.append(("Arrival-Date", [format_date(report.arrival_date)]))
    blocks = [fields, *map(_recipient_fields, report.statuses)]
    # s2.1: an empty line separates the blocks; each is written with one, which the last does not need.
    body = b"".join(map(write_fields, blocks)).removesuffix(b"\r\n")
    return Entity((("Content-Type", parameterized("message/delivery-status", ())),), body)


def _recipient_fields(status: RecipientStatus) -> list[tuple[str, list[str]]]:
    if not _STATUS.fullmatch(status.status):
        raise HeaderError("not a status code")
    fields: list[tuple[str, list[str]]] = []
    if status.original_recipient is not None:
        fields.append(("Original-Recipient", [_printable(status.original_recipient)]))
    fields += [
        ("Final-Recipient", [_typed_address(status.recipient)]),
        ("Action", [status.action.value]),
        ("Status", [status.status]),
    ]
    if status.remote_mta is not None:
        fields.append(("Remote-MTA", ["dns;", _printable(status.remote_mta)]))
    if status.diagnostic is not None:
        fields.append(("Diagnostic-Code", ["smtp;", *_printable(status.diagnostic).split()]))
    if status.last_attempt is not None:
        fields.append(("Last-Attempt-Date", [format_date(status.last_attempt)]))
    if status.will_retry_until is not None:
        fields.append(("Will-Retry-Until", [format_date(status.will_retry_until)]))
    return fields


def _typed_address(address: str) -> str:
    """generic-address with its type; UTF-8 as utf-8-addr-xtext, which is 7-bit (RFC 6533 s3)."""
    if address.isascii():
        return f"rfc822; {_printable(address)}"
    escaped = _NOT_QCHAR.sub(lambda found: f"\\x{{{ord(found[0]):02X}}}", clean_line(address))
    return f"utf-8; {escaped[:_MAX_FIELD]}"


def _printable(text: str) -> str:
    """One line of printable ASCII that fits a header line; a peer's words are in it."""
    return _NOT_PRINTABLE.sub("?", " ".join(clean_line(text).split()))[:_MAX_FIELD]


def _original_header(original: bytes) -> Entity:
    """text/rfc822-headers (RFC 6522 s4): the header as it was, or its first lines if it is long."""
    start = original[: DEFAULT_LIMITS.header_octets]
    header = start[: scan(start, _HEADER_ONLY).table.message.header_length]
    if len(header) > _MAX_RETURNED:
        header = header[: header.rfind(b"\n", 0, _MAX_RETURNED) + 1]
    header = header.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    encoding = "7bit"
    if (
        not header.isascii()
        or b"\0" in header
        or any(len(line) > _MAX_7BIT_LINE for line in header.split(b"\r\n"))
    ):
        encoding, header = "quoted-printable", encode_quoted_printable(header)
    return Entity(
        (
            ("Content-Type", parameterized("text/rfc822-headers", ())),
            ("Content-Transfer-Encoding", [encoding]),
        ),
        header,
    )
