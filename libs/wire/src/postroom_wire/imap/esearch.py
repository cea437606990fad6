"""SEARCH, RETURN of SEARCH and SORT, and the ESEARCH response (RFC 4731, RFC 5182, RFC 5267 s3, RFC 9394)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import Refusal, Tag
from postroom_wire.imap.fetch_att import fetch_atts
from postroom_wire.imap.fetch_items import FetchItem
from postroom_wire.imap.search_keys import SearchKey
from postroom_wire.imap.sequence import encode_uid_set


class ResultOption(Enum):
    """search-return-opt without arguments."""

    MIN = b"MIN"
    MAX = b"MAX"
    ALL = b"ALL"
    COUNT = b"COUNT"
    SAVE = b"SAVE"
    """RFC 5182 s2.1."""
    RELEVANCY = b"RELEVANCY"
    """RFC 6203 s4."""
    CONTEXT = b"CONTEXT"
    """RFC 5267 s4.2: a hint, of which nothing is made."""
    UPDATE = b"UPDATE"
    """RFC 5267 s4.3, with what RFC 5465 s7 adds to it."""


_OPTIONS: Final = {option.value: option for option in ResultOption}
_ENDS: Final = frozenset({ResultOption.MIN, ResultOption.MAX})
_SAVE_ALONE: Final = frozenset({ResultOption.SAVE})
_WHOLE: Final = frozenset({ResultOption.ALL, ResultOption.COUNT})


@dataclass(frozen=True, slots=True)
class PartialRange:
    """partial-range (RFC 9394 s4): results `first` to `last` as sent; negative ones count `from_end`."""

    first: int
    last: int
    from_end: bool = False

    def of(self, count: int) -> slice:
        """Which of so many results, in their order, these are; perhaps none."""
        low, high = min(self.first, self.last), max(self.first, self.last)
        if self.from_end:
            return slice(max(count - high, 0), max(count - low + 1, 0))
        return slice(low - 1, high)

    def encode(self) -> bytes:
        """The range as it was sent."""
        sign = b"-" if self.from_end else b""
        return b"%b%d:%b%d" % (sign, self.first, sign, self.last)


@dataclass(frozen=True, slots=True)
class ReturnOptions:
    """What RETURN asks for; without anything that is (ALL) (RFC 4731 s3.1)."""

    options: frozenset[ResultOption] = frozenset({ResultOption.ALL})
    partial: PartialRange | None = None
    update_items: tuple[FetchItem, ...] = ()
    """What UPDATE tells of a new message that is found (RFC 5465 s7)."""

    @property
    def saves(self) -> bool:
        """Whether the result becomes what `$` means."""
        return ResultOption.SAVE in self.options

    @property
    def updates(self) -> bool:
        """Whether changes of the result are told from now on."""
        return ResultOption.UPDATE in self.options

    @property
    def scores(self) -> bool:
        """Whether scores are told."""
        return ResultOption.RELEVANCY in self.options

    @property
    def answers(self) -> bool:
        """Whether there is a response: SAVE alone suppresses it (RFC 5182 s1)."""
        return self.partial is not None or self.options != _SAVE_ALONE

    def among(self, numbers: Sequence[int]) -> list[int]:
        """The results that ALL, MIN and so on speak of (RFC 5182 s2.4, RFC 9394 s3.2, RFC 4731 s3.2).

        `numbers` are in the order of the result. COUNT and ALL speak of all of it.
        """
        if self.options & _WHOLE or not (self.partial or self.options & _ENDS):
            return list(numbers)
        found = list(numbers[self.partial.of(len(numbers))]) if self.partial else []
        if numbers and ResultOption.MIN in self.options:
            found.append(numbers[0])
        if numbers and ResultOption.MAX in self.options:
            found.append(numbers[-1])
        return found


ALL_RESULTS: Final = ReturnOptions()
"""What SEARCH returns in IMAP4rev2 when it is not asked for anything else (RFC 9051 s6.4.4)."""


@dataclass(frozen=True, slots=True)
class Search:
    """RFC 3501 s6.4.4; strings are decoded already. `refused`: a NO that empties what was saved."""

    key: SearchKey
    uid: bool = False
    returns: ReturnOptions | None = None
    refused: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """What was found: `numbers` in their order, the highest MODSEQ that is to be told, if any.

    `scores` belong to the numbers, where RELEVANCY was asked for.
    """

    numbers: Sequence[int]
    modseq: int | None = None
    scores: Sequence[int] = ()


def parse_return(cursor: Cursor) -> ReturnOptions | None:
    """["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP]   (RFC 4466 s2.6.1)."""
    if not cursor.accept_word(b"RETURN"):
        return None
    cursor.sp()
    cursor.expect(b"(")
    found = _Options(cursor)
    if not cursor.next_is(b")"):
        found.take()
        while cursor.more(found.count, cursor.limits.max_return_options):
            found.take()
    cursor.expect(b")")
    cursor.sp()
    return found.whole()


def encode_esearch(tag: Tag, found: Results, wanted: ReturnOptions, *, uid: bool) -> bytes:
    """esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data)."""
    numbers, options = found.numbers, wanted.options
    parts = [b'* ESEARCH (TAG "%b")' % tag]
    if uid:
        parts.append(b"UID")
    if numbers and ResultOption.MIN in options:
        parts.append(b"MIN %d" % numbers[0])
    if numbers and ResultOption.MAX in options:
        parts.append(b"MAX %d" % numbers[-1])
    if ResultOption.COUNT in options:
        parts.append(b"COUNT %d" % len(numbers))
    if wanted.partial is not None:
        some = encode_uid_set(numbers[wanted.partial.of(len(numbers))])
        parts.append(b"PARTIAL (%b %b)" % (wanted.partial.encode(), some or b"NIL"))
    if numbers and ResultOption.ALL in options:
        parts.append(b"ALL " + encode_uid_set(numbers))
    if wanted.scores:
        # Beside PARTIAL the scores are of those results, else of all.
        scores = found.scores if wanted.partial is None else found.scores[wanted.partial.of(len(numbers))]
        parts.append(("RELEVANCY (" + " ".join(map(str, scores)) + ")").encode("ascii"))
    if numbers and found.modseq is not None:
        parts.append(b"MODSEQ %d" % found.modseq)
    return b" ".join(parts) + b"\r\n"


def encode_search(found: Results) -> bytes:
    """The SEARCH response (RFC 3501 s7.2.5), also for no hit at all; with the MODSEQ of RFC 7162 s3.1.6."""
    return _listed("SEARCH", found)


def encode_sort(found: Results) -> bytes:
    """The SORT response (RFC 5256 s4), the same."""
    return _listed("SORT", found)


def _listed(name: str, found: Results) -> bytes:
    words = [f"* {name}", *map(str, found.numbers)]
    if found.numbers and found.modseq is not None:
        words.append(f"(MODSEQ {found.modseq})")
    return " ".join(words).encode("ascii") + b"\r\n"


class _Options:
    """The options of one RETURN, gathered."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._options: set[ResultOption] = set()
        self._partial: PartialRange | None = None
        self._items: tuple[FetchItem, ...] = ()
        self.count = 0

    def take(self) -> None:
        """search-return-opt."""
        self.count += 1
        if not self._cursor.accept_word(b"PARTIAL"):
            option = self._cursor.word_of(_OPTIONS)
            self._options.add(option)
            # RFC 5465 s8 has no space there, its example has one.
            if option is ResultOption.UPDATE and (self._cursor.accept(b" (") or self._cursor.accept(b"(")):
                self._items = fetch_atts(self._cursor)
            return
        self._cursor.sp()
        if self._partial is not None:  # RFC 9394 s3.1
            raise self._cursor.wrong("one PARTIAL")
        self._partial = partial_range(self._cursor)

    def whole(self) -> ReturnOptions:
        """All of them together."""
        if self._partial is not None and ResultOption.ALL in self._options:  # RFC 9394 s3.1
            raise self._cursor.wrong("PARTIAL without ALL")
        if not self._options and self._partial is None:
            return ALL_RESULTS
        return ReturnOptions(frozenset(self._options), self._partial, self._items)


def partial_range(cursor: Cursor) -> PartialRange:
    """partial-range = partial-range-first / partial-range-last   (RFC 9394 s4)."""
    from_end = cursor.accept(b"-")
    first = cursor.nz_number()
    cursor.expect(b":-" if from_end else b":")
    return PartialRange(first, cursor.nz_number(), from_end)
