"""SEARCH (RFC 3501 s6.4.4, s9 search-key, RFC 4731, RFC 5032, RFC 5182, RFC 7162, RFC 9738)."""

from collections.abc import Callable
from typing import Final

from postroom_wire.imap.cursor import MAX_NUMBER, Cursor
from postroom_wire.imap.errors import (
    BAD_CHARSET,
    BAD_STRING,
    NESTED_TOO_DEEPLY,
    TOO_MANY_ITEMS,
    Condition,
    Refusal,
    RemoteProtocolError,
)
from postroom_wire.imap.esearch import ReturnOptions, Search, parse_return
from postroom_wire.imap.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN
from postroom_wire.imap.object_id import OBJECT_ID, email_id_of, thread_id_of
from postroom_wire.imap.qresync import mod_sequence_valzer
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
    Not,
    Older,
    Or,
    Saved,
    SearchKey,
    Sent,
    SequenceNumbers,
    Smaller,
    TextContains,
    TextField,
    Uids,
    When,
    Younger,
    fuzzied,
)
from postroom_wire.imap.sequence import SequenceSet

# US-ASCII is a part of UTF-8, and clients that send 8-bit octets without a CHARSET mean UTF-8.
_CHARSETS: Final = {b"US-ASCII", b"ASCII", b"UTF-8", b"UTF8"}

_BARE: Final[dict[bytes, SearchKey]] = {
    b"ALL": All(),
    b"SAVEDATESUPPORTED": All(),  # RFC 8514 s4.3
    b"ANSWERED": HasFlag(ANSWERED),
    b"DELETED": HasFlag(DELETED),
    b"DRAFT": HasFlag(DRAFT),
    b"FLAGGED": HasFlag(FLAGGED),
    b"SEEN": HasFlag(SEEN),
    b"RECENT": IsRecent(),
    b"NEW": And((IsRecent(), Not(HasFlag(SEEN)))),
    b"OLD": Not(IsRecent()),
    b"UNANSWERED": Not(HasFlag(ANSWERED)),
    b"UNDELETED": Not(HasFlag(DELETED)),
    b"UNDRAFT": Not(HasFlag(DRAFT)),
    b"UNFLAGGED": Not(HasFlag(FLAGGED)),
    b"UNSEEN": Not(HasFlag(SEEN)),
}
_NONE: Final = Not(All())
# entry-type-req = entry-type-resp / "all"   (RFC 7162 s7)
_ENTRY_TYPES: Final = {b"PRIV": True, b"SHARED": True, b"ALL": True}
_TEXTS: Final = {field.value.encode("ascii"): field for field in TextField}
_ARRIVED: Final = {when.value.encode("ascii"): when for when in When}
_SAVED: Final = {b"SAVED" + when.value.encode("ascii"): when for when in When}
_SENT: Final = {b"SENT" + name: when for name, when in _ARRIVED.items()}


def parse_search(cursor: Cursor, *, uid: bool = False) -> Search:
    """search = "SEARCH" [search-return-opts] SP search-program   (RFC 4466 s2.6.1)."""
    cursor.sp()
    returns = parse_return(cursor)
    key, refused = parse_program(cursor, returns)
    return Search(key, uid, returns, refused)


def parse_uid_search(cursor: Cursor) -> Search:
    """The same after "UID" SP."""
    return parse_search(cursor, uid=True)


def parse_program(cursor: Cursor, returns: ReturnOptions | None) -> tuple[SearchKey, Refusal | None]:
    """search-program = ["CHARSET" SP charset SP] search-key *(SP search-key); with a NO as in `Search`."""
    keys = _SearchKeys(cursor)
    key, refused = _saving(cursor, returns, keys.program)
    keys.check(returns, refused)
    return key, refused


def parse_criteria(
    cursor: Cursor, returns: ReturnOptions | None, *, scored: bool = False
) -> tuple[SearchKey, Refusal | None]:
    """search-criteria = charset 1*(SP search-key)   (RFC 5256 s5); with a NO that has a consequence.

    `scored`: what is found is put in order by its score.
    """
    keys = _SearchKeys(cursor)
    key, refused = _saving(cursor, returns, keys.criteria)
    keys.check(returns, refused, scored=scored)
    return key, refused


def _saving(
    cursor: Cursor, returns: ReturnOptions | None, parse: Callable[[], SearchKey]
) -> tuple[SearchKey, Refusal | None]:
    try:
        return parse(), None
    except RemoteProtocolError as error:
        if returns is None or not returns.saves or error.refusal.condition is not Condition.NO:
            raise
        # RFC 5182 s2.1: the NO empties what was saved, so the command is still one.
        cursor.skip_rest()
        return All(), error.refusal


class _SearchKeys:
    """One program's keys, counted; the depth goes down with the recursion."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._count = 0
        self.has_fuzzy = False

    def program(self) -> SearchKey:
        """["CHARSET" SP astring SP] search-key *(SP search-key); the keys are joined by AND."""
        cursor = self._cursor
        if cursor.accept_word(b"CHARSET"):
            cursor.sp()
            return self.criteria()
        return self._keys(depth=0)

    def check(self, returns: ReturnOptions | None, refused: Refusal | None, *, scored: bool = False) -> None:
        """RFC 6203 s4, s6: scores are only asked for with a FUZZY key."""
        scored = scored or (returns is not None and returns.scores)
        if scored and not self.has_fuzzy and refused is None:
            raise self._cursor.wrong("FUZZY")

    def criteria(self) -> SearchKey:
        """charset 1*(SP search-key)."""
        if self._cursor.astring().upper() not in _CHARSETS:
            raise self._cursor.wrong("US-ASCII or UTF-8", BAD_CHARSET)
        self._cursor.sp()
        return self._keys(depth=0)

    def _keys(self, depth: int) -> SearchKey:
        """search-key *(SP search-key)."""
        keys = [self._key(depth)]
        while self._cursor.accept(b" "):
            keys.append(self._key(depth))
        return keys[0] if len(keys) == 1 else And(tuple(keys))

    def _key(self, depth: int) -> SearchKey:
        """search-key."""
        cursor = self._cursor
        if depth > cursor.limits.max_nesting:
            raise cursor.wrong("less nesting", NESTED_TOO_DEEPLY)
        self._count += 1
        if self._count > cursor.limits.max_search_keys:
            raise cursor.wrong("fewer search keys", TOO_MANY_ITEMS)
        if cursor.accept(b"("):
            keys = self._keys(depth + 1)
            cursor.expect(b")")
            return keys
        if cursor.digit_next or cursor.next_is(b"*") or cursor.next_is(b"$"):
            return SequenceNumbers(cursor.sequence_set())
        return self._named(cursor.word(), depth)

    def _named(self, name: bytes, depth: int) -> SearchKey:
        bare = _BARE.get(name)
        if bare is not None:
            return bare
        self._cursor.sp()
        if name == b"NOT":
            return Not(self._key(depth + 1))
        if name == b"FUZZY":  # RFC 6203 s7
            self.has_fuzzy = True
            return fuzzied(self._key(depth + 1))
        if name == b"OR":
            left = self._key(depth + 1)
            self._cursor.sp()
            return Or(left, self._key(depth + 1))
        return self._with_argument(name)

    def _with_argument(self, name: bytes) -> SearchKey:
        cursor = self._cursor
        if name in _TEXTS:
            return TextContains(_TEXTS[name], self._text())
        if name in _ARRIVED:
            return Arrived(_ARRIVED[name], cursor.date())
        if name in _SENT:
            return Sent(_SENT[name], cursor.date())
        if name in _SAVED:
            return Saved(_SAVED[name], cursor.date())
        parser = _ARGUMENTS.get(name)
        if parser is None:
            raise cursor.wrong("search-key")
        return parser(self)

    def header(self) -> SearchKey:
        """ "HEADER" SP header-fld-name SP astring."""
        name = self._text()
        self._cursor.sp()
        return HeaderContains(name, self._text())

    def keyword(self) -> HasFlag:
        """ "KEYWORD" SP flag-keyword."""
        return HasFlag(self._cursor.flag_keyword())

    def number(self) -> int:
        """number64."""
        return self._cursor.number64()

    def interval(self) -> int:
        """nz-number, in seconds (RFC 5032 s3)."""
        return self._cursor.nz_number()

    def changed_since(self) -> ChangedSince:
        """ "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer   (RFC 7162 s7)."""
        cursor = self._cursor
        if cursor.next_is(b'"'):
            # s3.1.5: where all metadata of a message share one MODSEQ, the entry is ignored.
            cursor.string()
            cursor.sp()
            cursor.word_of(_ENTRY_TYPES)
            cursor.sp()
        return ChangedSince(mod_sequence_valzer(cursor))

    def email_id(self) -> SearchKey:
        """ "EMAILID" SP objectid   (RFC 8474 s7)."""
        found = email_id_of(self._object_id())
        return _NONE if found is None else HasEmailId(found)

    def thread_id(self) -> SearchKey:
        """ "THREADID" SP objectid   (RFC 8474 s7)."""
        found = thread_id_of(self._object_id())
        return _NONE if found is None else HasThreadId(found)

    def uids(self) -> Uids:
        """ "UID" SP sequence-set."""
        return Uids(self._cursor.sequence_set())

    def uid_after(self) -> SearchKey:
        """ "UIDAFTER" SP uniqueid   (RFC 9738 s3.2): strictly so, thus without `*`, which is the last."""
        uid = self._cursor.nz_number()
        return Uids(SequenceSet(((uid + 1, MAX_NUMBER),))) if uid < MAX_NUMBER else _NONE

    def uid_before(self) -> SearchKey:
        """ "UIDBEFORE" SP uniqueid   (RFC 9738 s3.2)."""
        uid = self._cursor.nz_number()
        return Uids(SequenceSet(((1, uid - 1),))) if uid > 1 else _NONE

    def _object_id(self) -> bytes:
        octets = self._cursor.atom()
        if not OBJECT_ID.fullmatch(octets):
            raise self._cursor.wrong("objectid")
        return octets

    def _text(self) -> str:
        octets = self._cursor.astring()
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._cursor.wrong("UTF-8", BAD_STRING) from error


_ARGUMENTS: Final[dict[bytes, Callable[[_SearchKeys], SearchKey]]] = {
    b"EMAILID": _SearchKeys.email_id,
    b"HEADER": _SearchKeys.header,
    b"KEYWORD": _SearchKeys.keyword,
    b"UNKEYWORD": lambda keys: Not(keys.keyword()),
    b"LARGER": lambda keys: Larger(keys.number()),
    b"MODSEQ": _SearchKeys.changed_since,
    b"OLDER": lambda keys: Older(keys.interval()),
    b"SMALLER": lambda keys: Smaller(keys.number()),
    b"THREADID": _SearchKeys.thread_id,
    b"UID": _SearchKeys.uids,
    b"UIDAFTER": _SearchKeys.uid_after,
    b"UIDBEFORE": _SearchKeys.uid_before,
    b"YOUNGER": lambda keys: Younger(keys.interval()),
}
