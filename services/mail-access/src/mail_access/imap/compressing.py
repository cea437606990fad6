"""DEFLATE of what is said and heard, without its state between two answers (RFC 4978, RFC 1951).

Each write is compressed by itself: it ends on a whole octet and refers to nothing before it, so that an idle
session keeps no compressor. What the client sends refers to its last 32 KiB, which are kept.
"""

import zlib
from typing import ClassVar, Final

MAX_PIECE: Final = 65_536
"""Octets that come out of one step, however little went in."""
_LEVEL: Final = 6
_RAW: Final = -15
"""No header and no checksum, a window of 32 KiB."""


class DeflateError(Exception):
    """The client's octets are not DEFLATE."""

    transient: ClassVar[bool] = False


def deflate(octets: bytes) -> bytes:
    """These octets as blocks that may follow any others."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    return compressor.compress(octets) + compressor.flush(zlib.Z_SYNC_FLUSH)


class Inflater:
    """The client's stream."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_RAW)
        self._waiting = b""
        self.has_more = False
        """Whether `inflate` may give more without new octets."""

    @property
    def rest(self) -> bytes:
        """What came behind the end of the stream, as it came."""
        return self._stream.unused_data if self._stream.eof else b""

    def inflate(self, octets: bytes = b"") -> bytes:
        """The next octets, up to `MAX_PIECE`. Raises `DeflateError`."""
        if self._stream.eof:
            raise DeflateError("octets behind the end of the stream")
        try:
            piece = self._stream.decompress(self._waiting + octets, MAX_PIECE)
        except zlib.error as error:
            raise DeflateError("not DEFLATE") from error
        self._waiting = self._stream.unconsumed_tail
        # When the piece is full, zlib may hold some of what comes next, and all that went in be consumed.
        self.has_more = len(piece) == MAX_PIECE
        return piece
