"""The keys of SEARCH (RFC 3501 s6.4.4, RFC 5032) as a tree; two spellings of one thing are one value."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from typing import TypeAlias

from postroom_wire.imap.flags import Flag
from postroom_wire.imap.sequence import SequenceSet


class When(Enum):
    """How a date compares: BEFORE is earlier, ON that day, SINCE that day or later."""

    BEFORE = "BEFORE"
    ON = "ON"
    SINCE = "SINCE"


class TextField(Enum):
    """Where a text key looks. The first five look into one header field."""

    BCC = "BCC"
    CC = "CC"
    FROM = "FROM"
    SUBJECT = "SUBJECT"
    TO = "TO"
    BODY = "BODY"
    TEXT = "TEXT"
    """Header and body."""


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class HasFlag:
    """ANSWERED, KEYWORD x and the like; UN... is `Not` of it."""

    flag: Flag


@dataclass(frozen=True, slots=True)
class IsRecent:
    """RECENT; OLD is `Not` of it, NEW is this and not seen."""


@dataclass(frozen=True, slots=True)
class SequenceNumbers:
    """A message sequence set."""

    numbers: SequenceSet


@dataclass(frozen=True, slots=True)
class Uids:
    """UID sequence-set."""

    uids: SequenceSet


@dataclass(frozen=True, slots=True)
class Larger:
    """More than so many octets."""

    size: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """Fewer than so many octets."""

    size: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """BEFORE, ON, SINCE: the internal date, without time and zone."""

    when: When
    day: date


@dataclass(frozen=True, slots=True)
class Older:
    """The internal date lies so many seconds back or more (RFC 5032 s2)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Younger:
    """The internal date lies so many seconds back or less (RFC 5032 s2)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class ChangedSince:
    """MODSEQ: that or a higher one (RFC 7162 s3.1.5). Entries are not told apart."""

    modseq: int


@dataclass(frozen=True, slots=True)
class Sent:
    """SENTBEFORE, SENTON, SENTSINCE: the Date field, without time and zone."""

    when: When
    day: date


@dataclass(frozen=True, slots=True)
class Saved:
    """SAVEDBEFORE, SAVEDON, SAVEDSINCE: when it came into the mailbox, by the day (RFC 8514 s4.3)."""

    when: When
    day: date


@dataclass(frozen=True, slots=True)
class HasEmailId:
    """EMAILID, as the octets that it stands for (RFC 8474 s6)."""

    email_id: bytes


@dataclass(frozen=True, slots=True)
class HasThreadId:
    """THREADID, as the octets that it stands for (RFC 8474 s6)."""

    thread_id: bytes


@dataclass(frozen=True, slots=True)
class HeaderContains:
    """HEADER field-name string; an empty value asks only that the field exists. `fuzzy`: see `fuzzied`."""

    name: str
    value: str
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class TextContains:
    """BCC, CC, FROM, SUBJECT, TO, BODY and TEXT: a substring, without case. `fuzzy`: see `fuzzied`."""

    field: TextField
    value: str
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """NOT key."""

    key: "SearchKey"


@dataclass(frozen=True, slots=True)
class Or:
    """OR key key."""

    left: "SearchKey"
    right: "SearchKey"


@dataclass(frozen=True, slots=True)
class And:
    """Keys side by side; never empty."""

    keys: "tuple[SearchKey, ...]"


LeafKey: TypeAlias = (
    All
    | HasFlag
    | IsRecent
    | SequenceNumbers
    | Uids
    | Larger
    | Smaller
    | Arrived
    | Older
    | Younger
    | ChangedSince
    | Sent
    | Saved
    | HasEmailId
    | HasThreadId
    | HeaderContains
    | TextContains
)
SearchKey: TypeAlias = LeafKey | Not | Or | And


def fuzzied(key: SearchKey) -> SearchKey:
    """FUZZY key: its strings match what is like them, the rest is exact (RFC 6203 s3, s5)."""
    match key:
        case Not(inner):
            return Not(fuzzied(inner))
        case Or(left, right):
            return Or(fuzzied(left), fuzzied(right))
        case And(keys):
            return And(tuple(fuzzied(part) for part in keys))
        case HeaderContains() | TextContains():
            return replace(key, fuzzy=True)
        case _:
            return key


def leaves(key: SearchKey) -> Iterator[LeafKey]:
    """The keys that no other key is made of."""
    match key:
        case Not(inner):
            yield from leaves(inner)
        case Or(left, right):
            yield from leaves(left)
            yield from leaves(right)
        case And(keys):
            for part in keys:
                yield from leaves(part)
        case _:
            yield key
