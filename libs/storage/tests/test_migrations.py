import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import asyncpg
import pytest

from postroom_contracts.errors import UnavailableError
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.database import Database
from postroom_storage.errors import StorageConfigurationError, UnsafeDatabaseError
from postroom_storage.migrations import Migrations

FIRST = '''"""First."""
from alembic import op
revision: str = "0001"
down_revision: str | None = None
def upgrade() -> None:
    op.execute("CREATE TABLE item (id int)")
'''
SECOND = '''"""Second."""
from alembic import op
revision: str = "0002"
down_revision: str | None = "0001"
def upgrade() -> None:
    op.execute("ALTER TABLE item ADD COLUMN value text")
'''
BROKEN = SECOND.replace("0002", "0003").replace('"0001"', '"0002"').replace("ALTER TABLE", "ALTER TABEL")


@pytest.fixture
def migrations(tmp_path: Path) -> Migrations:
    """One migration in a folder of its own."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0001_first.py").write_text(FIRST)
    return Migrations("directory", tmp_path)


def _add(migrations: Migrations, name: str, text: str) -> None:
    (migrations.folder / "versions" / name).write_text(text)


@pytest.fixture
async def pool(database: PostgresAddress) -> AsyncGenerator[Database]:
    """Connections to this test's database."""
    async with Database(database.url("directory"), schema="directory", require_durable=False) as opened:
        yield opened


async def _migrate(migrations: Migrations, address: PostgresAddress) -> None:
    await migrations.run(address.url("directory"), require_durable=False)


async def test_an_empty_schema_is_migrated_and_then_current(
    migrations: Migrations, database: PostgresAddress, pool: Database
) -> None:
    assert not await migrations.is_current(pool)
    await _migrate(migrations, database)
    assert await migrations.is_current(pool)
    async with pool.connection() as connection:
        assert await connection.fetch("SELECT id FROM directory.item") == []


async def _as_superuser(address: PostgresAddress, *statements: str) -> None:
    connection = await asyncpg.connect(address.url())
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def test_a_schema_that_nobody_made_is_made_where_the_role_may(
    migrations: Migrations, database: PostgresAddress, pool: Database
) -> None:
    grant = f"GRANT CREATE ON DATABASE {database.database} TO directory"
    await _as_superuser(database, "DROP SCHEMA directory", grant)
    assert not await migrations.is_current(pool)
    await _migrate(migrations, database)
    assert await migrations.is_current(pool)


async def test_a_schema_that_is_missing_is_named_where_the_role_may_not_make_it(
    migrations: Migrations, database: PostgresAddress
) -> None:
    await _as_superuser(database, "DROP SCHEMA directory")
    with pytest.raises(StorageConfigurationError, match="no schema directory"):
        await _migrate(migrations, database)


async def test_what_was_migrated_is_not_migrated_again_and_what_is_new_is(
    migrations: Migrations, database: PostgresAddress, pool: Database
) -> None:
    await _migrate(migrations, database)
    await _migrate(migrations, database)
    _add(migrations, "0002_second.py", SECOND)
    assert not await migrations.is_current(pool)
    await _migrate(migrations, database)
    assert await migrations.is_current(pool)


async def test_a_schema_newer_than_the_code_is_current_and_left_alone(
    migrations: Migrations, database: PostgresAddress, pool: Database
) -> None:
    _add(migrations, "0002_second.py", SECOND)
    await _migrate(migrations, database)
    (migrations.folder / "versions" / "0002_second.py").unlink()
    assert await migrations.is_current(pool)
    await _migrate(migrations, database)
    async with pool.connection() as connection:
        assert await connection.fetch("SELECT value FROM directory.item") == []


async def test_two_who_migrate_at_once_do_it_once(
    migrations: Migrations, database: PostgresAddress, pool: Database
) -> None:
    _add(migrations, "0002_second.py", SECOND)
    await asyncio.gather(*(_migrate(migrations, database) for _ in range(3)))
    assert await migrations.is_current(pool)


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    migrations: Migrations, database: PostgresAddress, pool: Database
) -> None:
    await _migrate(migrations, database)
    _add(migrations, "0002_second.py", SECOND)
    _add(migrations, "0003_broken.py", BROKEN)
    with pytest.raises(Exception, match="TABEL"):
        await _migrate(migrations, database)
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT version_num FROM directory.alembic_version") == "0001"


async def test_serve_waits_until_somebody_has_migrated(
    migrations: Migrations, database: PostgresAddress, pool: Database
) -> None:
    stopping = asyncio.Event()
    waiting = asyncio.create_task(migrations.wait_for_current(pool, stopping))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await _migrate(migrations, database)
    assert await waiting


async def test_who_is_told_to_stop_does_not_wait_for_migrations(migrations: Migrations) -> None:
    stopping = asyncio.Event()
    async with Database("postgresql://nobody@/none?host=/nowhere", schema="directory") as away:
        waiting = asyncio.create_task(migrations.wait_for_current(away, stopping))
        await asyncio.sleep(0.05)
        stopping.set()
        assert not await waiting


async def test_faults_of_the_database_have_their_names(
    migrations: Migrations, database: PostgresAddress
) -> None:
    with pytest.raises(UnavailableError):
        await migrations.run("postgresql://nobody@/none?host=/nowhere")
    with pytest.raises(UnsafeDatabaseError):
        await migrations.run(database.url("directory"))


def test_migrations_that_are_not_one_line_are_refused(migrations: Migrations) -> None:
    assert migrations.head == "0001"
    _add(migrations, "0003_third.py", SECOND.replace("0002", "0003").replace("0001", "0009"))
    with pytest.raises(StorageConfigurationError):
        migrations.revisions()
    _add(migrations, "0003_third.py", SECOND.replace("0002", "0003"))
    _add(migrations, "0002_second.py", SECOND)
    with pytest.raises(StorageConfigurationError):
        migrations.revisions()


def test_asking_whether_the_schema_is_current_imports_neither_alembic_nor_sqlalchemy() -> None:
    code = (
        "import sys, postroom_storage.migrations; sys.exit(bool({'alembic', 'sqlalchemy'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
