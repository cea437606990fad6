"""What one session believes of its mailbox, over the UIDs that all sessions share (RFC 3501 s7.4.1, s5.5).

The shared array holds the messages that exist now. A session knows a first part of it, and beside that the
messages that are gone but of which it was not told: these keep their sequence numbers until EXPUNGE may be
sent. So a view costs a few words, whatever the size of the mailbox, and numbers change only in `updates`.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import lt
from typing import Final, NamedTuple

from postroom_wire.imap.errors import BAD_SEQUENCE_NUMBER, LocalProtocolError, RemoteProtocolError
from postroom_wire.imap.sequence import NumberRanges, SequenceSet

_NOTHING_SAVED: Final = array("I")  # one for all; a search saves an array of its own


class Run(NamedTuple):
    """Messages of consecutive sequence numbers; `uids` is a copy.

    `start` is the index of the first one in the shared array, good until that changes: slice parallel arrays
    at once. It is None for a message that is gone untold.
    """

    sequence_number: int
    uids: "array[int]"
    start: int | None


class Updates(NamedTuple):
    """What to tell, in this order."""

    expunged: list[int]
    """Sequence numbers for EXPUNGE, highest first."""
    vanished: list[int]
    """The UIDs of the same messages, lowest first, for VANISHED (RFC 7162 s3.2.10)."""
    exists: int | None
    """The new count for EXISTS, if there are new messages."""
    changed: list[tuple[int, int]]
    """Sequence number and UID of messages whose flags another session changed."""


class MailboxUids:
    """The UIDs of one mailbox, ascending, and the views over them."""

    def __init__(self, uids: Iterable[int] = ()) -> None:
        self.array: array[int] = array("I")
        self._last = 0
        self._views: set[SessionView] = set()
        self.append(uids)

    def __len__(self) -> int:
        return len(self.array)

    @property
    def last(self) -> int:
        """The largest UID that was ever here, 0 for none."""
        return self._last

    def index(self, uid: int) -> int | None:
        """Where the UID lies in `array`."""
        at = bisect_left(self.array, uid)
        return at if at < len(self.array) and self.array[at] == uid else None

    def append(self, uids: Iterable[int]) -> None:
        """Add new messages. UIDs only ascend; one that comes late is our bug."""
        fresh = uids if isinstance(uids, array) else array("I", uids)
        if not fresh:
            return
        if fresh[0] <= self._last or not all(map(lt, fresh, islice(fresh, 1, None))):
            raise LocalProtocolError("UIDs do not ascend")
        self.array.extend(fresh)
        self._last = fresh[-1]

    def trim(self) -> None:
        """Give back what the array has taken ahead while it grew."""
        self.array = array("I", self.array)

    def remove(self, uids: NumberRanges) -> list[slice]:
        """Take messages away; UIDs that are not here are ignored.

        Returns where they were, ascending, so that parallel arrays can follow by `without`.
        """
        places = list(uids.slices(self.array))
        if places:
            for view in self._views:
                view.expunged(places)
            self.array = without(self.array, places)
        return places

    def reload(self, uids: Iterable[int]) -> None:
        """Take over the mailbox as it was loaded anew, when its changes cannot be followed one by one.

        A UID that is new but not above all others is our bug, and then nothing is right any more.
        """
        fresh = array("I", uids)
        present = set(fresh)
        self.remove(NumberRanges.of(uid for uid in self.array if uid not in present))
        if fresh[: len(self.array)] != self.array:
            raise LocalProtocolError("a UID appeared below others")
        self.append(fresh[len(self.array) :])

    def flags_changed(self, uids: Iterable[int], by: "SessionView | None" = None) -> None:
        """Flags of these messages changed; all views will tell but the one that did it."""
        changed = frozenset(uids)
        for view in self._views:
            if view is not by:
                view.flags_changed(changed)

    def attach(self) -> "SessionView":
        """A new view that knows all messages of now."""
        view = SessionView(self)
        self._views.add(view)
        return view

    def detach(self, view: "SessionView") -> None:
        """Forget a view whose session has left the mailbox."""
        self._views.discard(view)


def without(values: "array[int]", places: list[slice]) -> "array[int]":
    """A copy of the array without these ascending slices."""
    kept: array[int] = array(values.typecode)
    at = 0
    for place in places:
        kept.extend(values[at : place.start])
        at = place.stop
    kept.extend(values[at:])
    return kept


class SessionView:
    """One session's sequence numbers. Made by `MailboxUids.attach`."""

    __slots__ = ("_changed", "_gone", "_known", "_mailbox", "saved")

    def __init__(self, mailbox: MailboxUids) -> None:
        self.saved: array[int] = _NOTHING_SAVED
        """The ascending UIDs that `$` means (RFC 5182); UIDs that are gone since mean nothing."""
        self._mailbox = mailbox
        self._known = len(mailbox)
        self._gone: list[int] = []
        self._changed: set[int] | None = None  # idle sessions are many, and an empty set is large

    @property
    def exists(self) -> int:
        """How many messages the client was told of."""
        return self._known + len(self._gone)

    @property
    def last_uid(self) -> int:
        """The UID of the last message that the client was told of, 0 for none."""
        return self.uid(self.exists) if self.exists else 0

    @property
    def untold(self) -> bool:
        """Whether messages are gone of which the client was not told yet."""
        return bool(self._gone)

    def without_known(self, uids: NumberRanges) -> NumberRanges:
        """The UIDs that are neither in the mailbox nor believed to be by the client."""
        left: list[tuple[int, int]] = []
        here = self._mailbox.array
        for first, last in uids.ranges:
            between = sorted(
                [
                    *here[bisect_left(here, first) : bisect_left(here, last + 1)],
                    *self._gone_among(first, last),
                ]
            )
            start = first
            for uid in between:
                if start < uid:
                    left.append((start, uid - 1))
                start = uid + 1
            if start <= last:
                left.append((start, last))
        return NumberRanges(tuple(left))

    def count(self, first_uid: int, last_uid: int) -> int:
        """How many messages from this UID to that one the client was told of."""
        return self._count_below(last_uid + 1) - self._count_below(first_uid)

    def is_gone(self, uid: int) -> bool:
        """Whether the message was expunged and the client does not know yet."""
        at = bisect_left(self._gone, uid)
        return at < len(self._gone) and self._gone[at] == uid

    def uid(self, sequence_number: int) -> int:
        """The UID of that message. Raises `RemoteProtocolError` when there is none."""
        if not 1 <= sequence_number <= self.exists:
            raise RemoteProtocolError(BAD_SEQUENCE_NUMBER, "no such sequence number")
        before = bisect_left(range(len(self._gone)), sequence_number, key=self._gone_number)
        if before < len(self._gone) and self._gone_number(before) == sequence_number:
            return self._gone[before]
        return self._mailbox.array[sequence_number - 1 - before]

    def sequence_number(self, uid: int) -> int | None:
        """The number of that message, None for one that the client does not know."""
        at = bisect_left(self._mailbox.array, uid, 0, self._known)
        before = bisect_left(self._gone, uid)
        known = (at < self._known and self._mailbox.array[at] == uid) or self.is_gone(uid)
        return at + before + 1 if known else None

    def select(self, messages: SequenceSet, *, by_uid: bool) -> NumberRanges:
        """The sequence numbers that a command's set means.

        Sequence numbers that do not exist raise `RemoteProtocolError` (s9 seq-number), UIDs are ignored
        (s6.4.8).
        """
        if not by_uid:
            if not messages.fits(self.exists):
                raise RemoteProtocolError(BAD_SEQUENCE_NUMBER, "sequence number beyond the mailbox")
            found = messages.resolve(self.exists)
            return self._with_saved(found) if messages.saved else found
        numbers: list[tuple[int, int]] = []
        for first, last in messages.resolve(self.last_uid).ranges:
            start = self._count_below(first) + 1
            end = self._count_below(last + 1)
            if end >= start:
                numbers.append((start, end))
        found = NumberRanges(tuple(numbers))
        return self._with_saved(found) if messages.saved else found

    def runs(self, numbers: NumberRanges) -> list[Run]:
        """The messages of these sequence numbers, in order; those beyond the mailbox are left out."""
        return [run for first, last in numbers.below(self.exists).ranges for run in self._runs(first, last)]

    def rows(self, numbers: NumberRanges) -> Iterator[tuple[int, int]]:
        """Sequence number and UID of the same messages; good until `updates` tells of expunges."""
        for run in self.runs(numbers):
            yield from enumerate(run.uids, run.sequence_number)

    @property
    def all(self) -> NumberRanges:
        """All sequence numbers."""
        return NumberRanges(((1, self.exists),)) if self.exists else NumberRanges()

    def has_updates(self, *, expunges: bool) -> bool:
        """Whether `updates` would have anything to tell."""
        news = len(self._mailbox) > self._known or bool(self._changed)
        return news or (expunges and bool(self._gone))

    def updates(self, *, expunges: bool, new: bool = True, flags: bool = True) -> Updates:
        """What to tell now; afterwards it counts as told. `expunges`: see `may_tell_expunges`.

        New messages or other flags that are not asked for stay untold (RFC 5465 s5).
        """
        expunged: list[int] = []
        vanished: list[int] = []
        if expunges:
            expunged = [self._gone_number(at) for at in reversed(range(len(self._gone)))]
            vanished, self._gone = self._gone, []
        exists = None
        if new and len(self._mailbox) > self._known:
            self._known = len(self._mailbox)
            exists = self.exists
        if not flags:
            return Updates(expunged, vanished, exists, [])
        changed = [
            (number, uid)
            for uid in sorted(self._changed or ())
            if not self.is_gone(uid) and (number := self.sequence_number(uid)) is not None
        ]
        self._changed = None
        return Updates(expunged, vanished, exists, changed)

    def expunged(self, places: list[slice]) -> None:
        """For `MailboxUids` only: the shared array is about to lose these ascending slices."""
        gone: list[int] = []
        for place in places:
            gone.extend(self._mailbox.array[place.start : min(place.stop, self._known)])
        if gone:
            self._gone = sorted(self._gone + gone)
            self._known -= len(gone)

    def flags_changed(self, uids: Iterable[int]) -> None:
        """For `MailboxUids` only: the flags of these messages changed."""
        if self._changed is None:
            self._changed = set()
        self._changed.update(uids)

    def _with_saved(self, numbers: NumberRanges) -> NumberRanges:
        present = (uid for uid in self.saved if not self.is_gone(uid))
        known = (number for uid in present if (number := self.sequence_number(uid)) is not None)
        return numbers.union(NumberRanges.of(known))

    def _gone_among(self, first: int, last: int) -> list[int]:
        return self._gone[bisect_left(self._gone, first) : bisect_left(self._gone, last + 1)]

    def _gone_number(self, at: int) -> int:
        """The sequence number of `_gone[at]`."""
        return bisect_left(self._mailbox.array, self._gone[at], 0, self._known) + at + 1

    def _count_below(self, uid: int) -> int:
        """How many known messages have a smaller UID."""
        return bisect_left(self._mailbox.array, uid, 0, self._known) + bisect_left(self._gone, uid)

    def _runs(self, first: int, last: int) -> Iterator[Run]:
        """The runs of `first` to `last`, which exist."""
        gone = bisect_left(range(len(self._gone)), first, key=self._gone_number)
        number = first
        while number <= last:
            next_gone = self._gone_number(gone) if gone < len(self._gone) else self.exists + 1
            if number == next_gone:
                yield Run(number, array("I", (self._gone[gone],)), None)
                gone += 1
                number += 1
                continue
            start = number - 1 - gone
            count = min(last + 1, next_gone) - number
            yield Run(number, self._mailbox.array[start : start + count], start)
            number += count
