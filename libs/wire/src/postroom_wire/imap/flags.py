"""Flags and keywords (RFC 3501 s2.3.2) and their wire form for many messages at once."""

from collections.abc import Iterable, Sequence
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

SYSTEM_FLAGS: Final = (ANSWERED, FLAGGED, DELETED, SEEN, DRAFT)
"""All that a client may set."""

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
    """What the bits of a mailbox's flag words are called; remembers the form of each word met.

    Bit n is `names[n]`. A mailbox of 100,000 messages has some dozen different words, so that formatting
    is one dictionary look-up for each message. Make a new one when a keyword is added.
    """

    def __init__(self, names: Sequence[Flag]) -> None:
        self.names = tuple(names)
        self._lists: dict[int, str] = {}
        self._folded: dict[int, frozenset[str]] = {}
        self._bits = {fold(name): 1 << at for at, name in enumerate(self.names)}

    @property
    def remembered(self) -> int:
        """How many forms are kept."""
        return len(self._lists) + len(self._folded)

    def flags(self, word: int) -> tuple[Flag, ...]:
        """The flags of that word; bits without a name are ignored."""
        return tuple(name for at, name in enumerate(self.names) if word >> at & 1)

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
