"""The queue as an administrator sees it: list, show, retry, cancel."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.queue.claims import ADD_LANES
from mailstore.queue.reports import Ending, Report, Verdict, end_deliveries
from postroom_contracts.errors import MessageNotFoundError
from postroom_storage.database import Connection, Database

_RETRIED_PRIORITY: Final = 1
"""Of lanes whose mail goes before all else of its site."""

_FIELDS: Final = """
SELECT a.id, a.tenant_id, a.reverse_path, b.size, a.received_at, a.expires_at
FROM mailstore.accepted AS a JOIN mailstore.blob AS b ON b.id = a.blob_id
"""
_LIST: Final = (
    _FIELDS
    + """
WHERE a.id > $1 AND EXISTS (SELECT FROM mailstore.delivery AS d WHERE d.accepted_id = a.id)
ORDER BY a.id LIMIT $2
"""
)
_ONE: Final = (
    _FIELDS + "WHERE a.id = $1 AND EXISTS (SELECT FROM mailstore.delivery AS d WHERE d.accepted_id = a.id)"
)
_DELIVERIES: Final = """
SELECT d.id, d.accepted_id, d.recipient, coalesce(d.site, 'local') AS site, d.due_at, d.attempts,
       coalesce(nullif(d.last_diagnostic, ''), s.last_diagnostic, '') AS last_diagnostic, d.parked,
       coalesce(c.worker, '') AS claimed_by,
       CASE WHEN s.back_off_until > now() THEN s.back_off_until END AS site_held_until
FROM mailstore.delivery AS d
LEFT JOIN mailstore.site AS s ON s.name = d.site
LEFT JOIN mailstore.claim AS c ON c.id = d.claim_id AND c.expires_at > now()
WHERE d.accepted_id = ANY($1::uuid[]) ORDER BY d.id
"""
# Sites are not waited for, and of all that waits for them this message is tried first. Local mail counts only
# the starts that killed a worker, so it begins anew.
_RETRY: Final = f"""
WITH retried AS (
    UPDATE mailstore.delivery
    SET due_at = now(), parked = false, starts = CASE WHEN site IS NULL THEN 0 ELSE attempts END,
        priority = CASE WHEN site IS NULL THEN priority ELSE {_RETRIED_PRIORITY} END
    WHERE accepted_id = $1 RETURNING local_lane, site, tenant_id, priority
), lanes AS (
    {ADD_LANES} retried WHERE site IS NOT NULL ON CONFLICT DO NOTHING
), unheld AS (
    UPDATE mailstore.site SET back_off_until = '-infinity'
    WHERE name IN (SELECT site FROM retried) AND back_off_until > now()
)
SELECT local_lane FROM retried
"""
_CANCELLABLE: Final = "SELECT id FROM mailstore.delivery WHERE accepted_id = $1 FOR UPDATE"


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """One recipient that is waited for; `claimed_by` names the relay that holds it.

    `site_held_until` is when its site, which let nobody in, is tried again.
    """

    id: UUID
    accepted_id: UUID
    recipient: str
    site: str
    due_at: dt.datetime
    attempts: int
    last_diagnostic: str
    parked: bool
    claimed_by: str
    site_held_until: dt.datetime | None


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message with unfinished deliveries."""

    id: UUID
    tenant_id: UUID
    reverse_path: str
    size: int
    received_at: dt.datetime
    expires_at: dt.datetime
    deliveries: Sequence[ListedDelivery]


async def list_queue(database: Database, after: UUID, most: int) -> list[ListedMessage]:
    """Messages by id, those after `after`."""
    async with database.connection() as connection:
        return await _with_deliveries(connection, await connection.fetch(_LIST, after, most))


async def get_queued(database: Database, message_id: UUID) -> ListedMessage:
    """One message. Raises MessageNotFoundError when none of its deliveries is unfinished."""
    async with database.connection() as connection:
        found = await _with_deliveries(connection, await connection.fetch(_ONE, message_id))
    if not found:
        raise MessageNotFoundError("not in the queue")
    return found[0]


async def retry_queued(connection: Connection, message_id: UUID) -> list[int | None]:
    """Make a message's deliveries due now, those that are parked too. Raises MessageNotFoundError.

    Gives the local lane of each, None for a remote one.
    """
    rows = await connection.fetch(_RETRY, message_id)
    if not rows:
        raise MessageNotFoundError("not in the queue")
    return [row["local_lane"] for row in rows]


async def cancel_queued(connection: Connection, message_id: UUID) -> int:
    """End a message's deliveries without a DSN; returns how many. What a relay sends just now is sent.

    Raises MessageNotFoundError.
    """
    rows = await connection.fetch(_CANCELLABLE, message_id)
    if not rows:
        raise MessageNotFoundError("not in the queue")
    cancelled = [Report(row["id"], Verdict.FAILED, "5.0.0", "cancelled", "") for row in rows]
    endings = [(report, Ending.CANCELLED) for report in cancelled]
    await end_deliveries(connection, endings, tried=False)
    return len(rows)


async def _with_deliveries(connection: Connection, rows: Sequence[Record]) -> list[ListedMessage]:
    deliveries: dict[UUID, list[ListedDelivery]] = {row["id"]: [] for row in rows}
    for row in await connection.fetch(_DELIVERIES, list(deliveries)):
        deliveries[row["accepted_id"]].append(ListedDelivery(**row))
    return [ListedMessage(**row, deliveries=deliveries[row["id"]]) for row in rows]
