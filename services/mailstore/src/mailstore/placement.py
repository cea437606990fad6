"""Putting messages into mailboxes: the one place where UIDs are born.

The UPDATE of the mailbox row gives the UIDs inside the transaction that shows the messages, so UIDs ascend in
the order of commits and a client that has seen one has seen all below it (RFC 3501 s2.3.1.1).
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from postroom_storage.database import Connection

SEEN: Final = 1
ANSWERED: Final = 2
FLAGGED: Final = 4
DELETED: Final = 8
DRAFT: Final = 16

CHANGE_ADDED: Final = 1
CHANGE_FLAGS: Final = 2
CHANGE_EXPUNGED: Final = 3
CHANGE_MAILBOX_CREATED: Final = 4
CHANGE_MAILBOX_RENAMED: Final = 5
CHANGE_MAILBOX_DELETED: Final = 6
CHANGE_SUBSCRIPTIONS: Final = 7

_ALLOT: Final = """
UPDATE mailstore.mailbox AS m
SET uid_next = m.uid_next + t.messages, messages = m.messages + t.messages, unseen = m.unseen + t.unseen,
    deleted = m.deleted + t.deleted, size = m.size + t.size, highest_modseq = t.modseq
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS t(id, messages, unseen, deleted, size, modseq)
WHERE m.id = t.id
RETURNING m.id, m.account_id, m.uid_next - t.messages AS first_uid, m.uid_validity, t.messages, t.size,
          t.modseq
"""

# Rows, journal and counters in one round trip; none of the parts reads what another one writes.
_PLACE: Final = """
WITH placed AS (
    INSERT INTO mailstore.mailbox_message
        (account_id, mailbox_id, uid, message_id, tenant_id, flags, keywords, modseq, internal_date, size,
         prefix)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::smallint[],
                         $7::bigint[], $8::bigint[], $9::timestamptz[], $10::bigint[], $11::bytea[])
), allotted AS MATERIALIZED (
    SELECT * FROM unnest($12::uuid[], $13::bigint[], $14::uuid[], $15::bigint[], $16::bigint[], $17::bigint[])
        AS t(account_id, modseq, mailbox_id, first, messages, octets)
), journal AS (
    INSERT INTO mailstore.change (account_id, modseq, mailbox_id, kind, uids)
    SELECT t.account_id, t.modseq, t.mailbox_id, 1, int8multirange(int8range(t.first, t.first + t.messages))
    FROM allotted AS t
)
UPDATE mailstore.account_state AS s
SET used_octets = s.used_octets + t.octets, used_messages = s.used_messages + t.messages
FROM (SELECT account_id, sum(octets)::bigint AS octets, sum(messages)::bigint AS messages
      FROM allotted GROUP BY 1) AS t
WHERE s.account_id = t.account_id
"""


@dataclass(frozen=True, slots=True)
class Placement:
    """A message to put into a mailbox; `size` counts the message's octets and the prefix."""

    account_id: UUID
    tenant_id: UUID
    mailbox_id: UUID
    message_id: UUID
    flags: int
    keywords: int
    internal_date: dt.datetime
    size: int
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a placement went."""

    uid_validity: int
    uid: int


@dataclass(slots=True)
class _Totals:
    messages: int = 0
    unseen: int = 0
    deleted: int = 0
    size: int = 0


async def place(
    connection: Connection, placements: Sequence[Placement], modseqs: Mapping[UUID, int]
) -> list[Placed]:
    """Put messages into mailboxes; the accounts are locked and `modseqs` is what `lock_accounts` gave.

    Within a mailbox UIDs follow the order of `placements`. Writes the rows, the journal and the counters. The
    mailboxes exist: whoever locked the account has looked.
    """
    allotted = await _allot(connection, placements, modseqs)
    placed = _number(placements, allotted)
    columns = (
        [row[name] for row in allotted]
        for name in ("account_id", "modseq", "id", "first_uid", "messages", "size")
    )
    await connection.execute(
        _PLACE,
        [placement.account_id for placement in placements],
        [placement.mailbox_id for placement in placements],
        [where.uid for where in placed],
        [placement.message_id for placement in placements],
        [placement.tenant_id for placement in placements],
        [placement.flags for placement in placements],
        [placement.keywords for placement in placements],
        [modseqs[placement.account_id] for placement in placements],
        [placement.internal_date for placement in placements],
        [placement.size for placement in placements],
        [placement.prefix for placement in placements],
        *columns,
    )
    return placed


async def _allot(
    connection: Connection, placements: Sequence[Placement], modseqs: Mapping[UUID, int]
) -> list[asyncpg.Record]:
    """Count the placements in their mailboxes, which gives each mailbox's first new UID."""
    totals: defaultdict[UUID, _Totals] = defaultdict(_Totals)
    accounts: dict[UUID, UUID] = {}
    for placement in placements:
        total = totals[placement.mailbox_id]
        accounts[placement.mailbox_id] = placement.account_id
        total.messages += 1
        total.unseen += not placement.flags & SEEN
        total.deleted += bool(placement.flags & DELETED)
        total.size += placement.size
    return await connection.fetch(
        _ALLOT,
        list(totals),
        [total.messages for total in totals.values()],
        [total.unseen for total in totals.values()],
        [total.deleted for total in totals.values()],
        [total.size for total in totals.values()],
        [modseqs[accounts[mailbox_id]] for mailbox_id in totals],
    )


def _number(placements: Sequence[Placement], allotted: Sequence[asyncpg.Record]) -> list[Placed]:
    next_uid = {row["id"]: row["first_uid"] for row in allotted}
    validity = {row["id"]: row["uid_validity"] for row in allotted}
    placed: list[Placed] = []
    for placement in placements:
        uid = next_uid[placement.mailbox_id]
        next_uid[placement.mailbox_id] = uid + 1
        placed.append(Placed(validity[placement.mailbox_id], uid))
    return placed
