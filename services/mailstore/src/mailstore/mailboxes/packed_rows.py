"""Rows as octets: Postgres writes the columns of whole pages, and nobody here looks at their numbers."""

import sys
from array import array
from collections.abc import AsyncGenerator, Sequence
from typing import Final
from uuid import UUID

from mailstore.mailboxes.rows import KEYWORD_COLUMNS, RowColumns, named_keywords
from postroom.mailstore.v1 import mailbox_pb2
from postroom_storage.database import Database

PAGE_ROWS: Final = 20_000
"""Some 800 KB: a tenth of the largest message."""

# The aggregates take the rows in the order of the subquery. The shifts keep the last 32 bits of a UID, which
# may not fit a signed integer.
_PAGE: Final = f"""
SELECT count(*) AS rows, max(uid) AS last, string_agg(int4send((uid << 32 >> 32)::int4), '') AS uids,
       string_agg(int2send(flags), '') AS flags, string_agg(int8send(keywords), '') AS keywords,
       string_agg(int8send(modseq), '') AS modseqs, string_agg(int8send(size), '') AS sizes,
       string_agg(int8send(date_part('epoch', internal_date)::bigint), '') AS internal_dates,
       {KEYWORD_COLUMNS}
FROM (
    SELECT uid, flags, keywords, modseq, size, internal_date FROM mailstore.mailbox_message
    WHERE account_id = $1 AND mailbox_id = $2 AND uid > $3 ORDER BY uid LIMIT $4
) AS page
"""


async def packed_pages(
    database: Database, account_id: UUID, mailbox_id: UUID, page_rows: int = PAGE_ROWS
) -> AsyncGenerator[tuple[mailbox_pb2.PackedRows, dict[str, int]]]:
    """All rows of a mailbox, by ascending UID, each page with the keywords of then; none for an empty one."""
    after = 0
    while True:
        async with database.connection() as connection:
            row = await connection.fetchrow(_PAGE, account_id, mailbox_id, after, page_rows)
        if row is None or not row["rows"]:
            return
        packed = mailbox_pb2.PackedRows(
            uids=row["uids"],
            flags=row["flags"],
            keywords=row["keywords"],
            modseqs=row["modseqs"],
            sizes=row["sizes"],
            internal_dates=row["internal_dates"],
        )
        yield packed, named_keywords(row)
        if row["rows"] < page_rows:
            return
        after = row["last"]


def changed_flags(rows: RowColumns) -> mailbox_pb2.ChangedFlags:
    """What of rows a change of flags is about."""
    return mailbox_pb2.ChangedFlags(
        uids=_packed("I", rows.uids),
        flags=_packed("H", rows.flags),
        keywords=_packed("Q", rows.keywords) if any(rows.keywords) else b"",
    )


def _packed(typecode: str, numbers: Sequence[int]) -> bytes:
    """The numbers in the machine's size of that code, big-endian."""
    column = array(typecode, numbers)
    if sys.byteorder == "little":
        column.byteswap()
    return column.tobytes()
