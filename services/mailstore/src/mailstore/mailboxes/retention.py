"""What was expunged, for as long as it is kept: listing it, putting it back, and forgetting it in the end."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.accounts import INBOX
from mailstore.mailboxes.moving import Copied, Removal
from mailstore.mailboxes.uid_ranges import MAX_UID, Ranges, bounds, compress
from mailstore.placement import DELETED, Placement, place
from postroom_contracts.errors import LimitError, MailboxNotFoundError
from postroom_storage.database import Connection, Database

MAX_RESTORED: Final = 20_000
"""Messages that one request puts back."""

_RESTORABLE: Final = f"""
e.account_id = $1 AND e.kind <> {Removal.MOVED.value} AND e.expunged_at > now() - make_interval(secs => $2)
"""
_MAILBOX: Final = "SELECT id, name, deleted_at FROM mailstore.mailbox WHERE account_id = $1 AND id = $2"
_INBOX: Final = f"""
SELECT id, name FROM mailstore.mailbox WHERE account_id = $1 AND name = '{INBOX}' AND deleted_at IS NULL
"""
_LIST: Final = f"""
SELECT e.mailbox_id, coalesce(b.name, '') AS mailbox,
       b.id IS NULL OR b.deleted_at IS NOT NULL AS mailbox_gone, e.uid, e.flags, e.keywords,
       e.size, e.internal_date, e.expunged_at, e.expunged_at + make_interval(secs => $2) AS kept_until,
       m.summary
FROM mailstore.expunged AS e
JOIN mailstore.message AS m ON m.id = e.message_id
LEFT JOIN mailstore.mailbox AS b ON b.id = e.mailbox_id
WHERE {_RESTORABLE} AND ($3::uuid IS NULL OR e.mailbox_id = $3) AND (e.mailbox_id, e.uid) < ($4, $5)
ORDER BY e.mailbox_id DESC, e.uid DESC LIMIT $6
"""
# Whoever has not been told of the expunge yet still reads it there: it has moved elsewhere.
_PUT_BACK: Final = f"""
WITH back AS (
    UPDATE mailstore.expunged AS e SET kind = {Removal.MOVED.value}
    WHERE {_RESTORABLE} AND e.mailbox_id = $3 AND e.uid = ANY (ARRAY(
        SELECT e.uid FROM unnest($4::bigint[], $5::bigint[]) AS r(first, last) CROSS JOIN LATERAL (
            SELECT e.uid FROM mailstore.expunged AS e
            WHERE {_RESTORABLE} AND e.mailbox_id = $3 AND e.uid BETWEEN r.first AND r.last LIMIT $6
        ) AS e LIMIT $6))
    RETURNING e.*
)
SELECT * FROM back ORDER BY uid
"""
_FORGET: Final = """
WITH old AS MATERIALIZED (
    SELECT account_id, mailbox_id, uid FROM mailstore.expunged
    WHERE {which} AND expunged_at < now() - make_interval(secs => $1)
    ORDER BY expunged_at LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM mailstore.expunged AS e USING old
    WHERE (e.account_id, e.mailbox_id, e.uid) = (old.account_id, old.mailbox_id, old.uid)
    RETURNING e.message_id
), candidates AS (
    INSERT INTO mailstore.blob_candidate (blob_id)
    SELECT DISTINCT m.blob_id FROM gone JOIN mailstore.message AS m ON m.id = gone.message_id
    ON CONFLICT (blob_id) DO UPDATE SET noted_at = now(), quarantined_at = NULL
)
SELECT count(*) FROM gone
"""
# Each as the index for it says.
_FORGET_EXPUNGED: Final = _FORGET.format(which="kind <> 2")
_FORGET_MOVED: Final = _FORGET.format(which="kind = 2")
# Sessions that were not told yet read what is younger.
_CAP: Final = """
WITH ranked AS (
    SELECT account_id, mailbox_id, uid,
           sum(size) OVER (PARTITION BY account_id ORDER BY expunged_at DESC, mailbox_id, uid) AS octets
    FROM mailstore.expunged WHERE kind <> 2 AND account_id IN (
        SELECT account_id FROM mailstore.expunged WHERE kind <> 2 GROUP BY account_id HAVING sum(size) > $1)
)
UPDATE mailstore.expunged AS e SET expunged_at = '-infinity' FROM ranked AS r
WHERE r.octets > $1 AND (e.account_id, e.mailbox_id, e.uid) = (r.account_id, r.mailbox_id, r.uid)
  AND e.kind <> 2 AND e.expunged_at < now() - interval '1 hour' AND e.expunged_at > '-infinity'
"""
_FORGET_MAILBOXES: Final = """
WITH gone AS (
    DELETE FROM mailstore.mailbox AS b WHERE b.id = ANY (ARRAY(
        SELECT b.id FROM mailstore.mailbox AS b
        WHERE b.deleted_at < now() - make_interval(secs => $1) AND b.messages = 0
          AND NOT EXISTS (SELECT FROM mailstore.expunged AS e
                          WHERE e.account_id = b.account_id AND e.mailbox_id = b.id)
        ORDER BY b.deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING b.id
)
SELECT count(*) FROM gone
"""


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """How long what was removed is kept: `expunged_seconds`, and `moved_seconds` where it is elsewhere now.

    Neither may be less than an hour: sessions read what they do not know to be gone, and an APPEND that is
    asked again is recognised. Of an account that has expunged more than `account_octets` the oldest are kept
    for an hour only: quotas do not count them. Rows of a slice, and slices of a round.
    """

    expunged_seconds: float = 14 * 86_400.0
    moved_seconds: float = 86_400.0
    account_octets: int = 10 * 1024**3
    cap_seconds: float = 60.0
    slice_rows: int = 2_000
    slices: int = 200


@dataclass(frozen=True, slots=True)
class ExpungedMessage:
    """A message that can be restored until `kept_until`; `mailbox` is the name of where it was."""

    mailbox_id: UUID
    mailbox: str
    mailbox_gone: bool
    uid: int
    flags: int
    keywords: int
    size: int
    internal_date: dt.datetime
    expunged_at: dt.datetime
    kept_until: dt.datetime
    summary: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """Which part of an account's expunged messages: of one mailbox or all, below a place."""

    mailbox_id: UUID | None
    before: tuple[UUID, int] = (UUID(int=2**128 - 1), MAX_UID)
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Restored:
    """Where messages are now; `copied` is None when none could be restored."""

    mailbox_id: UUID
    mailbox: str
    copied: Copied | None


async def list_expunged(
    connection: Connection, account_id: UUID, listed: Listed, limits: RetentionLimits
) -> list[ExpungedMessage]:
    """What can be restored, by mailbox, the highest UID first. Raises MailboxNotFoundError."""
    if listed.mailbox_id is not None:
        await _require_mailbox(connection, account_id, listed.mailbox_id)
    rows = await connection.fetch(
        _LIST, account_id, limits.expunged_seconds, listed.mailbox_id, *listed.before, listed.limit
    )
    return [ExpungedMessage(**row) for row in rows]


async def restore_messages(
    connection: Connection,
    account_id: UUID,
    modseq: int,
    wanted: tuple[UUID, Ranges],
    limits: RetentionLimits,
) -> Restored:
    """Put messages of a mailbox back, in a locked account; into INBOX when the mailbox is gone.

    They get new UIDs, and all their flags but \\Deleted. Raises MailboxNotFoundError, LimitError.
    """
    mailbox_id, ranges = wanted
    target = await _require_mailbox(connection, account_id, mailbox_id)
    if target["deleted_at"] is not None:
        target = await connection.fetchrow(_INBOX, account_id)
        if target is None:
            raise MailboxNotFoundError("the account has no INBOX")
    arguments = (account_id, limits.expunged_seconds, mailbox_id, *bounds(ranges), MAX_RESTORED + 1)
    rows = await connection.fetch(_PUT_BACK, *arguments)
    if len(rows) > MAX_RESTORED:
        raise LimitError("more messages than are restored at once")
    copied = await _place(connection, rows, target["id"], modseq) if rows else None
    return Restored(target["id"], target["name"], copied)


async def forget_expunged(database: Database, limits: RetentionLimits) -> None:
    """Forget what was kept for long enough, and deleted mailboxes of which nothing is left.

    The blobs become candidates of the janitor: unconditionally, since two who let go of a blob at the same
    time would each see the other's reference.
    """
    longest = max(limits.moved_seconds, limits.expunged_seconds)
    await _in_slices(database, limits, _FORGET_EXPUNGED, limits.expunged_seconds)
    await _in_slices(database, limits, _FORGET_MOVED, limits.moved_seconds)
    await _in_slices(database, limits, _FORGET_MAILBOXES, longest)


async def cap_expunged(database: Database, limits: RetentionLimits) -> None:
    """Let `forget_expunged` take the oldest of accounts that have expunged too much. It reads all."""
    async with database.transaction(seconds=limits.cap_seconds) as connection:
        milliseconds = f"{int(limits.cap_seconds * 1000)}ms"
        await connection.execute("SELECT set_config('statement_timeout', $1, true)", milliseconds)
        await connection.execute(_CAP, limits.account_octets)


async def _in_slices(database: Database, limits: RetentionLimits, statement: str, seconds: float) -> None:
    async def forget(connection: Connection) -> int:
        return await connection.fetchval(statement, seconds, limits.slice_rows)

    for _ in range(limits.slices):
        if await database.run(forget) < limits.slice_rows:
            return


async def _require_mailbox(connection: Connection, account_id: UUID, mailbox_id: UUID) -> Record:
    row = await connection.fetchrow(_MAILBOX, account_id, mailbox_id)
    if row is None:
        raise MailboxNotFoundError("no such mailbox")
    return row


async def _place(connection: Connection, rows: Sequence[Record], target_id: UUID, modseq: int) -> Copied:
    account_id: UUID = rows[0]["account_id"]
    placements = [
        Placement(
            account_id=account_id,
            tenant_id=row["tenant_id"],
            mailbox_id=target_id,
            message_id=row["message_id"],
            flags=row["flags"] & ~DELETED,
            keywords=row["keywords"],
            internal_date=row["internal_date"],
            size=row["size"],
            prefix=row["prefix"],
        )
        for row in rows
    ]
    placed = await place(connection, placements, {account_id: modseq})
    return Copied(
        placed[0].uid_validity, compress(row["uid"] for row in rows), compress(where.uid for where in placed)
    )
