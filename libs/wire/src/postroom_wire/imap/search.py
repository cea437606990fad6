"""SEARCH over rows in memory, and what of it only the store can answer (RFC 3501 s6.4.4).

Use: make a `SearchProgram`, take `verdict` of every row. True is a hit, False is none, None depends on what
memory does not hold: those rows are the candidates. Ask the store which candidates match each of `asked`,
`learn` what it says, and take the verdicts of the candidates again.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from postroom_wire.imap.flags import fold
from postroom_wire.imap.search_keys import (
    All,
    And,
    Arrived,
    ChangedSince,
    HasEmailId,
    HasFlag,
    HasThreadId,
    HeaderContains,
    IsRecent,
    Larger,
    LeafKey,
    Not,
    Older,
    Or,
    Saved,
    SearchKey,
    Sent,
    SequenceNumbers,
    Smaller,
    TextContains,
    Uids,
    When,
    Younger,
)


class Column(Enum):
    """What memory may hold of a message beyond numbers and flags."""

    SIZE = "size"
    INTERNAL_DATE = "internal date"
    SENT_DATE = "sent date"


class SearchRow(NamedTuple):
    """One message as memory knows it; columns that are not held stay None. Dates are in UTC."""

    sequence_number: int
    uid: int
    flags: frozenset[str] = frozenset()
    """Folded, from `FlagNames.folded`."""
    recent: bool = False
    size: int | None = None
    arrived: int | None = None
    """The internal date in seconds since 1970."""
    sent_date: date | None = None
    modseq: int = 0


Verdict: TypeAlias = Callable[[SearchRow], bool | None]

EVERYTHING: Final = frozenset(Column)
_NOTHING: Final[frozenset[int]] = frozenset()
_EPOCH: Final = date(1970, 1, 1).toordinal()
_DAY: Final = 86_400
_BEST_SCORE: Final = 100


@dataclass(frozen=True, slots=True)
class SearchScope:
    """The view that is searched: `exists` messages, the largest UID `last_uid`, the columns that rows have.

    `saved` are the UIDs that `$` means, `now` is in seconds since 1970.
    """

    exists: int
    last_uid: int
    columns: frozenset[Column] = EVERYTHING
    saved: Container[int] = _NOTHING
    now: int = 0


class SearchProgram:
    """A search over the messages of one view."""

    def __init__(self, key: SearchKey, scope: "SearchScope") -> None:
        self._exists = scope.exists
        self._last_uid = scope.last_uid
        self._saved = scope.saved
        self._now = scope.now
        self._columns = scope.columns
        self._answers: dict[LeafKey, Container[int]] = {}
        self._asked: dict[LeafKey, None] = {}
        self._scores: list[Mapping[int, int]] = []
        self.verdict: Verdict = self._compile(key)
        self.asked: tuple[LeafKey, ...] = tuple(self._asked)
        """The keys that the store must answer, each once; empty when memory answers all."""
        self.asks_first = self._is_of_store(key)
        """No row matches that matches none of `asked`, and memory decides by numbers at most: ask first."""

    def learn(self, key: LeafKey, uids: Container[int], scores: Mapping[int, int] | None = None) -> None:
        """The store's answer to one key of `asked`: the UIDs that match, of the candidates at least.

        `scores`, from 1 to 100, are how well they match a key that is fuzzy.
        """
        self._answers[key] = uids
        if scores:
            self._scores.append(scores)

    def score(self, uid: int) -> int:
        """How well a message matches, from 1 to 100 (RFC 6203 s4): the mean of what is known."""
        if not self._scores:
            return _BEST_SCORE
        return max(round(sum(scores.get(uid, 0) for scores in self._scores) / len(self._scores)), 1)

    def _is_of_store(self, key: SearchKey) -> bool:
        match key:
            case And(keys):
                of_store = [part for part in keys if self._is_of_store(part)]
                numbers = [part for part in keys if isinstance(part, All | SequenceNumbers | Uids)]
                return bool(of_store) and len(of_store) + len(numbers) == len(keys)
            case Or(left, right):
                return self._is_of_store(left) and self._is_of_store(right)
            case _:
                return key in self._asked

    def _compile(self, key: SearchKey) -> Verdict:
        match key:
            case Not(inner):
                return partial(_not, self._compile(inner))
            case Or(left, right):
                return partial(_or, self._compile(left), self._compile(right))
            case And(keys):
                return partial(_and, tuple(self._compile(part) for part in keys))
            case TextContains() | HeaderContains() | Saved() | HasEmailId() | HasThreadId():
                return self._ask(key)
            case Larger() | Smaller():
                return self._sized(key)
            case Arrived() | Older() | Younger():
                return self._dated(key)
            case Sent(when, day):
                return self._ask(key) if Column.SENT_DATE not in self._columns else partial(_sent, when, day)
            case All() | HasFlag() | IsRecent() | SequenceNumbers() | Uids() | ChangedSince():
                return self._numbered_or_flagged(key)

    def _numbered_or_flagged(
        self, key: All | HasFlag | IsRecent | SequenceNumbers | Uids | ChangedSince
    ) -> Callable[[SearchRow], bool]:
        match key:
            case All():
                return lambda _row: True
            case HasFlag(flag):
                wanted = fold(flag)
                return lambda row: wanted in row.flags
            case IsRecent():
                return lambda row: row.recent
            case ChangedSince(modseq):
                return lambda row: row.modseq >= modseq
            case SequenceNumbers(numbers):
                among, saved = numbers.resolve(self._exists), self._saved if numbers.saved else _NOTHING
                return lambda row: row.sequence_number in among or row.uid in saved
            case Uids(uids):
                among, saved = uids.resolve(self._last_uid), self._saved if uids.saved else _NOTHING
                return lambda row: row.uid in among or row.uid in saved

    def _dated(self, key: Arrived | Older | Younger) -> Verdict:
        if Column.INTERNAL_DATE not in self._columns:
            return self._ask(key)
        match key:
            case Arrived(when, day):
                since = None if when is When.BEFORE else _midnight(day)
                before = None if when is When.SINCE else _midnight(day) + (0 if when is When.BEFORE else _DAY)
                return partial(_arrived, since, before)
            case Older(seconds):
                return partial(_arrived, None, self._now - seconds + 1)
            case Younger(seconds):
                return partial(_arrived, self._now - seconds, None)

    def _sized(self, key: Larger | Smaller) -> Verdict:
        if Column.SIZE not in self._columns:
            return self._ask(key)
        bound = key.size
        if isinstance(key, Larger):
            return lambda row: None if row.size is None else row.size > bound
        return lambda row: None if row.size is None else row.size < bound

    def _ask(self, key: LeafKey) -> Verdict:
        self._asked[key] = None

        def verdict(row: SearchRow) -> bool | None:
            found = self._answers.get(key)
            return None if found is None else row.uid in found

        return verdict


def _not(verdict: Verdict, row: SearchRow) -> bool | None:
    found = verdict(row)
    return None if found is None else not found


def _or(left: Verdict, right: Verdict, row: SearchRow) -> bool | None:
    first = left(row)
    if first:
        return True
    second = right(row)
    return second if second or first is not None else None


def _and(verdicts: tuple[Verdict, ...], row: SearchRow) -> bool | None:
    result: bool | None = True
    for verdict in verdicts:
        found = verdict(row)
        if found is False:
            return False
        if found is None:
            result = None
    return result


def _midnight(day: date) -> int:
    return (day.toordinal() - _EPOCH) * _DAY


def _arrived(since: int | None, before: int | None, row: SearchRow) -> bool | None:
    if row.arrived is None:
        return None
    return (since is None or row.arrived >= since) and (before is None or row.arrived < before)


def _sent(when: When, day: date, row: SearchRow) -> bool:
    # No Date field that can be read: no day compares to it.
    value = row.sent_date
    if value is None:
        return False
    match when:
        case When.BEFORE:
            return value < day
        case When.ON:
            return value == day
        case When.SINCE:
            return value >= day
