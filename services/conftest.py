"""Fixtures for tests of an edge service against a real core."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread

if TYPE_CHECKING:  # tests of one service load nothing of the others
    from postroom_embedded.postgres import PostgresAddress
    from postroom_testing.core import Core


@pytest.fixture(scope="session")
def core_template(postgres_server: "PostgresAddress") -> "PostgresAddress":
    """A database with the schemas of directory and mailstore, to be copied."""
    from postroom_testing.core import new_core_database

    return run_in_thread(lambda: new_core_database(postgres_server))


@pytest.fixture
def core_database(
    postgres_server: "PostgresAddress", core_template: "PostgresAddress"
) -> "Iterator[PostgresAddress]":
    """A migrated database of this test's own."""
    address = run_in_thread(lambda: new_database(postgres_server, core_template.database))
    yield address
    run_in_thread(lambda: drop_database(address))


@pytest.fixture(scope="session")
def shared_core(postgres_server: "PostgresAddress", core_template: "PostgresAddress") -> "Iterator[Core]":
    """One core for all tests that do it no harm, with the object store away."""
    from postroom_testing.core import running_core

    address = run_in_thread(lambda: new_database(postgres_server, core_template.database))
    with in_thread(lambda: running_core(address, retry_seconds=0.3)) as core:
        yield core
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
async def core(core_database: "PostgresAddress") -> "AsyncIterator[Core]":
    """A core of this test's own, with the object store away."""
    from postroom_testing.core import running_core

    async with running_core(core_database, retry_seconds=0.3) as core:
        yield core
