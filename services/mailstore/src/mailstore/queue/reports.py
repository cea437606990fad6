"""Reports: how deliveries ended.

A defer or a failure is believed only under the live claim: else another relay has the delivery. What was
delivered is always final, however late, because the remote has it. Asking again changes nothing, for the
delivery is gone by then.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final
from uuid import UUID

from asyncpg import Record

from mailstore.queue.claims import ADD_LANES, SITE_NOW
from mailstore.queue.schedule import RetrySchedule
from mailstore.queue.sites import SITE_SCHEDULE, Refusal, hold_back, let_go
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database


class Ending(Enum):
    """How a delivery ends, as the history keeps it."""

    DELIVERED = 1
    FAILED = 2
    EXPIRED = 3
    CANCELLED = 4


class Verdict(Enum):
    """What a relay reports."""

    DELIVERED = 1
    DEFERRED = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class Report:
    """A relay's word on one delivery; `status` as in RFC 3463, texts cleaned for the database.

    `site` is where it was tried, empty when it was not; `site_refused` says that no host there let us in.
    """

    delivery_id: UUID
    verdict: Verdict
    status: str
    diagnostic: str
    remote_host: str
    site: str = ""
    site_refused: bool = False


@dataclass(frozen=True, slots=True)
class Retrying:
    """When deferred deliveries are tried again, and sites that let nobody in."""

    deliveries: RetrySchedule
    sites: RetrySchedule = SITE_SCHEDULE
    randomness: random.Random = field(default_factory=random.Random)


# A claim that is live stays so for the rest of the transaction.
_LIVE: Final = """
SELECT c.expires_at > now() AS live,
       EXISTS (SELECT FROM mailstore.site AS s WHERE s.name = ANY($3::text[]) AND s.failures > 0) AS failing
FROM mailstore.claim AS c WHERE c.id = $1 AND c.token = $2 FOR UPDATE OF c
"""

_HELD: Final = """
SELECT d.id, d.attempts, a.expires_at <= now() AS expired
FROM mailstore.delivery AS d JOIN mailstore.accepted AS a ON a.id = d.accepted_id
WHERE d.id = ANY($1::uuid[]) AND d.claim_id = $2 ORDER BY d.id FOR UPDATE OF d
"""
_DEFER: Final = f"""
WITH deferred AS (
UPDATE mailstore.delivery AS d
SET claim_id = NULL, attempts = d.attempts + 1, starts = d.attempts + 1,
    due_at = now() + make_interval(secs => t.delay),
    last_status = t.status, last_diagnostic = t.diagnostic, last_host = t.host,
    site = {SITE_NOW}
FROM unnest($1::uuid[], $2::float8[], $3::text[], $4::text[], $5::text[])
    AS t(id, delay, status, diagnostic, host)
WHERE d.id = t.id
RETURNING d.site, d.tenant_id, d.priority
)
{ADD_LANES} deferred ON CONFLICT DO NOTHING
"""
_END: Final = """
WITH ended AS (DELETE FROM mailstore.delivery WHERE id = ANY($1::uuid[]) RETURNING *)
INSERT INTO mailstore.delivery_history
    (delivery_id, accepted_id, tenant_id, recipient, outcome, status, diagnostic, remote_host, attempts)
SELECT e.id, e.accepted_id, e.tenant_id, e.recipient, t.outcome, t.status, t.diagnostic, t.host,
       e.attempts + $6
FROM ended AS e
JOIN unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[])
    AS t(id, outcome, status, diagnostic, host) ON t.id = e.id
RETURNING delivery_id, accepted_id, tenant_id, recipient, outcome, status, diagnostic, remote_host
"""
# Only a sender of ours gets a DSN: what came from outside is never bounced to a stranger.
_OWE: Final = """
INSERT INTO mailstore.bounce (id, accepted_id, tenant_id, recipients)
SELECT $1, a.id, a.tenant_id, $3 FROM mailstore.accepted AS a
WHERE a.id = $2 AND a.sender_account_id IS NOT NULL AND a.reverse_path <> ''
"""


async def take_reports(
    database: Database, claim_id: UUID, token: UUID, reports: Sequence[Report], retrying: Retrying
) -> bool:
    """Write down how deliveries ended; whether the claim was live, else only what was delivered counts."""
    words = {report.site: report for report in reports if report.site}  # the last one of each site
    reached_sites = sorted(site for site, report in words.items() if not report.site_refused)

    async def transact(connection: Connection) -> bool:
        found = await connection.fetchrow(_LIVE, claim_id, token, reached_sites)
        delivered = [report for report in reports if report.verdict is Verdict.DELIVERED]
        await end_deliveries(connection, [(report, Ending.DELIVERED) for report in delivered])
        if found is None or not found["live"]:
            return False
        others = [report for report in reports if report.verdict is not Verdict.DELIVERED]
        rows = await connection.fetch(_HELD, [report.delivery_id for report in others], claim_id)
        held = {row["id"]: row for row in rows}
        await _put_off_or_end(
            connection, [each for each in others if each.delivery_id in held], held, retrying
        )
        await hold_back(connection, _refusals(words), retrying.sites, retrying.randomness)
        if found["failing"]:
            await let_go(connection, reached_sites)
        reached("report.before_commit")
        return True

    live = await database.run(transact)
    reached("report.after_commit")
    return live


async def end_deliveries(
    connection: Connection, endings: Sequence[tuple[Report, Ending]], *, tried: bool = True
) -> None:
    """Move deliveries to the history, and owe a DSN for those that failed. `tried` counts an attempt more."""
    if not endings:
        return
    reports = [report for report, _ in endings]
    rows = await connection.fetch(
        _END,
        [report.delivery_id for report in reports],
        [ending.value for _, ending in endings],
        [report.status for report in reports],
        [report.diagnostic for report in reports],
        [report.remote_host for report in reports],
        1 if tried else 0,
    )
    failed: dict[UUID, list[Record]] = {}
    for row in rows:
        if row["outcome"] in {Ending.FAILED.value, Ending.EXPIRED.value}:
            failed.setdefault(row["accepted_id"], []).append(row)
    for accepted_id, recipients in failed.items():
        await connection.execute(_OWE, new_id(), accepted_id, [_recipient(row) for row in recipients])


async def _put_off_or_end(
    connection: Connection,
    reports: Sequence[Report],
    held: dict[UUID, Record],
    retrying: Retrying,
) -> None:
    schedule, randomness = retrying.deliveries, retrying.randomness
    endings: list[tuple[Report, Ending]] = []
    deferred: list[Report] = []
    for report in reports:
        if report.verdict is Verdict.FAILED:
            endings.append((report, Ending.FAILED))
        elif held[report.delivery_id]["expired"]:
            endings.append((report, Ending.EXPIRED))
        else:
            deferred.append(report)
    await end_deliveries(connection, endings)
    if deferred:
        await connection.execute(
            _DEFER,
            [report.delivery_id for report in deferred],
            [schedule.delay(held[report.delivery_id]["attempts"] + 1, randomness) for report in deferred],
            [report.status for report in deferred],
            [report.diagnostic for report in deferred],
            [report.remote_host for report in deferred],
        )


def _refusals(words: Mapping[str, Report]) -> list[Refusal]:
    return [
        Refusal(site, report.status, report.diagnostic, report.remote_host)
        for site, report in words.items()
        if report.site_refused
    ]


def _recipient(row: Record) -> dict[str, str]:
    return {
        "recipient": row["recipient"],
        "status": row["status"],
        "diagnostic": row["diagnostic"],
        "remote_host": row["remote_host"],
        "expired": "yes" if row["outcome"] == Ending.EXPIRED.value else "",
    }
