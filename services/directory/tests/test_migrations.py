"""The schema: what the migrations make is what the code says it is."""

from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from directory.main import check, migrate
from directory.schema import METADATA
from directory.settings import Settings
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.errors import ConfigurationError, DependencyError


def _settings(address: PostgresAddress, **fields: Any) -> Settings:
    values: dict[str, Any] = {"require_durable_database": False, **fields}
    return Settings(nats_url="nats://127.0.0.1:1", database_url=SecretStr(address.url("directory")), **values)


async def test_an_empty_schema_fails_the_check_until_it_is_migrated(database: PostgresAddress) -> None:
    settings = _settings(database)
    with pytest.raises(DependencyError):
        await check(settings)
    await migrate(settings)
    await check(settings)
    await migrate(settings)
    await check(settings)


async def test_the_tables_are_those_that_the_code_declares(directory_database: PostgresAddress) -> None:
    def compare(connection: Connection) -> list[Any]:
        def include(name: str | None, kind: str, parents: object) -> bool:
            return kind != "schema" or name == "directory"

        options = {
            "include_schemas": True,
            "version_table_schema": "directory",
            "include_name": include,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    # With the schema in the search path, Postgres would leave its name out.
    url = directory_database.sqlalchemy_url("directory")
    engine = create_async_engine(url, connect_args={"server_settings": {"search_path": "public"}})
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(compare) == []
    finally:
        await engine.dispose()


async def test_every_table_has_a_tenant(directory_database: PostgresAddress) -> None:
    connection = await asyncpg.connect(directory_database.url("directory"))
    try:
        rows = await connection.fetch(
            """SELECT tablename FROM pg_tables WHERE schemaname = 'directory' EXCEPT
            SELECT table_name FROM information_schema.columns
            WHERE table_schema = 'directory' AND column_name = 'tenant_id' AND is_nullable = 'NO'"""
        )
    finally:
        await connection.close()
    assert {row[0] for row in rows} == {"tenant", "alembic_version"}


async def test_a_database_that_is_away_or_unsafe_has_its_own_error(database: PostgresAddress) -> None:
    with pytest.raises(ConfigurationError, match="fsync"):
        await migrate(_settings(database, require_durable_database=True))
    with pytest.raises(ConfigurationError, match="fsync"):
        await check(_settings(database, require_durable_database=True))
    away = Settings(
        nats_url="nats://127.0.0.1:1", database_url=SecretStr("postgresql://directory@/x?host=/nowhere")
    )
    for command in (migrate, check):
        with pytest.raises(DependencyError):
            await command(away)


async def test_a_postmaster_that_is_no_address_is_a_wrong_setting(database: PostgresAddress) -> None:
    with pytest.raises(ConfigurationError, match="POSTROOM_DIRECTORY_POSTMASTER"):
        await check(_settings(database, postmaster="nobody"))
