"""Old months of the journal and of the history are cut off; whoever reads from below loads again."""

import datetime as dt

import pytest

from mailstore.cutting import CutLimits, cut_history, cut_journal
from mailstore.mailboxes.rows import Since, changes_since
from mailstore.upkeep import Upkeep
from postroom_contracts.ids import new_id, parse_id
from postroom_testing.mail_store import MailAccount, MailStore

_MONTHS = """
SELECT coalesce(array_agg(c.relname::text ORDER BY c.relname), '{}')
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'mailstore.change'::regclass AND c.relname <> 'change_default'
"""
_FLOOR = "SELECT change_floor FROM mailstore.account_state WHERE account_id = $1"
_CHANGES = "SELECT count(*) FROM mailstore.change WHERE account_id = $1"
_AGE = "UPDATE mailstore.change SET changed_at = changed_at - interval '200 days' WHERE account_id = $1"
LIMITS = CutLimits(accounts=2, rows=2)


@pytest.fixture
def store(own_store: MailStore) -> MailStore:
    """Old rows are everybody's, so each test has a store of its own."""
    return own_store


async def make_months(store: MailStore, *firsts: dt.date) -> None:
    for first in firsts:
        end = (first + dt.timedelta(days=32)).replace(day=1)
        for table in ("change", "delivery_history"):
            await store.execute(
                f"CREATE TABLE mailstore.{table}_{first:%Y_%m} PARTITION OF mailstore.{table}"
                f" FOR VALUES FROM ('{first}') TO ('{end}')"
            )


async def add_changes(store: MailStore, account: MailAccount, at: dt.date, *modseqs: int) -> None:
    for modseq in modseqs:
        await store.execute(
            "INSERT INTO mailstore.change (account_id, modseq, kind, changed_at) VALUES ($1, $2, 7, $3)",
            account.id,
            modseq,
            dt.datetime(at.year, at.month, at.day, tzinfo=dt.UTC),
        )


async def test_a_month_goes_a_round_after_the_floors_that_it_raised(store: MailStore) -> None:
    await make_months(store, dt.date(2020, 11, 1), dt.date(2020, 12, 1), dt.date(2021, 1, 1))
    accounts = [store.account(name) for name in ("ann", "bob", "carol")]
    for account in accounts:
        await store.deliver(account, b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n")
        await add_changes(store, account, dt.date(2020, 12, 30), 2, 3)
        await add_changes(store, account, dt.date(2021, 1, 2), 4)
    now = dt.datetime(2021, 4, 1, tzinfo=dt.UTC)  # 90 days after January began
    await cut_journal(store.database, LIMITS, now)
    assert await store.fetchval(_MONTHS) == ["change_2020_12", "change_2021_01"]
    assert [await store.fetchval(_FLOOR, account.id) for account in accounts] == [4, 4, 4]
    await cut_journal(store.database, LIMITS, now)
    assert await store.fetchval(_MONTHS) == ["change_2021_01"]
    await add_changes(store, accounts[0], dt.date(2021, 1, 31), 3)
    for _ in range(2):
        await cut_journal(store.database, LIMITS, now + dt.timedelta(days=40))
    assert await store.fetchval(_MONTHS) == []
    assert [await store.fetchval(_FLOOR, account.id) for account in accounts] == [5, 5, 5]


async def test_whoever_knows_less_than_the_journal_loads_again_and_others_follow(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, *[b"\r\n"] * 3)
    inbox = parse_id(await store.mailbox_id(ann))
    modseq = await store.fetchval("SELECT modseq FROM mailstore.account_state WHERE account_id = $1", ann.id)
    await store.execute(_AGE, ann.id)
    await store.deliver(ann, b"\r\n")
    await cut_journal(store.database, LIMITS)
    assert await store.fetchval(_CHANGES, ann.id) == 1
    assert (await changes_since(store.database, ann.id, inbox, Since(modseq - 1))).reload
    followed = await changes_since(store.database, ann.id, inbox, Since(modseq))
    assert (followed.reload, list(followed.rows.uids)) == (False, [4])


async def test_accounts_whose_journal_is_young_keep_their_floor(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    await store.deliver(ann, b"\r\n")
    await store.deliver(bob, b"\r\n")
    before = await store.fetchval(_FLOOR, bob.id)
    await store.execute(_AGE, ann.id)
    await Upkeep(store.database, store.objects).run_once()
    assert await store.fetchval(_CHANGES, ann.id) == 0
    assert await store.fetchval(_CHANGES, bob.id) == 1
    assert await store.fetchval(_FLOOR, bob.id) == before


async def test_a_month_that_is_in_use_goes_later_and_holds_up_no_mail(store: MailStore) -> None:
    await make_months(store, dt.date(2020, 12, 1))
    ann = store.account()
    async with store.database.transaction() as connection:
        await connection.fetch("SELECT FROM mailstore.change")
        await cut_journal(store.database, CutLimits(lock_seconds=0.05))
        await store.deliver(ann, b"\r\n")
    assert await store.fetchval(_MONTHS) == ["change_2020_12"]
    await cut_journal(store.database, LIMITS)
    assert await store.fetchval(_MONTHS) == []


async def test_history_is_forgotten_by_months_and_what_is_of_none_by_rows(store: MailStore) -> None:
    await make_months(store, dt.date(2020, 12, 1))
    insert = (
        "INSERT INTO mailstore.delivery_history (delivery_id, accepted_id, tenant_id, recipient, outcome,"
        " status, diagnostic, remote_host, attempts, finished_at)"
        " VALUES ($1, $1, $1, '', 1, '', '', '', 1, $2)"
    )
    now = dt.datetime.now(dt.UTC)
    for days in (3, 399, 401, 402, 403, 404):
        await store.execute(insert, new_id(), now - dt.timedelta(days=days))
    await store.execute(insert, new_id(), dt.datetime(2020, 12, 5, tzinfo=dt.UTC))
    await cut_history(store.database, LIMITS)
    assert await store.fetchval("SELECT count(*) FROM mailstore.delivery_history") == 2
    assert not await store.fetchval("SELECT to_regclass('mailstore.delivery_history_2020_12') IS NOT NULL")
