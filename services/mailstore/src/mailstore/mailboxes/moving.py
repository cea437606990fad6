"""COPY, MOVE and EXPUNGE: each is one transaction of a locked account."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.mailboxes.journal import write_change
from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds, compress
from mailstore.placement import CHANGE_EXPUNGED, DELETED, Placement, place
from postroom_storage.database import Connection

_SOURCE: Final = f"""
SELECT m.uid, m.message_id, m.tenant_id, m.flags, m.keywords, m.internal_date, m.size, m.prefix
FROM {IN_RANGES}
ORDER BY m.uid
"""
_REMOVE: Final = f"""
WITH gone AS (
    DELETE FROM mailstore.mailbox_message AS m
    WHERE m.account_id = $1 AND m.mailbox_id = $2
      AND m.uid = ANY (ARRAY(SELECT m.uid FROM {IN_RANGES} WHERE m.flags & $5 = $5))
    RETURNING m.uid, m.message_id, m.flags, m.size
)
SELECT array_agg(uid ORDER BY uid) AS uids, array_agg(message_id) AS message_ids, count(*) AS messages,
       count(*) FILTER (WHERE flags & 1 = 0) AS unseen, count(*) FILTER (WHERE flags & 8 <> 0) AS deleted,
       coalesce(sum(size), 0)::bigint AS size
FROM gone
"""
_COUNT: Final = """
WITH box AS (
    UPDATE mailstore.mailbox
    SET messages = messages - $3, unseen = unseen - $4, deleted = deleted - $5, size = size - $6,
        highest_modseq = $7
    WHERE id = $2
)
UPDATE mailstore.account_state SET used_messages = used_messages - $3, used_octets = used_octets - $6
WHERE account_id = $1
"""
# Copies in the account itself are looked for here, in one partition; those of others by the janitor.
_CANDIDATES: Final = """
INSERT INTO mailstore.blob_candidate (blob_id)
SELECT DISTINCT m.blob_id FROM mailstore.message AS m
WHERE m.id = ANY($1::uuid[])
  AND NOT EXISTS (SELECT FROM mailstore.mailbox_message AS mm
                  WHERE mm.account_id = $2 AND mm.message_id = m.id)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Copied:
    """Where messages went: equal in count and order (RFC 4315 s3)."""

    uid_validity: int
    source: Ranges
    target: Ranges


async def copy_messages(
    connection: Connection, account_id: UUID, mailbox_id: UUID, modseq: int, ranges: Ranges, target_id: UUID
) -> Copied | None:
    """Copy messages to another or the same mailbox of the account; None when there are none."""
    rows = await connection.fetch(_SOURCE, account_id, mailbox_id, *bounds(ranges))
    if not rows:
        return None
    placements = [_placement(row, account_id, target_id) for row in rows]
    placed = await place(connection, placements, {account_id: modseq})
    target = compress(where.uid for where in placed)
    return Copied(placed[0].uid_validity, compress(row["uid"] for row in rows), target)


async def move_messages(
    connection: Connection, account_id: UUID, mailbox_id: UUID, modseq: int, ranges: Ranges, target_id: UUID
) -> Copied | None:
    """Copy, and remove the originals (RFC 6851 s3.3)."""
    copied = await copy_messages(connection, account_id, mailbox_id, modseq, ranges, target_id)
    if copied is not None:
        await remove_messages(connection, account_id, mailbox_id, modseq, copied.source)
    return copied


async def remove_messages(
    connection: Connection,
    account_id: UUID,
    mailbox_id: UUID,
    modseq: int,
    ranges: Ranges,
    *,
    only_deleted: bool = False,
) -> Ranges:
    """Expunge these messages, or those of them that have \\Deleted; returns the UIDs that are gone.

    Octets stay until the janitor finds that nothing refers to them.
    """
    required = DELETED if only_deleted else 0
    row = await connection.fetchrow(_REMOVE, account_id, mailbox_id, *bounds(ranges), required)
    if row is None or not row["messages"]:
        return []
    await connection.execute(
        _COUNT, account_id, mailbox_id, row["messages"], row["unseen"], row["deleted"], row["size"], modseq
    )
    gone = compress(row["uids"])
    await write_change(connection, account_id, modseq, mailbox_id, CHANGE_EXPUNGED, gone)
    message_ids: Sequence[UUID] = row["message_ids"]
    await connection.execute(_CANDIDATES, message_ids, account_id)
    return gone


def _placement(row: Record, account_id: UUID, target_id: UUID) -> Placement:
    return Placement(
        account_id=account_id,
        tenant_id=row["tenant_id"],
        mailbox_id=target_id,
        message_id=row["message_id"],
        flags=row["flags"],
        keywords=row["keywords"],
        internal_date=row["internal_date"],
        size=row["size"],
        prefix=row["prefix"],
    )
