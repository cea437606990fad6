"""The process is killed at each step that has a name: what was acknowledged is there afterwards, and once.

Whoever got no answer asks again with the same id, as the services at the edge do.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import mailstore
from mailstore.blobs.packer import Packer
from mailstore.blobs.segments import OpenSegment, SegmentLimits, rotate
from postroom.directory.v1 import directory_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.mailstore.v1 import queue_pb2
from postroom.mailstore.v1.account_pb2_grpc import AccountServiceStub
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom.mailstore.v1.queue_pb2_grpc import QueueServiceStub
from postroom.mailstore.v1.retention_pb2_grpc import RetentionServiceStub
from postroom_contracts.ids import new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore, StoreAddress
from postroom_testing.core import (
    ADMIN_TOKEN,
    PASSWORD,
    Core,
    bare_core,
    running_directory,
    running_mailstore,
    service_process,
)
from postroom_testing.patient_edge import ENDINGS, SECONDS, Edge, T, answered
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread

KILLED = 137

_STAGED = """
SELECT FROM mailstore.blob AS b JOIN mailstore.message AS m ON m.blob_id = b.id
WHERE m.id = ANY($1::uuid[]) AND b.segment IS NOT NULL
"""

# As it is two weeks after its retention is over.
_QUARANTINE = """
WITH gone AS (DELETE FROM mailstore.expunged WHERE message_id = $1 RETURNING message_id)
INSERT INTO mailstore.blob_candidate (blob_id, noted_at, quarantined_at)
SELECT m.blob_id, now() - interval '16 days', now() - interval '16 days'
FROM gone JOIN mailstore.message AS m ON m.id = gone.message_id
"""

_LONG_DEAD = "UPDATE mailstore.pack SET oldest_dead_at = now() - interval '31 days'"

_DEAD_PACKS = """
SELECT FROM mailstore.blob_candidate UNION ALL SELECT FROM mailstore.pack WHERE dead_octets > 0
"""


@pytest.fixture(scope="module")
def stack(postgres_server: PostgresAddress, core_template: PostgresAddress) -> Iterator[Core]:
    """A directory, and no mail store yet."""
    address = run_in_thread(lambda: new_database(postgres_server, core_template.database))

    @asynccontextmanager
    async def running() -> AsyncGenerator[Core]:
        async with bare_core(address) as core, running_directory(core):
            yield core

    with in_thread(running) as core:
        yield core
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
async def edge(stack: Core) -> AsyncIterator[Edge]:
    """What a new account's services ask."""
    (address,) = await stack.add_accounts(f"user{new_id().hex[-8:]}")
    async with AsyncExitStack() as exits:
        way = await exits.enter_async_context(channel(stack.directory, "webmail-api"))
        store = await exits.enter_async_context(channel(stack.mailstore, "webmail-api"))
        relay = await exits.enter_async_context(channel(stack.mailstore, "smtp-outbound"))
        login = directory_pb2.AuthenticateRequest(
            address=address, password=PASSWORD, scope=directory_pb2.SCOPE_API
        )
        directory = DirectoryServiceStub(way)
        capability = (await directory.Authenticate(login)).capability
        token = directory_pb2.AuthenticateAdminRequest(token=ADMIN_TOKEN)
        yield Edge(
            stack,
            stack.accounts[address],
            capability,
            address,
            DeliveryServiceStub(store),
            MailboxServiceStub(store),
            RetentionServiceStub(store),
            QueueServiceStub(relay),
            QueueServiceStub(store),
            on_behalf_of((await directory.AuthenticateAdmin(token)).capability),
            AccountServiceStub(store),
        )


@pytest.fixture
def environment(stack: Core, object_store: S3Address) -> dict[str, str]:
    """Of a mail store with its object store, as a process of its own."""
    return stack.mailstore_environment | {
        "POSTROOM_S3_ENDPOINT": object_store.endpoint,
        "POSTROOM_S3_REGION": object_store.region,
        "POSTROOM_S3_ACCESS_KEY": object_store.access_key,
        "POSTROOM_S3_SECRET_KEY": object_store.secret_key,
    }


async def through_a_crash(
    edge: Edge, environment: dict[str, str], step: str, work: Callable[[], Awaitable[T]]
) -> T:
    """Work that begins in a process which dies at the step, and ends in whatever runs then."""
    async with service_process(edge.core, "mailstore", environment, step) as process:
        working = asyncio.ensure_future(work())
        assert await asyncio.wait_for(process.wait(), SECONDS) == KILLED
    async with running_mailstore(edge.core):
        return await working


ACCEPTING = ("accept.before_commit", "accept.after_commit:2", "deliver.before_commit", "deliver.after_commit")

APPENDING = ("append.before_commit", "append.after_commit")

REPLACING = ("append.before_commit:4", "append.after_commit:4")

CHANGING = ("mailbox.after_commit", "mailbox.after_commit:2")

SHARING = ("transfer.after_commit",)

RELAYING = ("claim.after_commit", "report.before_commit", "report.after_commit")

BOUNCING = ("bounce.before_commit",)

MANAGING = ("queue.after_commit",)

PACKING = ("pack.after_put", "pack.after_commit")

RESTORING = ("restore.before_commit",)

CLEANING = ("rewrite.after_put", "rewrite.after_commit")


def test_every_step_that_has_a_name_is_one_where_the_process_dies_here() -> None:
    source = Path(mailstore.__file__).parent
    named = {
        name for file in source.rglob("*.py") for name in re.findall(r'reached\("(.+?)"\)', file.read_text())
    }
    killing = (
        *ACCEPTING,
        *APPENDING,
        *CHANGING,
        *SHARING,
        *RELAYING,
        *BOUNCING,
        *MANAGING,
        *PACKING,
        *RESTORING,
        *CLEANING,
    )
    assert named == {step.partition(":")[0] for step in killing}


@pytest.mark.parametrize("step", ACCEPTING)
async def test_accepted_mail_is_filed_once(edge: Edge, environment: dict[str, str], step: str) -> None:
    async def work() -> None:
        await edge.receive()
        await edge.all_is_there_once()

    await through_a_crash(edge, environment, step, work)


@pytest.mark.parametrize("step", APPENDING)
async def test_a_message_that_a_client_brings_is_there_once(
    edge: Edge, environment: dict[str, str], step: str
) -> None:
    async def work() -> None:
        await edge.append()
        await edge.all_is_there_once()

    await through_a_crash(edge, environment, step, work)


@pytest.mark.parametrize("step", REPLACING)
async def test_messages_that_replace_another_come_at_once_and_once(
    edge: Edge, environment: dict[str, str], step: str
) -> None:
    async def work() -> None:
        await edge.append()
        await edge.replace()
        await edge.all_is_there_once()

    await through_a_crash(edge, environment, step, work)


@pytest.mark.parametrize("step", CHANGING)
async def test_messages_are_copied_once(edge: Edge, environment: dict[str, str], step: str) -> None:
    async def work() -> None:
        await edge.append()
        await edge.copy()

    await through_a_crash(edge, environment, step, work)
    assert await edge.inbox() == dict.fromkeys(edge.octets, 2)


@pytest.mark.parametrize("step", SHARING)
async def test_messages_go_to_another_user_once(edge: Edge, environment: dict[str, str], step: str) -> None:
    async def work() -> None:
        await edge.append()
        await edge.share()

    await through_a_crash(edge, environment, step, work)
    assert await edge.inbox() == dict.fromkeys(edge.octets, 2)


@pytest.mark.parametrize("step", RELAYING)
async def test_a_delivery_ends_once(edge: Edge, environment: dict[str, str], step: str) -> None:
    sent = await through_a_crash(edge, environment, step, edge.send)
    assert [row["outcome"] for row in await edge.core.fetch(ENDINGS, sent)] == [2]


@pytest.mark.parametrize("step", BOUNCING)
async def test_a_failure_is_reported_once(edge: Edge, environment: dict[str, str], step: str) -> None:
    async def work() -> UUID:
        sent = await edge.send()
        await edge.all_is_there_once(more=1)
        return sent

    sent = await through_a_crash(edge, environment, step, work)
    assert await edge.core.fetch("SELECT FROM mailstore.bounce WHERE accepted_id = $1", sent) == []


@pytest.mark.parametrize("step", MANAGING)
@pytest.mark.parametrize(
    ("method", "request_type"),
    [("RetryQueued", queue_pb2.RetryQueuedRequest), ("CancelQueued", queue_pb2.CancelQueuedRequest)],
)
async def test_an_administrators_word_on_the_queue_is_answered_as_it_was_done(
    edge: Edge, environment: dict[str, str], step: str, method: str, request_type: Callable[..., Any]
) -> None:
    """Also where it cannot be done again: what is cancelled is no longer there."""

    async def work() -> int:
        queued = await edge.queue_mail()
        request = request_type(id=queued.bytes, operation_id=new_id().bytes)
        ask = getattr(edge.administration, method)
        answer: Any = await answered(lambda: ask(request, metadata=edge.administrator))
        return answer.deliveries

    assert await through_a_crash(edge, environment, step, work) == 1


@pytest.mark.parametrize("step", PACKING)
async def test_packed_mail_is_readable(
    edge: Edge, environment: dict[str, str], object_store: S3Address, step: str
) -> None:
    async with running_mailstore(edge.core):
        await edge.receive()
        await edge.all_is_there_once()
    await seal(edge.core)
    async with service_process(edge.core, "mailstore", environment, step) as process:
        assert await asyncio.wait_for(process.wait(), SECONDS) == KILLED
    async with running_mailstore(edge.core, object_store):
        await edge.all_is_there_once()
        async with asyncio.timeout(SECONDS):
            while await edge.core.fetch(_STAGED, list(edge.octets)):
                await asyncio.sleep(0.05)
        await edge.all_is_there_once()


@pytest.mark.parametrize("step", RESTORING)
async def test_messages_are_restored_once(edge: Edge, environment: dict[str, str], step: str) -> None:
    async def work() -> None:
        await edge.append()
        await edge.expunge(1, 2)
        await edge.restore()
        await edge.all_is_there_once()

    await through_a_crash(edge, environment, step, work)


@pytest.mark.parametrize("step", CLEANING)
async def test_mail_is_readable_whatever_the_janitor_was_about(
    edge: Edge, environment: dict[str, str], object_store: S3Address, step: str
) -> None:
    async with running_mailstore(edge.core):
        await edge.append()
        await edge.append()
        await edge.expunge(1, 2, 3, 4)
    await seal(edge.core)
    await pack(edge.core, object_store)
    for gone in list(edge.octets)[:4]:
        del edge.octets[gone]
        await edge.core.fetch(_QUARANTINE, gone)
    await edge.core.fetch(_LONG_DEAD)  # others' mail is in the pack too
    async with service_process(edge.core, "mailstore", environment, step) as process:
        assert await asyncio.wait_for(process.wait(), SECONDS) == KILLED
    async with running_mailstore(edge.core, object_store):
        async with asyncio.timeout(SECONDS):
            while await edge.core.fetch(_DEAD_PACKS):
                await asyncio.sleep(0.05)
        await edge.all_is_there_once()


async def pack(core: Core, store: S3Address) -> None:
    """Empty all sealed segments."""
    address = StoreAddress(store.endpoint, store.region, "postroom-mail", store.access_key, store.secret_key)
    url = core.database.url("mailstore")
    async with Database(url, schema="mailstore", require_durable=False) as database:
        with closing(ObjectStore(address)) as objects:
            limits = SegmentLimits()
            await Packer(database, objects, OpenSegment(limits), limits).run_once()


async def seal(core: Core) -> None:
    """Let the open segment be sealed, long enough ago for the packer."""
    url = core.database.url("mailstore")
    async with (
        Database(url, schema="mailstore", require_durable=False) as database,
        database.transaction() as connection,
    ):
        number = await rotate(connection)
        await connection.execute(
            "UPDATE mailstore.segment SET sealed_at = now() - interval '1 minute' WHERE number = $1", number
        )
