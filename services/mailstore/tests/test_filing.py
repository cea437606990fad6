"""Taking a lane and filing from it are one call each: what they see and promise while others are at work."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from mailstore.accounts import lock_accounts
from mailstore.local_delivery.filing import file_deliveries
from mailstore.local_delivery.lease import LaneLostError, Lease, Work, lanes_with_work, take
from mailstore.local_delivery.reading import read_messages
from mailstore.placement import Placement, place
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.database import Connection, Database, Limits
from postroom_storage.objects import ObjectStore
from postroom_testing.mail_store import MailAccount, MailStore, running_mail_store

_LANE = 4
_MAILBOX = "SELECT id FROM mailstore.mailbox WHERE account_id = $1 AND name = $2"
_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%mailstore.%'
"""
_LOOKED_AT = """
SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows FROM pg_stat_xact_user_tables
WHERE schemaname = 'mailstore'
"""
_MANY = "FROM generate_series(1, 20000)"
_GROW = (
    f"""INSERT INTO mailstore.account_state (account_id, tenant_id, last_uid_validity)
        SELECT gen_random_uuid(), gen_random_uuid(), 1 {_MANY}""",
    """INSERT INTO mailstore.mailbox (id, tenant_id, account_id, name, uid_validity)
       SELECT gen_random_uuid(), tenant_id, account_id, 'INBOX', 1 FROM mailstore.account_state
       WHERE last_uid_validity = 1""",
    f"""INSERT INTO mailstore.accepted (id, tenant_id, blob_id)
        SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid() {_MANY}""",
    """INSERT INTO mailstore.blob (id, tenant_id, digest, size, codec, segment, stored_length)
       SELECT blob_id, tenant_id, '', 1, 1, 1, 1 FROM mailstore.accepted WHERE reverse_path = ''""",
    """INSERT INTO mailstore.delivery (id, accepted_id, tenant_id, recipient, account_id, local_lane, due_at)
       SELECT gen_random_uuid(), id, tenant_id, '', id, 4, now() + interval '1 day' FROM mailstore.accepted
       WHERE reverse_path = ''""",
)


def _account(store: MailStore, name: str = "ann") -> MailAccount:
    return store.account(name, UUID(int=(new_id().int & ~7) | _LANE))


async def _take(store: MailStore, seconds: float = 10.0) -> Work | None:
    return await take(store.database, Lease(_LANE, new_id()), "worker", seconds, 100)


async def _taken(store: MailStore) -> Work:
    work = await _take(store)
    assert work is not None
    return work


async def _file(store: MailStore, work: Work, *, give_back: bool = False) -> list[UUID]:
    reading = await read_messages(store.parts.reader, work.due)
    filed = await file_deliveries(store.database, work.lease, work.due, reading.facts, give_back=give_back)
    return [delivery.accepted_id for delivery in filed.deliveries]


@asynccontextmanager
async def _lane_locked(store: MailStore) -> AsyncGenerator[Connection]:
    """A transaction that has the lane's row, as a holder's has while it files."""
    async with store.database.transaction() as connection:
        await connection.execute("UPDATE mailstore.local_lane SET token = NULL WHERE number = $1", _LANE)
        yield connection


async def _wait_until_blocked(store: MailStore, count: int = 1) -> None:
    async with asyncio.timeout(3):
        while await store.fetchval(_WAITING) < count:
            await asyncio.sleep(0.005)


async def test_who_waits_for_a_lane_sees_what_became_of_its_mail_meanwhile(own_store: MailStore) -> None:
    store = own_store
    ann = _account(store)
    old, new = store.item([ann]), store.item([ann])
    await store.accept(old)
    async with _lane_locked(store) as holder:
        waiting = asyncio.ensure_future(_take(store))
        await _wait_until_blocked(store)
        await holder.execute("DELETE FROM mailstore.delivery")
        await store.accept(new)
    # The old is gone, the new came after this call began: its own bell finds the lane free.
    assert await waiting is None
    work = await _taken(store)
    assert [delivery.accepted_id for delivery in work.due] == [UUID(bytes=new.id)]


async def test_a_bell_that_waits_for_a_lane_is_not_lost(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.accept(store.item([ann]))
    async with _lane_locked(store):
        takers = [asyncio.ensure_future(_take(store)) for _ in range(3)]
        await _wait_until_blocked(store, 3)
    works = [work for taker in takers if (work := await taker) is not None]
    (work,) = works
    reading = await read_messages(store.parts.reader, work.due)
    filed = await file_deliveries(store.database, work.lease, work.due, reading.facts, give_back=True)
    assert not filed.given_back  # rung by the two others


async def test_a_lane_with_nothing_due_stays_free_and_is_given_back_by_its_holder(
    own_store: MailStore,
) -> None:
    store, ann = own_store, _account(own_store)
    token = "SELECT token FROM mailstore.local_lane WHERE number = $1"
    assert await _take(store) is None
    assert await store.fetchval(token, _LANE) is None
    await store.accept(store.item([ann]))
    work = await _taken(store)
    assert await store.fetchval(token, _LANE) == work.lease.token
    await store.execute("DELETE FROM mailstore.delivery")
    assert await take(store.database, work.lease, "worker", 10.0, 100) is None
    assert await store.fetchval(token, _LANE) is None


async def test_a_lease_that_ran_out_is_its_holders_again_unless_somebody_took_the_lane(
    own_store: MailStore,
) -> None:
    store, ann = own_store, _account(own_store)
    await store.accept(store.item([ann]))
    late = await _take(store, 0.0)
    assert late is not None
    again = await take(store.database, late.lease, "worker", 0.0, 100)
    assert again is not None
    assert not again.lease.abandoned
    other = await _taken(store)
    assert other.lease.abandoned
    assert await take(store.database, late.lease, "worker", 10.0, 100) is None


async def test_an_expired_lease_files_nothing_though_nobody_took_the_lane(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.deliver(ann, b"Subject: first\r\n\r\n")
    modseq = await store.fetchval("SELECT modseq FROM mailstore.account_state")
    await store.accept(store.item([ann]))
    late = await _take(store, 0.0)
    assert late is not None
    with pytest.raises(LaneLostError):
        await _file(store, late, give_back=True)
    assert await store.fetchval("SELECT modseq FROM mailstore.account_state") == modseq
    assert await lanes_with_work(store.database) == [_LANE]


async def test_nobody_takes_a_lane_while_its_holder_waits_for_an_account(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.deliver(ann, b"Subject: first\r\n\r\n")
    await store.accept(store.item([ann]))
    work = await _taken(store)
    async with store.database.transaction() as connection:
        await lock_accounts(connection, [ann.id])
        filing = asyncio.ensure_future(_file(store, work))
        await _wait_until_blocked(store)
        taking = asyncio.ensure_future(_take(store))
        await _wait_until_blocked(store, 2)
    assert len(await filing) == 1
    assert await taking is None
    assert len(await store.inbox(ann)) == 2
    assert await store.counters_are_right(ann)


async def test_of_a_batch_only_what_nobody_cancelled_is_filed(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    messages = [b"Subject: %d\r\n\r\n" % number for number in range(5)]
    items = [store.item([ann], octets) for octets in messages]
    for item in items:
        await store.accept(item)
    work = await _taken(store)
    cancelled = [UUID(bytes=items[number].id) for number in (0, 3)]
    await store.execute("DELETE FROM mailstore.delivery WHERE accepted_id = ANY($1::uuid[])", cancelled)
    filed = await _file(store, work)
    assert filed == [UUID(bytes=items[number].id) for number in (1, 2, 4)]
    assert await store.inbox(ann) == [messages[number] for number in (1, 2, 4)]
    left = "SELECT count(*) FROM mailstore.message WHERE id = ANY($1::uuid[])"
    assert await store.fetchval(left, cancelled) == 0
    assert await store.counters_are_right(ann)


async def test_a_cancel_that_is_about_to_commit_is_waited_for(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.accept(store.item([ann]))
    work = await _taken(store)
    async with store.database.transaction() as connection:
        await connection.execute("DELETE FROM mailstore.delivery")
        filing = asyncio.ensure_future(_file(store, work))
        await _wait_until_blocked(store)
    assert await filing == []
    assert await store.inbox(ann) == []


async def test_mail_goes_to_the_inbox_that_there_is_once_the_account_is_locked(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.deliver(ann, b"Subject: first\r\n\r\n")
    await store.accept(store.item([ann], b"Subject: second\r\n\r\n"))
    work = await _taken(store)
    rename = "UPDATE mailstore.mailbox SET name = $3 WHERE account_id = $1 AND name = $2"
    async with store.database.transaction() as connection:
        await lock_accounts(connection, [ann.id])
        filing = asyncio.ensure_future(_file(store, work))
        await _wait_until_blocked(store)
        await connection.execute(rename, ann.id, "INBOX", "Before")
        await connection.execute(rename, ann.id, "Archive", "INBOX")
    assert len(await filing) == 1
    assert await store.inbox(ann) == [b"Subject: second\r\n\r\n"]
    before = await store.mailbox_id(ann, "Before")
    assert len(await store.rows(ann, before)) == 1
    assert await store.counters_are_right(ann)


async def test_mail_for_an_account_without_an_inbox_stays_in_the_queue(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.deliver(ann, b"Subject: first\r\n\r\n")
    await store.execute("UPDATE mailstore.mailbox SET name = 'Gone' WHERE name = 'INBOX'")
    await store.accept(store.item([ann]))
    work = await _taken(store)
    with pytest.raises(asyncpg.NotNullViolationError):
        await _file(store, work)
    assert await store.fetchval("SELECT count(*) FROM mailstore.delivery") == 1
    assert await store.fetchval("SELECT count(*) FROM mailstore.message") == 1


async def test_the_first_mail_of_an_account_changes_its_neighbours_once(own_store: MailStore) -> None:
    store, ann, ben = own_store, _account(own_store), _account(own_store, "ben")
    await store.deliver(ann, b"Subject: first\r\n\r\n")
    modseq = "SELECT modseq FROM mailstore.account_state WHERE account_id = $1"
    before = await store.fetchval(modseq, ann.id)
    await store.accept(store.item([ben, ann]))
    assert len(await _file(store, await _taken(store))) == 2
    assert await store.fetchval(modseq, ann.id) == before + 1
    assert len(await store.inbox(ben)) == 1


async def test_what_postgres_refuses_is_put_off_and_its_neighbours_are_filed_in_order(
    own_store: MailStore,
) -> None:
    store, ann = own_store, _account(own_store)
    messages = [b"Subject: %d\r\n\r\n" % number for number in range(7)]
    items = [store.item([ann], octets) for octets in messages]
    await store.accept(*items)
    await store.execute(
        f"ALTER TABLE mailstore.message ADD CHECK (id <> '{UUID(bytes=items[4].id)}')"  # a test's own table
    )
    await store.worker().empty(_LANE)
    assert await store.inbox(ann) == messages[:4] + messages[5:]
    assert await store.counters_are_right(ann)
    assert await store.fetchval("SELECT array_agg(attempts) FROM mailstore.delivery WHERE NOT parked") == [1]
    assert await store.fetchval("SELECT token FROM mailstore.local_lane WHERE number = $1", _LANE) is None


async def test_a_mailbox_that_is_not_there_takes_no_messages(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.deliver(ann, b"Subject: first\r\n\r\n")
    message_id = await store.fetchval("SELECT id FROM mailstore.message")
    now = await store.fetchval("SELECT now()")

    def to(mailbox_id: UUID) -> Placement:
        return Placement(ann.id, DEFAULT_TENANT, mailbox_id, message_id, 0, 0, now, 10)

    inbox = await store.fetchval(_MAILBOX, ann.id, "INBOX")

    async def transact(connection: Connection) -> None:
        modseqs = await lock_accounts(connection, [ann.id])
        await place(connection, [to(inbox), to(new_id())], modseqs)

    with pytest.raises(asyncpg.NotNullViolationError):
        await store.database.run(transact)
    assert await store.counters_are_right(ann)


async def test_uids_follow_the_order_of_placements_within_each_mailbox(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.deliver(ann, b"Subject: first\r\n\r\n")
    message_id = await store.fetchval("SELECT id FROM mailstore.message")
    now = await store.fetchval("SELECT now()")
    boxes = [await store.fetchval(_MAILBOX, ann.id, name) for name in ("INBOX", "Junk", "Sent")]
    flags = [0, 1, 8, 9, 0, 1, 31]
    placements = [
        Placement(ann.id, DEFAULT_TENANT, boxes[number % 3], message_id, flag, 0, now, 10 + number)
        for number, flag in enumerate(flags)
    ]
    async with store.database.transaction() as connection:
        modseqs = await lock_accounts(connection, [ann.id])
        placed = await place(connection, placements, modseqs)
    assert [where.uid for where in placed] == [2, 1, 1, 3, 2, 2, 4]
    assert await store.counters_are_right(ann)
    row = "SELECT size FROM mailstore.mailbox_message WHERE mailbox_id = $1 AND uid = $2"
    assert await store.fetchval(row, boxes[0], 4) == 16


async def test_taking_a_lane_waits_for_no_disk_and_filing_does(own_store: MailStore) -> None:
    store, ann = own_store, _account(own_store)
    await store.accept(store.item([ann]))
    setting = "SELECT current_setting('synchronous_commit')"
    async with store.database.transaction() as connection:
        taking = "SELECT * FROM mailstore.take_lane($1, $2, 'worker', 10.0, 100)"
        assert await connection.fetch(taking, _LANE, new_id())
        assert await connection.fetchval(setting) == "off"
    async with store.database.connection() as connection:
        assert await connection.fetchval(setting) == "on"


class _Counting(Database):
    """Counts the rows that statements which are transactions of their own look at, by table."""

    looked_at: Counter[str]

    async def run_statement(
        self, statement: str, *arguments: object, seconds: float | None = None
    ) -> list[asyncpg.Record]:
        async with self.transaction() as connection:
            before = await connection.fetch(_LOOKED_AT)  # of transactions of a moment ago
            rows = await connection.fetch(statement, *arguments)
            after = await connection.fetch(_LOOKED_AT)
        self.looked_at.update({row["relname"]: row["rows"] for row in after})
        self.looked_at.subtract({row["relname"]: row["rows"] for row in before})
        return rows


async def test_what_a_session_learned_over_small_tables_serves_it_when_they_are_large(
    mail_database: PostgresAddress, absent_objects: ObjectStore, sockets: Path
) -> None:
    one = Limits(connections=1)
    url = mail_database.url("mailstore")
    async with (
        _Counting(url, schema="mailstore", limits=one, require_durable=False) as database,
        running_mail_store(database, absent_objects, sockets) as store,
    ):
        database.looked_at = Counter()
        ann = _account(store)
        await store.deliver(ann, b"Subject: first\r\n\r\n")
        await store.execute("ANALYZE")  # the tables are known to be small
        await store.deliver(ann, b"Subject: second\r\n\r\n")
        for statement in _GROW:
            await store.execute(statement)
        await store.accept(*(store.item([ann]) for _ in range(3)))
        database.looked_at.clear()
        await store.worker().empty(_LANE)
        assert len(await store.inbox(ann)) == 5
    assert database.looked_at["delivery"] >= 6
    assert {table: count for table, count in database.looked_at.items() if count > 50} == {}
