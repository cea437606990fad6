"""A mail store on real Postgres: a database of its own for each test, copied from one that is migrated."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from mailstore.serve import MIGRATIONS
from mailstore.upkeep import Upkeep
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore, StoreAddress
from postroom_testing.mail_store import MailStore, Measured, running_mail_store
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


@pytest.fixture
def present_objects(object_store: S3Address) -> Iterator[ObjectStore]:
    """An object store that is there."""
    store = ObjectStore(
        StoreAddress(
            object_store.endpoint,
            object_store.region,
            "postroom-mail",
            object_store.access_key,
            object_store.secret_key,
        )
    )
    yield store
    store.close()


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A short directory of this test's own."""
    place = Path(tempfile.mkdtemp(prefix="ms-", dir="/tmp"))
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_database(postgres_server: PostgresAddress, migrated: PostgresAddress) -> Iterator[PostgresAddress]:
    """A migrated database for all tests that keep to accounts of their own."""
    address = run_in_thread(lambda: new_database(postgres_server, migrated.database))
    yield address
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
async def store(
    shared_database: PostgresAddress, absent_objects: ObjectStore, sockets: Path
) -> AsyncIterator[MailStore]:
    """A mail store whose object store is away, since small mail needs none; with others' mail in it."""
    url = shared_database.url("mailstore")
    async with (
        Database(url, schema="mailstore", require_durable=False) as database,
        running_mail_store(database, absent_objects, sockets) as store,
    ):
        yield store


@pytest.fixture
async def own_store(
    database: Database, absent_objects: ObjectStore, sockets: Path
) -> AsyncIterator[MailStore]:
    """A mail store with a database of the test's own, and no object store."""
    async with running_mail_store(database, absent_objects, sockets) as store:
        yield store


@pytest.fixture
async def whole_store(
    database: Database, present_objects: ObjectStore, sockets: Path
) -> AsyncIterator[MailStore]:
    """A mail store with its object store, and a database of the test's own."""
    async with running_mail_store(database, present_objects, sockets) as store:
        yield store


@pytest.fixture
def measured() -> Measured:
    """What upkeep says of a store's queue, in whole numbers and without `postroom_queue_`.

    The gauges are the process's, and other tests' stores set them too: until it is said twice.
    """

    async def ask(store: MailStore) -> dict[str, int]:
        said: list[dict[str, int]] = [{}]
        while len(said) < 2 or said[-1] != said[-2]:
            await Upkeep(store.database, store.objects).measure_queue()
            samples = (sample for metric in REGISTRY.collect() for sample in metric.samples)
            prefix = "postroom_queue_"
            said.append(
                {each.name.removeprefix(prefix): int(each.value) for each in samples if prefix in each.name}
            )
        return said[-1]

    return ask
