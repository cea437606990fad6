"""What ENABLE switches on for the rest of a session (RFC 5161)."""

from collections.abc import Collection, Iterable
from enum import Enum


class Extension(Enum):
    """What can be enabled; the value is its capability."""

    IMAP4REV2 = b"IMAP4rev2"
    """RFC 9051 s6.3.1."""
    CONDSTORE = b"CONDSTORE"
    """RFC 7162 s3.1."""
    QRESYNC = b"QRESYNC"
    """RFC 7162 s3.2."""
    UTF8_ACCEPT = b"UTF8=ACCEPT"
    """RFC 6855 s3."""
    UIDONLY = b"UIDONLY"
    """RFC 9586 s3."""


def wanted_extensions(names: Iterable[bytes], offered: Collection[bytes]) -> list[Extension]:
    """What of these names, in upper case, can be enabled where these capabilities are offered.

    Others are ignored (RFC 5161 s3.1).
    """
    asked = set(names)
    return [each for each in Extension if each.value.upper() in asked and each.value in offered]


def with_implied(extensions: Iterable[Extension]) -> frozenset[Extension]:
    """These and what they bring along: QRESYNC needs the MODSEQs of CONDSTORE (RFC 7162 s3.2.3)."""
    found = frozenset(extensions)
    return found | {Extension.CONDSTORE} if Extension.QRESYNC in found else found
