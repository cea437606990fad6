"""Sequence sets and UID sets (RFC 3501 s9 sequence-set), kept as ranges and never written out."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

STAR: Final = 0
"""`*` in a `SequenceSet`: the largest number in use. Numbers of the grammar begin at 1."""


@dataclass(frozen=True, slots=True)
class NumberRanges:
    """Ascending, disjoint, not adjacent ranges, both ends included."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "NumberRanges":
        """The ranges that hold exactly these numbers; quick where they ascend, as they mostly do."""
        found: list[tuple[int, int]] = []
        waiting = iter(numbers)
        first = last = next(waiting, None)
        if first is None or last is None:
            return cls()
        for number in waiting:
            if number == last + 1:
                last = number
            elif number > last:
                found.append((first, last))
                first = last = number
            elif number < last:
                rest = ((each, each) for each in (number, *waiting))
                return cls(_merged((*found, (first, last), *rest)))
        found.append((first, last))
        return cls(tuple(found))

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self.ranges, number, key=_first)
        return at > 0 and number <= self.ranges[at - 1][1]

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def below(self, maximum: int) -> "NumberRanges":
        """What of it is at most `maximum`."""
        kept = tuple((first, min(last, maximum)) for first, last in self.ranges if first <= maximum)
        return NumberRanges(kept)

    def above(self, minimum: int) -> "NumberRanges":
        """What of it is greater than `minimum`."""
        kept = tuple((max(first, minimum + 1), last) for first, last in self.ranges if last > minimum)
        return NumberRanges(kept)

    def slices(self, ascending: Sequence[int]) -> Iterator[slice]:
        """The slices of an ascending array that these ranges cover; empty ones are left out."""
        at = 0
        for first, last in self.ranges:
            start = bisect_left(ascending, first, at)
            at = bisect_right(ascending, last, start)
            if at > start:
                yield slice(start, at)

    def part(self, wanted: slice) -> "NumberRanges":
        """Those of its numbers, counted from 0, that a slice without a step or negative ends takes."""
        kept: list[tuple[int, int]] = []
        start, stop, _ = wanted.indices(len(self))
        at = 0
        for first, last in self.ranges:
            low, high = max(start - at, 0), min(stop - at, last - first + 1)
            if low < high:
                kept.append((first + low, first + high - 1))
            at += last - first + 1
        return NumberRanges(tuple(kept))

    def union(self, other: "NumberRanges") -> "NumberRanges":
        """What is in either."""
        return NumberRanges(_merged((*self.ranges, *other.ranges)))

    def intersection(self, other: "NumberRanges") -> "NumberRanges":
        """What is in both."""
        found: list[tuple[int, int]] = []
        mine, theirs = 0, 0
        while mine < len(self.ranges) and theirs < len(other.ranges):
            first = max(self.ranges[mine][0], other.ranges[theirs][0])
            last = min(self.ranges[mine][1], other.ranges[theirs][1])
            if first <= last:
                found.append((first, last))
            if self.ranges[mine][1] < other.ranges[theirs][1]:
                mine += 1
            else:
                theirs += 1
        return NumberRanges(tuple(found))

    def encode(self) -> bytes:
        """The set in wire form, `1:3,7`; empty for none."""
        return ",".join(f"{a}" if a == b else f"{a}:{b}" for a, b in self.ranges).encode("ascii")


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """sequence-set as sent: pairs of ends in any order, where an end may be `STAR`.

    `saved`: and what the session keeps as its search result, `$` (RFC 5182); that is not in `resolve`.
    """

    items: tuple[tuple[int, int], ...]
    saved: bool = False

    def resolve(self, maximum: int) -> NumberRanges:
        """The numbers meant when `maximum` is the largest in use.

        `3291:*` holds the maximum even when that is less than 3291 (s9 seq-range). In an empty mailbox (0)
        no number exists, so it does not matter that `*` is then 1.
        """
        top = max(maximum, 1)
        ends = ((a or top, b or top) for a, b in self.items)
        return NumberRanges(_merged((min(a, b), max(a, b)) for a, b in ends))

    def fits(self, exists: int) -> bool:
        """Whether it names only existing message sequence numbers; `*` needs one (s9 seq-number)."""
        if not self.items:
            return True
        return exists > 0 and all(a <= exists and b <= exists for a, b in self.items)

    def encode(self) -> bytes:
        """The set in wire form."""
        saved = (b"$",) if self.saved else ()
        return b",".join((*(_encode_item(a, b) for a, b in self.items), *saved))


def encode_uid_set(uids: Iterable[int]) -> bytes:
    """uid-set that keeps the order given, consecutive UIDs joined (RFC 4315 s3: COPYUID pairs by order)."""
    runs: list[tuple[int, int]] = []
    for uid in uids:
        if runs and runs[-1][1] + 1 == uid:
            runs[-1] = (runs[-1][0], uid)
        else:
            runs.append((uid, uid))
    return b",".join(_encode_item(a, b) for a, b in runs)


def _encode_item(a: int, b: int) -> bytes:
    first = b"%d" % a if a else b"*"
    if a == b:
        return first
    return first + b":" + (b"%d" % b if b else b"*")


def _first(bounds: tuple[int, int]) -> int:
    return bounds[0]


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)
