"""IMAP strings for responses that are made once, at delivery (RFC 3501 s4.3)."""

import re
from typing import Final

NIL: Final = b"NIL"
_MAX_QUOTED: Final = 1_024
"""Longer strings go as literals: clients read quoted ones into line buffers."""
_BARE: Final = re.compile(rb"[ !#-\[\]-~]*")
_QUOTABLE: Final = re.compile(rb"[\x20-\x7e\t]*")
_SPECIALS: Final = re.compile(rb'["\\]')


def imap_string(octets: bytes) -> bytes:
    """string: quoted where that is safe, else a literal.

    A NUL is left out (CHAR8 has none, s9), and line breaks are too: no field that is one line has them.
    """
    if len(octets) <= _MAX_QUOTED:
        if _BARE.fullmatch(octets):
            return b'"%b"' % octets
        if _QUOTABLE.fullmatch(octets):
            return b'"%b"' % _SPECIALS.sub(rb"\\\g<0>", octets)
    octets = octets.translate(None, b"\0\r\n")
    if len(octets) <= _MAX_QUOTED and _QUOTABLE.fullmatch(octets):
        return b'"%b"' % _SPECIALS.sub(rb"\\\g<0>", octets)
    return b"{%d}\r\n%b" % (len(octets), octets)


def imap_nstring(octets: bytes | None) -> bytes:
    """nstring: string or NIL."""
    return NIL if octets is None else imap_string(octets)
