"""COMPRESS (RFC 4978)."""

from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.cursor import Cursor

DEFLATE: Final = b"DEFLATE"


@dataclass(frozen=True, slots=True)
class Compress:
    """s3; DEFLATE is the only mechanism that is defined."""


def parse_compress(cursor: Cursor) -> Compress:
    """compress = "COMPRESS" SP algorithm   (s5)."""
    cursor.sp()
    if not cursor.accept_word(DEFLATE):
        raise cursor.wrong("DEFLATE")
    return Compress()
