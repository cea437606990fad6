"""Whether somebody works on what was accepted."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from postroom_contracts.ids import queue_id_text
from postroom_storage.database import Database
from postroom_storage.examination import ExaminationLimits, Finding, Step, id_of_position

# A delivery is late an hour after it was due, local ones after ten minutes; one whose site is held back waits
# for that. `claimed` is one that a relay is at.
_DELIVERIES: Final = """
SELECT d.id, d.accepted_id, d.recipient, d.parked, a.id IS NULL AS unknown, b.id IS NULL AS lost,
       d.site IS NOT NULL AND NOT d.parked AND l.site IS NULL AS laneless,
       NOT d.parked AND NOT coalesce(s.back_off_until > now(), false)
       AND d.due_at < now() - CASE WHEN d.site IS NULL THEN interval '10 minutes' ELSE interval '1 hour' END
       AND NOT EXISTS (SELECT FROM mailstore.claim AS c WHERE c.id = d.claim_id AND c.expires_at > now())
           AS late
FROM (SELECT * FROM mailstore.delivery WHERE id > $1 ORDER BY id LIMIT $2) AS d
LEFT JOIN mailstore.accepted AS a ON a.id = d.accepted_id
LEFT JOIN mailstore.blob AS b ON b.id = a.blob_id
LEFT JOIN mailstore.remote_lane AS l
    ON (l.site, l.tenant_id, l.priority) = (d.site, d.tenant_id, d.priority)
LEFT JOIN mailstore.site AS s ON s.name = d.site
ORDER BY d.id
"""
_BOUNCES: Final = """
SELECT o.id, o.accepted_id FROM mailstore.bounce AS o
WHERE o.id > $1 AND o.created_at < now() - interval '1 hour' ORDER BY o.id LIMIT $2
"""


class QueueExamination:
    """The stages that look at what waits."""

    def __init__(self, database: Database, limits: ExaminationLimits) -> None:
        self._database, self._limits = database, limits

    async def deliveries(self, at: str) -> Step:
        """Whether each delivery has its message and somebody who works on it."""
        rows = await self._fetch(_DELIVERIES, at)
        if not rows:
            return Step()
        findings = [finding for row in rows if (finding := _finding(row)) is not None]
        return Step(str(rows[-1]["id"]), findings, {"deliveries": len(rows)})

    async def bounces(self, at: str) -> Step:
        """Whether delivery reports that are owed are written."""
        rows = await self._fetch(_BOUNCES, at)
        if not rows:
            return Step()
        findings = [
            _of(Finding.KIND_STUCK, row["accepted_id"], "its sender has had no report for an hour")
            for row in rows
        ]
        return Step(str(rows[-1]["id"]), findings)

    async def _fetch(self, statement: str, at: str) -> Sequence[Record]:
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            return await connection.fetch(statement, id_of_position(at), self._limits.rows)


def _finding(row: Record) -> Finding | None:
    message, recipient = row["accepted_id"], row["recipient"]
    if row["unknown"] or row["lost"]:
        what = "the message" if row["unknown"] else "its octets"
        return _of(Finding.KIND_ROW_MISSING, message, f"{what} for {recipient} is not there")
    if row["parked"]:
        return _of(Finding.KIND_PARKED, message, f"for {recipient}: retry or cancel it")
    if row["laneless"]:
        return _of(Finding.KIND_STUCK, message, f"for {recipient}: it is in no lane, so no relay sees it")
    if row["late"]:
        return _of(Finding.KIND_STUCK, message, f"for {recipient}: due for long, and nobody works on it")
    return None


def _of(kind: Finding.Kind.ValueType, message: UUID, detail: str) -> Finding:
    return Finding(kind=kind, subject=f"queued {queue_id_text(message)}", detail=detail)
