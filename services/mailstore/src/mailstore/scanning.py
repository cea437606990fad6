"""What a message's row holds: the scanner's findings in the forms that readers ask for."""

import asyncio
import datetime as dt
import json
from dataclasses import dataclass
from typing import Final, cast

from postroom_wire.mime.addresses import Address
from postroom_wire.mime.part_codec import encode_parts
from postroom_wire.mime.scan import SCANNER_VERSION, ScannedMessage, scan

HEADER_KEPT: Final = 64 * 1024
"""Octets of a header block that lie in the row; longer ones are read from the message."""

_SCANNED_ON_LOOP: Final = 32 * 1024
"""Octets up to which a scan takes less time than a thread's hand-over is worth."""

_AT_ONCE: Final = asyncio.Semaphore(2)


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """The columns of a message row; offsets and `size` count the message without any prefix."""

    size: int
    scanner_version: int
    limited: bool
    envelope: bytes
    body: bytes
    body_structure: bytes
    parts: bytes
    header: bytes
    header_complete: bool
    summary: bytes
    sent_at: dt.datetime | None


async def message_facts(octets: bytes) -> MessageFacts:
    """Scan a message; a large one in a thread, few at a time, so that the event loop keeps turning."""
    if len(octets) <= _SCANNED_ON_LOOP:
        return facts_of(octets)
    async with _AT_ONCE:
        return await asyncio.to_thread(facts_of, octets)


def facts_of(octets: bytes) -> MessageFacts:
    """Scan a message of any octets; linear in time and memory."""
    scanned = scan(octets)
    extent = scanned.table.message
    header = octets[: extent.header_length]
    complete = len(header) <= HEADER_KEPT
    return MessageFacts(
        size=len(octets),
        scanner_version=SCANNER_VERSION,
        limited=bool(scanned.limited),
        envelope=scanned.envelope,
        body=scanned.body,
        body_structure=scanned.body_structure,
        parts=encode_parts(scanned.table),
        header=header if complete else b"",
        header_complete=complete,
        summary=_summary(scanned),
        sent_at=scanned.date,
    )


def preview_of(summary: bytes) -> str:
    """The preview in a summary of ours."""
    return cast("dict[str, str]", json.loads(summary))["preview"]  # what was stored is ours


def _summary(scanned: ScannedMessage) -> bytes:
    return json.dumps(
        {
            "message_id": scanned.message_id,
            "in_reply_to": scanned.in_reply_to,
            "references": scanned.references,
            "subject": scanned.subject,
            "date": scanned.date.isoformat() if scanned.date else None,
            "from": _addresses(scanned.from_),
            "sender": _addresses(scanned.sender),
            "reply_to": _addresses(scanned.reply_to),
            "to": _addresses(scanned.to),
            "cc": _addresses(scanned.cc),
            "bcc": _addresses(scanned.bcc),
            "preview": scanned.preview,
            "attachments": [
                {
                    "section": attachment.section,
                    "name": attachment.name,
                    "media_type": attachment.media_type,
                    "size": attachment.size,
                    "content_id": attachment.content_id,
                    "inline": attachment.inline,
                }
                for attachment in scanned.attachments
            ],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


def _addresses(addresses: tuple[Address, ...]) -> list[dict[str, str]]:
    return [{"name": address.name, "address": address.address} for address in addresses]
