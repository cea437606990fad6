"""Flags and keywords (RFC 3501 s2.3.2) and their wire form for many messages at once."""

from collections.abc import Iterable, Mapping
from typing import Final, NewType

Flag = NewType("Flag", str)
"""A system flag in the spelling below, or a keyword as the client wrote it; ASCII."""

ANSWERED: Final = Flag("\\Answered")
FLAGGED: Final = Flag("\\Flagged")
DELETED: Final = Flag("\\Deleted")
SEEN: Final = Flag("\\Seen")
DRAFT: Final = Flag("\\Draft")
RECENT: Final = Flag("\\Recent")
ANY_KEYWORD: Final = Flag("\\*")
"""In PERMANENTFLAGS: the client may invent keywords."""

SYSTEM_FLAGS: Final = (SEEN, ANSWERED, FLAGGED, DELETED, DRAFT)
"""All that a client may set, in the order of their bits."""

KEYWORD_SHIFT: Final = len(SYSTEM_FLAGS)

_BY_FOLDED: Final = {flag.lower(): flag for flag in SYSTEM_FLAGS}
_MAX_REMEMBERED: Final = 4_096


def fold(flag: Flag) -> str:
    """The form in which flags are compared: without case (s9, note 1)."""
    return flag.lower()


def system_flag(spelling: str) -> Flag | None:
    """The system flag of that name in any case, or None; `\\Recent` cannot be set and is none."""
    return _BY_FOLDED.get(spelling.lower())


def encode_flags(flags: Iterable[Flag]) -> bytes:
    """flag-list: `(\\Seen \\Deleted)`."""
    return ("(" + " ".join(flags) + ")").encode("ascii")


class FlagNames:
    """What the bits of a flag word are called; remembers the form of each word met.

    Bits 0 to 4 are `SYSTEM_FLAGS`, bit `KEYWORD_SHIFT` + n is `keywords[n]`. A mailbox of 100,000 messages
    has some dozen different words, so that formatting is one dictionary look-up for each message. Make a new
    one when a keyword is added.
    """

    def __init__(self, keywords: Mapping[int, Flag] | None = None) -> None:
        self._names: dict[int, Flag] = dict(enumerate(SYSTEM_FLAGS))
        for bit, name in sorted((keywords or {}).items()):
            self._names[KEYWORD_SHIFT + bit] = name
        self._bits = {fold(name): 1 << at for at, name in self._names.items()}
        self._lists: dict[int, str] = {}
        self._folded: dict[int, frozenset[str]] = {}

    @property
    def names(self) -> tuple[Flag, ...]:
        """All flags that have a bit, for the FLAGS response."""
        return tuple(self._names.values())

    @property
    def remembered(self) -> int:
        """How many forms are kept."""
        return len(self._lists) + len(self._folded)

    def flags(self, word: int) -> tuple[Flag, ...]:
        """The flags of that word; bits without a name are ignored."""
        return tuple(name for at, name in self._names.items() if word >> at & 1)

    def word(self, flags: Iterable[Flag]) -> int:
        """The word of those flags that have a bit."""
        word = 0
        for flag in flags:
            word |= self._bits.get(fold(flag), 0)
        return word

    def flag_list(self, word: int) -> str:
        """The flag-list of that word, ASCII."""
        known = self._lists.get(word)
        if known is None:
            if len(self._lists) >= _MAX_REMEMBERED:
                self._lists.clear()
            known = self._lists[word] = "(" + " ".join(self.flags(word)) + ")"
        return known

    def folded(self, word: int) -> frozenset[str]:
        """The flags of that word as SEARCH compares them."""
        known = self._folded.get(word)
        if known is None:
            if len(self._folded) >= _MAX_REMEMBERED:
                self._folded.clear()
            known = self._folded[word] = frozenset(fold(flag) for flag in self.flags(word))
        return known
