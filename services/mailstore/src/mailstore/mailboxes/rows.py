"""Reading a mailbox's rows: whole in pages, and what changed since a MODSEQ.

Pages are read one after another without a transaction: whatever changes between them has a MODSEQ above the
one that was read first, so the next look at the journal tells it (RFC 7162 s3.1.2.2 allows it to be told
twice).

Pages of changes follow the journal, which is in the order of MODSEQs. What a page tells is complete up to its
MODSEQ, and its rows are read as they are now: one that has changed again since has a MODSEQ above the page's,
and a message that is gone since is told as vanished. Later pages tell both again, which changes nothing for a
reader that keeps the row with the higher MODSEQ. Messages are first told by ascending UID, since UIDs ascend
in the order of MODSEQs.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds, compress, from_multirange, merge
from postroom_storage.database import Connection, Database

PAGE_ROWS: Final = 5_000

_COLUMNS: Final = """
    array_agg(uid ORDER BY uid) AS uids, array_agg(flags ORDER BY uid) AS flags,
    array_agg(keywords ORDER BY uid) AS keywords, array_agg(modseq ORDER BY uid) AS modseqs,
    array_agg(size ORDER BY uid) AS sizes,
    array_agg(extract(epoch FROM internal_date)::bigint ORDER BY uid) AS internal_dates
"""
# The keywords come with the rows that have them: a bit without a name would be no flag.
KEYWORD_COLUMNS: Final = """
    ARRAY(SELECT name FROM mailstore.keyword WHERE account_id = $1 ORDER BY bit) AS keyword_names,
    ARRAY(SELECT bit FROM mailstore.keyword WHERE account_id = $1 ORDER BY bit) AS keyword_bits
"""
_PAGE: Final = f"""
SELECT {_COLUMNS}, {KEYWORD_COLUMNS} FROM (
    SELECT uid, flags, keywords, modseq, size, internal_date FROM mailstore.mailbox_message
    WHERE account_id = $1 AND mailbox_id = $2 AND uid > $3 ORDER BY uid LIMIT $4
) AS page
"""
_OF_RANGES: Final = f"""
SELECT {_COLUMNS} FROM (
    SELECT m.uid, m.flags, m.keywords, m.modseq, m.size, m.internal_date
    FROM {IN_RANGES}
) AS found
"""
_OF_RANGES_AND_KEYWORDS: Final = f"SELECT found.*, {KEYWORD_COLUMNS} FROM ({_OF_RANGES}) AS found"
# One row at least, with the state; `uid_next` is NULL when there is no such mailbox. WITH TIES: what one
# transaction did is never cut in two here.
_JOURNAL: Final = """
SELECT s.modseq AS account_modseq, s.change_floor, m.uid_next, m.uid_validity, m.highest_modseq, c.modseq,
       c.uids
FROM mailstore.account_state AS s
LEFT JOIN mailstore.mailbox AS m ON m.account_id = s.account_id AND m.id = $2 AND m.deleted_at IS NULL
LEFT JOIN mailstore.change AS c
    ON c.account_id = s.account_id AND c.mailbox_id = $2 AND c.modseq > $3 AND c.uids IS NOT NULL
WHERE s.account_id = $1
ORDER BY c.modseq FETCH FIRST $4 ROWS WITH TIES
"""
_ALL: Final = 2**62


@dataclass(frozen=True, slots=True)
class RowColumns:
    """Rows as columns of equal length, by ascending UID; sizes in octets, dates in seconds since 1970."""

    uids: Sequence[int] = ()
    flags: Sequence[int] = ()
    keywords: Sequence[int] = ()
    modseqs: Sequence[int] = ()
    sizes: Sequence[int] = ()
    internal_dates: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Since:
    """From where on a reader asks for changes: what it knows, and in how large a page; 0 for all at once.

    `after_uid` is where the page before ended within a change that is larger than a page.
    """

    modseq: int
    limit: int = 0
    after_uid: int = 0


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reader does not know yet, complete up to `modseq`; `more` says that there is more to ask for.

    `keywords` are the account's, by name, when there are rows. `reload`: the journal does not reach back so
    far. `deleted`: the mailbox is no more.
    """

    modseq: int
    uid_next: int = 0
    rows: RowColumns = field(default_factory=RowColumns)
    keywords: Mapping[str, int] = field(default_factory=dict[str, int])
    vanished: Ranges = ()
    reload: bool = False
    deleted: bool = False
    more: bool = False
    after_uid: int = 0
    uid_validity: int = 0
    highest_modseq: int = 0
    """Of the mailbox's last change that is told by this page and those before it."""


@dataclass(frozen=True, slots=True)
class _Page:
    """Which messages a page of changes tells of."""

    modseq: int
    touched: Ranges
    highest_modseq: int = 0
    """The mailbox's last change that is told whole; 0 for none in this page."""
    more: bool = False
    after_uid: int = 0


async def pages(
    database: Database, account_id: UUID, mailbox_id: UUID
) -> AsyncGenerator[tuple[RowColumns, dict[str, int]]]:
    """All rows of a mailbox, each page with the keywords of then; the last one may be empty."""
    after = 0
    while True:
        async with database.connection() as connection:
            found = await connection.fetchrow(_PAGE, account_id, mailbox_id, after, PAGE_ROWS)
        page = _columns(found)
        yield page, named_keywords(found)
        if len(page.uids) < PAGE_ROWS:
            return
        after = page.uids[-1]


async def rows_of(connection: Connection, account_id: UUID, mailbox_id: UUID, ranges: Ranges) -> RowColumns:
    """The rows of some UIDs, as they are now."""
    return _columns(await connection.fetchrow(_OF_RANGES, account_id, mailbox_id, *bounds(ranges)))


async def changes_since(database: Database, account_id: UUID, mailbox_id: UUID, since: Since) -> Changes:
    """What changed after a MODSEQ, up to the account's MODSEQ that is read first, or one page of it."""
    most = min(since.limit, PAGE_ROWS) or _ALL
    async with database.connection() as connection:
        journal = await connection.fetch(_JOURNAL, account_id, mailbox_id, since.modseq, most)
        if not journal:
            return Changes(0, deleted=True)
        modseq, uid_next = journal[0]["account_modseq"], journal[0]["uid_next"]
        validity = journal[0]["uid_validity"]
        if uid_next is None:
            return Changes(modseq, deleted=True)
        if since.modseq < journal[0]["change_floor"] - 1:
            return Changes(modseq, uid_next, reload=True, uid_validity=validity)
        page = _page([row for row in journal if row["modseq"] is not None], since, most, modseq)
        rows, keywords = RowColumns(), dict[str, int]()
        if page.touched:
            found = await connection.fetchrow(
                _OF_RANGES_AND_KEYWORDS, account_id, mailbox_id, *bounds(page.touched)
            )
            rows, keywords = _columns(found), named_keywords(found)
    vanished = _without(page.touched, compress(rows.uids))
    return Changes(
        page.modseq,
        uid_next,
        rows,
        keywords,
        vanished,
        more=page.more,
        after_uid=page.after_uid,
        uid_validity=validity,
        # Some changes of the mailbox tell no UIDs, so that the row is above what the journal says.
        highest_modseq=page.highest_modseq if page.more else journal[0]["highest_modseq"],
    )


def _page(journal: Sequence[Record], since: Since, most: int, last_modseq: int) -> _Page:
    """The first changes of the journal that have so many messages at most."""
    told: list[tuple[int, int]] = []
    room, complete, highest = most, since.modseq, 0
    for modseq, group in groupby(journal, lambda row: row["modseq"]):
        ranges = _merged(each for row in group for each in from_multirange(row["uids"]))
        if complete == since.modseq and since.after_uid:
            ranges = _above(ranges, since.after_uid)
        if (count := _count(ranges)) > room:
            if told:
                return _Page(complete, _merged(told), highest, more=True)
            ranges = _first(ranges, room)
            return _Page(complete, ranges, highest, more=True, after_uid=ranges[-1][1])
        told += ranges
        room -= count
        complete = highest = modseq
    if len(journal) >= most:  # there may be more of it
        return _Page(complete, _merged(told), highest, more=True)
    return _Page(last_modseq, _merged(told))


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return merge(sorted(ranges))


def _count(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _above(ranges: Ranges, uid: int) -> list[tuple[int, int]]:
    """What of ascending ranges is above a UID."""
    return [(max(first, uid + 1), last) for first, last in ranges if last > uid]


def _first(ranges: Ranges, count: int) -> list[tuple[int, int]]:
    """The first so many UIDs of ascending ranges."""
    found: list[tuple[int, int]] = []
    for first, last in ranges:
        if count <= 0:
            break
        found.append((first, min(last, first + count - 1)))
        count -= last - first + 1
    return found


def _without(ranges: Ranges, holes: Ranges) -> list[tuple[int, int]]:
    """The ranges less the holes, which lie within them; all ascending and disjoint."""
    left: list[tuple[int, int]] = []
    waiting = list(reversed(holes))
    for first, last in ranges:
        start = first
        while waiting and waiting[-1][0] <= last:
            hole_first, hole_last = waiting.pop()
            if start < hole_first:
                left.append((start, hole_first - 1))
            start = hole_last + 1
        if start <= last:
            left.append((start, last))
    return left


def _columns(row: Record | None) -> RowColumns:
    if row is None or row["uids"] is None:
        return RowColumns()
    return RowColumns(*(row[each.name] for each in fields(RowColumns)))


def named_keywords(row: Record | None) -> dict[str, int]:
    """The bit of each keyword, of a row with `KEYWORD_COLUMNS`."""
    return {} if row is None else dict(zip(row["keyword_names"], row["keyword_bits"], strict=True))
