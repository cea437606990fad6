"""Leases over local lanes: one worker at a time files from a lane, and no bell is lost meanwhile.

A lease is a token in the lane's row. Who hears a bell for a lane that is taken marks it as rung; the holder
gives a lane back only when it was not rung since the holder last looked, so no mail waits for the timer.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

from postroom_storage.database import Connection, Database

# Taking and ringing are one statement: the lane could be given back between two, and the bell be lost.
_TAKE: Final = """
WITH before AS MATERIALIZED (
    SELECT number, token, token IS NULL OR expires_at < now() AS free
    FROM mailstore.local_lane WHERE number = $1 FOR UPDATE
)
UPDATE mailstore.local_lane AS lane
SET token = CASE WHEN before.free THEN $2 ELSE lane.token END,
    worker = CASE WHEN before.free THEN $3 ELSE lane.worker END,
    expires_at = CASE WHEN before.free THEN now() + make_interval(secs => $4) ELSE lane.expires_at END,
    rung = NOT before.free
FROM before WHERE lane.number = before.number AND (before.free OR NOT lane.rung)
RETURNING before.free, before.token IS NOT NULL AS abandoned
"""
_RENEW: Final = """
UPDATE mailstore.local_lane SET expires_at = now() + make_interval(secs => $3), rung = false
WHERE number = $1 AND token = $2 AND expires_at > now() RETURNING true
"""
_HOLD: Final = """
SELECT true FROM mailstore.local_lane WHERE number = $1 AND token = $2 AND expires_at > now() FOR UPDATE
"""
_GIVE_BACK: Final = """
UPDATE mailstore.local_lane SET token = NULL
WHERE number = $1 AND token = $2 AND (NOT rung OR $3) RETURNING true
"""
_WITH_WORK: Final = """
SELECT number FROM mailstore.local_lane AS lane
WHERE EXISTS (SELECT FROM mailstore.delivery AS d
              WHERE d.local_lane = lane.number AND NOT d.parked AND d.due_at <= now())
"""


class LaneLostError(Exception):
    """The lease ran out: another worker may have the lane."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lane that is ours. `abandoned`: whoever had it before did not give it back."""

    lane: int
    token: UUID
    abandoned: bool


async def take(database: Database, lane: int, worker: str, seconds: float) -> Lease | None:
    """Take a lane, or mark it as rung when somebody else has it."""
    token = uuid4()
    async with database.connection() as connection:
        row = await connection.fetchrow(_TAKE, lane, token, worker, seconds)
    return Lease(lane, token, row["abandoned"]) if row is not None and row["free"] else None


async def renew(database: Database, lease: Lease, seconds: float) -> None:
    """Prolong a lease before looking for work again; bells from now on count anew. Raises LaneLostError."""
    async with database.connection() as connection:
        if not await connection.fetchval(_RENEW, lease.lane, lease.token, seconds):
            raise LaneLostError(lease.lane)


async def hold(connection: Connection, lease: Lease) -> None:
    """Fence a transaction: for its rest nobody else can take the lane. Raises LaneLostError."""
    if not await connection.fetchval(_HOLD, lease.lane, lease.token):
        raise LaneLostError(lease.lane)


async def give_back(database: Database, lease: Lease, *, though_rung: bool = False) -> bool:
    """Give a lane back, unless it was rung; returns whether it is given back."""
    async with database.connection() as connection:
        return bool(await connection.fetchval(_GIVE_BACK, lease.lane, lease.token, though_rung))


async def lanes_with_work(database: Database) -> list[int]:
    """The lanes in which something is due; what the timer looks at when bells were lost."""
    async with database.connection() as connection:
        return [row["number"] for row in await connection.fetch(_WITH_WORK)]
