from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, Uuid, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from postroom_contracts.ids import new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.core import fetch, fetch_one, render
from postroom_storage.database import Connection, Database

ITEM = Table(
    "item",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("size", Integer, nullable=False),
)


@pytest.fixture
async def connection(database: PostgresAddress) -> AsyncIterator[Connection]:
    """A transaction in which the table is there."""
    url = database.url("directory")
    database_pool = Database(url, schema="directory", require_durable=False)
    async with database_pool, database_pool.transaction() as opened:
        await opened.execute("CREATE TABLE item (id uuid PRIMARY KEY, name text UNIQUE, size int)")
        yield opened


def _row(name: str, size: int = 0) -> dict[str, UUID | str | int]:
    return {"id": new_id(), "name": name, "size": size}


async def test_rows_go_in_and_come_out_as_they_were(connection: Connection) -> None:
    rows = [_row("it's", 1), _row("%s ä $1", 2), _row("", 2**31 - 1)]
    await fetch(connection, insert(ITEM).values(rows))
    assert [dict(row) for row in await fetch(connection, select(ITEM).order_by(ITEM.c.id))] == rows


async def test_lists_conflicts_and_limits_are_rendered_for_asyncpg(connection: Connection) -> None:
    rows = [_row(name, size) for size, name in enumerate("abcde")]
    await fetch(connection, insert(ITEM).values(rows))
    wanted = select(ITEM.c.name).where(ITEM.c.name.in_(["e", "b", "x"]), ITEM.c.size > 0)
    found = await fetch(connection, wanted.order_by(ITEM.c.name.desc()).limit(5))
    assert [row["name"] for row in found] == ["e", "b"]
    assert await fetch(connection, select(ITEM).where(ITEM.c.name.in_([]))) == []
    again = insert(ITEM).values(_row("a")).on_conflict_do_nothing().returning(ITEM.c.id)
    assert await fetch_one(connection, again) is None
    grown = update(ITEM).where(ITEM.c.name == "c").values(size=ITEM.c.size + 40).returning(ITEM.c.size)
    row = await fetch_one(connection, grown)
    assert row is not None
    assert row["size"] == 42
    gone = await fetch(connection, delete(ITEM).where(ITEM.c.size < 4).returning(ITEM.c.name))
    assert sorted(row["name"] for row in gone) == ["a", "b", "d"]
    count = await fetch_one(connection, select(func.count()).select_from(ITEM))
    assert count is not None
    assert count[0] == 2


def test_values_never_become_part_of_the_statement() -> None:
    text, values = render(select(ITEM).where(ITEM.c.name == "'; DROP TABLE item; --"))
    assert "DROP" not in text
    assert values == ["'; DROP TABLE item; --"]
