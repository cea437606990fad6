"""GETMETADATA and SETMETADATA, and what answers them (RFC 5464); the METADATA option of LIST (RFC 9590)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.encoding import NIL, encode_astring, encode_literal8, encode_mailbox, encode_string
from postroom_wire.imap.mailbox_name import MailboxName

MAX_VALUE: Final = 32_768
"""Octets of a value that we keep."""
MAX_ENTRY: Final = 1_024
INFINITE: Final = -1
TOO_MANY: Final = b"METADATA TOOMANY"
VALUE_TOO_LONG: Final = b"METADATA MAXSIZE %d" % MAX_VALUE

# s3.2: parts are not empty, and have no wild card, control or octet beyond US-ASCII
_ENTRY: Final = re.compile(rb"/(?:private|shared)(?:/[ !-$&-)+-.0-~]+)*", re.IGNORECASE)
_DEPTHS: Final = {b"0": 0, b"1": 1, b"INFINITY": INFINITE}


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """s4.2; no mailbox: of the server. Entries in lower case, each once.

    `max_size` are the octets beyond which a value is not wanted, `depth` the levels below each entry.
    """

    mailbox: MailboxName | None
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class SetMetadata:
    """s4.3; no mailbox: of the server. None removes an entry; of one that is named twice the last counts."""

    mailbox: MailboxName | None
    values: tuple[tuple[str, bytes | None], ...]


@dataclass(slots=True)
class _Options:
    max_size: int | None = None
    depth: int = 0


def parse_get_metadata(cursor: Cursor) -> GetMetadata:
    """getmetadata = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries.

    The examples of s4.2 have the options behind the mailbox, and so do clients: both are taken.
    """
    options = _Options()
    cursor.sp()
    if cursor.next_is(b"("):
        _get_metadata_options(cursor, options)
        cursor.sp()
    mailbox = _mailbox(cursor)
    cursor.sp()
    if _option_next(cursor):
        _get_metadata_options(cursor, options)
        cursor.sp()
    return GetMetadata(mailbox, entries(cursor), options.max_size, options.depth)


def parse_set_metadata(cursor: Cursor) -> SetMetadata:
    """setmetadata = "SETMETADATA" SP mailbox SP "(" entry-value *(SP entry-value) ")"."""
    cursor.sp()
    mailbox = _mailbox(cursor)
    cursor.sp()
    cursor.expect(b"(")
    values = [_entry_value(cursor)]
    while cursor.more(len(values), cursor.limits.max_entries):
        values.append(_entry_value(cursor))
    cursor.expect(b")")
    return SetMetadata(mailbox, tuple(dict(values).items()))


def entries(cursor: Cursor) -> tuple[str, ...]:
    """entry / "(" entry *(SP entry) ")"; in lower case, each once."""
    if not cursor.accept(b"("):
        return (entry(cursor),)
    found = [entry(cursor)]
    while cursor.more(len(found), cursor.limits.max_entries):
        found.append(entry(cursor))
    cursor.expect(b")")
    return tuple(dict.fromkeys(found))


def entry(cursor: Cursor) -> str:
    """astring, a path below /private or /shared; in lower case."""
    name = cursor.astring()
    if len(name) > MAX_ENTRY or not _ENTRY.fullmatch(name):
        raise cursor.wrong("entry")
    return name.decode("ascii").lower()


def metadata(mailbox: MailboxName | None, values: Iterable[tuple[str, bytes | None]]) -> bytes:
    """The METADATA response with values (s4.4.1)."""
    listed = b" ".join(encode_astring(name.encode("ascii")) + b" " + _value(value) for name, value in values)
    return b"* METADATA " + _encode_mailbox(mailbox) + b" (" + listed + b")\r\n"


def changed_metadata(mailbox: MailboxName | None, names: Iterable[str]) -> bytes:
    """The METADATA response that names what has changed (s4.4.2)."""
    listed = b" ".join(encode_astring(name.encode("ascii")) for name in names)
    return b"* METADATA " + _encode_mailbox(mailbox) + b" " + listed + b"\r\n"


def long_entries(size: int) -> bytes:
    """METADATA LONGENTRIES: the size of the longest value that was left out (s4.2.1)."""
    return b"METADATA LONGENTRIES %d" % size


def _mailbox(cursor: Cursor) -> MailboxName | None:
    name = cursor.astring()
    return cursor.mailbox_name(name) if name else None


def _encode_mailbox(mailbox: MailboxName | None) -> bytes:
    return b'""' if mailbox is None else encode_mailbox(mailbox)


def _option_next(cursor: Cursor) -> bool:
    # An entry begins with a slash, perhaps quoted or in a literal; an option with a letter.
    return cursor.next_is(b"(") and not any(cursor.next_is(b"(" + first) for first in (b"/", b'"', b"{"))


def _get_metadata_options(cursor: Cursor, options: _Options) -> None:
    # getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")"
    cursor.expect(b"(")
    _get_metadata_option(cursor, options)
    while cursor.accept(b" "):
        _get_metadata_option(cursor, options)
    cursor.expect(b")")


def _get_metadata_option(cursor: Cursor, options: _Options) -> None:
    if cursor.accept_word(b"MAXSIZE"):
        cursor.sp()
        options.max_size = cursor.number()
    elif cursor.accept_word(b"DEPTH"):
        cursor.sp()
        options.depth = cursor.word_of(_DEPTHS)
    else:
        raise cursor.wrong("MAXSIZE or DEPTH")


def _entry_value(cursor: Cursor) -> tuple[str, bytes | None]:
    # entry-value = entry SP value; value = nstring / literal8
    name = entry(cursor)
    cursor.sp()
    return name, cursor.literal8() if cursor.next_is(b"~") else cursor.nstring()


def _value(value: bytes | None) -> bytes:
    if value is None:
        return NIL
    return encode_literal8(value) if b"\0" in value else encode_string(value)
