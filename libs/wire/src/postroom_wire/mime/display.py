"""The text and HTML of a message as text, with the parts they come from; and the preview in lists."""

from dataclasses import dataclass
from typing import Final

from postroom_wire.mime.body_view import BodyView, body_view
from postroom_wire.mime.charset import clean_line, decode_text
from postroom_wire.mime.html_text import html_to_text
from postroom_wire.mime.limits import Limits
from postroom_wire.mime.part import Part, PartTable
from postroom_wire.mime.transfer import decode_transfer

_MAX_SHOWN: Final = 1024 * 1024
_SOURCE_OF_A_CHARACTER: Final = 12
"""Encoded octets that are looked at for each character shown; white space is collapsed."""
_HTML_OF_A_CHARACTER: Final = 4
"""Characters of text between tags for each one shown; entities are decoded."""


@dataclass(frozen=True, slots=True)
class ShownPart:
    """One part to show. `content` is None where it is no text (an inline picture)."""

    section: str
    media_type: str
    content: str | None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Display:
    """The alternatives, each to be shown from first to last; the HTML is not made safe."""

    text: tuple[ShownPart, ...]
    html: tuple[ShownPart, ...]
    attachments: tuple[Part, ...]


def display(octets: bytes, table: PartTable, max_octets: int = _MAX_SHOWN) -> Display:
    """What to show of the message whose part table this is.

    `max_octets` bounds what is decoded for the whole message; parts beyond it are empty and marked truncated.
    """
    view = body_view(table)
    shown: dict[str, ShownPart] = {}
    room = max_octets
    for part in (*view.text, *view.html):
        if part.section not in shown:
            shown[part.section] = _shown(octets, part, room)
            if shown[part.section].content is not None:
                room = max(room - part.extent.body_length, 0)
    return Display(
        text=tuple(shown[part.section] for part in view.text),
        html=tuple(shown[part.section] for part in view.html),
        attachments=tuple(view.attachments),
    )


def part_text(octets: bytes, part: Part, max_octets: int) -> str:
    """The decoded text of one part's first `max_octets` encoded octets; line breaks are line feeds."""
    start = part.extent.body_offset
    encoded = octets[start : start + min(part.extent.body_length, max_octets)]
    text = decode_text(decode_transfer(encoded, part.encoding), part.charset)
    return text.replace("\r\n", "\n")


def preview(octets: bytes, view: BodyView, limits: Limits) -> str:
    """The first characters of the message's text as one line."""
    part = next((part for part in view.text if part.media_type.startswith("text/")), None)
    if part is None:
        return ""
    if part.media_type == "text/html":
        source = part_text(octets, part, limits.preview_source)
        text = html_to_text(source, limits.preview * _HTML_OF_A_CHARACTER)
    else:
        text = part_text(octets, part, limits.preview * _SOURCE_OF_A_CHARACTER)
    return clean_line(" ".join(text.split()))[: limits.preview].rstrip()


def _shown(octets: bytes, part: Part, room: int) -> ShownPart:
    if not part.media_type.startswith("text/"):
        return ShownPart(part.section, part.media_type, None)
    truncated = part.extent.body_length > room
    return ShownPart(part.section, part.media_type, part_text(octets, part, room), truncated)
