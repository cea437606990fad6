"""Failed logins as Postgres counts them."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from directory.attempts import Attempt, LoginFailures
from directory.limits import Limits
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.networks import Networks
from postroom_storage.database import Database

ANN = Attempt.of("192.0.2.1", "ann@example.com")
BOB = Attempt.of("192.0.2.2", "bob@example.com")
ELSEWHERE = Attempt.of("198.51.100.1", "ann@example.com")


@pytest.fixture
async def pool(directory_database: PostgresAddress) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    url = directory_database.url("directory")
    async with Database(url, schema="directory", require_durable=False) as opened:
        yield opened


async def _add(pool: Database, failures: LoginFailures, attempt: Attempt, times: int = 1) -> None:
    for _ in range(times):
        await pool.run(lambda connection: failures.add(connection, attempt))


async def _count(pool: Database, failures: LoginFailures, attempt: Attempt) -> tuple[int, bool]:
    async with pool.connection() as connection:
        return await failures.count(connection, attempt)


async def _let_pass(pool: Database) -> None:
    """All windows that are open end now."""
    async with pool.connection() as connection:
        await connection.execute("UPDATE login_failure SET expires_at = now() - interval '1 second'")


async def test_an_address_is_blocked_from_a_network_at_the_bound(pool: Database) -> None:
    failures = LoginFailures(Limits(failures=3))
    await _add(pool, failures, ANN, 2)
    assert await _count(pool, failures, ANN) == (2, False)
    await _add(pool, failures, ANN)
    assert await _count(pool, failures, ANN) == (3, True)
    assert await _count(pool, failures, BOB) == (0, False)
    assert await _count(pool, failures, ELSEWHERE) == (0, False)


async def test_a_network_that_tries_many_addresses_is_blocked_for_all(pool: Database) -> None:
    failures = LoginFailures(Limits(network_failures=5))
    for number in range(5):
        await _add(pool, failures, Attempt.of("192.0.2.1", f"guess{number}@example.com"))
    assert await _count(pool, failures, BOB) == (0, True)
    assert await _count(pool, failures, ELSEWHERE) == (0, False)


async def test_an_address_that_stands_for_many_blocks_only_the_name_that_was_tried(pool: Database) -> None:
    """A balancer's or node's: whoever guesses through it must not lock all others out."""
    failures = LoginFailures(Limits(failures=3, network_failures=5))
    balancers = Networks([ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48")])
    for number in range(10):
        await _add(pool, failures, Attempt.of("10.1.2.3", f"guess{number}@example.com", balancers))
    await _add(pool, failures, Attempt.of("2001:db8:1::7", "ann@example.com", balancers), 3)
    for peer in ("10.1.2.3", "10.1.99.99", "::ffff:10.1.2.3", ""):
        assert await _count(pool, failures, Attempt.of(peer, "bob@example.com", balancers)) == (0, False)
        assert await _count(pool, failures, Attempt.of(peer, "ann@example.com", balancers)) == (3, True)
    assert await _count(pool, failures, ANN) == (0, False)


async def test_a_window_ends_and_the_count_begins_anew(pool: Database) -> None:
    failures = LoginFailures(Limits(failures=3))
    await _add(pool, failures, ANN, 3)
    await _let_pass(pool)
    assert await _count(pool, failures, ANN) == (0, False)
    await _add(pool, failures, ANN)
    assert await _count(pool, failures, ANN) == (1, False)


async def test_a_window_is_not_prolonged_by_failures_until_the_bound_is_reached(pool: Database) -> None:
    failures = LoginFailures(Limits(failures=3))
    ends: list[object] = []
    for _ in range(4):
        await _add(pool, failures, ANN)
        async with pool.connection() as connection:
            ends.append(
                await connection.fetchval(
                    "SELECT expires_at FROM login_failure WHERE address_digest = $1", ANN.address_digest
                )
            )
    assert ends[0] == ends[1] != ends[2] == ends[3]


async def test_who_gets_in_is_forgotten_and_the_network_s_count_stays(pool: Database) -> None:
    failures = LoginFailures(Limits(failures=3, network_failures=4))
    await _add(pool, failures, ANN, 2)
    async with pool.connection() as connection:
        await failures.forget(connection, ANN)
    assert await _count(pool, failures, ANN) == (0, False)
    await _add(pool, failures, BOB, 2)
    assert await _count(pool, failures, ANN) == (0, True)


async def test_failures_at_the_same_time_are_all_counted(pool: Database) -> None:
    failures = LoginFailures(Limits())
    attempts = [Attempt.of("192.0.2.1", f"guess{number % 4}@example.com") for number in range(24)]
    await asyncio.gather(*(_add(pool, failures, attempt) for attempt in attempts))
    async with pool.connection() as connection:
        counts = await connection.fetch("SELECT failures FROM login_failure ORDER BY failures")
    assert [row["failures"] for row in counts] == [6, 6, 6, 6, 24]


async def test_failures_that_are_over_do_not_pile_up(pool: Database) -> None:
    failures = LoginFailures(Limits())
    for number in range(12):
        await _add(pool, failures, Attempt.of(f"10.0.{number}.1", "ann@example.com"))
    await _let_pass(pool)
    for number in range(3):
        await _add(pool, failures, Attempt.of("192.0.2.1", f"guess{number}@example.com"))
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM login_failure") == 4
