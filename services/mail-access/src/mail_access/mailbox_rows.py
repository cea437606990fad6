"""One mailbox's messages as packed arrays: 40 octets a message, shared by all sessions."""

from array import array
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final, NamedTuple

from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.flags import KEYWORD_SHIFT
from postroom_wire.imap.sequence import NumberRanges
from postroom_wire.imap.view import MailboxUids, SessionView, without

SEEN: Final = 1
_UNSEEN: Final = bytes(0 if flags & SEEN else 1 for flags in range(256))


class Row(NamedTuple):
    """One message: `word` as `FlagNames` reads it, `size` in octets, `date` in seconds since 1970."""

    sequence_number: int
    uid: int
    word: int
    size: int
    date: int


class MailboxRows:
    """The UIDs with the views over them, and beside them what else is known of each message."""

    def __init__(self) -> None:
        self.uids = MailboxUids()
        self._flags = array("B")
        self._keywords = array("Q")
        self._modseqs = array("Q")
        self._sizes = array("Q")
        self._dates = array("q")

    def __len__(self) -> int:
        return len(self.uids)

    def apply(self, rows: mailbox_pb2.Rows, by: SessionView | None = None) -> None:
        """Take over rows by ascending UID, in any order of their MODSEQs: what is older than ours is ignored.

        A UID that is not here and not above all others was expunged meanwhile. Other views than `by` will
        tell of changed flags.
        """
        last = self.uids.last
        count = next((at for at, uid in enumerate(rows.uids) if uid > last), len(rows.uids))
        changed = [uid for at, uid in enumerate(islice(rows.uids, count)) if self._update(rows, at, uid)]
        if changed:
            self.uids.flags_changed(changed, by)
        if count < len(rows.uids):
            self._append(rows, count)

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
                strict=True,
            )
            found.extend(
                Row(number, uid, flags | keywords << KEYWORD_SHIFT, size, date)
                for number, (uid, flags, keywords, size, date) in enumerate(columns, run.sequence_number)
            )
        return found

    def word(self, uid: int) -> int | None:
        """The flag word of a message that is here."""
        at = self.uids.index(uid)
        return None if at is None else self._flags[at] | self._keywords[at] << KEYWORD_SHIFT

    def first_unseen(self) -> int | None:
        """The sequence number, in a view that knows all, of the first message without \\Seen."""
        return self._flags.tobytes().translate(_UNSEEN).find(1) + 1 or None

    def _update(self, rows: mailbox_pb2.Rows, at: int, uid: int) -> bool:
        """Whether the flags are others now."""
        here = self.uids.index(uid)
        if here is None or rows.modseqs[at] <= self._modseqs[here]:
            return False
        before = self._flags[here], self._keywords[here]
        after = self._flags[here], self._keywords[here] = rows.flags[at], rows.keywords[at]
        self._modseqs[here] = rows.modseqs[at]
        return before != after

    def _append(self, rows: mailbox_pb2.Rows, start: int) -> None:
        # The arrays beside it first: whoever sees the UID finds the rest.
        self._flags.extend(_from(rows.flags, start))
        self._keywords.extend(_from(rows.keywords, start))
        self._modseqs.extend(_from(rows.modseqs, start))
        self._sizes.extend(_from(rows.sizes, start))
        self._dates.extend(_from(rows.internal_dates, start))
        self.uids.append(_from(rows.uids, start))


def _from(column: Sequence[int], start: int) -> Sequence[int]:
    return column[start:] if start else column
