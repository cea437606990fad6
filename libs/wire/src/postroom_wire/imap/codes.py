"""Response codes in wire form (RFC 3501 s7.1, RFC 4315 s3, RFC 4469, RFC 5530), without their brackets."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from postroom_wire.imap.flags import Flag, encode_flags
from postroom_wire.imap.sequence import encode_uid_set

_MAX_URL: Final = 1_024
_URL_SAFE: Final = "/;=%&!$'()*+,:@?#[\"~"
ALERT: Final = b"ALERT"
READ_ONLY: Final = b"READ-ONLY"
READ_WRITE: Final = b"READ-WRITE"
TRYCREATE: Final = b"TRYCREATE"
TOOBIG: Final = b"TOOBIG"
CLOSED: Final = b"CLOSED"
UNAVAILABLE: Final = b"UNAVAILABLE"
AUTHENTICATIONFAILED: Final = b"AUTHENTICATIONFAILED"
PRIVACYREQUIRED: Final = b"PRIVACYREQUIRED"
NOPERM: Final = b"NOPERM"
INUSE: Final = b"INUSE"
EXPUNGEISSUED: Final = b"EXPUNGEISSUED"
SERVERBUG: Final = b"SERVERBUG"
CLIENTBUG: Final = b"CLIENTBUG"
CANNOT: Final = b"CANNOT"
LIMIT: Final = b"LIMIT"
OVERQUOTA: Final = b"OVERQUOTA"
ALREADYEXISTS: Final = b"ALREADYEXISTS"
NONEXISTENT: Final = b"NONEXISTENT"
COMPRESSIONACTIVE: Final = b"COMPRESSIONACTIVE"
"""RFC 4978 s3."""
UIDREQUIRED: Final = b"UIDREQUIRED"
"""RFC 9586 s3."""
UNKNOWN_CTE: Final = b"UNKNOWN-CTE"
"""RFC 3516 s4.3."""
USEATTR: Final = b"USEATTR"


def uid_validity(value: int) -> bytes:
    """UIDVALIDITY, with SELECT."""
    return b"UIDVALIDITY %d" % value


def uid_next(uid: int) -> bytes:
    """UIDNEXT, with SELECT."""
    return b"UIDNEXT %d" % uid


def unseen(sequence_number: int) -> bytes:
    """UNSEEN, with SELECT: the first message without \\Seen."""
    return b"UNSEEN %d" % sequence_number


def permanent_flags(names: Iterable[Flag]) -> bytes:
    """PERMANENTFLAGS; `ANY_KEYWORD` among them allows new keywords."""
    return b"PERMANENTFLAGS " + encode_flags(names)


def mailbox_id(object_id: bytes) -> bytes:
    """MAILBOXID, with CREATE, SELECT and EXAMINE (RFC 8474 s4.1, s4.2)."""
    return b"MAILBOXID (" + object_id + b")"


def append_uid(uid_validity_value: int, *uids: int) -> bytes:
    """APPENDUID (RFC 4315 s3), of several messages in the order appended (RFC 3502)."""
    return b"APPENDUID %d %b" % (uid_validity_value, encode_uid_set(uids))


def bad_url(url: bytes) -> bytes:
    """BADURL (RFC 4469 s4.1); what cannot stand in a code is percent-encoded there."""
    return b"BADURL " + quote(url[:_MAX_URL], safe=_URL_SAFE).encode("ascii")


def copy_uid(uid_validity_value: int, pairs: Iterable[tuple[int, int]]) -> bytes:
    """COPYUID (RFC 4315 s3) of (source UID, new UID) in the order copied; leave it out for no message."""
    sources: list[int] = []
    targets: list[int] = []
    for source, target in pairs:
        sources.append(source)
        targets.append(target)
    return b"COPYUID %d %b %b" % (uid_validity_value, encode_uid_set(sources), encode_uid_set(targets))
