"""Facts about messages, as FETCH and REST ask for them: from rows alone, never from the object store."""

import datetime as dt
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import cache
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.mailboxes.uid_ranges import Ranges, bounds
from postroom_storage.database import Database

_PAGE_ROWS: Final = 200
_LEAN_PAGE_ROWS: Final = 500
_PAGE_OCTETS: Final = 1024 * 1024
# The page ends early when its large columns have so many octets together.
_TEMPLATE: Final = """
SELECT * FROM (
    SELECT page.*,
           sum(length(envelope) + length(body) + length(body_structure) + length(parts) + length(header)
               + length(summary) + length(preview_of))
               OVER (ORDER BY uid ROWS UNBOUNDED PRECEDING) AS running,
           row_number() OVER (ORDER BY uid) AS number
    FROM (
        SELECT mm.uid, mm.message_id, m.blob_id, mm.flags, mm.keywords, mm.size, mm.internal_date,
               mm.saved_at, mm.prefix, mm.modseq, m.header_complete,
               CASE WHEN $12 THEN mailstore.email_of(mm.message_id, mm.prefix) END AS email_id,
               CASE WHEN $12 THEN coalesce(m.thread_id, mailstore.thread_of(m.id, m.summary)) END
                   AS thread_id,
               CASE WHEN $6 THEN m.envelope ELSE '' END AS envelope,
               CASE WHEN $7 THEN m.body ELSE '' END AS body,
               CASE WHEN $7 THEN m.body_structure ELSE '' END AS body_structure,
               CASE WHEN $7 THEN m.parts ELSE '' END AS parts,
               CASE WHEN $8 THEN m.header ELSE '' END AS header,
               CASE WHEN $9 THEN m.summary ELSE '' END AS summary,
               CASE WHEN $13 THEN m.summary ELSE '' END AS preview_of
        FROM unnest($3::bigint[], $4::bigint[]) AS r(first, last) CROSS JOIN LATERAL (
            {rows}
            ORDER BY uid LIMIT $10
        ) AS mm
        JOIN mailstore.message AS m ON m.id = mm.message_id
        ORDER BY mm.uid LIMIT $10
    ) AS page
) AS bounded
WHERE number = 1 OR running <= $11 ORDER BY uid
"""
# The same with what is asked for and nothing else: what is not read, sent and taken apart costs nothing.
_LEAN_TEMPLATE: Final = """
SELECT {names} FROM (
    SELECT page.*, sum({lengths}) OVER (ORDER BY uid ROWS UNBOUNDED PRECEDING) AS running,
           row_number() OVER (ORDER BY uid) AS number
    FROM (
        SELECT mm.uid, mm.size, mm.prefix, m.header_complete{columns}
        FROM unnest($3::bigint[], $4::bigint[]) AS r(first, last) CROSS JOIN LATERAL (
            {rows}
            ORDER BY uid LIMIT $6
        ) AS mm
        JOIN mailstore.message AS m ON m.id = mm.message_id
        ORDER BY mm.uid LIMIT $6
    ) AS page
) AS bounded
WHERE number = 1 OR running <= $7 ORDER BY uid
"""
_OF_TABLE: Final = """
SELECT uid, message_id, flags, keywords, size, internal_date, saved_at, prefix, modseq
FROM mailstore.{table}
WHERE account_id = $1 AND mailbox_id = $2 AND uid BETWEEN greatest(r.first, $5 + 1) AND r.last
"""
_PRESENT: Final = _OF_TABLE.format(table="mailbox_message")
_GONE: Final = _OF_TABLE.format(table="expunged")
_PAGE: Final = _TEMPLATE.format(rows=_PRESENT)
# In one snapshot, so that a message that goes meanwhile is found once.
_PRESENT_OR_GONE: Final = "({present} ORDER BY uid LIMIT {most}) UNION ALL ({gone} ORDER BY uid LIMIT {most})"
_PAGE_WITH_EXPUNGED: Final = _TEMPLATE.format(
    rows=_PRESENT_OR_GONE.format(present=_PRESENT, gone=_GONE, most="$10")
)


@dataclass(frozen=True, slots=True)
class FactColumns:
    """Which of the large columns are asked for, and of what."""

    envelope: bool = False
    structure: bool = False
    header: bool = False
    summary: bool = False
    object_ids: bool = False
    preview: bool = False
    expunged: bool = False
    """Also rows of messages that are gone and still kept."""
    save_date: bool = False
    parts: bool = False
    """Both only when lean; else the part table comes with the structure."""


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """What is known of one message of a mailbox; columns that were not asked for are empty."""

    uid: int
    message_id: UUID
    blob_id: UUID
    flags: int
    keywords: int
    size: int
    internal_date: dt.datetime
    saved_at: dt.datetime
    prefix: bytes
    modseq: int
    header_complete: bool
    email_id: UUID | None
    thread_id: UUID | None
    envelope: bytes
    body: bytes
    body_structure: bytes
    parts: bytes
    header: bytes
    summary: bytes
    preview_of: bytes
    """The summary, where the preview in it was asked for."""


async def stored_facts(
    database: Database, account_id: UUID, mailbox_id: UUID, ranges: Ranges, columns: FactColumns
) -> AsyncGenerator[list[StoredFacts]]:
    """Facts by ascending UID, in pages of about a MiB at most."""
    after = 0
    while left := [(first, last) for first, last in ranges if last > after]:
        async with database.connection() as connection:
            rows = await connection.fetch(
                _PAGE_WITH_EXPUNGED if columns.expunged else _PAGE,
                account_id,
                mailbox_id,
                *bounds(left),
                after,
                columns.envelope,
                columns.structure,
                columns.header,
                columns.summary,
                _PAGE_ROWS,
                _PAGE_OCTETS,
                columns.object_ids,
                columns.preview,
            )
        if not rows:
            return
        page = [
            StoredFacts(**{name: value for name, value in row.items() if name not in {"running", "number"}})
            for row in rows
        ]
        after = page[-1].uid
        yield page


async def lean_facts(
    database: Database, account_id: UUID, mailbox_id: UUID, ranges: Ranges, columns: FactColumns
) -> AsyncGenerator[list[Record]]:
    """The same pages with what was asked for and nothing else, by the names of the contract's fields.

    But `summary` is there for the preview, too, and `saved_at` is an instant.
    """
    statement, after = _lean(columns), 0
    while left := [(first, last) for first, last in ranges if last > after]:
        async with database.connection() as connection:
            page = await connection.fetch(
                statement, account_id, mailbox_id, *bounds(left), after, _LEAN_PAGE_ROWS, _PAGE_OCTETS
            )
        if not page:
            return
        after = page[-1]["uid"]
        yield page


@cache
def _lean(columns: FactColumns) -> str:
    large = [
        name
        for name, wanted in (
            ("envelope", columns.envelope),
            ("body", columns.structure),
            ("body_structure", columns.structure),
            ("parts", columns.parts),
            ("header", columns.header),
            ("summary", columns.summary or columns.preview),
        )
        if wanted
    ]
    small = {
        "email_id": ("uuid_send(mailstore.email_of(mm.message_id, mm.prefix))", columns.object_ids),
        "thread_id": (
            "uuid_send(coalesce(m.thread_id, mailstore.thread_of(m.id, m.summary)))",
            columns.object_ids,
        ),
        "saved_at": ("mm.saved_at", columns.save_date),
    }
    chosen = {name: expression for name, (expression, wanted) in small.items() if wanted}
    rows = _PRESENT
    if columns.expunged:
        rows = _PRESENT_OR_GONE.format(present=_PRESENT, gone=_GONE, most="$6")
    return _LEAN_TEMPLATE.format(
        names=", ".join(("uid", "size", "prefix", "header_complete", *large, *chosen)),
        lengths=" + ".join(f"length({name})" for name in large) or "0",
        columns="".join(f", m.{name}" for name in large)
        + "".join(f", {expression} AS {name}" for name, expression in chosen.items()),
        rows=rows,
    )
