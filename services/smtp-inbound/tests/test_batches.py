"""Messages of many sessions on one stream, against a real mail store."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import zstandard

from postroom.mailstore.v1 import content_pb2, delivery_pb2
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_runtime.grpc_client import channel
from postroom_testing.core import Core
from smtp_inbound.handover import Handover

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
    items[17].traceparent = "\0"  # ASCII, and nothing that Postgres takes
    results = await asyncio.gather(*(handover.accept(each) for each in items), return_exceptions=True)
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
