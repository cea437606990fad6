"""Sites: the sets of MX hosts that domains share, as the relays report them."""

from typing import Final

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


async def report_site(database: Database, domain: str, site: str) -> None:
    """Remember a domain's site, and move what waits for the domain into the site's lanes."""

    async def transact(connection: Connection) -> None:
        await connection.execute(_REPORT, domain, site)
        await connection.execute(_LANES, domain, site)
        await connection.execute(_MOVE, domain, site)

    await database.run(transact)
