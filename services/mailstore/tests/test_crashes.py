"""The process is killed at each step that has a name: what was acknowledged is there afterwards, and once.

Whoever got no answer asks again with the same id, as the services at the edge do.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest

import mailstore
from mailstore.blobs.packer import Packer
from mailstore.blobs.segments import OpenSegment, SegmentLimits, rotate
from postroom.directory.v1 import directory_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.mailstore.v1 import account_pb2, delivery_pb2, mailbox_pb2, queue_pb2, retention_pb2
from postroom.mailstore.v1.account_pb2_grpc import AccountServiceStub
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom.mailstore.v1.queue_pb2_grpc import QueueServiceStub
from postroom.mailstore.v1.retention_pb2_grpc import RetentionServiceStub
from postroom_contracts.errors import PostroomError
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.grpc_client import Metadata, channel, on_behalf_of
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
from postroom_testing.mail_store import inline, rows_by_uid
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread

T = TypeVar("T")
KILLED = 137
SECONDS = 30.0
_COPIES = """
SELECT message_id, count(*) AS copies FROM mailstore.mailbox_message WHERE account_id = $1 GROUP BY message_id
"""
_UID = "SELECT uid FROM mailstore.mailbox_message WHERE message_id = $1"
_ENDINGS = "SELECT outcome FROM mailstore.delivery_history WHERE accepted_id = $1"
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


@dataclass
class Edge:
    """All that is asked of the store on behalf of one account, again and again until it is answered."""

    core: Core
    account: UUID
    capability: str
    address: str
    delivery: DeliveryServiceStub
    mailbox: MailboxServiceStub
    retention: RetentionServiceStub
    queue: QueueServiceStub
    administration: QueueServiceStub
    administrator: Metadata
    sharing: AccountServiceStub
    octets: dict[UUID, bytes] = field(default_factory=dict[UUID, bytes])
    """What was acknowledged, and is to be in INBOX once."""

    async def receive(self) -> None:
        """Mail for the account."""
        for number in range(4):
            item = self._item(b"Subject: received %d\r\n\r\n" % number)
            item.reverse_path = "someone@example.org"
            item.recipients.add(address=self.address, account_id=self.account.bytes)
            self.octets[await self._accept(item)] = b"Subject: received %d\r\n\r\n" % number

    async def append(self) -> None:
        """Messages that a client brings."""
        inbox = await self._inbox_id()
        for number in range(3):
            octets = b"Subject: appended %d\r\n\r\n" % number
            appending = mailbox_pb2.AppendMessageRequest(
                id=new_id().bytes, mailbox_id=inbox, content=inline(octets)
            )
            appending.internal_date.GetCurrentTime()
            await answered(
                lambda: self.mailbox.AppendMessage(appending, metadata=self._metadata)  # noqa: B023  # awaited here
            )
            self.octets[UUID(bytes=appending.id)] = octets

    async def replace(self) -> None:
        """Messages that come at once in the place of one that goes."""
        inbox = await self._inbox_id()
        request = mailbox_pb2.AppendMessagesRequest()
        replaced = min(self.octets)
        uid = await self.core.fetch(_UID, replaced)
        request.replaces.mailbox_id, request.replaces.uid = inbox, uid[0]["uid"]
        for number in range(3):
            octets = b"Subject: replacing %d\r\n\r\n" % number
            message = request.messages.add(id=new_id().bytes, mailbox_id=inbox, content=inline(octets))
            message.internal_date.GetCurrentTime()
            self.octets[UUID(bytes=message.id)] = octets
        await answered(lambda: self.mailbox.AppendMessages(request, metadata=self._metadata))
        del self.octets[replaced]

    async def queue_mail(self) -> UUID:
        """Mail for a relay; its id."""
        item = self._item(b"Subject: sent\r\n\r\n")
        item.reverse_path, item.capability = self.address, self.capability
        item.recipients.add(address="a@one.example", remote_address="a@one.example")
        return await self._accept(item)

    async def send(self) -> UUID:
        """Mail that a relay cannot deliver; its id."""
        sent = await self.queue_mail()
        while True:
            claim = await answered(
                lambda: self.queue.Claim(queue_pb2.ClaimRequest(worker="relay", lease_seconds=0.5))
            )
            if not claim.messages:
                await asyncio.sleep(0.05)  # a claim whose answer was lost runs out
                continue
            report = queue_pb2.ReportRequest(claim_id=claim.claim_id, token=claim.token)
            report.reports.add(
                delivery_id=claim.messages[0].recipients[0].delivery_id,
                outcome=queue_pb2.DeliveryReport.OUTCOME_FAILED,
                status="5.1.1",
            )
            await answered(lambda: self.queue.Report(report))  # noqa: B023  # awaited here
            if await self.core.fetch(_ENDINGS, sent):
                return sent

    async def copy(self) -> None:
        """All messages into a mailbox that is made for them."""
        name = mailbox_pb2.CreateMailboxRequest(name="Work", operation_id=new_id().bytes)
        made = await answered(lambda: self.mailbox.CreateMailbox(name, metadata=self._metadata))
        request = mailbox_pb2.CopyMessagesRequest(
            mailbox_id=await self._inbox_id(),
            target_mailbox_id=made.mailbox.id,
            operation_id=new_id().bytes,
        )
        request.uids.add(first=1, last=2**32 - 1)
        await answered(lambda: self.mailbox.CopyMessages(request, metadata=self._metadata))

    async def share(self) -> None:
        """All messages into another mailbox, as between users."""
        inbox = await self._inbox_id()
        name = mailbox_pb2.CreateMailboxRequest(name="Shared", operation_id=new_id().bytes)
        made = await answered(lambda: self.mailbox.CreateMailbox(name, metadata=self._metadata))
        account_id = self.account.bytes
        request = account_pb2.TransferMessagesRequest(
            source=account_pb2.MailboxPlace(account_id=account_id, mailbox_id=inbox),
            target=account_pb2.MailboxPlace(account_id=account_id, mailbox_id=made.mailbox.id),
            operation_id=new_id().bytes,
        )
        request.uids.add(first=1, last=2**32 - 1)
        await answered(lambda: self.sharing.TransferMessages(request, metadata=self._metadata))

    async def expunge(self, *uids: int) -> None:
        """Messages of INBOX."""
        request = mailbox_pb2.ExpungeMessagesRequest(
            mailbox_id=await self._inbox_id(), regardless=True, operation_id=new_id().bytes
        )
        for uid in uids:
            request.uids.add(first=uid, last=uid)
        await answered(lambda: self.mailbox.ExpungeMessages(request, metadata=self._metadata))

    async def restore(self) -> None:
        """All that was expunged from INBOX."""
        request = retention_pb2.RestoreMessagesRequest(
            mailbox_id=await self._inbox_id(), operation_id=new_id().bytes
        )
        await answered(lambda: self.retention.RestoreMessages(request, metadata=self._metadata))

    async def inbox(self) -> dict[UUID, int]:
        """How often each message is in a mailbox of the account."""
        return {row["message_id"]: row["copies"] for row in await self.core.fetch(_COPIES, self.account)}

    async def all_is_there_once(self, more: int = 0) -> None:
        """Wait for what was acknowledged and so many other messages; nothing is there twice or is another."""
        async with asyncio.timeout(SECONDS):
            while not self.octets.keys() <= (found := await self.inbox()).keys() or len(found) < more:
                await asyncio.sleep(0.02)
        assert set(found.values()) <= {1}
        assert len(found) == len(self.octets) + more
        if more:
            return
        inbox = await self._inbox_id()
        read = [await self._read(inbox, uid) for uid in await self._uids(inbox)]
        assert sorted(octets[octets.index(b"Subject") :] for octets in read) == sorted(self.octets.values())

    async def _inbox_id(self) -> bytes:
        request = mailbox_pb2.ListMailboxesRequest()
        listed = await answered(lambda: self.mailbox.ListMailboxes(request, metadata=self._metadata))
        (inbox,) = (mailbox.id for mailbox in listed.mailboxes if mailbox.name == "INBOX")
        return inbox

    async def _uids(self, inbox: bytes) -> list[int]:
        request = mailbox_pb2.LoadMailboxRequest(mailbox_id=inbox)
        pages = self.mailbox.LoadMailbox(request, metadata=self._metadata)
        return [uid async for page in pages for uid in rows_by_uid(page.rows)]

    async def _read(self, inbox: bytes, uid: int) -> bytes:
        request = mailbox_pb2.ReadMessagesRequest(mailbox_id=inbox)
        request.reads.add(uid=uid, offset=0, length=2**40)
        answers = self.mailbox.ReadMessages(request, metadata=self._metadata)
        return b"".join([answer.chunk.octets async for answer in answers])

    @property
    def _metadata(self) -> Metadata:
        return on_behalf_of(self.capability)

    def _item(self, octets: bytes) -> delivery_pb2.AcceptItem:
        item = delivery_pb2.AcceptItem(
            id=new_id().bytes, tenant_id=DEFAULT_TENANT.bytes, content=inline(octets)
        )
        item.received_at.GetCurrentTime()
        return item

    async def _accept(self, item: delivery_pb2.AcceptItem) -> UUID:
        async def requests() -> AsyncIterator[delivery_pb2.AcceptRequest]:
            yield delivery_pb2.AcceptRequest(items=[item])

        async def accept() -> bool:
            answers = [answer async for answer in self.delivery.Accept(requests())]
            (result,) = answers[0].results
            return result.outcome == delivery_pb2.AcceptResult.OUTCOME_ACCEPTED

        while not await answered(accept):
            await asyncio.sleep(0.02)
        return UUID(bytes=item.id)


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of a store that may be away."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await call()
            except PostroomError as error:
                if not error.transient:
                    raise
                await asyncio.sleep(0.02)


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
    assert [row["outcome"] for row in await edge.core.fetch(_ENDINGS, sent)] == [2]


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
