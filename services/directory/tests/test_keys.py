"""The signing keys: made once, shared, rotated by rows, remembered while Postgres is away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from directory.keys import KeyRing
from directory.limits import Limits
from postroom_contracts.ids import DEFAULT_TENANT
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.database import Connection, Database, Isolation

T = TypeVar("T")


class FakeClock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def pool(directory_database: PostgresAddress) -> AsyncIterator[Database]:
    """Connections to this test's database."""
    url = directory_database.url("directory")
    async with Database(url, schema="directory", require_durable=False) as opened:
        yield opened


async def _insert_key(pool: Database, key_id: str, sign_from: timedelta) -> None:
    key = Ed25519PrivateKey.generate()
    async with pool.transaction() as connection:
        await connection.execute(
            """INSERT INTO signing_key (id, tenant_id, private_key, public_key, sign_from)
            VALUES ($1, $2, $3, $4, now() + $5)""",
            key_id,
            DEFAULT_TENANT,
            key.private_bytes_raw(),
            key.public_key().public_bytes_raw(),
            sign_from,
        )


async def test_replicas_that_start_at_once_make_one_key(pool: Database) -> None:
    rings = [KeyRing(pool, Limits()) for _ in range(5)]
    keys = await asyncio.gather(*(ring.signing_key() for ring in rings))
    assert len({key.key_id for key in keys}) == 1
    (public,) = await rings[0].public_keys()
    assert public.octets == keys[0].key.public_key().public_bytes_raw()


async def test_who_began_before_the_key_was_made_takes_it_all_the_same(
    pool: Database, directory_database: PostgresAddress
) -> None:
    url = directory_database.url("directory")
    begun, made = asyncio.Event(), asyncio.Event()

    class Early(Database):
        async def run(
            self,
            work: Callable[[Connection], Awaitable[T]],
            *,
            seconds: float | None = None,
            isolation: Isolation = "read_committed",
        ) -> T:
            async with self.transaction() as connection:
                begun.set()
                await made.wait()
                return await work(connection)

    others = Early(url, schema="directory", require_durable=False)
    async with others as early, asyncio.TaskGroup() as group:
        late = group.create_task(KeyRing(early, Limits()).signing_key())
        await begun.wait()
        key = await KeyRing(pool, Limits()).signing_key()
        made.set()
    assert late.result().key_id == key.key_id


async def test_a_new_key_is_published_before_it_signs_and_an_old_one_ends_when_it_is_told_to(
    pool: Database,
) -> None:
    clock = FakeClock()
    ring = KeyRing(pool, Limits(), clock)
    first = (await ring.signing_key()).key_id
    await _insert_key(pool, "next", timedelta(minutes=10))
    assert [key.key_id for key in await ring.public_keys()] == [first]
    clock.now += Limits().keys_seconds
    assert [key.key_id for key in await ring.public_keys()] == [first, "next"]
    assert (await ring.signing_key()).key_id == first
    async with pool.transaction() as connection:
        await connection.execute("UPDATE signing_key SET sign_from = now() WHERE id = 'next'")
    clock.now += Limits().keys_seconds
    assert (await ring.signing_key()).key_id == "next"
    async with pool.transaction() as connection:
        await connection.execute("UPDATE signing_key SET verify_until = now() WHERE id = $1", first)
    clock.now += Limits().keys_seconds
    assert [key.key_id for key in await ring.public_keys()] == ["next"]


async def test_keys_are_remembered_while_postgres_is_away(pool: Database) -> None:
    clock = FakeClock()
    ring = KeyRing(pool, Limits(), clock)
    known = await ring.public_keys()
    await pool.close()
    clock.now += Limits().keys_seconds
    assert await ring.public_keys() == known
