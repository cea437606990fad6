"""One mailbox's messages as packed arrays: 40 octets a message, shared by all sessions."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from sys import getsizeof
from typing import Final, NamedTuple, TypeAlias

from mail_access.packed_rows import Columns, FlagColumns
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.flags import KEYWORD_SHIFT
from postroom_wire.imap.sequence import NumberRanges
from postroom_wire.imap.view import MailboxUids, SessionView, without

SEEN: Final = 1
WordChange: TypeAlias = Callable[[int], int]
"""What a change makes of a flag word."""
_UNSEEN: Final = bytes(0 if flags & SEEN else 1 for flags in range(256))


class Row(NamedTuple):
    """One message: `word` as `FlagNames` reads it, `size` in octets, `date` in seconds since 1970."""

    sequence_number: int
    uid: int
    word: int
    size: int
    date: int
    modseq: int


class FlagWords(NamedTuple):
    """The UIDs and flag words of messages one after another, from this sequence number."""

    sequence_number: int
    uids: Sequence[int]
    words: Sequence[int]


class MailboxRows:
    """The UIDs with the views over them, and beside them what else is known of each message."""

    def __init__(self) -> None:
        self.uids = MailboxUids()
        self._flags = array("B")
        self._keywords = array("Q")
        self._modseqs = array("Q")
        self._sizes = array("Q")
        self._dates = array("q")
        self.top_modseq = 0
        """The highest MODSEQ that any message ever had here."""

    def __len__(self) -> int:
        return len(self.uids)

    @property
    def octets(self) -> int:
        """What the columns take of memory."""
        columns = (self._flags, self._keywords, self._modseqs, self._sizes, self._dates, self.uids.array)
        return sum(getsizeof(column) for column in columns)

    def apply(
        self,
        rows: mailbox_pb2.Rows | Columns,
        by: SessionView | None = None,
        change: WordChange | None = None,
    ) -> None:
        """Take over rows by ascending UID, in any order of their MODSEQs: what is older than ours is ignored.

        A UID that is not here and not above all others was expunged meanwhile. Other views than `by` will
        tell of changed flags; that one too where flags became others than its own `change` makes them.
        """
        last = self.uids.last
        count = next((at for at, uid in enumerate(rows.uids) if uid > last), len(rows.uids))
        changed: list[int] = []
        surprising: list[int] = []
        for at, uid in enumerate(islice(rows.uids, count)):
            words = self._update(rows, at, uid)
            if words is None:
                continue
            changed.append(uid)
            if change is not None and change(words[0]) != words[1]:
                surprising.append(uid)
        if changed:
            self.uids.flags_changed(changed, by)
        if by is not None and surprising:
            by.flags_changed(surprising)
        if count < len(rows.uids):
            self._append(rows, count)

    def flag(self, changed: FlagColumns, modseq: int, by: SessionView, change: WordChange | None) -> None:
        """Take over flags that a session of ours changed. UIDs that are not here yet come with their rows."""
        told: list[int] = []
        surprising: list[int] = []
        uids, at = self.uids.array, 0
        for uid, flags, keywords in zip(changed.uids, changed.flags, changed.keywords, strict=True):
            at = bisect_left(uids, uid, at)
            if at == len(uids):
                break
            if uids[at] != uid or modseq <= self._modseqs[at]:
                continue
            before = self._flags[at] | self._keywords[at] << KEYWORD_SHIFT
            self._flags[at], self._keywords[at], self._modseqs[at] = flags, keywords, modseq
            told.append(uid)
            if change is not None and change(before) != flags | keywords << KEYWORD_SHIFT:
                surprising.append(uid)
        if told:
            self.top_modseq = max(self.top_modseq, modseq)
            self.uids.flags_changed(told, by)
        if surprising:
            by.flags_changed(surprising)

    def trim(self) -> None:
        """Give back what the columns have taken ahead while they grew."""
        self.uids.trim()
        self._flags = array("B", self._flags)
        self._keywords = array("Q", self._keywords)
        self._modseqs = array("Q", self._modseqs)
        self._sizes = array("Q", self._sizes)
        self._dates = array("q", self._dates)

    def remove(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Take expunged messages away."""
        places = self.uids.remove(NumberRanges(tuple(sorted(ranges))))
        if places:
            self._flags = without(self._flags, places)
            self._keywords = without(self._keywords, places)
            self._modseqs = without(self._modseqs, places)
            self._sizes = without(self._sizes, places)
            self._dates = without(self._dates, places)

    def read(self, view: SessionView, numbers: NumberRanges) -> list[Row]:
        """The messages of these sequence numbers that are not gone."""
        found: list[Row] = []
        for run in view.runs(numbers):
            if (start := run.start) is None:
                continue
            end = start + len(run.uids)
            columns = zip(
                run.uids,
                self._flags[start:end],
                self._keywords[start:end],
                self._sizes[start:end],
                self._dates[start:end],
                self._modseqs[start:end],
                strict=True,
            )
            found.extend(
                Row(number, uid, flags | keywords << KEYWORD_SHIFT, size, date, modseq)
                for number, (uid, flags, keywords, size, date, modseq) in enumerate(
                    columns, run.sequence_number
                )
            )
        return found

    def words(self, view: SessionView, numbers: NumberRanges) -> list[FlagWords]:
        """The flags alone of these messages, run by run: a tenth of what `read` costs. None that is gone."""
        found: list[FlagWords] = []
        for run in view.runs(numbers):
            if (start := run.start) is None:
                continue
            end = start + len(run.uids)
            flags: Sequence[int] = self._flags[start:end]
            if any(keywords := self._keywords[start:end]):
                flags = [low | high << KEYWORD_SHIFT for low, high in zip(flags, keywords, strict=True)]
            found.append(FlagWords(run.sequence_number, run.uids, flags))
        return found

    def changed_since(self, view: SessionView, numbers: NumberRanges, modseq: int) -> NumberRanges:
        """Which of these messages have a higher MODSEQ (RFC 7162 s3.1.4.1); none that is gone."""
        return NumberRanges.of(
            number
            for run in view.runs(numbers)
            if (start := run.start) is not None
            for number, own in enumerate(self._modseqs[start : start + len(run.uids)], run.sequence_number)
            if own > modseq
        )

    def word(self, uid: int) -> int | None:
        """The flag word of a message that is here."""
        at = self.uids.index(uid)
        return None if at is None else self._flags[at] | self._keywords[at] << KEYWORD_SHIFT

    def first_unseen(self) -> int | None:
        """The sequence number, in a view that knows all, of the first message without \\Seen."""
        return self._flags.tobytes().translate(_UNSEEN).find(1) + 1 or None

    def _update(self, rows: mailbox_pb2.Rows | Columns, at: int, uid: int) -> tuple[int, int] | None:
        """The flag words before and after, if the row is news."""
        here = self.uids.index(uid)
        modseq = rows.modseqs[at]
        if here is None or modseq <= self._modseqs[here]:
            return None
        before = self._flags[here] | self._keywords[here] << KEYWORD_SHIFT
        self._flags[here], self._keywords[here] = rows.flags[at], rows.keywords[at]
        self._modseqs[here] = modseq
        self.top_modseq = max(self.top_modseq, modseq)
        return before, rows.flags[at] | rows.keywords[at] << KEYWORD_SHIFT

    def _append(self, rows: mailbox_pb2.Rows | Columns, start: int) -> None:
        # The arrays beside it first: whoever sees the UID finds the rest.
        self._flags.extend(_from(rows.flags, start))
        self._keywords.extend(_from(rows.keywords, start))
        self._modseqs.extend(_from(rows.modseqs, start))
        self.top_modseq = max(self.top_modseq, *_from(rows.modseqs, start))
        self._sizes.extend(_from(rows.sizes, start))
        self._dates.extend(_from(rows.internal_dates, start))
        self.uids.append(_from(rows.uids, start))


def _from(column: Sequence[int], start: int) -> Sequence[int]:
    return column[start:] if start else column
