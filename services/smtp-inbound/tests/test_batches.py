"""Messages of many sessions on one stream, against a real mail store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
import zstandard

from postroom.mailstore.v1 import content_pb2, delivery_pb2
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom_contracts.errors import InvalidRequestError, StagingFullError, UnavailableError
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_runtime.grpc_client import channel
from postroom_testing.core import Core
from smtp_inbound.handover import LIMITS, Handover

# What is checked on the way is nothing that Postgres refuses, so it learns to.
_REFUSE = """
CREATE OR REPLACE FUNCTION mailstore.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'character_not_in_repertoire'; END $$
"""
_REFUSING = """
CREATE TRIGGER refusing BEFORE INSERT ON mailstore.accepted FOR EACH ROW
WHEN (NEW.reverse_path = 'poison@example.org') EXECUTE FUNCTION mailstore.refuse()
"""
OCTETS = b"Subject: batch\r\n\r\n"


@pytest.fixture
async def handover(shared_core: Core) -> AsyncIterator[Handover]:
    """To a mail store that is there."""
    async with channel(shared_core.mailstore, "smtp-inbound") as way:
        handover = Handover(DeliveryServiceStub(way).Accept)
        running = asyncio.ensure_future(handover.run())
        yield handover
        running.cancel()
        await asyncio.wait([running])


def item(core: Core) -> delivery_pb2.AcceptItem:
    """A message to bob."""
    made = delivery_pb2.AcceptItem(
        id=new_id().bytes,
        tenant_id=DEFAULT_TENANT.bytes,
        recipients=[
            delivery_pb2.Recipient(
                address="bob@postroom.test", account_id=core.accounts["bob@postroom.test"].bytes
            )
        ],
        content=content_pb2.Content(
            digest=hashlib.sha256(OCTETS).digest(), size=len(OCTETS), zstd=zstandard.compress(OCTETS)
        ),
    )
    made.received_at.GetCurrentTime()
    return made


async def test_one_message_that_the_database_refuses_does_not_harm_the_forty_nine_beside_it(
    shared_core: Core, handover: Handover
) -> None:
    items = [item(shared_core) for _ in range(50)]
    items[17].reverse_path = "poison@example.org"
    await shared_core.fetch(_REFUSE)
    await shared_core.fetch(_REFUSING)
    results = await asyncio.gather(*(handover.accept(each) for each in items), return_exceptions=True)
    await shared_core.fetch("DROP TRIGGER refusing ON mailstore.accepted")
    assert isinstance(results[17], InvalidRequestError)
    assert [result for result in results if result is not None] == [results[17]]


async def test_a_message_that_is_handed_over_twice_is_accepted_once(
    shared_core: Core, handover: Handover
) -> None:
    made = item(shared_core)
    await handover.accept(made)
    await handover.accept(made)
    again = await shared_core.fetch(
        "SELECT d.id FROM mailstore.delivery AS d WHERE d.accepted_id = $1"
        " UNION ALL SELECT message_id FROM mailstore.mailbox_message WHERE message_id = $1",
        UUID(bytes=made.id),
    )
    assert len(again) == 1


async def test_what_arrives_after_a_broken_stream_goes_over_the_next_one() -> None:
    """The requests of a stream that has ended are still waited for by gRPC: they must not take messages."""
    opened: list[asyncio.Task[None]] = []

    async def open_stream(
        requests: AsyncIterator[delivery_pb2.AcceptRequest],
    ) -> AsyncIterator[delivery_pb2.AcceptResponse]:
        answers: asyncio.Queue[delivery_pb2.AcceptResponse | None] = asyncio.Queue()
        dead = not opened

        async def consume() -> None:
            async for request in requests:
                if dead:
                    answers.put_nowait(None)
                    continue
                accepted = delivery_pb2.AcceptResult.OUTCOME_ACCEPTED
                results = [delivery_pb2.AcceptResult(id=each.id, outcome=accepted) for each in request.items]
                answers.put_nowait(delivery_pb2.AcceptResponse(results=results))

        opened.append(asyncio.ensure_future(consume()))
        while (answer := await answers.get()) is not None:
            yield answer
        raise UnavailableError("broken")

    handover = Handover(open_stream)
    running = asyncio.ensure_future(handover.run())
    try:
        for number in range(3):
            await handover.accept(delivery_pb2.AcceptItem(id=bytes([number])))
        assert len(opened) == 2
        await asyncio.wait([opened[0]], timeout=1)
        assert opened[0].done()
    finally:
        for task in (running, *opened):
            task.cancel()
        await asyncio.wait([running, *opened])


async def test_a_silent_stream_is_given_up_for_another() -> None:
    streams = 0

    async def open_stream(
        requests: AsyncIterator[delivery_pb2.AcceptRequest],
    ) -> AsyncIterator[delivery_pb2.AcceptResponse]:
        nonlocal streams
        streams += 1
        async for request in requests:
            if streams == 1:
                await asyncio.Event().wait()
            accepted = delivery_pb2.AcceptResult.OUTCOME_ACCEPTED
            results = [delivery_pb2.AcceptResult(id=each.id, outcome=accepted) for each in request.items]
            yield delivery_pb2.AcceptResponse(results=results)

    handover = Handover(open_stream, replace(LIMITS, stalled_seconds=0.05))
    running = asyncio.ensure_future(handover.run())
    await handover.accept(delivery_pb2.AcceptItem(id=b"1"))
    running.cancel()
    await asyncio.wait([running])
    assert streams == 2


async def test_more_than_may_wait_is_refused_at_once() -> None:
    async def open_stream(
        requests: AsyncIterator[delivery_pb2.AcceptRequest],
    ) -> AsyncIterator[delivery_pb2.AcceptResponse]:
        await asyncio.Event().wait()
        yield delivery_pb2.AcceptResponse()

    handover = Handover(open_stream, replace(LIMITS, waiting_items=1, answer_seconds=0.05))
    first = asyncio.ensure_future(handover.accept(delivery_pb2.AcceptItem(id=b"1")))
    await asyncio.sleep(0)
    with pytest.raises(StagingFullError):
        await handover.accept(delivery_pb2.AcceptItem(id=b"2"))
    with pytest.raises(UnavailableError):
        await first
