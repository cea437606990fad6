"""The scanner: a message's octets to all that is asked of it later (RFC 5322, RFC 2045, RFC 3501 s7.4.2)."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from postroom_wire.mime.addresses import Address, decode_addresses
from postroom_wire.mime.body_view import body_view
from postroom_wire.mime.charset import decode_line
from postroom_wire.mime.dates import parse_date
from postroom_wire.mime.display import preview
from postroom_wire.mime.encoded_word import decode_words
from postroom_wire.mime.envelope import read_envelope
from postroom_wire.mime.fields import Scan, first
from postroom_wire.mime.limits import DEFAULT_LIMITS, Limit, Limits
from postroom_wire.mime.parameters import Field
from postroom_wire.mime.part import Extent, Part, PartPath, PartTable
from postroom_wire.mime.structure import write_structure
from postroom_wire.mime.tree import Kind, Node, build_tree

SCANNER_VERSION: Final = 1
"""Grows when the same octets would give other facts, so that stored ones can be made anew."""

# msg-id = "<" id-left "@" id-right ">"; also without the "@", as some senders have it.
_MSG_ID: Final = re.compile(rb"<[^<>\s]{1,998}>")
_WORD: Final = re.compile(rb"[^\s<>]{1,998}")
_LONGEST_BARE_ID: Final = 1_000


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not shown as the message's text; `size` is octets after decoding, nearly."""

    section: str
    name: str | None
    media_type: str
    size: int
    content_id: str | None
    inline: bool


@dataclass(frozen=True, slots=True)
class ScannedMessage:
    """All facts about a message; every text is one clean line without NUL and lone surrogates.

    `envelope`, `body` and `body_structure` are ready to be spliced into a FETCH response. `limited` says
    which bounds cut something off.
    """

    size: int
    message_id: str | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    subject: str
    date: datetime | None
    from_: tuple[Address, ...]
    sender: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    table: PartTable
    envelope: bytes
    body: bytes
    body_structure: bytes
    preview: str
    attachments: tuple[Attachment, ...]
    limited: frozenset[Limit]


def scan(message: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> ScannedMessage:
    """Scan a whole message. Never raises for what the octets are; time and memory are linear in them."""
    octets = message if isinstance(message, bytes) else bytes(message)
    under = Scan(octets, limits)
    root = build_tree(under)
    envelope = read_envelope(under, root.fields)
    body, body_structure = write_structure(under, root)
    table = _part_table(root)
    view = body_view(table)
    addresses = {name: decode_addresses(found) for name, found in envelope.addresses.items()}
    message_ids = _msg_ids(envelope.message_id)
    return ScannedMessage(
        size=len(octets),
        message_id=message_ids[0] if message_ids else None,
        in_reply_to=_msg_ids(envelope.in_reply_to)[-limits.references :],
        references=_msg_ids(first(root.fields, b"references"))[-limits.references :],
        subject="" if envelope.subject is None else decode_words(envelope.subject),
        date=None if envelope.date is None else parse_date(envelope.date),
        from_=addresses.get(b"from", ()),
        sender=addresses.get(b"sender", ()),
        reply_to=addresses.get(b"reply-to", ()),
        to=addresses.get(b"to", ()),
        cc=addresses.get(b"cc", ()),
        bcc=addresses.get(b"bcc", ()),
        table=table,
        envelope=envelope.encode(),
        body=body,
        body_structure=body_structure,
        preview=preview(octets, view, limits),
        attachments=tuple(map(_attachment, view.attachments)),
        limited=frozenset(under.limited),
    )


def _msg_ids(value: bytes | None) -> tuple[str, ...]:
    """The message identifiers of a field; a lone word that lacks the brackets counts as one."""
    if not value:
        return ()
    found = _MSG_ID.findall(value)
    if not found:
        found = _WORD.findall(value[:_LONGEST_BARE_ID])[:1]
    return tuple(decode_line(identifier) for identifier in found)


def _part_table(root: Node) -> PartTable:
    parts: list[Part] = []
    _add_message(root, (), parts)
    return PartTable(_extent(root), tuple(parts))


def _add_message(node: Node, above: PartPath, parts: list[Part]) -> None:
    """The body of a message: its parts are numbered below it, a lone part is part 1 (RFC 3501 s6.4.5)."""
    if node.kind is Kind.MULTIPART:
        _add_part(node, (*above, 0), above, parts)
    else:
        _add_part(node, (*above, 1), (*above, 1), parts)


def _add_part(node: Node, path: PartPath, stem: PartPath, parts: list[Part]) -> None:
    parts.append(_part(node, path))
    match node.kind:
        case Kind.MULTIPART:
            for number, child in enumerate(node.children, 1):
                _add_part(child, (*stem, number), (*stem, number), parts)
        case Kind.MESSAGE:
            _add_message(node.children[0], stem, parts)
        case Kind.LEAF:
            pass


def _part(node: Node, path: PartPath) -> Part:
    disposition = node.disposition
    return Part(
        path=path,
        extent=_extent(node),
        lines=node.lines,
        media_type=decode_line(node.content.token),
        charset=node.content.text(b"charset"),
        name=_name(disposition, node.content),
        encoding=decode_line(node.encoding),
        disposition=None if disposition is None else decode_line(disposition.token),
        content_id=None if node.content_id is None else decode_line(node.content_id),
        description=None if node.description is None else decode_words(node.description),
        inner=_extent(node.children[0]) if node.kind is Kind.MESSAGE else None,
    )


def _name(disposition: Field | None, content: Field) -> str | None:
    """The file name that the sender suggests; a name for people, never for a file system."""
    name = disposition.text(b"filename") if disposition is not None else None
    return name or content.text(b"name") or None


def _extent(node: Node) -> Extent:
    return Extent(
        node.header_offset,
        node.body_offset - node.header_offset,
        node.body_offset,
        node.end - node.body_offset,
    )


def _attachment(part: Part) -> Attachment:
    return Attachment(
        section=part.section,
        name=part.name,
        media_type=part.media_type,
        size=part.size,
        content_id=part.content_id,
        inline=part.disposition != "attachment" and part.content_id is not None,
    )
