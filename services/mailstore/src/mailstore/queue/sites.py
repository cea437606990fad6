"""Sites: the sets of MX hosts that domains share, as the relays report them, and which of them let nobody in.

A site that lets nobody in is held back: its lanes are left alone for a while, which grows with each refusal
in a row. Then one delivery at a time is tried, until one relay is let in.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mailstore.queue.schedule import RetrySchedule
from postroom_storage.database import Connection, Database

_REPORT: Final = """
INSERT INTO mailstore.domain_site (domain, site) VALUES ($1, $2)
ON CONFLICT (domain) DO UPDATE SET site = excluded.site, reported_at = now()
"""
_LANES: Final = """
INSERT INTO mailstore.remote_lane (site, tenant_id, priority)
SELECT DISTINCT $2, tenant_id, priority FROM mailstore.delivery WHERE domain = $1 AND site <> $2
ON CONFLICT DO NOTHING
"""
# What is under a claim stays with it: the site's slots are counted by claim.
_MOVE: Final = "UPDATE mailstore.delivery SET site = $2 WHERE domain = $1 AND site <> $2 AND claim_id IS NULL"

# Several relays are refused at once: the first of them tells for all, while the site is held back.
_HOLD_BACK: Final = """
INSERT INTO mailstore.site AS s (name, failures, back_off_until, last_status, last_diagnostic, last_host)
SELECT t.name, 1, now() + make_interval(secs => ($2::float8[])[1]), t.status, t.diagnostic, t.host
FROM unnest($1::text[], $3::text[], $4::text[], $5::text[]) AS t(name, status, diagnostic, host)
ORDER BY t.name
ON CONFLICT (name) DO UPDATE SET
    failures = s.failures + 1,
    back_off_until = now() + make_interval(secs => ($2::float8[])[least(s.failures + 1, cardinality($2))]),
    last_status = excluded.last_status, last_diagnostic = excluded.last_diagnostic,
    last_host = excluded.last_host
WHERE s.back_off_until <= now()
"""
_LET_GO: Final = """
UPDATE mailstore.site
SET failures = 0, back_off_until = '-infinity', last_status = '', last_diagnostic = '', last_host = ''
WHERE name = ANY($1::text[]) AND failures > 0
"""
_COUNTED_FAILURES: Final = 16
"""After so many the delay has long been the schedule's longest."""

SITE_SCHEDULE: Final = RetrySchedule(60.0, most_seconds=1_800.0)
"""How long a site is held back."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A site that let nobody in, and what it said."""

    site: str
    status: str
    diagnostic: str
    remote_host: str


async def report_site(database: Database, domain: str, site: str) -> None:
    """Remember a domain's site, and move what waits for the domain into the site's lanes."""

    async def transact(connection: Connection) -> None:
        await connection.execute(_REPORT, domain, site)
        await connection.execute(_LANES, domain, site)
        await connection.execute(_MOVE, domain, site)

    await database.run(transact)


async def hold_back(
    connection: Connection, refusals: Sequence[Refusal], schedule: RetrySchedule, randomness: random.Random
) -> None:
    """Leave sites alone, each for longer than the last time; those that are held back already stay so."""
    if not refusals:
        return
    delays = [schedule.delay(failures, randomness) for failures in range(1, _COUNTED_FAILURES + 1)]
    await connection.execute(
        _HOLD_BACK,
        [refusal.site for refusal in refusals],
        delays,
        [refusal.status for refusal in refusals],
        [refusal.diagnostic for refusal in refusals],
        [refusal.remote_host for refusal in refusals],
    )


async def let_go(connection: Connection, sites: Sequence[str]) -> None:
    """Somebody was let in: these sites are as good as any."""
    await connection.execute(_LET_GO, sites)
