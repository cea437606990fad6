"""Mailbox names: Unicode, levels separated by "/", INBOX in capitals whatever the client writes."""

from typing import Final

from mailstore.accounts import INBOX
from postroom_contracts.errors import InvalidNameError

SEPARATOR: Final = "/"
MAX_OCTETS: Final = 1_000
MAX_LEVELS: Final = 32


def parse_name(name: str) -> str:
    """A name in the form that is stored. Raises InvalidNameError."""
    levels = name.split(SEPARATOR)
    if len(levels) > MAX_LEVELS or not all(levels):
        raise InvalidNameError("a level without a name, or too many levels")
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in name):
        raise InvalidNameError("a control character")
    try:
        octets = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidNameError("a lone surrogate") from None
    if octets > MAX_OCTETS:
        raise InvalidNameError("too long")
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    return SEPARATOR.join(levels)


def superiors(name: str) -> list[str]:
    """The names above a name, topmost first."""
    levels = name.split(SEPARATOR)
    return [SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels))]
