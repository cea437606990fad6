"""Pytest fixtures: real Postgres, NATS and object store, one each for the whole run, started when asked for.

Installed as a pytest plugin, so every test may simply name `postgres_server`, `nats_server`, `object_store`
or `database`. The servers live in threads with loops of their own, so tests use them from any loop.
"""

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:  # the plugin is loaded by every run of pytest, and most of them need none of this
    from postroom_embedded.instance import Instance
    from postroom_embedded.nats import NatsAddress
    from postroom_embedded.postgres import PostgresAddress
    from postroom_embedded.seaweedfs import S3Address
    from postroom_testing.lost_answers import LostAnswers

T = TypeVar("T")
_START_SECONDS = 90.0


@pytest.fixture(scope="session")
def embedded_instance() -> "Iterator[Instance]":
    """A fresh data directory, gone after the run."""
    from postroom_embedded.instance import open_instance

    place = Path(tempfile.mkdtemp(prefix="postroom-test-", dir="/tmp"))
    place.chmod(0o755)
    try:
        with open_instance(place / "data") as instance:
            yield instance
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(embedded_instance: "Instance") -> "Iterator[PostgresAddress]":
    """Postgres with the roles and schemas of the core; its database `postroom` belongs to all tests."""
    from postroom_embedded.postgres import running_postgres

    # Tests do not outlive the machine, so nothing need reach the disk.
    with in_thread(lambda: running_postgres(embedded_instance, {"fsync": "off"})) as address:
        yield address


@pytest.fixture(scope="session")
def nats_server(embedded_instance: "Instance") -> "Iterator[NatsAddress]":
    """NATS with JetStream."""
    from postroom_embedded.nats import running_nats

    with in_thread(lambda: running_nats(embedded_instance)) as address:
        yield address


@pytest.fixture(scope="session")
def object_store(embedded_instance: "Instance") -> "Iterator[S3Address]":
    """The object store with its two buckets; tests keep apart by random keys."""
    from postroom_embedded.seaweedfs import running_object_store

    with in_thread(lambda: running_object_store(embedded_instance)) as address:
        yield address


@pytest.fixture
def lost() -> "Iterator[LostAnswers]":
    """Loses answers of services that run in this process."""
    from postroom_testing.lost_answers import LostAnswers

    with LostAnswers() as lost:
        yield lost


@pytest.fixture
def database(postgres_server: "PostgresAddress") -> "Iterator[PostgresAddress]":
    """A database of this test's own, with empty schemas; `new_database` copies a migrated one instead."""
    address = run_in_thread(lambda: new_database(postgres_server))
    yield address
    run_in_thread(lambda: drop_database(address))


async def new_database(server: "PostgresAddress", template: str | None = None) -> "PostgresAddress":
    """A database with the core's empty schemas, or a copy of `template`, which nobody may be connected to."""
    import asyncpg

    from postroom_embedded.instance import SCHEMAS
    from postroom_embedded.postgres import create_schemas

    address = replace(server, database=f"test_{secrets.token_hex(6)}")
    admin = await asyncpg.connect(server.url(database="postgres"))
    try:
        copied = f" TEMPLATE {template}" if template is not None else ""
        await admin.execute(f"CREATE DATABASE {address.database}{copied}")
        if template is not None:  # settings of roles in a database are not copied with it
            for role in SCHEMAS:
                await admin.execute(
                    f"ALTER ROLE {role} IN DATABASE {address.database} SET search_path = {role}"
                )
                await admin.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {address.database} TO {role}")
    finally:
        await admin.close()
    if template is None:
        await create_schemas(address, address.database)
    return address


async def drop_database(address: "PostgresAddress") -> None:
    """Drop it, with whoever is still connected."""
    import asyncpg

    admin = await asyncpg.connect(address.url(database="postgres"))
    try:
        await admin.execute(f"DROP DATABASE IF EXISTS {address.database} WITH (FORCE)")
    finally:
        await admin.close()


@contextlib.contextmanager
def in_thread(make: Callable[[], AbstractAsyncContextManager[T]]) -> Generator[T]:
    """Hold an asynchronous context open in a thread with its own loop."""
    entered: Future[T] = Future()
    loop, leave = asyncio.new_event_loop(), asyncio.Event()

    async def hold() -> None:
        async with make() as value:
            entered.set_result(value)
            await leave.wait()

    def serve() -> None:
        try:
            loop.run_until_complete(hold())
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=serve, name="embedded-stack")
    thread.start()
    try:
        yield entered.result(_START_SECONDS)
    finally:
        with contextlib.suppress(RuntimeError):  # the loop is closed already when it failed
            loop.call_soon_threadsafe(leave.set)
        thread.join()


def run_in_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, whether or not this thread has a running loop."""

    @contextlib.asynccontextmanager
    async def once() -> AsyncGenerator[T]:
        yield await work()

    with in_thread(once) as result:
        return result
