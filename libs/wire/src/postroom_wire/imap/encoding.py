"""How strings are written in responses (RFC 3501 s4.3, s9)."""

import re
from typing import Final

from postroom_wire.imap.mailbox_name import MailboxName

_MAX_QUOTED: Final = 1_024
"""Longer strings go as literals: clients read quoted ones into line buffers."""

# Without "]", which some clients take for the end of a response code.
_ATOM: Final = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")
_QUOTABLE: Final = re.compile(rb"[\x20-\x7e\t]*")
_SPECIALS: Final = re.compile(rb'["\\]')

NIL: Final = b"NIL"


def encode_literal(octets: bytes) -> bytes:
    """literal: any octets."""
    return b"{%d}\r\n%b" % (len(octets), octets)


def encode_literal8(octets: bytes) -> bytes:
    """literal8: any octets, NUL too (RFC 3516 s4.2)."""
    return b"~" + encode_literal(octets)


def encode_quoted(octets: bytes) -> bytes:
    """quoted: only for printable US-ASCII."""
    return b'"' + _SPECIALS.sub(rb"\\\g<0>", octets) + b'"'


def encode_string(octets: bytes) -> bytes:
    """string: quoted where that is safe, else a literal."""
    if len(octets) <= _MAX_QUOTED and _QUOTABLE.fullmatch(octets):
        return encode_quoted(octets)
    return encode_literal(octets)


def encode_nstring(octets: bytes | None) -> bytes:
    """nstring: string or NIL."""
    return NIL if octets is None else encode_string(octets)


def encode_astring(octets: bytes) -> bytes:
    """astring: an atom where that is safe, else a string."""
    if _ATOM.fullmatch(octets) and octets.upper() != NIL:
        return octets
    return encode_string(octets)


def encode_mailbox(name: MailboxName) -> bytes:
    """mailbox: INBOX bare, any other name as a string in modified UTF-7, or quoted in UTF-8 (RFC 6855 s3)."""
    if name.is_inbox:
        return b"INBOX"
    return encode_quoted(name.encode()) if name.utf8 else encode_string(name.encode())
