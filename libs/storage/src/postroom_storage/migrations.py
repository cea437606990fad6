"""Migrations of one service's schema: Alembic runs them, and `serve` only asks whether they were run.

A schema that is newer than the code is current too: each migration expands first and contracts in a later
release, so that old code runs on the new schema and new code on the old one until it is migrated.
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from postroom_contracts.errors import UnavailableError
from postroom_storage.database import Database, refuse_unsafe, session_settings
from postroom_storage.errors import StorageConfigurationError

if TYPE_CHECKING:  # seconds of start-up that a service with a current schema does without
    from asyncpg import Connection, Record
    from sqlalchemy import Connection as SqlConnection

_REVISION: Final = re.compile(r"^revision(?:: str)? = \"(\w+)\"", re.MULTILINE)
_DOWN_REVISION: Final = re.compile(r"^down_revision(?:: str \| None)? = (?:\"(\w+)\"|None)", re.MULTILINE)

_LOCK_SECONDS: Final = 120.0
_STATEMENT_SECONDS: Final = 600.0
_POLL_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Migrations:
    """The migrations of one schema: `folder` has `versions/*.py`, one line of revisions without branches."""

    schema: str
    folder: Path

    @property
    def head(self) -> str:
        """The newest revision."""
        return self.revisions()[-1]

    def revisions(self) -> list[str]:
        """All revisions, oldest first. Raises `StorageConfigurationError` when they are not one line."""
        after: dict[str | None, str] = {}
        for file in (self.folder / "versions").glob("[!_]*.py"):
            text = file.read_text(encoding="utf-8")
            revision, below = _REVISION.search(text), _DOWN_REVISION.search(text)
            if revision is None or below is None or below[1] in after:
                raise StorageConfigurationError(f"{file.name}: no revision, or a second one after another")
            after[below[1]] = revision[1]
        line: list[str] = []
        while (following := after.get(line[-1] if line else None)) is not None:
            line.append(following)
        if not line or len(line) != len(after):
            raise StorageConfigurationError(f"the migrations in {self.folder} are not one line")
        return line

    async def run(self, url: str, *, require_durable: bool = True) -> None:
        """Bring the schema to the newest revision; whoever runs this at the same time waits.

        `url` is asyncpg's. Raises `UnavailableError`, `UnsafeDatabaseError`, and `StorageConfigurationError`
        where there is no schema and none may be made.
        """
        import asyncpg
        from sqlalchemy.exc import DBAPIError, InterfaceError
        from sqlalchemy.ext.asyncio import create_async_engine
        from sqlalchemy.pool import NullPool

        async def connect() -> "Connection[Record]":
            settings = session_settings(self.schema, _STATEMENT_SECONDS) | {
                "idle_in_transaction_session_timeout": "0",
                "lock_timeout": "5s",  # nobody queues behind a migration that waits for a lock
            }
            connection: Connection[Record] = await asyncpg.connect(url, timeout=4.0, server_settings=settings)
            try:
                if require_durable:
                    await refuse_unsafe(connection)
            except BaseException:
                connection.terminate()
                raise
            return connection

        engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(self._upgrade)
                await connection.commit()
        except (OSError, InterfaceError, asyncpg.PostgresError) as error:
            raise UnavailableError(f"Postgres: {error}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise UnavailableError(f"Postgres: {error}") from error
            raise
        finally:
            await engine.dispose()

    def _upgrade(self, connection: "SqlConnection") -> None:
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.runtime.migration import MigrationContext, RevisionStep
        from alembic.script import ScriptDirectory
        from sqlalchemy import text

        config = Config()
        config.set_main_option("script_location", str(self.folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        script = ScriptDirectory.from_config(config)

        def steps(revision: tuple[str, ...], _: MigrationContext) -> list[RevisionStep]:
            if not {row.revision for row in script.walk_revisions()}.issuperset(revision):
                return []  # the schema is newer than we are
            # The documentation of EnvironmentContext shows this call; there is no public one.
            current = cast("str", revision)
            return script._upgrade_revs("head", current)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

        connection.execute(text(f"SET lock_timeout = '{int(_LOCK_SECONDS)}s'"))
        connection.execute(
            text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), {"name": f"{self.schema}.migrations"}
        )
        connection.execute(text("SET lock_timeout = '5s'"))
        self._ensure_schema(connection)
        with EnvironmentContext(config, script, fn=steps, destination_rev="head") as context:
            context.configure(
                connection=connection,
                version_table_schema=self.schema,
                transactional_ddl=True,
            )
            with context.begin_transaction():
                context.run_migrations()

    def _ensure_schema(self, connection: "SqlConnection") -> None:
        """Make the schema where nobody has, as in a database that is our role's own."""
        from sqlalchemy import text

        found = connection.execute(
            text("SELECT to_regnamespace(:name), has_database_privilege(current_database(), 'CREATE')"),
            {"name": self.schema},
        ).one()
        if found[0] is not None:
            return
        if not found[1]:
            raise StorageConfigurationError(f"there is no schema {self.schema}, and our role may not make it")
        connection.execute(text(f"CREATE SCHEMA {self.schema}"))  # our own name

    async def is_current(self, database: Database) -> bool:
        """Whether the schema is at the newest revision that we know, or beyond it. Does without Alembic."""
        async with database.connection() as connection:
            table = f"{self.schema}.alembic_version"
            if await connection.fetchval("SELECT to_regclass($1)::text", table) is None:
                return False
            version = await connection.fetchval(f"SELECT version_num FROM {table}")  # our own name
        *older, head = self.revisions()
        return version == head or (version is not None and version not in older)

    async def wait_for_current(self, database: Database, stopping: asyncio.Event) -> bool:
        """Wait until Postgres is there and `migrate` has been run; False when `stopping` comes first.

        Raises `UnsafeDatabaseError`, which no waiting mends.
        """
        attempt = 0
        while not stopping.is_set():
            try:
                if await self.is_current(database):
                    return True
            except UnavailableError:
                pass
            pause = _POLL_SECONDS[min(attempt, len(_POLL_SECONDS) - 1)]
            attempt += 1
            try:
                async with asyncio.timeout(pause):
                    await stopping.wait()
            except TimeoutError:
                continue
        return False
