"""FETCH responses (RFC 3501 s7.4.2): one by one from ready parts, or flags of a whole mailbox at once."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Final

from postroom_wire.imap.dates import encode_date_time
from postroom_wire.imap.encoding import NIL, encode_string

_ROWS_AT_ONCE: Final = 2_000
"""So many rows make some 80 KiB: a write worth its call that does not hold the loop for long."""

END: Final = b")\r\n"


def fetch(number: int, items: Iterable[bytes], *, uid_only: bool = False) -> bytes:
    """One whole FETCH response of msg-att items."""
    return start(number, uid_only=uid_only) + b" ".join(items) + END


def start(number: int, *, uid_only: bool = False) -> bytes:
    """The beginning of a response whose items are written piece by piece, with SP between, then `END`.

    `number` is the message's, or its UID in a UIDFETCH response (RFC 9586 s3).
    """
    return b"* %d %b (" % (number, b"UIDFETCH" if uid_only else b"FETCH")


def uid(value: int) -> bytes:
    """UID."""
    return b"UID %d" % value


def modseq(value: int) -> bytes:
    """MODSEQ (RFC 7162 s3.1.4.2)."""
    return b"MODSEQ (%d)" % value


def flags(flag_list: str) -> bytes:
    """FLAGS, of a list from `FlagNames.flag_list`."""
    return b"FLAGS " + flag_list.encode("ascii")


def with_recent(flag_list: str) -> str:
    """The same list with \\Recent, which is a fact of the session and has no bit."""
    return "(\\Recent)" if flag_list == "()" else flag_list[:-1] + " \\Recent)"


def internal_date(instant: datetime) -> bytes:
    """INTERNALDATE."""
    return b"INTERNALDATE " + encode_date_time(instant)


def rfc822_size(size: int) -> bytes:
    """RFC822.SIZE, in octets."""
    return b"RFC822.SIZE %d" % size


def envelope(octets: bytes) -> bytes:
    """ENVELOPE that is in wire form already."""
    return b"ENVELOPE " + octets


def body(octets: bytes) -> bytes:
    """BODY, the structure without extension data, in wire form already."""
    return b"BODY " + octets


def body_structure(octets: bytes) -> bytes:
    """BODYSTRUCTURE that is in wire form already."""
    return b"BODYSTRUCTURE " + octets


def section(label: bytes, octets: bytes | None) -> bytes:
    """BODY[section] of octets at hand; None is a part that the message does not have."""
    if octets is None:
        return label + b" " + NIL
    return section_start(label, len(octets)) + octets


def section_start(label: bytes, size: int) -> bytes:
    """BODY[section] up to its octets, of which exactly `size` must follow; always a literal.

    DEVIATION: RFC 3501 s9: a message that has NULs is sent with them: it was accepted so, and is given back
    octet by octet.
    """
    return b"%b {%d}\r\n" % (label, size)


def binary(label: bytes, octets: bytes | None) -> bytes:
    """BINARY[part] of octets at hand (RFC 3516 s4.3); None is a part that the message does not have."""
    if octets is None:
        return label + b" " + NIL
    return binary_start(label, len(octets), has_nul=b"\0" in octets) + octets


def binary_start(label: bytes, size: int, *, has_nul: bool) -> bytes:
    """BINARY[part] up to its octets; a literal8 only where there is a NUL (RFC 3516 s4.3)."""
    return b"%b %b{%d}\r\n" % (label, b"~" if has_nul else b"", size)


def binary_size(label: bytes, size: int) -> bytes:
    """BINARY.SIZE[part], in octets."""
    return b"%b %d" % (label, size)


def email_id(object_id: bytes) -> bytes:
    """EMAILID (RFC 8474 s5.3)."""
    return b"EMAILID (" + object_id + b")"


def thread_id(object_id: bytes) -> bytes:
    """THREADID (RFC 8474 s5.3)."""
    return b"THREADID (" + object_id + b")"


def save_date(instant: datetime | None) -> bytes:
    """SAVEDATE (RFC 8514 s4.2)."""
    return b"SAVEDATE " + (NIL if instant is None else encode_date_time(instant))


def preview(text: str) -> bytes:
    """PREVIEW (RFC 8970 s3.2)."""
    return b"PREVIEW " + encode_string(text.encode())


def uids_and_flags(rows: Iterable[tuple[int, int, str]]) -> Iterator[bytes]:
    """Responses with UID and FLAGS for rows of sequence number, UID and flag-list, in pieces to write."""
    return _in_pieces("* %d FETCH (UID %d FLAGS %s)\r\n", rows)


def only_flags(rows: Iterable[tuple[int, str]]) -> Iterator[bytes]:
    """Responses with FLAGS for rows of sequence number and flag-list, in pieces to write."""
    return _in_pieces("* %d FETCH (FLAGS %s)\r\n", rows)


def with_modseqs(rows: Iterable[tuple[int, int, str, int]]) -> Iterator[bytes]:
    """Responses for rows of sequence number, UID, flag-list and MODSEQ (RFC 7162 s3.2.4)."""
    return _in_pieces("* %d FETCH (UID %d FLAGS %s MODSEQ (%d))\r\n", rows)


def only_modseqs(rows: Iterable[tuple[int, int, int]]) -> Iterator[bytes]:
    """Responses for rows of sequence number, UID and MODSEQ: what a silent STORE tells (RFC 7162 s3.1.3)."""
    return _in_pieces("* %d FETCH (UID %d MODSEQ (%d))\r\n", rows)


def uid_only_flags(rows: Iterable[tuple[int, str]]) -> Iterator[bytes]:
    """UIDFETCH responses for rows of UID and flag-list (RFC 9586 s3)."""
    return _in_pieces("* %d UIDFETCH (FLAGS %s)\r\n", rows)


def uid_only_uids_and_flags(rows: Iterable[tuple[int, int, str]]) -> Iterator[bytes]:
    """UIDFETCH responses with UID and FLAGS for the rows of `uids_and_flags` (RFC 9586 s3.3)."""
    return _in_pieces("* %d UIDFETCH (UID %d FLAGS %s)\r\n", ((uid, uid, flags) for _, uid, flags in rows))


def uid_only_with_modseqs(rows: Iterable[tuple[int, str, int]]) -> Iterator[bytes]:
    """UIDFETCH responses for rows of UID, flag-list and MODSEQ (RFC 9586 s3)."""
    return _in_pieces("* %d UIDFETCH (FLAGS %s MODSEQ (%d))\r\n", rows)


def uid_only_modseqs(rows: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """UIDFETCH responses for rows of UID and MODSEQ (RFC 9586 s3)."""
    return _in_pieces("* %d UIDFETCH (MODSEQ (%d))\r\n", rows)


def only_uids(rows: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Responses with UID for rows of sequence number and UID, in pieces to write."""
    return _in_pieces("* %d FETCH (UID %d)\r\n", rows)


def _in_pieces(form: str, rows: Iterable[tuple[int | str, ...]]) -> Iterator[bytes]:
    remaining = iter(rows)
    while piece := list(islice(remaining, _ROWS_AT_ONCE)):
        # One formatting of the whole piece is a third faster than one for each row.
        yield (form * len(piece) % tuple(chain.from_iterable(piece))).encode("ascii")
