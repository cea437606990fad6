"""What time does to the queue: deliveries that expire untried, and rows that nobody asks for any more.

Each chore works in slices, each slice in a transaction of its own that waits for nobody's rows.
"""

import datetime as dt
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import LockNotAvailableError, Record

from mailstore.queue.reports import Ending, Report, Verdict, end_deliveries
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import queue_id_text
from postroom_runtime.logs import log
from postroom_storage.database import Connection, Database

# Local mail never expires: it came from outside, and waits for the operator. What is neither parked nor of a
# site that lets nobody in is tried once more, and the report ends it.
_EXPIRED: Final = """
SELECT d.id, d.accepted_id,
       CASE WHEN d.last_status = '' THEN coalesce(s.last_status, '') ELSE d.last_status END AS status,
       CASE WHEN d.last_status = '' THEN coalesce(s.last_diagnostic, '') ELSE d.last_diagnostic END
           AS diagnostic,
       CASE WHEN d.last_status = '' THEN coalesce(s.last_host, '') ELSE d.last_host END AS remote_host
FROM mailstore.delivery AS d
JOIN mailstore.accepted AS a ON a.id = d.accepted_id
LEFT JOIN mailstore.site AS s ON s.name = d.site
WHERE d.site IS NOT NULL AND a.expires_at <= now()
  AND (d.parked OR d.site IN (SELECT name FROM mailstore.site WHERE failures > 0))
  AND (d.claim_id IS NULL OR NOT EXISTS (SELECT FROM mailstore.claim AS c
                                         WHERE c.id = d.claim_id AND c.expires_at > now()))
LIMIT $1 FOR UPDATE OF d SKIP LOCKED
"""
# By id, which is by time: what is too young is not even looked at. $2 is where the ids of that time begin.
_FORGET_ACCEPTED: Final = """
WITH old AS MATERIALIZED (
    SELECT a.id FROM mailstore.accepted AS a
    WHERE a.id > $1 AND a.id < $2 AND a.received_at < $3
      AND NOT EXISTS (SELECT FROM mailstore.delivery AS d WHERE d.accepted_id = a.id)
      AND NOT EXISTS (SELECT FROM mailstore.bounce AS o WHERE o.accepted_id = a.id)
    ORDER BY a.id LIMIT $4 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM mailstore.accepted AS a USING old WHERE a.id = old.id RETURNING a.id, a.blob_id
), candidates AS (
    INSERT INTO mailstore.blob_candidate (blob_id)
    SELECT DISTINCT gone.blob_id FROM gone JOIN mailstore.blob AS b ON b.id = gone.blob_id
    WHERE NOT EXISTS (SELECT FROM mailstore.message AS m
                      JOIN mailstore.mailbox_message AS mm ON mm.message_id = m.id
                      WHERE m.blob_id = gone.blob_id)
    ON CONFLICT (blob_id) DO UPDATE SET noted_at = now(), quarantined_at = NULL
)
SELECT id FROM gone ORDER BY id DESC LIMIT 1
"""
# What is parked needs no lane: whoever makes it due again makes its lane too.
_IDLE: Final = """
NOT EXISTS (SELECT FROM mailstore.delivery AS d
            WHERE d.site = lane.site AND d.tenant_id = lane.tenant_id AND d.priority = lane.priority
              AND NOT d.parked)
"""
_ANY_IDLE: Final = f"SELECT EXISTS (SELECT FROM mailstore.remote_lane AS lane WHERE {_IDLE})"
# Whoever puts a delivery into a lane inserts the lane in the same transaction, and does nothing where there
# is one already. Under this lock all of them have committed or not begun. A claim holds its lane's row and is
# passed by.
_LOCK_LANES: Final = "LOCK TABLE mailstore.remote_lane IN SHARE ROW EXCLUSIVE MODE"
_FORGET_LANES: Final = f"""
DELETE FROM mailstore.remote_lane WHERE ctid = ANY (ARRAY(
    SELECT lane.ctid FROM mailstore.remote_lane AS lane WHERE {_IDLE} LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING true
"""
_FORGET_SITES: Final = """
DELETE FROM mailstore.site WHERE ctid = ANY (ARRAY(
    SELECT s.ctid FROM mailstore.site AS s
    WHERE s.max_claims IS NULL
      AND (s.failures = 0
           OR (s.back_off_until < now() - interval '1 day'
               AND NOT EXISTS (SELECT FROM mailstore.remote_lane AS lane WHERE lane.site = s.name)))
    LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING true
"""
# Mail for a domain that is forgotten begins in a lane of the domain's own, until a relay tells its site.
_FORGET_DOMAINS: Final = """
DELETE FROM mailstore.domain_site WHERE ctid = ANY (ARRAY(
    SELECT s.ctid FROM mailstore.domain_site AS s WHERE s.reported_at < now() - interval '30 days'
    LIMIT $1 FOR UPDATE SKIP LOCKED))
RETURNING true
"""


@dataclass(frozen=True, slots=True)
class SweepLimits:
    """Rows of a slice, slices of a round, and seconds.

    An accepted id is known for `known_seconds` after its message was received, and so long accepted once.
    Lanes are looked at every `lanes_seconds`; acceptance waits for at most `lock_seconds`.
    """

    slice_rows: int = 1_000
    slices: int = 200
    known_seconds: float = 6 * 86_400.0
    lanes_seconds: float = 3_600.0
    lock_seconds: float = 0.25


async def expire_deliveries(database: Database, limits: SweepLimits) -> int:
    """End what has expired and is not tried any more, with a DSN where one is owed; returns how many."""

    async def transact(connection: Connection) -> list[Record]:
        rows = await connection.fetch(_EXPIRED, limits.slice_rows)
        endings = [(_expiry(row), Ending.EXPIRED) for row in rows]
        await end_deliveries(connection, endings, tried=False)
        return rows

    expired = 0
    for _ in range(limits.slices):
        rows = await database.run(transact)
        for row in rows:
            log.info(
                "delivery_expired", queue_id=queue_id_text(row["accepted_id"]), delivery_id=str(row["id"])
            )
        expired += len(rows)
        if len(rows) < limits.slice_rows:
            break
    return expired


async def forget_accepted(database: Database, limits: SweepLimits) -> None:
    """Forget accepted messages whose deliveries are long finished; their blobs become candidates.

    Octets that a mailbox still shows are the mailbox's: its message rows refer to them by themselves.
    """
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=limits.known_seconds)
    after, end = UUID(int=0), _first_id_of(before)

    async def forget(connection: Connection) -> UUID | None:
        return await connection.fetchval(_FORGET_ACCEPTED, after, end, before, limits.slice_rows)

    for _ in range(limits.slices):
        if (last := await database.run(forget)) is None:
            return
        after = last


async def forget_lanes(database: Database, limits: SweepLimits) -> None:
    """Forget the lanes in which nothing waits. Raises UnavailableError when they are in use all the time."""
    async with database.connection() as connection:
        if not await connection.fetchval(_ANY_IDLE):
            return

    async def forget(connection: Connection) -> int:
        milliseconds = f"{int(limits.lock_seconds * 1000)}ms"
        await connection.execute("SELECT set_config('lock_timeout', $1, true)", milliseconds)
        await connection.execute(_LOCK_LANES)
        return len(await connection.fetch(_FORGET_LANES, limits.slice_rows))

    try:
        await _in_slices(lambda: database.run(forget), limits)
    except UnavailableError as error:
        if not isinstance(error.__cause__, LockNotAvailableError):
            raise
        log.info("lanes_in_use")


async def forget_sites(database: Database, limits: SweepLimits) -> None:
    """Forget sites that let us in again or that nothing waits for, and where domains led to long ago."""
    for statement in (_FORGET_SITES, _FORGET_DOMAINS):

        async def forget(connection: Connection, statement: str = statement) -> int:
            return len(await connection.fetch(statement, limits.slice_rows))

        await _in_slices(lambda: database.run(forget), limits)


async def _in_slices(forget: Callable[[], Awaitable[int]], limits: SweepLimits) -> None:
    for _ in range(limits.slices):
        if await forget() < limits.slice_rows:
            return


def _expiry(row: Record) -> Report:
    return Report(row["id"], Verdict.FAILED, row["status"], row["diagnostic"], row["remote_host"])


def _first_id_of(instant: dt.datetime) -> UUID:
    """The least UUIDv7 of an instant (RFC 9562 s5.7)."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)
