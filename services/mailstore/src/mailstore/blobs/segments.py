"""Segments: plain insert-only tables that staged octets go into, used in turn.

One segment is open at a time. A segment that is old or large enough is sealed and a fresh one opened; the
packer empties sealed ones and drops them. A writer may still hold the number of a segment that was sealed a
moment ago: that is harmless, for the packer looks for stragglers before it drops.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postroom_contracts.errors import UnavailableError
from postroom_storage.database import Connection

_OPEN_NUMBER: Final = "SELECT number FROM mailstore.segment WHERE state = 'open'"

_STAGED_OCTETS: Final = """
SELECT coalesce(sum(pg_total_relation_size(to_regclass(format('mailstore.segment_%s', number)))), 0)::bigint
FROM mailstore.segment
"""

_NEXT: Final = """
WITH sealed AS (
    UPDATE mailstore.segment SET state = 'sealed', sealed_at = now() WHERE state = 'open' AND number = $1
    RETURNING number
)
SELECT number FROM sealed
"""


@dataclass(frozen=True, slots=True)
class SegmentLimits:
    """When a segment is sealed (octets, seconds), and how much may be staged in all (octets)."""

    sealed_octets: int = 256 * 1024 * 1024
    sealed_seconds: float = 60.0
    staged_octets: int = 4 * 1024**3
    number_seconds: float = 1.0


def table(number: int) -> str:
    """The table of a segment."""
    return f"segment_{number}"


class OpenSegment:
    """The number of the segment that is open, looked up at most once a second."""

    def __init__(
        self, limits: SegmentLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits or SegmentLimits()
        self._clock = clock
        self._number: int | None = None
        self._looked_at = 0.0
        self._staged = 0

    @property
    def full(self) -> bool:
        """Whether no more may be staged until the packer has made room."""
        return self._staged >= self._limits.staged_octets

    @property
    def staged(self) -> int:
        """Octets that all segments took on disk at the last `measure`."""
        return self._staged

    @property
    def known_number(self) -> int | None:
        """The open segment's number where it was looked up a moment ago."""
        late = self._clock() - self._looked_at > self._limits.number_seconds
        return None if late else self._number

    async def number(self, connection: Connection) -> int:
        """The open segment's number; raises UnavailableError when none is open."""
        if self.known_number is None:
            self._number = await connection.fetchval(_OPEN_NUMBER)
            self._looked_at = self._clock()
        if self._number is None:
            raise UnavailableError("no segment is open")
        return self._number

    def forget(self) -> None:
        """Look the number up again at the next call: the segment is gone."""
        self._number = None

    async def measure(self, connection: Connection) -> int:
        """Look how many octets are staged; call it every few seconds."""
        self._staged = await connection.fetchval(_STAGED_OCTETS)
        return self._staged


async def rotate(connection: Connection) -> int:
    """Seal the open segment and open the next; returns the number of the sealed one.

    In a transaction of the caller; only the holder of the packer's lock calls it.
    """
    number: int = await connection.fetchval(_OPEN_NUMBER)
    await connection.fetchval(_NEXT, number)
    following = number + 1
    await connection.execute(
        f"CREATE TABLE mailstore.{table(following)} (blob_id uuid PRIMARY KEY, octets bytea NOT NULL)"
    )
    await connection.execute(
        f"ALTER TABLE mailstore.{table(following)} ALTER COLUMN octets SET STORAGE EXTERNAL"
    )
    await connection.execute("INSERT INTO mailstore.segment (number, state) VALUES ($1, 'open')", following)
    return number
