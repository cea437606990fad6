"""Local delivery: each message is filed once, in order, and no message holds up another."""

import asyncio
from typing import Self
from uuid import UUID

import pytest

from mailstore.local_delivery.filing import file_deliveries
from mailstore.local_delivery.lease import LaneLostError, Lease, Work, give_back, take
from mailstore.local_delivery.reading import read_messages
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailAccount, MailStore

_DELIVERY = "SELECT d.{column} FROM mailstore.delivery AS d WHERE d.accepted_id = $1"
_HISTORY = "SELECT count(*) FROM mailstore.delivery_history WHERE accepted_id = ANY($1::uuid[])"


async def _take(store: MailStore, lane: int, worker: str = "one", seconds: float = 10.0) -> Work | None:
    """Take a lane with a fresh token."""
    return await take(store.database, Lease(lane, new_id()), worker, seconds, 100)


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
    assert ann.id in {account_id for account_id, _ in store.hooks.changed}
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
    slow = await _take(store, lane, "slow", 0.0)
    assert slow is not None
    reading = await read_messages(store.parts.reader, slow.due)
    await asyncio.sleep(0.01)
    await store.file()  # by another, who took the lane over
    for give in (False, True):
        with pytest.raises(LaneLostError):
            await file_deliveries(store.database, slow.lease, slow.due, reading.facts, give_back=give)
    assert len(await store.inbox(ann)) == 1


async def test_a_bell_for_a_lane_that_is_held_makes_its_holder_look_again(own_store: MailStore) -> None:
    store = own_store
    ann = _in_lane(store, 3)
    await store.accept(store.item([ann]))
    work = await _take(store, 3)
    assert work is not None
    assert not work.lease.abandoned
    reading = await read_messages(store.parts.reader, work.due)
    await store.accept(store.item([ann]))
    assert await _take(store, 3, "two") is None
    assert await _take(store, 3, "two") is None
    filed = await file_deliveries(store.database, work.lease, work.due, reading.facts, give_back=True)
    assert not filed.given_back
    again = await take(store.database, work.lease, "one", 10.0, 100)
    assert again is not None
    reading = await read_messages(store.parts.reader, again.due)
    filed = await file_deliveries(store.database, again.lease, again.due, reading.facts, give_back=True)
    assert filed.given_back
    await store.accept(store.item([ann]))
    other = await _take(store, 3, "two")
    assert other is not None
    assert not other.lease.abandoned
    await give_back(store.database, other.lease)
    assert await _take(store, 3) is not None


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
        original = worker._file

        async def die(lease: object, batch: list[object], facts: object, *, give_back: bool) -> bool:
            if any(getattr(delivery, "accepted_id", None) == poison for delivery in batch):
                raise Killed
            return await original(lease, batch, facts, give_back=give_back)  # noqa: B023  # called within the loop's turn

        worker._file = die
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
    work = await _take(store, ann.id.int % 8)
    assert work is not None
    reading = await read_messages(store.parts.reader, work.due)
    await store.execute("DELETE FROM mailstore.delivery")
    filed = await file_deliveries(store.database, work.lease, work.due, reading.facts)
    assert filed.deliveries == []
    assert await store.inbox(ann) == []


class _Watched:
    """A worker without its timer, which stops in the telling of what it filed until it is let go on."""

    def __init__(self, store: MailStore) -> None:
        self.worker = store.worker(lanes_at_once=1)
        self.worker._publish_changed = self._publish
        self.told: list[UUID] = []
        self.telling, self.go_on = asyncio.Event(), asyncio.Event()

    async def _publish(self, account_id: UUID, modseq: int) -> None:
        self.told.append(account_id)
        self.telling.set()
        await self.go_on.wait()

    async def __aenter__(self) -> Self:
        self._running = asyncio.ensure_future(self.worker._run_lanes())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()
        await asyncio.wait([self._running])

    async def wait_told(self, count: int) -> None:
        """Wait until the worker told of so many batches."""
        async with asyncio.timeout(5):
            while len(self.told) < count:
                self.telling.clear()
                await self.telling.wait()


async def test_a_lane_that_rings_while_it_is_emptied_is_looked_at_again_by_the_same_worker(
    own_store: MailStore,
) -> None:
    store, ann = own_store, _in_lane(own_store, 6)
    async with _Watched(store) as watched:
        await store.accept(store.item([ann]))
        assert watched.worker.takes(6)
        watched.worker.ring(6)
        await watched.wait_told(1)
        await store.accept(store.item([ann]))
        assert watched.worker.takes(6)
        watched.worker.ring(6)
        watched.go_on.set()
        await watched.wait_told(2)
    assert len(await store.inbox(ann)) == 2


async def test_a_busy_worker_leaves_other_lanes_to_others_and_takes_what_rang_in_turn(
    own_store: MailStore,
) -> None:
    store = own_store
    ann, ben, cat = (_in_lane(store, lane) for lane in (6, 5, 1))
    async with _Watched(store) as watched:
        await store.accept(*(store.item([account]) for account in (ann, ben, cat)))
        watched.worker.ring(6)
        await watched.wait_told(1)
        assert not watched.worker.takes(5)
        for lane in (5, 1):  # by the timer, or by a bell that nobody else took
            watched.worker.ring(lane)
        await store.accept(store.item([ann]))
        watched.worker.ring(6)
        turn = asyncio.ensure_future(watched.worker.wait_for_turn(5))
        await asyncio.sleep(0)
        assert not turn.done()
        watched.go_on.set()
        await watched.wait_told(4)
        await turn
    assert watched.told == [ann.id, ben.id, cat.id, ann.id]


async def test_a_worker_that_drains_takes_no_lane(own_store: MailStore) -> None:
    worker = own_store.worker()
    assert worker.takes(3)
    worker._lifecycle.stop()
    assert not worker.takes(3)


async def test_a_lane_whose_taking_was_not_answered_is_the_askers_when_it_asks_again(
    own_store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ann = own_store, _in_lane(own_store, 2)
    await store.accept(store.item([ann]))
    worker = store.worker()
    run = store.database.run_statement

    async def lose(statement: str, *arguments: object) -> None:
        await run(statement, *arguments)
        raise UnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(store.database, "run_statement", lose)
        with pytest.raises(UnavailableError):
            await worker.empty(2)
    await store.worker("other").empty(2)  # finds it taken
    assert await store.inbox(ann) == []
    await worker.empty(2)
    assert len(await store.inbox(ann)) == 1
