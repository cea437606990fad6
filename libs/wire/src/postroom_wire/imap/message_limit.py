"""MESSAGELIMIT: how many messages one command works on (RFC 9738)."""

from typing import Final

from postroom_wire.imap.errors import Condition, Refusal

_TOO_MANY: Final = b"Too many messages for one command, try a smaller subset"


def capability(limit: int) -> bytes:
    """What CAPABILITY says of it (s3)."""
    return b"MESSAGELIMIT=%d" % limit


def message_limit(limit: int, lowest_uid: int | None = None) -> bytes:
    """The response code; `lowest_uid` is the lowest one that was worked on, or would be (s3.1, s5)."""
    return b"MESSAGELIMIT %d" % limit if lowest_uid is None else b"MESSAGELIMIT %d %d" % (limit, lowest_uid)


def too_many(code: bytes) -> Refusal:
    """The NO with that response code, of a command that does all or nothing (s3.1)."""
    return Refusal(Condition.NO, _TOO_MANY, code)
