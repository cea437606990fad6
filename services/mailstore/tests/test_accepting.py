"""Accept: durable once, whatever is asked again; one bad item never fails its neighbours."""

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import zstandard

from mailstore.blobs.segments import SegmentLimits
from mailstore.intake.item import parse_item
from mailstore.intake.statements import Staged
from postroom.mailstore.v1 import delivery_pb2
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import new_id
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore
from postroom_testing.mail_store import MailStore, running_mail_store

ACCEPTED = delivery_pb2.AcceptResult.OUTCOME_ACCEPTED
REFUSED = delivery_pb2.AcceptResult.OUTCOME_REFUSED
TEMPORARY = delivery_pb2.AcceptResult.OUTCOME_TEMPORARY


async def test_the_same_id_is_accepted_once_however_often_it_is_sent(store: MailStore) -> None:
    ann = store.account()
    item = store.item([ann])
    assert (await store.accept(item))[0].outcome == ACCEPTED
    results = await asyncio.gather(*(store.accept(item) for _ in range(5)))
    await store.file()
    results.append(await store.accept(item))
    await store.file()
    assert {result.outcome for (result,) in results} == {ACCEPTED}
    assert len(await store.inbox(ann)) == 1


async def test_two_processes_that_are_sent_the_same_ids_accept_each_once(
    store: MailStore, absent_objects: ObjectStore, sockets: Path
) -> None:
    ann = store.account()
    items = [store.item([ann, f"bob@{number}.example"]) for number in range(30)]
    (sockets / "two").mkdir(mode=0o700)
    async with running_mail_store(store.database, absent_objects, sockets / "two") as other:
        answers = await asyncio.gather(store.accept(*items), other.accept(*reversed(items)))
    assert {result.outcome for answer in answers for result in answer} == {ACCEPTED}
    await store.file()
    assert len(await store.inbox(ann)) == 30


async def test_an_id_that_was_aborted_is_never_accepted(store: MailStore) -> None:
    item = store.item([store.account()])
    answer = await store.delivery.Abort(delivery_pb2.AbortRequest(id=item.id))
    (result,) = await store.accept(item)
    assert (answer.accepted_before, result.outcome, result.error) == (False, REFUSED, "aborted")
    accepted_id = UUID(bytes=item.id)
    found = "SELECT count(*) FROM mailstore.delivery WHERE accepted_id = $1"
    assert await store.fetchval(found, accepted_id) == 0


async def test_an_abort_says_that_it_came_too_late(store: MailStore) -> None:
    item = store.item([store.account()])
    await store.accept(item)
    assert (await store.delivery.Abort(delivery_pb2.AbortRequest(id=item.id))).accepted_before


async def test_an_abort_waits_for_an_accept_that_is_about_to_commit(store: MailStore) -> None:
    message_id = new_id()
    async with store.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO mailstore.accepted (id, tenant_id, blob_id) VALUES ($1, $1, $1)", message_id
        )
        aborting = asyncio.ensure_future(_abort(store, message_id))
        while not await store.fetchval(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        ):
            await asyncio.sleep(0.01)
    assert (await aborting).accepted_before


async def _abort(store: MailStore, message_id: UUID) -> delivery_pb2.AbortResponse:
    return await store.delivery.Abort(delivery_pb2.AbortRequest(id=message_id.bytes))


async def test_one_bad_item_in_fifty_fails_alone(store: MailStore) -> None:
    ann = store.account()
    items = [parse_item(store.item([ann]), None) for _ in range(50)]
    items[17] = replace(items[17], reverse_path="a\x00b")
    committing = [store.parts.committer.accept(Staged(item, new_id())) for item in items]
    results = await asyncio.gather(*committing, return_exceptions=True)
    assert [number for number, result in enumerate(results) if result is not None] == [17]
    assert isinstance(results[17], InvalidRequestError)
    await store.file()
    assert len(await store.inbox(ann)) == 49


async def test_nothing_is_accepted_when_as_much_is_staged_as_may_be(
    database: Database, absent_objects: ObjectStore, sockets: Path
) -> None:
    limits = SegmentLimits(staged_octets=1)
    async with running_mail_store(database, absent_objects, sockets, segment_limits=limits) as store:
        async with database.connection() as connection:
            await store.parts.segment.measure(connection)
        (result,) = await store.accept(store.item([store.account()]))
    assert (result.outcome, result.error) == (TEMPORARY, "staging-full")


async def test_staged_octets_are_measured_while_a_segment_is_dropped(own_store: MailStore) -> None:
    store = own_store
    await store.execute("INSERT INTO mailstore.segment (number, state) VALUES (99, 'sealed')")
    async with store.database.connection() as connection:
        assert await store.parts.segment.measure(connection) > 0


def _unknown_size(item: delivery_pb2.AcceptItem) -> None:
    item.content.zstd = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * item.content.size)


def _not_a_frame(item: delivery_pb2.AcceptItem) -> None:
    item.content.zstd = b"\x00" * 40


def _other_size(item: delivery_pb2.AcceptItem) -> None:
    item.content.size += 1


def _too_large(item: delivery_pb2.AcceptItem) -> None:
    octets = b"x" * (256 * 1024 + 1)
    item.content.size, item.content.zstd = len(octets), zstandard.compress(octets)


def _no_recipient(item: delivery_pb2.AcceptItem) -> None:
    del item.recipients[:]


def _too_many_recipients(item: delivery_pb2.AcceptItem) -> None:
    for _ in range(1_000):
        item.recipients.add(address="x@example.org", remote_address="x@example.org")


def _nul_in_an_address(item: delivery_pb2.AcceptItem) -> None:
    item.recipients[0].address = "a\x00@postroom.test"


def _far_future(item: delivery_pb2.AcceptItem) -> None:
    item.received_at.FromDatetime(dt.datetime(9999, 12, 31, tzinfo=dt.UTC))


def _no_time(item: delivery_pb2.AcceptItem) -> None:
    item.received_at.seconds = 2**60


def _no_domain(item: delivery_pb2.AcceptItem) -> None:
    item.recipients[0].remote_address = "nowhere"


def _bad_id(item: delivery_pb2.AcceptItem) -> None:
    item.tenant_id = b"short"


@pytest.mark.parametrize(
    "spoil",
    [
        _unknown_size,
        _not_a_frame,
        _other_size,
        _too_large,
        _no_recipient,
        _too_many_recipients,
        _nul_in_an_address,
        _far_future,
        _no_time,
        _no_domain,
        _bad_id,
    ],
)
async def test_what_cannot_be_kept_is_refused(
    store: MailStore, spoil: Callable[[delivery_pb2.AcceptItem], None]
) -> None:
    good, bad = store.item([store.account()]), store.item([store.account()])
    spoil(bad)
    results = await store.accept(good, bad)
    assert [(result.outcome, result.error) for result in results] == [
        (ACCEPTED, ""),
        (REFUSED, "invalid-request"),
    ]


async def test_a_traceparent_that_is_none_is_left_out(store: MailStore) -> None:
    item = store.item([store.account()])
    item.traceparent = "\x00"
    assert (await store.accept(item))[0].outcome == ACCEPTED


async def test_mail_may_be_sent_for_its_sender_only_with_a_good_capability(store: MailStore) -> None:
    ann = store.account()
    item = store.item(["bob@example.org"], sender=ann)
    item.capability = ann.token[:-4] + "AAAA"
    (result,) = await store.accept(item)
    assert (result.outcome, result.error) == (REFUSED, "invalid-credentials")
    other = store.item(["bob@example.org"], sender=ann)
    other.tenant_id = new_id().bytes
    assert (await store.accept(other))[0].error == "not-permitted"
    item = store.item(["bob@example.org"], sender=ann)
    assert (await store.accept(item))[0].outcome == ACCEPTED
    sender = "SELECT sender_account_id FROM mailstore.accepted WHERE id = $1"
    assert await store.fetchval(sender, UUID(bytes=item.id)) == ann.id


async def test_bells_ring_for_the_lanes_that_have_work_after_the_commit(store: MailStore) -> None:
    ann = store.account()
    await store.accept(store.item([ann, "bob@example.org"]))
    assert sorted(store.hooks.rung) == [f"postroom.deliver.local.{ann.id.int % 8}", "postroom.deliver.remote"]
