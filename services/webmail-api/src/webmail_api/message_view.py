"""A message made ready to be read: its text, its HTML made safe, and links to its parts."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom_wire.mime import Extent, Part, PartTable, decode_parts, html_to_text, part_text
from postroom_wire.mime.body_view import body_view
from webmail_api.content import ContentReader
from webmail_api.flags import names
from webmail_api.identifiers import MessageKey, encode
from webmail_api.limits import DEFAULT_LIMITS, Limits
from webmail_api.mail_models import Address, Attachment, Message, MessageSummary
from webmail_api.safe_html import clean
from webmail_api.sessions import User

BASE: Final = "/api/v1"
_PRE: Final = "<pre>{}</pre>"
_AT_ONCE: Final = 2


class Viewer:
    """Shows messages; one for each process."""

    def __init__(self, reader: ContentReader, limits: Limits = DEFAULT_LIMITS) -> None:
        self._reader, self._limits = reader, limits
        self._working = asyncio.Semaphore(_AT_ONCE)

    async def view(
        self,
        user: User,
        facts: pb.Facts,
        summary: MessageSummary,
        *,
        remote_content: bool,
    ) -> Message:
        """The whole document. Raises `PostroomError`."""
        key = MessageKey.parse(summary.id)
        table = decode_parts(facts.parts)
        octets, truncated = await self._texts(user, key, table, len(facts.prefix))
        details: dict[str, Any] = json.loads(facts.summary)
        attachments = [_attachment(key, found) for found in details["attachments"]]
        async with self._working:
            bodies = await asyncio.to_thread(
                _bodies, table, octets, attachments, remote_content, self._limits
            )
        return Message(
            **dict(summary),
            sender=_addresses(details["sender"]),
            reply_to=_addresses(details["reply_to"]),
            bcc=_addresses(details["bcc"]),
            message_id=details["message_id"],
            in_reply_to=details["in_reply_to"],
            references=details["references"],
            truncated=truncated,
            attachments=attachments,
            raw=f"{BASE}/messages/{key}/raw",
            text=bodies.text,
            html=bodies.html,
            blocked_remote_content=bodies.blocked,
        )

    async def _texts(
        self, user: User, key: MessageKey, table: PartTable, prefix: int
    ) -> tuple[Mapping[str, bytes], bool]:
        """The encoded octets of each part to show, by section; and whether some were left out."""
        found: dict[str, bytes] = {}
        room, truncated = self._limits.shown, False
        view = body_view(table)
        for part in (*view.text, *view.html):
            if part.section in found or not part.media_type.startswith("text/"):
                continue
            length = min(part.extent.body_length, room)
            truncated = truncated or length < part.extent.body_length
            if len(found) >= self._limits.shown_parts:
                return found, True
            offset = prefix + part.extent.body_offset
            found[part.section] = await self._reader.whole(user, key, offset, length) if length else b""
            room -= length
        return found, truncated


def summary_of(facts: pb.Facts, mailbox_id: bytes, keywords: Mapping[int, str]) -> MessageSummary:
    """What lists show of a message; `keywords` are the account's by their bit."""
    details: dict[str, Any] = json.loads(facts.summary)
    return MessageSummary(
        id=str(MessageKey(mailbox_id, facts.uid)),
        mailbox_id=encode(mailbox_id),
        subject=details["subject"],
        from_=_addresses(details["from"]),
        to=_addresses(details["to"]),
        cc=_addresses(details["cc"]),
        date=_instant(details["date"]),
        received_at=facts.internal_date.ToDatetime(UTC),
        preview=details["preview"],
        flags=names(facts.flags, facts.keywords, keywords),
        size=facts.size,
        has_attachments=any(not found["inline"] for found in details["attachments"]),
    )


@dataclass(frozen=True, slots=True)
class _Bodies:
    text: str
    html: str | None
    blocked: bool


def _bodies(
    table: PartTable,
    octets: Mapping[str, bytes],
    attachments: list[Attachment],
    remote_content: bool,
    limits: Limits,
) -> _Bodies:
    """Runs in a thread: cleaning takes its time."""
    view = body_view(table)
    text = "\n".join(_plain(part, octets[part.section]) for part in view.text if part.section in octets)
    if not any(part.media_type == "text/html" for part in view.html):
        return _Bodies(text, None, blocked=False)
    pictures = {each.content_id.strip("<>"): each.href for each in attachments if each.content_id}
    pieces: list[str] = []
    blocked = False
    for part in view.html:
        if part.section not in octets:
            continue
        content = _decoded(part, octets[part.section])
        safe = (
            clean(content, pictures.get, remote_content=remote_content, limits=limits)
            if part.media_type == "text/html"
            else None
        )
        if safe is None:
            pieces.append(_PRE.format(_escaped(_plain(part, octets[part.section]))))
        else:
            pieces.append(safe.html)
            blocked = blocked or safe.blocked_remote
    return _Bodies(text, "\n".join(pieces), blocked)


def _decoded(part: Part, octets: bytes) -> str:
    alone = replace(part, extent=Extent(0, 0, 0, len(octets)))
    return part_text(octets, alone, len(octets))


def _plain(part: Part, octets: bytes) -> str:
    content = _decoded(part, octets)
    return html_to_text(content).strip() if part.media_type == "text/html" else content


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _instant(text: str | None) -> datetime | None:
    """In UTC, however far from us the sender's clock was."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # beyond the first or the last year
        return None


def _addresses(found: list[dict[str, str]]) -> list[Address]:
    return [Address(name=each["name"], address=each["address"]) for each in found]


def _attachment(key: MessageKey, found: Mapping[str, Any]) -> Attachment:
    return Attachment(**found, href=f"{BASE}/messages/{key}/parts/{found['section']}")
