"""Local delivery: each message is filed once, in order, and no message holds up another."""

import asyncio
from uuid import UUID

import pytest

from mailstore.local_delivery.filing import due_deliveries, file_deliveries
from mailstore.local_delivery.lease import LaneLostError, give_back, renew, take
from mailstore.local_delivery.reading import read_messages
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailAccount, MailStore

_DELIVERY = "SELECT d.{column} FROM mailstore.delivery AS d WHERE d.accepted_id = $1"
_HISTORY = "SELECT count(*) FROM mailstore.delivery_history WHERE accepted_id = ANY($1::uuid[])"


def _in_lane(store: MailStore, lane: int) -> MailAccount:
    """An account whose mail goes through this lane."""
    return store.account(account_id=UUID(int=(new_id().int & ~7) | lane))


async def test_a_message_is_filed_with_its_prefix_and_octets_as_they_came(store: MailStore) -> None:
    ann = store.account()
    octets = b"Subject: caf\xe9\r\n\r\n\x00\xff bare \n and \r stay\r\n"
    await store.deliver(ann, octets)
    inbox = await store.mailbox_id(ann)
    whole = await store.read(ann, inbox, 1, prefix=True)
    prefix = f"Return-Path: <sender@example.org>\r\nDelivered-To: {ann.address}\r\n".encode()
    assert whole == prefix + octets
    assert (await store.mailboxes(ann))["INBOX"].size == len(whole)
    assert store.hooks.changed[-1][0] == ann.id
    assert await store.counters_are_right(ann)


async def test_mail_is_filed_in_the_order_in_which_it_was_accepted(store: MailStore) -> None:
    ann = store.account()
    messages = [b"Subject: %d\r\n\r\n" % number for number in range(30)]
    await store.deliver(ann, *messages)
    assert await store.inbox(ann) == messages


async def test_two_workers_file_each_message_once(own_store: MailStore) -> None:
    store = own_store
    accounts = [store.account(str(number)) for number in range(8)]
    items = [store.item(accounts, b"Subject: %d\r\n\r\n" % number) for number in range(20)]
    await store.accept(*items)
    workers = [store.worker(name, batch_deliveries=7) for name in ("one", "two")]
    for _ in range(3):
        await asyncio.gather(*(worker.empty(lane) for worker in workers for lane in range(8)))
    assert await store.lanes_with_work() == []
    for account in accounts:
        assert len(await store.inbox(account)) == 20
        assert await store.counters_are_right(account)
    assert await store.fetchval(_HISTORY, [UUID(bytes=item.id) for item in items]) == 160


async def test_one_message_to_500_recipients_while_ten_others_cross_it(own_store: MailStore) -> None:
    store = own_store
    accounts = [store.account(str(number)) for number in range(500)]
    crossing = [store.item([*accounts[number + 10 :: 50], *accounts[:5]]) for number in range(10)]
    results = await store.accept(crossing[0], store.item(accounts), *crossing[1:])
    assert {result.outcome for result in results} == {1}
    workers = [store.worker(str(number), batch_deliveries=60) for number in range(2)]
    async with asyncio.timeout(40):
        while lanes := await store.lanes_with_work():
            await asyncio.gather(*(worker.empty(lane) for worker in workers for lane in lanes))
    counts = """
        SELECT array_agg(DISTINCT copies) FROM (
            SELECT count(*) AS copies FROM mailstore.mailbox_message GROUP BY account_id, message_id) AS c
    """
    assert await store.fetchval(counts) == [1]
    assert await store.fetchval("SELECT count(*) FROM mailstore.mailbox_message") == 500 + 10 * 15


async def test_a_worker_that_lost_its_lane_files_nothing(store: MailStore) -> None:
    ann = store.account()
    lane = ann.id.int % 8
    await store.accept(store.item([ann]))
    slow = await take(store.database, lane, "slow", 0.0)
    assert slow is not None
    due = await due_deliveries(store.database, lane, 100)
    reading = await read_messages(store.parts.reader, due)
    await asyncio.sleep(0.01)
    await store.file()  # by another, who took the lane over
    with pytest.raises(LaneLostError):
        await file_deliveries(store.database, slow, due, reading.facts)
    with pytest.raises(LaneLostError):
        await renew(store.database, slow, 10.0)
    assert len(await store.inbox(ann)) == 1


async def test_a_bell_for_a_lane_that_is_held_makes_its_holder_look_again(own_store: MailStore) -> None:
    database = own_store.database
    lease = await take(database, 3, "one", 10.0)
    assert lease is not None
    assert not lease.abandoned
    assert await take(database, 3, "two", 10.0) is None
    assert await take(database, 3, "two", 10.0) is None
    assert not await give_back(database, lease)
    await renew(database, lease, 10.0)
    assert await give_back(database, lease)
    assert await take(database, 3, "two", 10.0) is not None


async def test_a_lane_that_trouble_kept_is_used_again_by_its_worker(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.accept(store.item([ann]))
    worker, lane = store.worker(), ann.id.int % 8

    async def fail(account_id: UUID, modseq: int) -> None:
        raise ConnectionError

    worker._publish_changed = fail
    with pytest.raises(ConnectionError):
        await worker.empty(lane)
    worker._publish_changed = store.hooks.publish
    await store.accept(store.item([ann]))
    await worker.empty(lane)
    assert len(await store.inbox(ann)) == 2


async def _break_octets(store: MailStore, message_id: bytes, statement: str) -> None:
    blob_id = await store.fetchval(
        "SELECT blob_id FROM mailstore.accepted WHERE id = $1", UUID(bytes=message_id)
    )
    await store.execute(statement, blob_id)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE mailstore.segment_1 SET octets = 'x' WHERE blob_id = $1", id="broken frame"),
        pytest.param("DELETE FROM mailstore.segment_1 WHERE blob_id = $1", id="octets are lost"),
        pytest.param(
            "UPDATE mailstore.blob SET segment = NULL, pack_id = id WHERE id = $1", id="object store is away"
        ),
        pytest.param("UPDATE mailstore.blob SET segment = 77 WHERE id = $1", id="segment is gone"),
    ],
)
async def test_a_message_that_cannot_be_read_puts_off_itself_alone(
    own_store: MailStore, statement: str
) -> None:
    store, ann = own_store, own_store.account()
    items = [store.item([ann]) for _ in range(5)]
    await store.accept(*items)
    await _break_octets(store, items[2].id, statement)
    await store.file()
    assert len(await store.inbox(ann)) == 4
    bad = UUID(bytes=items[2].id)
    assert await store.fetchval(_DELIVERY.format(column="due_at > now()"), bad)
    attempts = await store.fetchval(_DELIVERY.format(column="attempts"), bad)
    assert attempts == (0 if "pack_id" in statement else 1)


async def test_a_message_that_can_never_be_filed_is_parked(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    item = store.item([ann])
    await store.accept(item)
    await _break_octets(store, item.id, "UPDATE mailstore.segment_1 SET octets = 'x' WHERE blob_id = $1")
    worker = store.worker(attempts=2, retry_seconds=0.0)
    for _ in range(2):
        await worker.empty(ann.id.int % 8)
    assert await store.fetchval(_DELIVERY.format(column="parked"), UUID(bytes=item.id))
    assert await store.lanes_with_work() == []


async def test_what_kills_its_worker_is_found_one_by_one_and_parked(own_store: MailStore) -> None:
    store = own_store
    ann = _in_lane(store, 5)
    items = [store.item([ann]) for _ in range(3)]
    await store.accept(*items)
    poison = UUID(bytes=items[0].id)

    class Killed(BaseException):
        """What ends a process, as far as the database sees."""

    deaths = 0
    for _ in range(6):
        worker = store.worker(starts=3)
        original = worker._file_read

        async def die(lease: object, batch: list[object], facts: object) -> None:
            if any(getattr(delivery, "accepted_id", None) == poison for delivery in batch):
                raise Killed
            await original(lease, batch, facts)  # noqa: B023  # called within the loop's turn

        worker._file_read = die
        try:
            await worker.empty(5)
        except Killed:
            deaths += 1
        await store.execute("UPDATE mailstore.local_lane SET expires_at = '-infinity'")
    assert deaths == 4
    assert await store.fetchval(_DELIVERY.format(column="parked"), poison)
    assert len(await store.inbox(ann)) == 2


async def test_a_delivery_that_an_administrator_cancelled_is_not_filed(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    await store.accept(store.item([ann]))
    lane = ann.id.int % 8
    lease = await take(store.database, lane, "one", 10.0)
    assert lease is not None
    due = await due_deliveries(store.database, lane, 100)
    reading = await read_messages(store.parts.reader, due)
    await store.execute("DELETE FROM mailstore.delivery")
    await file_deliveries(store.database, lease, due, reading.facts)
    assert await store.inbox(ann) == []
