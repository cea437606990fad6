"""Cutting off what is old of the journal and of the history of deliveries, which are partitioned by month.

The journal's floor rises first: readers below it load what is there. Dropping a table is not MVCC-safe, so a
month is dropped only in a later round than the one that raised floors for it.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import LockNotAvailableError

from postroom_contracts.errors import UnavailableError
from postroom_runtime.logs import log
from postroom_storage.database import Connection, Database

CHANGE: Final = "change"
HISTORY: Final = "delivery_history"

_MONTH: Final = re.compile(r"(\w+)_(\d{4})_(\d{2})")
_PARTITIONS: Final = """
SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass ORDER BY c.relname
"""
# Locked in ascending order, as all who lock accounts do.
_RAISE: Final = """
WITH old AS MATERIALIZED (
    SELECT account_id, max(modseq) + 1 AS floor FROM mailstore.{table}
    WHERE account_id > $1 AND changed_at < $2 GROUP BY account_id ORDER BY account_id LIMIT $3
), locked AS MATERIALIZED (
    SELECT s.account_id FROM mailstore.account_state AS s JOIN old USING (account_id)
    WHERE s.change_floor < old.floor ORDER BY s.account_id FOR UPDATE OF s
), raised AS (
    UPDATE mailstore.account_state AS s SET change_floor = old.floor
    FROM old JOIN locked USING (account_id) WHERE s.account_id = old.account_id
    RETURNING s.account_id
)
SELECT (SELECT count(*) FROM raised) AS raised,
       (SELECT account_id FROM old ORDER BY account_id DESC LIMIT 1) AS last
"""
_DELETE: Final = """
WITH gone AS (
    DELETE FROM mailstore.{table} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM mailstore.{table} WHERE {column} < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING 1
)
SELECT count(*) FROM gone
"""


@dataclass(frozen=True, slots=True)
class CutLimits:
    """How long the journal and the history of deliveries are kept at least, and seconds between two looks.

    Accounts and rows of one transaction; for dropping a month others wait at most `lock_seconds`.
    """

    journal_seconds: float = 90 * 86_400.0
    history_seconds: float = 400 * 86_400.0
    look_seconds: float = 6 * 3_600.0
    accounts: int = 200
    rows: int = 5_000
    slices: int = 1_000
    lock_seconds: float = 0.5


async def cut_journal(database: Database, limits: CutLimits, now: dt.datetime | None = None) -> None:
    """Forget changes that are older than `journal_seconds`, floors first."""
    cut = _Cut(database, limits)
    before = (now or dt.datetime.now(dt.UTC)) - dt.timedelta(seconds=limits.journal_seconds)
    for month in await cut.months(CHANGE, before):
        if await cut.raise_floors(month, before):
            log.info("journal_floors_raised", month=month)
        else:
            await cut.drop(month)
    await cut.raise_floors(f"{CHANGE}_default", before)
    await cut.delete(f"{CHANGE}_default", "changed_at", before)


async def cut_history(database: Database, limits: CutLimits, now: dt.datetime | None = None) -> None:
    """Forget how deliveries ended that ended long ago."""
    cut = _Cut(database, limits)
    before = (now or dt.datetime.now(dt.UTC)) - dt.timedelta(seconds=limits.history_seconds)
    for month in await cut.months(HISTORY, before):
        await cut.drop(month)
    await cut.delete(f"{HISTORY}_default", "finished_at", before)


class _Cut:
    """The steps; tables are named without their schema."""

    def __init__(self, database: Database, limits: CutLimits) -> None:
        self._database, self._limits = database, limits

    async def months(self, table: str, before: dt.datetime) -> list[str]:
        """The partitions of which all is older."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_PARTITIONS, f"mailstore.{table}")
        found = [match for row in rows if (match := _MONTH.fullmatch(row["name"])) is not None]
        return [
            f"{table}_{year}_{month}"
            for name, year, month in (match.groups() for match in found)
            if name == table and _end_of(int(year), int(month)) <= before
        ]

    async def raise_floors(self, table: str, before: dt.datetime) -> int:
        """Let no account's journal reach back to these changes; how many did."""
        statement, raised, after = _RAISE.format(table=table), 0, UUID(int=0)
        while True:

            async def work(
                connection: Connection, statement: str = statement, after: UUID = after
            ) -> tuple[int, UUID | None]:
                row = await connection.fetchrow(statement, after, before, self._limits.accounts)
                return (0, None) if row is None else (row["raised"], row["last"])

            some, last = await self._database.run(work)
            raised += some
            if last is None:
                return raised
            after = last

    async def drop(self, table: str) -> None:
        """Drop a partition; at the next look when somebody uses it for too long."""
        milliseconds = f"{int(self._limits.lock_seconds * 1000)}ms"
        try:
            async with self._database.transaction() as connection:
                await connection.execute("SELECT set_config('lock_timeout', $1, true)", milliseconds)
                await connection.execute(f"DROP TABLE mailstore.{table}")
        except UnavailableError as error:
            if not isinstance(error.__cause__, LockNotAvailableError):
                raise
            log.info("month_in_use", table=table)
            return
        log.info("month_dropped", table=table)

    async def delete(self, table: str, column: str, before: dt.datetime) -> None:
        """Delete what is older, for a partition that is not of one month."""
        statement = _DELETE.format(table=table, column=column)
        for _ in range(self._limits.slices):
            async with self._database.connection() as connection:
                if await connection.fetchval(statement, before, self._limits.rows) < self._limits.rows:
                    return


def _end_of(year: int, month: int) -> dt.datetime:
    """When the next month begins."""
    return dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
