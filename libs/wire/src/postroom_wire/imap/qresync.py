"""CONDSTORE and QRESYNC (RFC 7162): parameters and modifiers of commands, and what they have told.

Commands hold their values; the parsers of SELECT, FETCH and STORE read the parts of the grammar here.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.esearch import PartialRange, partial_range
from postroom_wire.imap.sequence import STAR, NumberRanges, SequenceSet
from postroom_wire.imap.view import SessionView

MAX_MODSEQ: Final = 2**63 - 1


class Match(NamedTuple):
    """So many consecutive message numbers that belonged to as many consecutive UIDs."""

    number: int
    uid: int
    length: int


@dataclass(frozen=True, slots=True)
class Resynchronization:
    """What a client knows of a mailbox (s3.2.5); `uids` is None for all that there can be.

    `matches` pair message numbers with UIDs, ascending.
    """

    uid_validity: int
    modseq: int
    uids: NumberRanges | None = None
    matches: tuple[Match, ...] = ()

    def known_below(self, view: SessionView) -> int:
        """Of messages below this UID the client knows all expunges: the last match still holds (s3.2.5.2)."""
        for match in reversed(self.matches):
            count = min(match.length, view.exists - match.number + 1)
            # UIDs ascend faster than message numbers or as fast: where they agree is in one piece.
            ahead = bisect_left(range(count), 1, key=lambda at: _difference(view, match, at))
            if ahead > 0 and _difference(view, match, ahead - 1) == 0:
                return match.uid + ahead
        return 1


@dataclass(frozen=True, slots=True)
class SelectParameters:
    """select-params (RFC 4466 s2.1): CONDSTORE (s3.1.8) and QRESYNC (s3.2.5)."""

    condstore: bool = False
    resynchronization: Resynchronization | None = None


@dataclass(frozen=True, slots=True)
class FetchModifiers:
    """fetch-modifiers (RFC 4466 s2.4): CHANGEDSINCE (s3.1.4.1), VANISHED (s3.2.6), PARTIAL (RFC 9394)."""

    changed_since: int | None = None
    vanished: bool = False
    partial: PartialRange | None = None


def mod_sequence_value(cursor: Cursor) -> int:
    """mod-sequence-value = 1*DIGIT; positive unsigned 63-bit integer."""
    value = mod_sequence_valzer(cursor)
    if not value:
        raise cursor.wrong("mod-sequence-value")
    return value


def mod_sequence_valzer(cursor: Cursor) -> int:
    """mod-sequence-valzer = "0" / mod-sequence-value."""
    return cursor.number64()


def select_params(cursor: Cursor) -> SelectParameters:
    """select-params = SP "(" select-param *(SP select-param) ")", if any; each at most once."""
    if cursor.at_end:
        return SelectParameters()
    cursor.sp()
    cursor.expect(b"(")
    condstore, resynchronization = False, None
    seen = 0
    while not seen or cursor.more(seen, 2):
        seen += 1
        if cursor.accept_word(b"CONDSTORE") and not condstore:
            condstore = True
        elif cursor.accept_word(b"QRESYNC") and resynchronization is None:
            resynchronization = _qresync(cursor)
        else:
            raise cursor.wrong("select-param")
    cursor.expect(b")")
    return SelectParameters(condstore, resynchronization)


def fetch_modifiers(cursor: Cursor, *, uid: bool) -> FetchModifiers:
    """fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")", if any; each at most once."""
    if cursor.at_end:
        return FetchModifiers()
    cursor.sp()
    cursor.expect(b"(")
    changed_since, vanished, partial = None, False, None
    seen = 0
    while not seen or cursor.more(seen, 3):
        seen += 1
        if cursor.accept_word(b"CHANGEDSINCE") and changed_since is None:
            cursor.sp()
            changed_since = mod_sequence_value(cursor)
        elif cursor.accept_word(b"VANISHED") and not vanished:
            vanished = True
        elif uid and cursor.accept_word(b"PARTIAL") and partial is None:
            cursor.sp()
            partial = partial_range(cursor)
        else:
            raise cursor.wrong("fetch-modifier")
    cursor.expect(b")")
    if vanished and (not uid or changed_since is None):  # s3.2.6
        raise cursor.wrong("UID FETCH with CHANGEDSINCE")
    return FetchModifiers(changed_since, vanished, partial)


def store_modifiers(cursor: Cursor) -> int | None:
    """store-modifiers = "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")" SP, if any."""
    if not cursor.accept(b"("):
        return None
    if not cursor.accept_word(b"UNCHANGEDSINCE"):
        raise cursor.wrong("store-modifier")
    cursor.sp()
    unchanged_since = mod_sequence_valzer(cursor)
    cursor.expect(b")")
    cursor.sp()
    return unchanged_since


def highest_modseq(value: int) -> bytes:
    """The response code HIGHESTMODSEQ (s3.1.2.1)."""
    return b"HIGHESTMODSEQ %d" % value


def modified(numbers: NumberRanges) -> bytes:
    """The response code MODIFIED (s3.1.3): message numbers, or UIDs for UID STORE."""
    return b"MODIFIED " + numbers.encode()


def vanished(uids: NumberRanges) -> bytes:
    """VANISHED in place of EXPUNGE (s3.2.10.2)."""
    return b"* VANISHED " + uids.encode() + b"\r\n"


def vanished_earlier(uids: NumberRanges) -> bytes:
    """VANISHED (EARLIER): message numbers stay as they are (s3.2.10.1)."""
    return b"* VANISHED (EARLIER) " + uids.encode() + b"\r\n"


def _qresync(cursor: Cursor) -> Resynchronization:
    """SP "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"."""
    cursor.sp()
    cursor.expect(b"(")
    uid_validity = cursor.nz_number()
    cursor.sp()
    modseq = mod_sequence_value(cursor)
    uids: NumberRanges | None = None
    matches: tuple[Match, ...] = ()
    if cursor.accept(b" "):
        if not cursor.next_is(b"("):
            uids = _without_star(cursor).resolve(0)
        if uids is None or cursor.accept(b" "):
            matches = _seq_match_data(cursor)
    cursor.expect(b")")
    return Resynchronization(uid_validity, modseq, uids, matches)


def _seq_match_data(cursor: Cursor) -> tuple[Match, ...]:
    """ "(" known-sequence-set SP known-uid-set ")", ascending and of one length."""
    cursor.expect(b"(")
    numbers = _ascending(cursor)
    cursor.sp()
    uids = _ascending(cursor)
    cursor.expect(b")")
    if _length(numbers) != _length(uids):
        raise cursor.wrong("as many UIDs as message numbers")
    return tuple(_matches(numbers, uids))


def _matches(numbers: SequenceSet, uids: SequenceSet) -> Iterator[Match]:
    """The pairs of two sets of one length, as runs in which both go up by one."""
    waiting = list(reversed(uids.items))
    for number, last_number in numbers.items:
        while number <= last_number:
            uid, last_uid = waiting.pop()
            count = min(last_number - number, last_uid - uid) + 1
            yield Match(number, uid, count)
            number += count
            if uid + count <= last_uid:
                waiting.append((uid + count, last_uid))


def _ascending(cursor: Cursor) -> SequenceSet:
    found = _without_star(cursor)
    inside = all(first <= last for first, last in found.items)
    if not inside or any(later[0] <= earlier[1] for earlier, later in pairwise(found.items)):
        raise cursor.wrong("an ascending set")
    return found


def _without_star(cursor: Cursor) -> SequenceSet:
    """sequence-set; "*" is not allowed."""
    found = cursor.sequence_set()
    if any(STAR in item for item in found.items):
        raise cursor.wrong("a set without *")
    return found


def _length(numbers: SequenceSet) -> int:
    return sum(last - first + 1 for first, last in numbers.items)


def _difference(view: SessionView, match: Match, at: int) -> int:
    """By how much the UID at that place of the view is above the one that the client knows."""
    return view.uid(match.number + at) - (match.uid + at)
