"""Object identifiers of mailboxes, contents and conversations (RFC 8474): our ids, kept apart by a letter."""

import re
from typing import Final

# As s7 has it: 1*255(ALPHA / DIGIT / "_" / "-").
OBJECT_ID: Final = re.compile(rb"[A-Za-z0-9_\-]{1,255}")

_MESSAGE_ID: Final = re.compile(rb"[MT]([0-9a-f]{32})")


def mailbox_object_id(mailbox_id: bytes, uid_validity: int) -> bytes:
    """MAILBOXID; another one when the UIDs of the mailbox are others (s4)."""
    return b"F%b-%x" % (mailbox_id.hex().encode("ascii"), uid_validity)


def email_object_id(email_id: bytes) -> bytes:
    """EMAILID of the octets that name a content (s5.1)."""
    return b"M" + email_id.hex().encode("ascii")


def thread_object_id(thread_id: bytes) -> bytes:
    """THREADID of the octets that name a conversation; never the same as an EMAILID (s5.2)."""
    return b"T" + thread_id.hex().encode("ascii")


def email_id_of(object_id: bytes) -> bytes | None:
    """The octets that an EMAILID stands for; None for what cannot be one of ours."""
    return _octets(object_id, b"M")


def thread_id_of(object_id: bytes) -> bytes | None:
    """The octets that a THREADID stands for; None for what cannot be one of ours."""
    return _octets(object_id, b"T")


def _octets(object_id: bytes, letter: bytes) -> bytes | None:
    found = _MESSAGE_ID.fullmatch(object_id)
    if found is None or not object_id.startswith(letter):
        return None
    return bytes.fromhex(found[1].decode("ascii"))
