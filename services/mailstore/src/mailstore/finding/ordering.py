"""SORT and THREAD (RFC 5256): one query over narrow rows, no octets.

Keys are made behind the delivery; those that are still missing are made now, from the message's row.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.finding.keys import SortKeys, sort_keys
from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds
from postroom_storage.database import Connection, Database
from postroom_wire.imap.thread_algorithms import Algorithm, Forest, ThreadedMessage, thread

MAX_CRITERIA: Final = 16
_SECONDS: Final = 20.0
"""Of one call; what it made of keys by then is kept."""
_MISSING_AT_ONCE: Final = 2_000

# The id list is short: a plain IN of the sub-select would let the planner join from the wide table.
_MISSING: Final = f"""
SELECT id, tenant_id, summary, sent_at FROM mailstore.message WHERE id = ANY (ARRAY(
    SELECT m.message_id FROM {IN_RANGES}
    WHERE NOT EXISTS (SELECT FROM mailstore.message_key AS k WHERE k.message_id = m.message_id)
    LIMIT $5
))
"""
INSERT_KEYS: Final = """
INSERT INTO mailstore.message_key
    (message_id, tenant_id, sent_at, subject, is_reply, from_mailbox, to_mailbox, cc_mailbox, from_name,
     to_name, own_id, reference_ids)
SELECT m.id, m.tenant_id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM mailstore.message AS m WHERE m.id = $1
ON CONFLICT DO NOTHING
"""
_SORT: Final = """
SELECT array_agg(m.uid ORDER BY {order}) AS uids
FROM {ranges} JOIN mailstore.message_key AS k ON k.message_id = m.message_id {scored}
"""
_SCORED: Final = "LEFT JOIN unnest($5::bigint[], $6::smallint[]) AS w(uid, score) ON w.uid = m.uid"
_THREAD: Final = f"""
SELECT m.uid, extract(epoch FROM coalesce(k.sent_at, m.internal_date))::bigint AS sent,
       extract(epoch FROM m.internal_date)::bigint AS arrived,
       k.subject, k.is_reply, k.own_id, k.reference_ids
FROM {IN_RANGES} JOIN mailstore.message_key AS k ON k.message_id = m.message_id
ORDER BY m.uid
"""


class SortKey(Enum):
    """sort-key; the value is what it compares. s2.2: without a sent date the internal date counts."""

    ARRIVAL = "m.internal_date"
    CC = "k.cc_mailbox"
    DATE = "coalesce(k.sent_at, m.internal_date)"
    FROM = "k.from_mailbox"
    SIZE = "m.size"
    SUBJECT = "k.subject"
    TO = "k.to_mailbox"
    DISPLAYFROM = "k.from_name"
    DISPLAYTO = "k.to_name"
    RELEVANCY = "-coalesce(w.score, 0)"


@dataclass(frozen=True, slots=True)
class Criterion:
    """One key, perhaps in reverse."""

    key: SortKey
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """The criteria, and the scores of UIDs where one of them is RELEVANCY."""

    criteria: Sequence[Criterion]
    scored_uids: Sequence[int] = ()
    scores: Sequence[int] = ()

    @property
    def by_score(self) -> bool:
        """Whether scores are looked at."""
        return any(each.key is SortKey.RELEVANCY for each in self.criteria)

    def statement(self) -> str:
        """The query for it."""
        keys = [f"{each.key.value} {'DESC' if each.reverse else 'ASC'}" for each in self.criteria]
        scored = _SCORED if self.by_score else ""
        return _SORT.format(order=", ".join([*keys, "m.uid"]), ranges=IN_RANGES, scored=scored)


async def sorted_uids(
    database: Database, account_id: UUID, mailbox_id: UUID, ranges: Ranges, order: Order
) -> list[int]:
    """These messages in the order of the criteria, then of their UIDs."""
    await _make_keys(database, account_id, mailbox_id, ranges)
    arguments: list[object] = [account_id, mailbox_id, *bounds(ranges)]
    if order.by_score:
        arguments += [order.scored_uids, order.scores]
    async with database.transaction(seconds=_SECONDS, readonly=True) as connection:
        await _take_time(connection)
        return await connection.fetchval(order.statement(), *arguments) or []


async def threads(
    database: Database, account_id: UUID, mailbox_id: UUID, ranges: Ranges, algorithm: Algorithm
) -> Forest:
    """These messages as threads."""
    await _make_keys(database, account_id, mailbox_id, ranges)
    async with database.transaction(seconds=_SECONDS, readonly=True) as connection:
        await _take_time(connection)
        rows = await connection.fetch(_THREAD, account_id, mailbox_id, *bounds(ranges))
    return await asyncio.to_thread(_threads, rows, algorithm)


def key_row(message_id: UUID, keys: SortKeys) -> tuple[object, ...]:
    """The arguments of `INSERT_KEYS`."""
    return message_id, *astuple(keys)


def _threads(rows: Sequence[Record], algorithm: Algorithm) -> Forest:
    messages = [
        ThreadedMessage(
            row["uid"],
            row["sent"],
            row["arrived"],
            row["subject"],
            is_reply=row["is_reply"],
            own_id=row["own_id"],
            references=row["reference_ids"],
        )
        for row in rows
    ]
    return thread(messages, algorithm)


async def _make_keys(database: Database, account_id: UUID, mailbox_id: UUID, ranges: Ranges) -> None:
    while True:
        async with database.connection() as connection:
            rows = await connection.fetch(_MISSING, account_id, mailbox_id, *bounds(ranges), _MISSING_AT_ONCE)
        if not rows:
            return
        made = await asyncio.to_thread(_keys, rows)
        async with database.transaction() as connection:
            await connection.executemany(INSERT_KEYS, made)


def _keys(rows: Sequence[Record]) -> list[tuple[object, ...]]:
    return [key_row(row["id"], sort_keys(row["summary"], row["sent_at"])) for row in rows]


async def _take_time(connection: Connection) -> None:
    """Sorting a very large mailbox takes longer than other statements may."""
    await connection.execute(f"SET LOCAL statement_timeout = {int(_SECONDS * 1_000)}")
