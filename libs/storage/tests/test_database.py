import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest

from postroom_contracts.errors import DomainInUseError, UnavailableError
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.database import Connection, Database, Limits
from postroom_storage.errors import UnsafeDatabaseError
from postroom_storage.failures import is_data_error
from postroom_testing.postgres_faults import FaultyPostgres, faulty_postgres

TABLE = "CREATE TABLE item (id int PRIMARY KEY, value text, tag uuid, facts jsonb)"
SHORT = Limits(connections=4, call_seconds=1.2, acquire_seconds=0.8, connect_seconds=0.6)


@asynccontextmanager
async def opened(address: PostgresAddress, limits: Limits | None = None) -> AsyncGenerator[Database]:
    database = Database(address.url("directory"), schema="directory", limits=limits, require_durable=False)
    async with database:
        yield database


@pytest.fixture
async def items(database: PostgresAddress) -> AsyncGenerator[Database]:
    """A database with one table."""
    async with opened(database, Limits(connections=3)) as opened_database:
        async with opened_database.transaction() as connection:
            await connection.execute(TABLE)
        yield opened_database


async def _values(items: Database) -> list[str]:
    async with items.connection() as connection:
        return [row["value"] for row in await connection.fetch("SELECT value FROM item ORDER BY id")]


async def _add(connection: Connection, number: int, value: str) -> None:
    await connection.execute("INSERT INTO item (id, value) VALUES ($1, $2)", number, value)


async def test_a_transaction_is_committed_at_its_end(items: Database) -> None:
    async with items.transaction() as connection:
        await _add(connection, 1, "one")
        async with connection.transaction():  # a savepoint
            await _add(connection, 2, "two")
    assert await _values(items) == ["one", "two"]


async def test_any_exception_rolls_back_and_comes_out_as_it_is(items: Database) -> None:
    async def refuse() -> None:
        async with items.transaction() as connection:
            await _add(connection, 1, "one")
            raise DomainInUseError

    async def add_twice() -> None:
        async with items.transaction() as connection:
            await _add(connection, 1, "one")
            await _add(connection, 1, "one")

    with pytest.raises(DomainInUseError):
        await refuse()
    with pytest.raises(asyncpg.UniqueViolationError):
        await add_twice()
    assert await _values(items) == []


async def test_uuids_and_json_go_in_and_come_out_as_they_were(items: Database) -> None:
    tag, facts = uuid4(), {"a": [1, None, "ä"]}
    async with items.transaction() as connection:
        await connection.execute("INSERT INTO item (id, tag, facts) VALUES (1, $1, $2)", tag, facts)
        row = await connection.fetchrow("SELECT tag, facts FROM item")
    assert row is not None
    assert isinstance(row["tag"], UUID)
    assert (row["tag"], row["facts"]) == (tag, facts)


@pytest.mark.parametrize("value", ["a\x00b", "a\udcffb"])
async def test_a_value_that_postgres_cannot_hold_is_a_data_error_and_the_connection_stays_good(
    items: Database, value: str
) -> None:
    with pytest.raises((asyncpg.PostgresError, ValueError)) as caught:
        async with items.transaction() as connection:
            await _add(connection, 1, value)
    assert is_data_error(caught.value)
    async with items.transaction() as connection:
        await _add(connection, 1, "good")
    assert await _values(items) == ["good"]


async def test_deadlocked_transactions_all_succeed_in_the_end(items: Database) -> None:
    async with items.transaction() as connection:
        await _add(connection, 1, "0")
        await _add(connection, 2, "0")
    met = asyncio.Barrier(2)

    async def lock_both(first: int, second: int) -> None:
        waited = False

        async def work(connection: Connection) -> None:
            nonlocal waited
            bump = "UPDATE item SET value = value::int + 1 WHERE id = $1"
            await connection.execute(bump, first)
            if not waited:
                waited = True
                await met.wait()
            await connection.execute(bump, second)

        await items.run(work)

    await asyncio.gather(lock_both(1, 2), lock_both(2, 1))
    assert await _values(items) == ["2", "2"]


async def test_statements_that_deadlock_are_run_again_one_by_one(items: Database) -> None:
    async with items.transaction() as connection:
        await _add(connection, 1, "0")
        await _add(connection, 2, "0")
    both = """
        WITH one AS (UPDATE item SET value = value::int + 1 WHERE id = $1 RETURNING pg_sleep(0.2)),
             two AS (UPDATE item SET value = value::int + 1 FROM one WHERE id = $2 RETURNING id)
        SELECT id FROM two
    """
    answers = await asyncio.gather(items.run_statement(both, 1, 2), items.run_statement(both, 2, 1))
    assert [[row["id"] for row in rows] for rows in answers] == [[2], [1]]
    assert await _values(items) == ["2", "2"]


async def test_a_statement_that_deadlocks_for_ever_gives_up_and_another_error_comes_out(
    items: Database,
) -> None:
    with pytest.raises(UnavailableError):
        await items.run_statement("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")
    with pytest.raises(asyncpg.DataError):
        await items.run_statement("SELECT 1 / $1::int", 0)
    assert await items.run_statement("SELECT $1::int AS number", 7) == [(7,)]


async def test_a_deadlock_without_retry_says_try_again(items: Database) -> None:
    with pytest.raises(UnavailableError):
        async with items.transaction() as connection:
            await connection.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")


async def test_a_transaction_that_deadlocks_for_ever_gives_up(items: Database) -> None:
    attempts = 0

    async def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        await connection.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")

    with pytest.raises(UnavailableError):
        await items.run(work)
    assert attempts == items.limits.attempts


async def test_a_slow_statement_is_cut_and_what_it_locked_is_free_again(items: Database) -> None:
    async with items.transaction() as connection:
        await _add(connection, 1, "one")

    async def lock_and_sleep() -> None:
        async with items.transaction(seconds=0.2) as connection:
            await connection.execute("UPDATE item SET value = 'locked'")
            await connection.execute("SELECT pg_sleep(30)")

    begun = time.monotonic()
    with pytest.raises(UnavailableError):
        await lock_and_sleep()
    assert time.monotonic() - begun < 2
    async with items.transaction(seconds=4) as connection:
        await connection.execute("UPDATE item SET value = 'free'")
    assert await _values(items) == ["free"]


async def test_a_cancelled_caller_leaves_a_clean_pool(items: Database) -> None:
    async def slow() -> None:
        async with items.transaction() as connection:
            await _add(connection, 1, "never")
            await connection.execute("SELECT pg_sleep(30)")

    tasks = [asyncio.create_task(slow()) for _ in range(3)]
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert await asyncio.gather(*(_values(items) for _ in range(10))) == [[]] * 10


async def test_connections_are_bounded_and_so_are_those_who_wait(database: PostgresAddress) -> None:
    limits = Limits(connections=2, waiting=3, acquire_seconds=0.5)
    async with opened(database, limits) as bounded:

        async def hold() -> str:
            try:
                async with bounded.connection() as connection:
                    await connection.execute("SELECT pg_sleep(1)")
            except UnavailableError as error:
                return str(error)
            return "done"

        await asyncio.gather(*(bounded.probe() for _ in range(2)))
        answers = await asyncio.gather(*(hold() for _ in range(8)))
    assert answers.count("done") == 2
    assert answers.count("too many callers wait for a connection") >= 3


async def test_a_connection_is_used_again_as_long_as_it_is_in_order(items: Database) -> None:
    async def server_process(*statements: str) -> int:
        async with items.connection() as connection:
            number = int(await connection.fetchval("SELECT pg_backend_pid()"))
            for statement in statements:
                await connection.execute(statement)
            return number

    first = await server_process()
    assert await server_process("BEGIN", "INSERT INTO item (id) VALUES (1)") == first
    async with items.connection() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT count(*) FROM item") == 0
    kept = await server_process()
    async with items.connection(), items.connection() as another:
        await another.execute("SELECT pg_terminate_backend($1, 1000)", kept)
    with contextlib.suppress(UnavailableError):  # its end may just be arriving
        assert await server_process() != kept
    assert await server_process() != kept


async def test_only_one_leader_at_a_time(items: Database, database: PostgresAddress) -> None:
    async with opened(database) as other:
        async with items.leadership("packer") as leader, other.leadership("packer") as second:
            assert leader is not None
            assert leader.held
            assert second is None
        async with other.leadership("packer") as leader, items.leadership("janitor") as janitor:
            assert leader is not None
            assert janitor is not None


async def test_a_database_that_forgets_commits_is_refused(database: PostgresAddress) -> None:
    async with Database(database.url("directory"), schema="directory") as unsafe:
        with pytest.raises(UnsafeDatabaseError, match="fsync"):
            await unsafe.probe()


async def test_what_a_role_or_a_database_has_of_its_own_counts(durable: FaultyPostgres) -> None:
    owner = await asyncpg.connect(durable.address.url())
    try:
        await _is_safe(durable)
        for whose in ("ROLE directory", "DATABASE postroom", "ROLE directory IN DATABASE postroom"):
            await owner.execute(f"ALTER {whose} SET synchronous_commit = 'off'")
            with pytest.raises(UnsafeDatabaseError, match="synchronous_commit"):
                await _is_safe(durable)
            await owner.execute(f"ALTER {whose} RESET synchronous_commit")
        await _is_safe(durable)
    finally:
        await owner.close()


async def _is_safe(server: FaultyPostgres) -> None:
    async with Database(server.address.url("directory"), schema="directory") as database:
        await database.probe()


async def test_only_a_synchronous_standby_protects_what_is_confirmed(durable: FaultyPostgres) -> None:
    async def protected() -> bool:
        async with opened(durable.address) as database:
            return await database.is_protected()

    owner = await asyncpg.connect(durable.address.url())
    try:
        assert not await protected()
        await owner.execute("SET synchronous_commit = 'local'")  # there is no standby to wait for
        await owner.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        await owner.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(10):  # until the server has read its settings
            while not await protected():
                await asyncio.sleep(0.01)
        await owner.execute("ALTER ROLE directory SET synchronous_commit = 'local'")
        assert not await protected()
    finally:
        await owner.close()


async def test_a_wrong_password_or_address_is_a_database_that_is_away(database: PostgresAddress) -> None:
    for url in (
        database.url("directory").replace("directory:", "directory:x"),
        "postgresql://directory@/postroom?host=/nowhere",
        database.url("directory", "no_such_database"),
    ):
        async with Database(url, schema="directory", require_durable=False) as away:
            with pytest.raises(UnavailableError):
                await away.probe()


@pytest.fixture
async def faulty() -> AsyncGenerator[FaultyPostgres]:
    """A server of the test's own."""
    async with faulty_postgres() as server:
        yield server


@pytest.fixture
async def durable() -> AsyncGenerator[FaultyPostgres]:
    """One that runs and flushes what it confirms."""
    async with faulty_postgres({"fsync": "on"}) as server:
        await server.start()
        yield server


async def _unavailable_in_time(call: Database) -> None:
    begun = time.monotonic()
    answers = await asyncio.gather(*(call.probe() for _ in range(20)), return_exceptions=True)
    assert time.monotonic() - begun < SHORT.call_seconds + 1
    assert {type(answer) for answer in answers} == {UnavailableError}


async def test_every_call_ends_in_time_whatever_happens_to_postgres_and_the_next_finds_it_back(
    faulty: FaultyPostgres,
) -> None:
    async with opened(faulty.address, SHORT) as database:
        await _unavailable_in_time(database)  # before it ever ran
        await faulty.start()
        await _works(database)
        await faulty.stop()
        await _unavailable_in_time(database)
        await faulty.start()
        await _works(database)
        faulty.freeze()
        await _unavailable_in_time(database)
        await _unavailable_in_time(database)  # when all old connections are gone, too
        faulty.thaw()
        await _works(database)
        await faulty.kill()
        await _unavailable_in_time(database)
        await faulty.start()
        await _works(database)


async def _works(database: Database) -> None:
    """From 0.2 s after it is back, all calls succeed."""
    await asyncio.sleep(0.2)
    await asyncio.gather(*(database.probe() for _ in range(20)))


async def test_a_transaction_under_way_when_postgres_dies_or_freezes_ends_in_time(
    faulty: FaultyPostgres,
) -> None:
    async def meet(database: Database, fault: Callable[[], Awaitable[None]]) -> None:
        async with database.transaction() as connection:
            await connection.fetchval("SELECT 1")
            await fault()
            await connection.fetchval("SELECT 2")

    async def freeze() -> None:
        faulty.freeze()

    await faulty.start()
    async with opened(faulty.address, SHORT) as database:
        for fault in (freeze, faulty.kill):
            begun = time.monotonic()
            with pytest.raises(UnavailableError):
                await meet(database, fault)
            assert time.monotonic() - begun < SHORT.call_seconds + 1
            faulty.thaw()


def test_the_bounds_of_a_call_leave_time_for_the_answer() -> None:
    assert Limits().call_seconds <= 4
    assert Limits().acquire_seconds < Limits().call_seconds
