"""Messages that we write for our users (RFC 5322 s3.6, RFC 2045, RFC 2046, RFC 2183, RFC 2231).

The same message gives the same octets: date, identifier and all else are passed in, and boundaries are made
from the content.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from postroom_wire.mime.dates import format_date
from postroom_wire.mime.header_writer import (
    HeaderError,
    mailbox,
    mailbox_list,
    message_ids,
    parameterized,
    unstructured,
    write_fields,
)
from postroom_wire.mime.transfer import encode_base64, encode_quoted_printable

_MAX_7BIT_LINE: Final = 998
_BARE_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_CONTENT_ID: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_OCTETS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A display name (may be empty) and an address."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class OutgoingAttachment:
    """A file to send. With a `content_id` ("<...>") the HTML can show it, and it goes beside the HTML."""

    name: str
    media_type: str
    content: bytes
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What to write. `date` is aware; `message_id` and the others are msg-ids with their angle brackets.

    Bcc is not here: it is the envelope's alone (RFC 5322 s3.6.3).
    """

    sender: Mailbox
    to: Sequence[Mailbox]
    message_id: str
    date: datetime
    cc: Sequence[Mailbox] = ()
    reply_to: Sequence[Mailbox] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: Sequence[OutgoingAttachment] = ()
    in_reply_to: Sequence[str] = ()
    references: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Entity:
    """A part as it will be written: fields without the message's own, and the encoded body."""

    fields: tuple[tuple[str, list[str]], ...]
    body: bytes


def compose(message: OutgoingMessage) -> bytes:
    """The message in CRLF lines of at most 998 octets, 7-bit but for addresses that are not (RFC 6532).

    Raises HeaderError for what no header can hold: a broken address, identifier, media type or content id.
    Controls and line breaks in names and subjects become spaces.
    """
    fields: list[tuple[str, list[str]]] = [
        ("Date", [format_date(message.date)]),
        ("From", mailbox(message.sender.name, message.sender.address)),
    ]
    for name, mailboxes in (("Reply-To", message.reply_to), ("To", message.to), ("Cc", message.cc)):
        if mailboxes:
            fields.append((name, mailbox_list((one.name, one.address) for one in mailboxes)))
    fields.append(("Subject", unstructured(message.subject)))
    fields.append(("Message-ID", message_ids([message.message_id])))
    for name, identifiers in (("In-Reply-To", message.in_reply_to), ("References", message.references)):
        if identifiers:
            fields.append((name, message_ids(identifiers)))
    return write_message(fields, _content(message))


def write_message(fields: Iterable[tuple[str, list[str]]], content: Entity) -> bytes:
    """A whole message: its own fields, MIME-Version, the content's fields and body."""
    return write_fields((*fields, ("MIME-Version", ["1.0"]), *content.fields)) + content.body


def text_entity(text: str, subtype: str = "plain") -> Entity:
    """Text in the simplest encoding that keeps it whole."""
    lines = _BARE_LINE_BREAK.split(text)
    octets = "\r\n".join(lines).encode("utf-8", "replace")
    if not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    plain = octets.isascii() and b"\0" not in octets and all(len(line) <= _MAX_7BIT_LINE for line in lines)
    charset = "us-ascii" if octets.isascii() else "utf-8"
    encoding, body = ("7bit", octets) if plain else _smaller_encoding(octets)
    return Entity(
        (
            ("Content-Type", parameterized(f"text/{subtype}", [("charset", charset)])),
            ("Content-Transfer-Encoding", [encoding]),
        ),
        body,
    )


def multipart(subtype: str, children: Sequence[Entity], parameters: Iterable[tuple[str, str]] = ()) -> Entity:
    """The parts between delimiters whose boundary none of them contains."""
    written = [write_fields(child.fields) + child.body for child in children]
    boundary = _boundary(written)
    delimiter = b"--" + boundary.encode("ascii")
    body = b"".join(b"%b\r\n%b\r\n" % (delimiter, part) for part in written) + delimiter + b"--\r\n"
    content_type = parameterized(f"multipart/{subtype}", [*parameters, ("boundary", boundary)])
    return Entity((("Content-Type", content_type),), body)


def _content(message: OutgoingMessage) -> Entity:
    """mixed(alternative(text, related(html, pictures)), files), without the levels that are not needed."""
    pictures = [one for one in message.attachments if message.html is not None and one.content_id is not None]
    files = [one for one in message.attachments if one not in pictures]
    bodies: list[Entity] = []
    if message.text is not None or message.html is None:
        bodies.append(text_entity(message.text or ""))
    if message.html is not None:
        html = text_entity(message.html, "html")
        if pictures:
            parameters = [("type", "text/html")]
            html = multipart("related", [html, *map(_attachment, pictures)], parameters)
        bodies.append(html)
    content = bodies[0] if len(bodies) == 1 else multipart("alternative", bodies)
    return multipart("mixed", [content, *map(_attachment, files)]) if files else content


def _attachment(attachment: OutgoingAttachment) -> Entity:
    if not _MEDIA_TYPE.fullmatch(attachment.media_type):
        raise HeaderError("not a media type")
    media_type = attachment.media_type.lower()
    encoding, body = "base64", encode_base64(attachment.content)
    if media_type.startswith(("message/", "multipart/")):
        # RFC 2046 s5.1, s5.2.1: neither may be encoded, and not every file that is called so can go as it is.
        media_type = _OCTETS
    disposition = "attachment" if attachment.content_id is None else "inline"
    fields = [
        ("Content-Type", parameterized(media_type, ())),
        ("Content-Transfer-Encoding", [encoding]),
        ("Content-Disposition", parameterized(disposition, [("filename", attachment.name)])),
    ]
    if attachment.content_id is not None:
        if not _CONTENT_ID.fullmatch(attachment.content_id):
            raise HeaderError("not a content id")
        fields.append(("Content-ID", [attachment.content_id]))
    return Entity(tuple(fields), body)


def _smaller_encoding(octets: bytes) -> tuple[str, bytes]:
    quoted = encode_quoted_printable(octets)
    if len(quoted) * 3 <= len(octets) * 5:
        return "quoted-printable", quoted
    return "base64", encode_base64(octets)


def _boundary(parts: Sequence[bytes]) -> str:
    """A boundary from the content's digest. "=_" is in no quoted-printable or base64 line (RFC 2045 s6.7)."""
    digest = sha256(b"\0".join(parts)).hexdigest()
    attempt = 0
    while True:
        boundary = f"=_{digest[:32]}_{attempt}"
        if not any(boundary.encode("ascii") in part for part in parts):
            return boundary
        attempt += 1
