"""The edge as the mail store sees it: it asks again, with the same id, until it is answered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from postroom.mailstore.v1 import account_pb2, delivery_pb2, mailbox_pb2, queue_pb2, retention_pb2
from postroom.mailstore.v1.account_pb2_grpc import AccountServiceStub
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom.mailstore.v1.queue_pb2_grpc import QueueServiceStub
from postroom.mailstore.v1.retention_pb2_grpc import RetentionServiceStub
from postroom_contracts.errors import PostroomError
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_runtime.grpc_client import Metadata, on_behalf_of
from postroom_testing.core import Core
from postroom_testing.mail_store import inline, rows_by_uid

T = TypeVar("T")

SECONDS = 30.0

_COPIES = """
SELECT message_id, count(*) AS copies FROM mailstore.mailbox_message WHERE account_id = $1 GROUP BY message_id
"""

_UID = "SELECT uid FROM mailstore.mailbox_message WHERE message_id = $1"

ENDINGS = "SELECT outcome FROM mailstore.delivery_history WHERE accepted_id = $1"


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
            if await self.core.fetch(ENDINGS, sent):
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
