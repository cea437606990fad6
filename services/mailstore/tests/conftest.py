"""A mail store on real Postgres: a database of its own for each test, copied from one that is migrated."""

from collections.abc import AsyncIterator, Iterator

import pytest

from mailstore.serve import MIGRATIONS
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore, StoreAddress
from postroom_testing.stack import drop_database, new_database, run_in_thread


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresAddress) -> PostgresAddress:
    """A database with the schema, to be copied."""

    async def make() -> PostgresAddress:
        address = await new_database(postgres_server)
        await MIGRATIONS.run(address.url("mailstore"), require_durable=False)
        return address

    return run_in_thread(make)


@pytest.fixture
def mail_database(postgres_server: PostgresAddress, migrated: PostgresAddress) -> Iterator[PostgresAddress]:
    """A migrated database of this test's own."""
    address = run_in_thread(lambda: new_database(postgres_server, migrated.database))
    yield address
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
async def database(mail_database: PostgresAddress) -> AsyncIterator[Database]:
    """The store's way to its database."""
    async with Database(
        mail_database.url("mailstore"), schema="mailstore", require_durable=False
    ) as database:
        yield database


@pytest.fixture
def absent_objects() -> Iterator[ObjectStore]:
    """An object store that is away: nothing listens there."""
    store = ObjectStore(StoreAddress("http://127.0.0.1:9", "us-east-1", "postroom-mail", "key", "secret"))
    yield store
    store.close()
