"""The octets that searching looks into: of small messages all, of large ones header and text parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.blobs.reader import BlobReader
from mailstore.finding.texts import HeaderText, body_text, header_text, text_parts
from postroom_wire.mime.limits import DEFAULT_LIMITS

_READ_WHOLE: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SearchedMessage:
    """What is known of a message before its octets are read."""

    blob_id: UUID
    size: int
    parts: bytes
    """The stored part table."""
    header: bytes
    header_complete: bool


@dataclass(frozen=True, slots=True)
class SearchedOctets:
    """The beginning of a message, and the encoded octets of its text parts."""

    header: bytes
    pieces: Sequence[bytes]


async def read_octets(reader: BlobReader, message: SearchedMessage) -> SearchedOctets:
    """The octets of one message. Raises as `BlobReader.load`, and `PartTableError`."""
    if message.size <= _READ_WHOLE:
        return cut(message, (await reader.load([message.blob_id]))[message.blob_id])
    header = message.header
    if not message.header_complete:
        header = await _range(reader, message.blob_id, 0, DEFAULT_LIMITS.header_octets)
    parts = text_parts(message.parts)
    pieces = [await _range(reader, message.blob_id, part.offset, part.length) for part in parts]
    return SearchedOctets(header, pieces)


def is_small(message: SearchedMessage) -> bool:
    """Whether it is read whole, and so can be read together with others."""
    return message.size <= _READ_WHOLE


def cut(message: SearchedMessage, whole: bytes) -> SearchedOctets:
    """The same from a whole message. Raises `PartTableError`."""
    pieces = [whole[part.offset : part.offset + part.length] for part in text_parts(message.parts)]
    return SearchedOctets(whole[: DEFAULT_LIMITS.header_octets], pieces)


def header_of(message: SearchedMessage, octets: SearchedOctets | None) -> HeaderText:
    """The header's text, from the row where it is whole there."""
    if message.header_complete:
        return header_text(message.header)
    return header_text(b"" if octets is None else _header_block(octets.header))


def body_of(message: SearchedMessage, octets: SearchedOctets | None) -> str:
    """The text of the body; empty where it could not be read."""
    return "" if octets is None else body_text(text_parts(message.parts), octets.pieces)


def _header_block(octets: bytes) -> bytes:
    """What comes before the first empty line."""
    ends = [at for at in (octets.find(b"\r\n\r\n"), octets.find(b"\n\n")) if at >= 0]
    return octets[: min(ends) + 2] if ends else octets


async def _range(reader: BlobReader, blob_id: UUID, offset: int, length: int) -> bytes:
    return b"".join([chunk async for chunk in reader.read(blob_id, offset, length)])
