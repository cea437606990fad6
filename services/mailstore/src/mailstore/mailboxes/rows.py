"""Reading a mailbox's rows: whole in pages, and what changed since a MODSEQ.

Pages are read one after another without a transaction: whatever changes between them has a MODSEQ above the
one that was read first, so the next look at the journal tells it (RFC 7162 s3.1.2.2 allows it to be told
twice).
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
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
_PAGE: Final = f"""
SELECT {_COLUMNS} FROM (
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
_STATE: Final = "SELECT modseq, change_floor FROM mailstore.account_state WHERE account_id = $1"
_JOURNAL: Final = """
SELECT uids FROM mailstore.change
WHERE account_id = $1 AND mailbox_id = $2 AND modseq > $3 AND modseq <= $4 AND uids IS NOT NULL
"""


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
class Changes:
    """What a reader at some MODSEQ does not know yet. `reload`: the journal does not reach back so far."""

    modseq: int
    rows: RowColumns = field(default_factory=RowColumns)
    vanished: Ranges = ()
    reload: bool = False


async def pages(database: Database, account_id: UUID, mailbox_id: UUID) -> AsyncGenerator[RowColumns]:
    """All rows of a mailbox; the last page may be empty."""
    after = 0
    while True:
        async with database.connection() as connection:
            page = _columns(await connection.fetchrow(_PAGE, account_id, mailbox_id, after, PAGE_ROWS))
        yield page
        if len(page.uids) < PAGE_ROWS:
            return
        after = page.uids[-1]


async def rows_of(connection: Connection, account_id: UUID, mailbox_id: UUID, ranges: Ranges) -> RowColumns:
    """The rows of some UIDs, as they are now."""
    return _columns(await connection.fetchrow(_OF_RANGES, account_id, mailbox_id, *bounds(ranges)))


async def changes_since(database: Database, account_id: UUID, mailbox_id: UUID, since: int) -> Changes:
    """What changed in a mailbox after a MODSEQ, up to the account's MODSEQ that is read first."""
    async with database.connection() as connection:
        state = await connection.fetchrow(_STATE, account_id)
        if state is None:
            return Changes(0, reload=True)
        if since < state["change_floor"] - 1:
            return Changes(state["modseq"], reload=True)
        journal = await connection.fetch(_JOURNAL, account_id, mailbox_id, since, state["modseq"])
        touched = merge(sorted(each for row in journal for each in from_multirange(row["uids"])))
        if not touched:
            return Changes(state["modseq"])
        rows = await rows_of(connection, account_id, mailbox_id, touched)
    return Changes(state["modseq"], rows, _without(touched, compress(rows.uids)))


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
    return RowColumns(**row)
