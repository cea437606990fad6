"""Searches whose results are kept up to date (RFC 5267 s4.3): CANCELUPDATE, and what tells of changes."""

from array import array
from collections.abc import Collection
from dataclasses import dataclass

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import Tag
from postroom_wire.imap.fetch_items import FetchItem
from postroom_wire.imap.search_keys import And, Not, Or, SearchKey, SequenceNumbers, Uids
from postroom_wire.imap.sequence import NumberRanges, SequenceSet
from postroom_wire.imap.view import SessionView


@dataclass(slots=True)
class SearchContext:
    """One search that is kept: its key, the ascending UIDs of its results, and up to which MODSEQ they hold.

    `uid`: its changes are told by UIDs. `items` of new messages are told with them (RFC 5465 s7).
    """

    key: SearchKey
    uid: bool
    results: "array[int]"
    modseq: int
    items: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelUpdate:
    """s4.3.5; the tags of searches with UPDATE."""

    tags: tuple[Tag, ...]


def parse_cancel_update(cursor: Cursor) -> CancelUpdate:
    """command-select =/ "CANCELUPDATE" 1*(SP quoted)."""
    cursor.sp()
    tags = [Tag(cursor.string())]
    while cursor.more(len(tags), cursor.limits.max_return_options):
        tags.append(Tag(cursor.string()))
    return CancelUpdate(tuple(tags))


def no_update(tag: Tag) -> bytes:
    """The code NOUPDATE (s4.3.1)."""
    return b'NOUPDATE "%b"' % tag


def encode_update(tag: Tag, removed: Collection[int], added: Collection[int], *, uid: bool) -> bytes:
    """ESEARCH with REMOVEFROM and ADDTO in the mailbox's order, which position 0 stands for (s4.3.3)."""
    parts = [b'* ESEARCH (TAG "%b")' % tag]
    if uid:
        parts.append(b"UID")
    for name, numbers in ((b"REMOVEFROM", removed), (b"ADDTO", added)):
        if numbers:
            parts.append(b"%b (0 %b)" % (name, NumberRanges.of(numbers).encode()))
    return b" ".join(parts) + b"\r\n"


def frozen(key: SearchKey, view: SessionView) -> SearchKey:
    """The key with the messages that its numbers and `$` mean now, as UIDs (s4.3)."""
    match key:
        case Not(inner):
            return Not(frozen(inner, view))
        case Or(left, right):
            return Or(frozen(left, view), frozen(right, view))
        case And(keys):
            return And(tuple(frozen(part, view) for part in keys))
        case SequenceNumbers(numbers):
            meant = numbers.resolve(view.exists).below(view.exists)
            uids = NumberRanges.of(uid for _, uid in view.rows(meant))
            return Uids(SequenceSet(_with_saved(uids, numbers, view).ranges))
        case Uids(uids) if uids.saved:
            meant = uids.resolve(view.last_uid)
            return Uids(SequenceSet(_with_saved(meant, uids, view).ranges))
        case _:
            return key


def _with_saved(uids: NumberRanges, wanted: SequenceSet, view: SessionView) -> NumberRanges:
    return uids.union(NumberRanges.of(view.saved)) if wanted.saved else uids
