"""Leases over local lanes: one worker at a time files from a lane, and no bell is lost meanwhile.

A lease is a token in the lane's row. Who hears a bell for a lane that is taken marks it as rung; the holder
gives a lane back only when it was not rung since the holder last looked, so no mail waits for the timer.
Taking and looking for what is due are one call, and so are filing and giving back.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from mailstore.blobs.reader import Blob
from postroom_storage.database import Database

_TAKE: Final = "SELECT * FROM mailstore.take_lane($1, $2, $3, $4, $5)"
_GIVE_BACK: Final = "UPDATE mailstore.local_lane SET token = NULL WHERE number = $1 AND token = $2"
_WITH_WORK: Final = """
SELECT number FROM mailstore.local_lane AS lane
WHERE EXISTS (SELECT FROM mailstore.delivery AS d
              WHERE d.local_lane = lane.number AND NOT d.parked AND d.due_at <= now())
"""


class LaneLostError(Exception):
    """The lease ran out: another worker may have the lane."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A token for a lane. `abandoned`: whoever had it before did not give it back."""

    lane: int
    token: UUID
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery to an account of ours that is due, with what its message's envelope says."""

    id: UUID
    accepted_id: UUID
    tenant_id: UUID
    account_id: UUID
    recipient: str
    attempts: int
    starts: int
    reverse_path: str
    received_at: dt.datetime
    traceparent: str
    blob: Blob


@dataclass(frozen=True, slots=True)
class Work:
    """A lane that is held now, and what is due in it, oldest first."""

    lease: Lease
    due: Sequence[DueDelivery]


async def take(database: Database, lease: Lease, worker: str, seconds: float, most: int) -> Work | None:
    """Take a lane in which something is due, or prolong a lease on it; bells from now on count anew.

    None when nothing is due, the lane being free then, and when somebody else has it, which marks it as rung.
    With a token that is known before, a call whose end nobody saw is asked again.
    """
    rows = await database.run_statement(_TAKE, lease.lane, lease.token, worker, seconds, most)
    if not rows:
        return None
    due = [
        DueDelivery(
            id=delivery_id,
            accepted_id=accepted_id,
            tenant_id=tenant_id,
            account_id=account_id,
            recipient=recipient,
            attempts=attempts,
            starts=starts,
            reverse_path=reverse_path,
            received_at=received_at,
            traceparent=traceparent,
            blob=Blob(*blob),
        )
        for (
            _,
            delivery_id,
            accepted_id,
            tenant_id,
            account_id,
            recipient,
            attempts,
            starts,
            reverse_path,
            received_at,
            traceparent,
            *blob,
        ) in rows
    ]
    return Work(replace(lease, abandoned=lease.abandoned or rows[0]["abandoned"]), due)


async def give_back(database: Database, lease: Lease) -> None:
    """Give a lane back, rung or not: for a worker that stops."""
    async with database.connection() as connection:
        await connection.execute(_GIVE_BACK, lease.lane, lease.token)


async def lanes_with_work(database: Database) -> list[int]:
    """The lanes in which something is due; what the timer looks at when bells were lost."""
    async with database.connection() as connection:
        return [row["number"] for row in await connection.fetch(_WITH_WORK)]
