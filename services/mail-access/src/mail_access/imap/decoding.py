"""A message's octets as FETCH gives them out: exactly as many as wanted, and decoded for BINARY (RFC 3516).

A part of any size is decoded as a stream; it is measured first, since a literal begins with its size.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, NamedTuple

from mail_access.content import Piece, ReadRange
from postroom_wire.imap.section import Partial
from postroom_wire.mime import decoder

_BLOCK: Final = 64 * 1024


class GoneError(Exception):
    """The message went while it was read."""


class Measured(NamedTuple):
    """What must be known before a literal begins."""

    size: int
    has_nul: bool


async def whole(number: int, wanted: ReadRange, pieces: AsyncIterator[Piece]) -> bytes:
    """All octets of the range of this number. Raises `GoneError`."""
    return b"".join([octets async for octets in octets_of(number, wanted, pieces)])


async def octets_of(number: int, wanted: ReadRange, pieces: AsyncIterator[Piece]) -> AsyncGenerator[bytes]:
    """The octets of the range of this number, exactly as many as wanted. Raises `GoneError`."""
    got = 0
    async for piece in pieces:
        if piece.number < number:  # left over of a message that was gone
            continue
        got += len(piece.octets)
        if got > wanted.length or (piece.last and got < wanted.length):
            raise GoneError
        if piece.octets:
            yield piece.octets
        if piece.last:
            return
    raise GoneError


async def measure(octets: AsyncGenerator[bytes]) -> Measured:
    """Read to the end."""
    size, has_nul = 0, False
    async for each in octets:
        size += len(each)
        has_nul = has_nul or b"\0" in each
    return Measured(size, has_nul)


async def decoded(
    encoded: AsyncGenerator[bytes], encoding: str, partial: Partial | None
) -> AsyncGenerator[bytes]:
    """The octets without their transfer encoding, and of them what the partial leaves."""
    skip, room = (0, None) if partial is None else (partial.offset, partial.length)
    async with aclosing(_decoded(encoded, encoding)) as pieces:
        async for piece in pieces:
            octets = piece[skip:]
            skip -= len(piece) - len(octets)
            if room is not None:
                octets = octets[:room]
                room -= len(octets)
            if octets:
                yield octets
            if room == 0:
                return


async def _decoded(encoded: AsyncGenerator[bytes], encoding: str) -> AsyncGenerator[bytes]:
    """Decoded in blocks of one size however the octets come, so that each reading gives the same."""
    decoding = decoder(encoding)
    gathered = bytearray()
    async for octets in encoded:
        gathered += octets
        while len(gathered) >= _BLOCK:
            yield decoding.feed(bytes(gathered[:_BLOCK]))
            del gathered[:_BLOCK]
    yield decoding.feed(bytes(gathered)) + decoding.finish()
