"""SORT with its RETURN (RFC 5256, RFC 5957, RFC 5267 s3, RFC 6203 s6)."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import Refusal
from postroom_wire.imap.esearch import ReturnOptions, parse_return
from postroom_wire.imap.search_keys import SearchKey
from postroom_wire.imap.search_parser import parse_criteria


class SortKey(Enum):
    """sort-key."""

    ARRIVAL = b"ARRIVAL"
    CC = b"CC"
    DATE = b"DATE"
    FROM = b"FROM"
    SIZE = b"SIZE"
    SUBJECT = b"SUBJECT"
    TO = b"TO"
    DISPLAYFROM = b"DISPLAYFROM"
    """RFC 5957 s4."""
    DISPLAYTO = b"DISPLAYTO"
    RELEVANCY = b"RELEVANCY"
    """By score, the best first (RFC 6203 s6)."""


_KEYS: Final = {key.value: key for key in SortKey}


@dataclass(frozen=True, slots=True)
class SortCriterion:
    """sort-criterion; what is equal by all of them is in the mailbox's order, also where one is reversed."""

    key: SortKey
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Sort:
    """RFC 5256 s3 BASE.6.4.SORT; `refused` as with SEARCH."""

    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    uid: bool = False
    returns: ReturnOptions | None = None
    refused: Refusal | None = None


def parse_sort(cursor: Cursor, *, uid: bool = False) -> Sort:
    """sort = "SORT" [search-return-opts] SP sort-criteria SP search-criteria."""
    cursor.sp()
    returns = parse_return(cursor)
    criteria = _criteria(cursor)
    cursor.sp()
    scored = any(each.key is SortKey.RELEVANCY for each in criteria)
    key, refused = parse_criteria(cursor, returns, scored=scored)
    return Sort(criteria, key, uid, returns, refused)


def parse_uid_sort(cursor: Cursor) -> Sort:
    """The same after "UID" SP."""
    return parse_sort(cursor, uid=True)


def _criteria(cursor: Cursor) -> tuple[SortCriterion, ...]:
    """sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"."""
    cursor.expect(b"(")
    criteria = [_criterion(cursor)]
    while cursor.more(len(criteria), cursor.limits.max_sort_criteria):
        criteria.append(_criterion(cursor))
    cursor.expect(b")")
    return tuple(criteria)


def _criterion(cursor: Cursor) -> SortCriterion:
    """sort-criterion = ["REVERSE" SP] sort-key."""
    reverse = cursor.accept_word(b"REVERSE")
    if reverse:
        cursor.sp()
    return SortCriterion(cursor.word_of(_KEYS), reverse)
