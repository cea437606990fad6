"""Upkeep: partitions ahead, uploads that nobody used, claims that are over; and the gauges."""

import datetime as dt

import pytest

from mailstore.upkeep import Upkeep, UpkeepLimits
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailStore, Measured

_PARTITIONS = """
SELECT count(*) FROM pg_inherits WHERE inhparent = 'mailstore.change'::regclass
"""


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """Upkeep is for everybody, so each test has a store of its own."""
    return own_store


async def test_partitions_of_the_coming_months_are_made_once(store: MailStore) -> None:
    upkeep = Upkeep(store.database, store.objects, UpkeepLimits(months_ahead=3))
    await upkeep.run_once()
    await upkeep.run_once()
    assert await store.fetchval(_PARTITIONS) == 4
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(days=45)
    statement = (
        "INSERT INTO mailstore.change (account_id, modseq, kind, changed_at) VALUES ($1, 1, 1, $2)"
        " RETURNING tableoid::regclass::text"
    )
    assert await store.fetchval(statement, new_id(), ahead) == f"change_{ahead:%Y_%m}"


async def test_a_partition_that_cannot_be_locked_holds_up_no_mail(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, b"\r\n")
    async with store.database.transaction() as connection:
        await connection.fetch("SELECT FROM mailstore.change_default")
        await Upkeep(store.database, store.objects).run_once()
        await store.deliver(ann, b"\r\n")
    assert len(await store.inbox(ann)) == 2
    assert await store.fetchval(_PARTITIONS) == 1


async def test_claims_that_are_long_over_are_swept(store: MailStore) -> None:
    await store.execute(
        "INSERT INTO mailstore.claim (id, token, worker, site, expires_at)"
        " VALUES ($1, $1, '', '', now() - interval '2 hours')",
        new_id(),
    )
    await Upkeep(store.database, store.objects).run_once()
    assert await store.fetchval("SELECT count(*) FROM mailstore.claim") == 0


async def test_the_queue_is_measured(store: MailStore, measured: Measured) -> None:
    await store.accept(store.item(["a@one.example", "b@one.example", store.account()]))
    await store.execute("UPDATE mailstore.delivery SET due_at = now() - interval '1 minute'")
    await store.execute("UPDATE mailstore.delivery SET parked = true WHERE recipient = 'a@one.example'")
    queue = await measured(store)
    assert (queue["due_deliveries"], queue["parked_deliveries"]) == (1, 1)
    assert 60 <= queue["oldest_due_seconds"] < 120
