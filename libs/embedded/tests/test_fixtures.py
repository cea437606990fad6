"""The fixtures that all members share give working servers."""

import asyncpg
import nats
import pytest
from nats.aio.client import Client

from postroom_embedded.nats import NatsAddress
from postroom_embedded.postgres import PostgresAddress
from postroom_testing.stack import drop_database, new_database


@pytest.mark.parametrize("role", ["directory", "mailstore", "filestore"])
async def test_each_core_service_has_a_role_and_a_schema_of_its_own(
    postgres_server: PostgresAddress, role: str
) -> None:
    connection = await asyncpg.connect(postgres_server.url(role))
    try:
        assert await connection.fetchval("SELECT current_user || '.' || current_schema()") == f"{role}.{role}"
    finally:
        await connection.close()


async def test_a_core_service_cannot_look_into_another_s_schema(database: PostgresAddress) -> None:
    owner = await asyncpg.connect(database.url("mailstore"))
    stranger = await asyncpg.connect(database.url("filestore"))
    try:
        await owner.execute("CREATE TABLE blob (id int)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.fetch("SELECT * FROM mailstore.blob")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.execute("CREATE TABLE public.note (id int)")
    finally:
        await owner.close()
        await stranger.close()


async def test_a_copied_database_has_the_tables_of_its_template(database: PostgresAddress) -> None:
    owner = await asyncpg.connect(database.url("mailstore"))
    await owner.execute("CREATE TABLE blob (id int)")
    await owner.close()
    copy = await new_database(database, template=database.database)
    owner = await asyncpg.connect(copy.url("mailstore"))
    try:
        assert await owner.fetch("SELECT * FROM blob") == []
    finally:
        await owner.close()
        await drop_database(copy)


async def test_nats_lets_in_who_has_the_password_and_has_jetstream(nats_server: NatsAddress) -> None:
    client: Client = await nats.connect(nats_server.url)  # pyright: ignore[reportUnknownMemberType] - its **options
    try:
        stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        assert (await stream.account_info()).limits.max_memory != 0
    finally:
        await client.close()
