"""Claims: a relay's lease over some due deliveries of one site, and a fence for what it reports.

A lane is (site, tenant, priority). Of the lanes with due deliveries whose site has a free slot, the one with
the least virtual time is next, so tenants share a site fairly. A claim that ran out holds nothing: its
deliveries are claimed by whoever comes next. A site that lets nobody in (`sites`) is claimed after its time,
by one relay with one delivery, which finds out whether that has changed.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from asyncpg import Record

from postroom_contracts.errors import ClaimLostError
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database

# $2: claims of a site that has no limit of its own.
_SLOTS: Final = "CASE WHEN s.failures > 0 THEN 1 ELSE coalesce(s.max_claims, $2) END"
# Free: never claimed, or by a claim that is over. What has expired is tried once more; the report ends it.
_FREE: Final = """
    NOT d.parked AND d.due_at <= now()
    AND (d.claim_id IS NULL OR NOT EXISTS (SELECT FROM mailstore.claim AS c
                                           WHERE c.id = d.claim_id AND c.expires_at > now()))
"""
_LANE: Final = f"""
SELECT lane.site, lane.tenant_id, lane.priority
FROM mailstore.remote_lane AS lane LEFT JOIN mailstore.site AS s ON s.name = lane.site
WHERE ($1 = '' OR lane.site = $1) AND NOT lane.site = ANY($3::text[])
  AND coalesce(s.back_off_until, '-infinity') <= now()
  AND (SELECT count(*) FROM mailstore.claim AS c WHERE c.site = lane.site AND c.expires_at > now())
      < {_SLOTS}
  AND EXISTS (SELECT FROM mailstore.delivery AS d
              WHERE d.site = lane.site AND d.tenant_id = lane.tenant_id AND d.priority = lane.priority
                AND {_FREE})
ORDER BY lane.priority DESC, lane.virtual_time LIMIT 1
FOR UPDATE OF lane SKIP LOCKED
"""
# Claims of two tenants' lanes of one site would else count each other's slots before they are taken.
_LOCK_SITE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('mailstore.site.' || $1, 0))"
_SLOT: Final = f"""
SELECT coalesce(s.back_off_until, '-infinity') <= now()
       AND (SELECT count(*) FROM mailstore.claim AS c WHERE c.site = $1 AND c.expires_at > now()) < {_SLOTS}
       AS free,
       coalesce(s.failures, 0) > 0 AS failing
FROM (SELECT) AS one LEFT JOIN mailstore.site AS s ON s.name = $1
"""
_TAKE: Final = f"""
WITH due AS MATERIALIZED (
    SELECT d.id, d.accepted_id FROM mailstore.delivery AS d
    WHERE d.site = $1 AND d.tenant_id = $2 AND d.priority = $3 AND {_FREE}
    ORDER BY d.due_at, d.id LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE mailstore.delivery AS d
SET claim_id = $5, starts = d.starts + 1, parked = d.starts + 1 > d.attempts + $6
FROM due, mailstore.accepted AS a
WHERE d.id = due.id AND a.id = d.accepted_id
RETURNING d.id, d.accepted_id, d.recipient, d.domain, d.attempts, d.parked, a.tenant_id, a.blob_id,
          a.reverse_path, a.eight_bit, a.smtp_utf8, a.traceparent, a.expires_at
"""
_OPEN: Final = """
INSERT INTO mailstore.claim (id, token, worker, site, expires_at)
VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5)) RETURNING expires_at
"""
# A lane that was idle starts with the others, or it would have all slots for itself.
_ADVANCE: Final = """
UPDATE mailstore.remote_lane AS lane SET virtual_time = greatest(
    lane.virtual_time,
    coalesce((SELECT max(o.virtual_time) FROM mailstore.remote_lane AS o WHERE o.site = $1) - $5, 0)) + $4
WHERE site = $1 AND tenant_id = $2 AND priority = $3
"""
_VIRTUAL_LAG: Final = 1_000.0
_NEXT_DUE: Final = """
SELECT least(
    (SELECT min(due_at) FROM mailstore.delivery WHERE site IS NOT NULL AND NOT parked AND due_at > now()),
    (SELECT min(back_off_until) FROM mailstore.site WHERE back_off_until > now()))
"""
_BLOBS: Final = "SELECT id, size, digest FROM mailstore.blob WHERE id = ANY($1::uuid[])"
_EXTEND: Final = """
UPDATE mailstore.claim SET expires_at = now() + make_interval(secs => $3)
WHERE id = $1 AND token = $2 AND expires_at > now() RETURNING expires_at
"""
SITE_NOW: Final = """
    coalesce((SELECT s.site FROM mailstore.domain_site AS s WHERE s.domain = d.domain), d.site)
"""
ADD_LANES: Final = """
INSERT INTO mailstore.remote_lane (site, tenant_id, priority) SELECT DISTINCT site, tenant_id, priority FROM
"""
_CLOSE: Final = "DELETE FROM mailstore.claim WHERE id = $1 AND token = $2 RETURNING true"
# To the lane of the site that its domain is known to have by now: ReportSite moved what was free then.
_FREE_CLAIMED: Final = f"""
WITH freed AS (
    UPDATE mailstore.delivery AS d SET claim_id = NULL, starts = attempts, site = {SITE_NOW}
    WHERE claim_id = $1 RETURNING d.site, d.tenant_id, d.priority
)
{ADD_LANES} freed ON CONFLICT DO NOTHING
"""
_CONTENT: Final = """
SELECT a.blob_id FROM mailstore.accepted AS a
WHERE a.id = $3 AND EXISTS (SELECT FROM mailstore.delivery AS d JOIN mailstore.claim AS c ON c.id = d.claim_id
                            WHERE d.accepted_id = a.id AND c.id = $1 AND c.token = $2
                              AND c.expires_at > now())
"""


@dataclass(frozen=True, slots=True)
class ClaimLimits:
    """Seconds of a lease, deliveries of a claim, claims of a site, and starts without a report that park."""

    lease_seconds: float = 300.0
    lease_max_seconds: float = 3_600.0
    deliveries: int = 200
    claims_of_site: int = 4
    starts: int = 5


@dataclass(frozen=True, slots=True)
class ClaimWish:
    """What a relay asks for: only `site` unless it is empty, no `except_sites`, at most `most` deliveries."""

    worker: str
    most: int
    seconds: float
    site: str = ""
    except_sites: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """One recipient under a claim, with its message's envelope; `size` and `digest` are the message's."""

    id: UUID
    accepted_id: UUID
    recipient: str
    domain: str
    attempts: int
    tenant_id: UUID
    blob_id: UUID
    reverse_path: str
    eight_bit: bool
    smtp_utf8: bool
    traceparent: str
    expires_at: dt.datetime
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease over deliveries of one site."""

    id: UUID
    token: UUID
    site: str
    expires_at: dt.datetime
    deliveries: Sequence[ClaimedDelivery]


async def open_claim(database: Database, wish: ClaimWish, limits: ClaimLimits) -> Claim | None:
    """Claim what is due of what a relay asks for; None when nothing is.

    Deliveries whose claims keep ending without a report are parked: their message kills whoever takes it.
    """

    async def transact(connection: Connection) -> Claim | None:
        lane = await connection.fetchrow(_LANE, wish.site, limits.claims_of_site, wish.except_sites)
        if lane is None:
            return None
        await connection.execute(_LOCK_SITE, lane["site"])
        slot = await connection.fetchrow(_SLOT, lane["site"], limits.claims_of_site)
        if slot is None or not slot["free"]:
            return None
        most = 1 if slot["failing"] else wish.most
        claim_id, token = new_id(), uuid4()
        found = (lane["site"], lane["tenant_id"], lane["priority"])
        rows = await connection.fetch(_TAKE, *found, most, claim_id, limits.starts)
        live = [row for row in rows if not row["parked"]]
        await connection.execute(_ADVANCE, *found, float(len(rows)), _VIRTUAL_LAG)
        expires_at = await connection.fetchval(
            _OPEN, claim_id, token, wish.worker, lane["site"], wish.seconds
        )
        deliveries = await _deliveries(connection, live)
        return Claim(claim_id, token, lane["site"], expires_at, deliveries)

    claim = await database.run(transact)
    reached("claim.after_commit")
    return claim


async def next_due(database: Database) -> dt.datetime | None:
    """When the next remote delivery falls due, or a site is tried again."""
    async with database.connection() as connection:
        return await connection.fetchval(_NEXT_DUE)


async def extend_claim(database: Database, claim_id: UUID, token: UUID, seconds: float) -> dt.datetime:
    """Prolong a live claim; returns its new end. Raises ClaimLostError."""
    async with database.connection() as connection:
        expires_at = await connection.fetchval(_EXTEND, claim_id, token, seconds)
    if expires_at is None:
        raise ClaimLostError("the claim ran out")
    return expires_at


async def release_claim(database: Database, claim_id: UUID, token: UUID) -> None:
    """End a claim and free what is left of it."""

    async def transact(connection: Connection) -> None:
        if await connection.fetchval(_CLOSE, claim_id, token):
            await connection.execute(_FREE_CLAIMED, claim_id)

    await database.run(transact)


async def claimed_blob(database: Database, claim_id: UUID, token: UUID, accepted_id: UUID) -> UUID:
    """The blob of a message under a live claim. Raises ClaimLostError."""
    async with database.connection() as connection:
        blob_id = await connection.fetchval(_CONTENT, claim_id, token, accepted_id)
    if blob_id is None:
        raise ClaimLostError("not under this claim")
    return blob_id


async def _deliveries(connection: Connection, rows: Sequence[Record]) -> list[ClaimedDelivery]:
    blobs = {row["id"]: row for row in await connection.fetch(_BLOBS, list({row["blob_id"] for row in rows}))}
    return [
        ClaimedDelivery(
            **{name: value for name, value in row.items() if name != "parked"},
            size=blobs[row["blob_id"]]["size"],
            digest=blobs[row["blob_id"]]["digest"],
        )
        for row in sorted(rows, key=lambda row: row["id"])
    ]
