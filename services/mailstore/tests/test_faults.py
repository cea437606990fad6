"""Postgres away: temporary errors in time, nothing acknowledged is lost, and it goes on by itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailstore.serve import MIGRATIONS
from postroom.mailstore.v1 import delivery_pb2, mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore
from postroom_testing.mail_store import MailStore, running_mail_store
from postroom_testing.postgres_faults import FaultyPostgres, faulty_postgres

ACCEPTED = delivery_pb2.AcceptResult.OUTCOME_ACCEPTED


@pytest.fixture
async def server() -> AsyncIterator[FaultyPostgres]:
    """A Postgres of the test's own, migrated."""
    async with faulty_postgres() as server:
        await server.start()
        await MIGRATIONS.run(server.address.url("mailstore"), require_durable=False)
        yield server


@pytest.fixture
async def store(
    server: FaultyPostgres, absent_objects: ObjectStore, sockets: Path
) -> AsyncIterator[MailStore]:
    """A mail store on it."""
    async with (
        Database(server.address.url("mailstore"), schema="mailstore", require_durable=False) as database,
        running_mail_store(database, absent_objects, sockets) as store,
    ):
        yield store


async def test_postgres_stopped_and_started_again_under_way(server: FaultyPostgres, store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, b"before\r\n")
    await server.stop()
    started = time.monotonic()
    item = store.item([ann], b"while away\r\n")
    (result,) = await store.accept(item)
    assert (result.outcome, result.error) == (delivery_pb2.AcceptResult.OUTCOME_TEMPORARY, "unavailable")
    with pytest.raises(UnavailableError):
        await store.inbox(ann)
    with pytest.raises(UnavailableError):
        await store.worker().empty(ann.id.int % 8)
    assert time.monotonic() - started < 15.0  # three calls of at most 5 s
    await server.start()
    async with asyncio.timeout(10):
        while (await store.accept(item))[0].outcome != ACCEPTED:
            await asyncio.sleep(0.1)
    await store.file()
    assert await store.inbox(ann) == [b"before\r\n", b"while away\r\n"]


async def test_what_was_acknowledged_outlives_a_kill_of_postgres(
    server: FaultyPostgres, store: MailStore
) -> None:
    ann = store.account()
    items = [store.item([ann], b"Subject: %d\r\n\r\n" % number) for number in range(60)]

    async def hand_over(item: delivery_pb2.AcceptItem) -> bool:
        (result,) = await store.accept(item)
        return result.outcome == ACCEPTED

    handing = [asyncio.ensure_future(hand_over(item)) for item in items]
    await handing[0]
    await server.kill()
    acknowledged = {item.id for item, done in zip(items, await asyncio.gather(*handing), strict=True) if done}
    assert acknowledged
    await server.start()
    for item in items:  # the outcome was unknown to those who got no answer: they ask again
        async with asyncio.timeout(10):
            while not await hand_over(item):
                await asyncio.sleep(0.1)
    await store.file()
    assert len(await store.inbox(ann)) == 60


async def test_copies_whose_outcome_is_unknown_after_a_kill_are_made_once(
    server: FaultyPostgres, store: MailStore
) -> None:
    ann = store.account()
    await store.deliver(ann, b"Subject: copied\r\n\r\n")
    ids = {name: mailbox.id for name, mailbox in (await store.mailboxes(ann)).items()}
    requests = [
        mailbox_pb2.CopyMessagesRequest(
            mailbox_id=ids["INBOX"],
            uids=[mailbox_pb2.UidRange(first=1, last=1)],
            target_mailbox_id=ids["Archive"],
            operation_id=new_id().bytes,
        )
        for _ in range(40)
    ]

    async def copy(request: mailbox_pb2.CopyMessagesRequest) -> mailbox_pb2.CopyMessagesResponse | None:
        try:
            return await store.mailbox.CopyMessages(request, metadata=ann.metadata)
        except UnavailableError:
            return None

    copying = [asyncio.ensure_future(copy(request)) for request in requests]
    await copying[0]
    await server.kill()
    first = await asyncio.gather(*copying)
    assert any(first)
    await server.start()
    for request, before in zip(requests, first, strict=True):
        async with asyncio.timeout(10):
            while (answer := await copy(request)) is None:
                await asyncio.sleep(0.1)
        assert before is None or before == answer
    assert sorted(await store.rows(ann, ids["Archive"])) == [*range(1, 41)]
    assert await store.counters_are_right(ann)
