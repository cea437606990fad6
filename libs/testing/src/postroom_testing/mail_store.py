"""A mail store for its own tests: its three services over a unix socket, its workers run when a test says so.

The service is named, not imported: a library knows no service.
"""

import asyncio
import contextlib
import datetime as dt
import hashlib
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postroom.doctor.v1 import doctor_pb2_grpc
from postroom.mailstore.v1 import (
    account_pb2_grpc,
    content_pb2,
    delivery_pb2,
    delivery_pb2_grpc,
    mailbox_pb2,
    mailbox_pb2_grpc,
    queue_pb2_grpc,
    retention_pb2_grpc,
)
from postroom_contracts.capability import (
    Capability,
    CapabilityVerifier,
    PublicKey,
    Quota,
    Scope,
    SigningKey,
    sign,
)
from postroom_contracts.ids import DEFAULT_TENANT, AccountId, new_id
from postroom_runtime.grpc_client import Metadata, channel, on_behalf_of
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore

_KEY = SigningKey("tests", Ed25519PrivateKey.generate())

NO_QUOTA = Quota()

_COUNTED = """
SELECT b.id, b.messages = count(m.uid) AND b.size = coalesce(sum(m.size), 0)
       AND b.unseen = count(m.uid) FILTER (WHERE m.flags & 1 = 0)
       AND b.deleted = count(m.uid) FILTER (WHERE m.flags & 8 <> 0)
       AND b.uid_next > coalesce(max(m.uid), 0)
       AND b.highest_modseq >= coalesce(max(m.modseq), 0) AS right
FROM mailstore.mailbox AS b LEFT JOIN mailstore.mailbox_message AS m
    ON m.account_id = b.account_id AND m.mailbox_id = b.id
WHERE b.account_id = $1 GROUP BY b.id
"""
_USED = """
SELECT s.used_messages = count(m.uid) AND s.used_octets = coalesce(sum(m.size), 0)
FROM mailstore.account_state AS s LEFT JOIN mailstore.mailbox_message AS m ON m.account_id = s.account_id
WHERE s.account_id = $1 GROUP BY s.account_id
"""


@dataclass(frozen=True)
class MailAccount:
    """An account with a capability for everything."""

    id: UUID
    address: str
    metadata: Metadata
    token: str


@dataclass(frozen=True)
class StoreHooks:
    """What the store tells others: the bells that it rang, the wake-ups that it published."""

    rung: list[str] = field(default_factory=list[str])
    changed: list[tuple[UUID, int]] = field(default_factory=list[tuple[UUID, int]])

    async def ring(self, subject: str) -> None:
        """A bell."""
        self.rung.append(subject)

    async def publish(self, account_id: UUID, modseq: int) -> None:
        """A wake-up."""
        self.changed.append((account_id, modseq))


class MailStore:
    """The services' stubs, and what tests do with them again and again."""

    def __init__(self, database: Database, objects: ObjectStore, parts: Any, hooks: StoreHooks) -> None:
        self.database, self.objects, self.parts, self.hooks = database, objects, parts, hooks
        self.delivery: delivery_pb2_grpc.DeliveryServiceStub
        self.mailbox: mailbox_pb2_grpc.MailboxServiceStub
        self.queue: queue_pb2_grpc.QueueServiceStub
        self.administrator: queue_pb2_grpc.QueueServiceStub
        self.accounts: account_pb2_grpc.AccountServiceStub
        self.retention: retention_pb2_grpc.RetentionServiceStub
        self.doctor: doctor_pb2_grpc.DoctorServiceStub

    def account(
        self, name: str = "ann", account_id: UUID | None = None, quota: Quota = NO_QUOTA
    ) -> MailAccount:
        """An account; the store hears of it at its first mail or call."""
        found = account_id or new_id()
        address = f"{name}@postroom.test"
        token = capability(found, address, Scope.API, quota)
        return MailAccount(found, address, on_behalf_of(token), token)

    def item(
        self,
        recipients: Sequence[MailAccount | str],
        octets: bytes = b"Subject: hello\r\n\r\nHello.\r\n",
        sender: MailAccount | None = None,
    ) -> delivery_pb2.AcceptItem:
        """A message for accounts and for remote addresses."""
        item = delivery_pb2.AcceptItem(
            id=new_id().bytes,
            tenant_id=DEFAULT_TENANT.bytes,
            reverse_path="sender@example.org" if sender is None else sender.address,
            content=inline(octets),
            capability="" if sender is None else sender.token,
        )
        item.received_at.FromDatetime(dt.datetime.now(dt.UTC))
        for recipient in recipients:
            if isinstance(recipient, str):
                item.recipients.add(address=recipient, remote_address=recipient)
            else:
                item.recipients.add(address=recipient.address, account_id=recipient.id.bytes)
        return item

    async def accept(self, *items: delivery_pb2.AcceptItem) -> list[delivery_pb2.AcceptResult]:
        """Hand items over in one request; their results in the same order."""

        async def requests() -> AsyncIterator[delivery_pb2.AcceptRequest]:
            yield delivery_pb2.AcceptRequest(items=items)

        results: dict[bytes, delivery_pb2.AcceptResult] = {}
        async for response in self.delivery.Accept(requests()):
            results |= {result.id: result for result in response.results}
        return [results[item.id] for item in items]

    async def deliver(self, account: MailAccount, *messages: bytes) -> None:
        """Messages that are in the account's INBOX afterwards, in this order."""
        for octets in messages:
            await self.accept(self.item([account], octets))
        await self.file()

    async def file(self) -> None:
        """File all local mail that is due."""
        worker = self.worker()
        for lane in await self.lanes_with_work():
            await worker.empty(lane)

    def worker(self, name: str = "worker", **limits: object) -> Any:
        """A worker of local delivery."""
        module = _module("local_delivery.worker")
        return module.LocalDeliveryWorker(
            self.database,
            self.parts.reader,
            self.hooks.publish,
            name=name,
            lifecycle=Lifecycle(),
            limits=module.FilingLimits(**limits),
        )

    async def lanes_with_work(self) -> list[int]:
        """The local lanes in which something is due."""
        return await _module("local_delivery.lease").lanes_with_work(self.database)

    async def append(
        self, account: MailAccount, mailbox_id: bytes, octets: bytes, flags: int = 0
    ) -> mailbox_pb2.AppendMessageResponse:
        """APPEND a message."""
        request = mailbox_pb2.AppendMessageRequest(
            id=new_id().bytes, mailbox_id=mailbox_id, flags=flags, content=inline(octets)
        )
        request.internal_date.FromDatetime(dt.datetime.now(dt.UTC))
        return await self.mailbox.AppendMessage(request, metadata=account.metadata)

    async def mailboxes(self, account: MailAccount) -> dict[str, mailbox_pb2.Mailbox]:
        """The account's mailboxes by name."""
        request = mailbox_pb2.ListMailboxesRequest()
        answer = await self.mailbox.ListMailboxes(request, metadata=account.metadata)
        return {mailbox.name: mailbox for mailbox in answer.mailboxes}

    async def mailbox_id(self, account: MailAccount, name: str = "INBOX") -> bytes:
        """The id of a mailbox."""
        return (await self.mailboxes(account))[name].id

    async def rows(self, account: MailAccount, mailbox_id: bytes) -> dict[int, tuple[int, int, int]]:
        """Flags, keywords and MODSEQ by UID."""
        request = mailbox_pb2.LoadMailboxRequest(mailbox_id=mailbox_id)
        found: dict[int, tuple[int, int, int]] = {}
        async for page in self.mailbox.LoadMailbox(request, metadata=account.metadata):
            found |= rows_by_uid(page.rows)
        return found

    async def read(self, account: MailAccount, mailbox_id: bytes, uid: int, prefix: bool = False) -> bytes:
        """A message whole, without its prefix unless it is wanted."""
        request = mailbox_pb2.ReadMessagesRequest(mailbox_id=mailbox_id)
        request.reads.add(uid=uid, offset=0, length=2**40)
        octets = b""
        async for answer in self.mailbox.ReadMessages(request, metadata=account.metadata):
            octets += answer.chunk.octets
        return octets if prefix else octets.split(b"\r\n", 2)[2]

    async def inbox(self, account: MailAccount) -> list[bytes]:
        """The messages in INBOX by UID, without their prefixes."""
        mailbox_id = await self.mailbox_id(account)
        return [
            await self.read(account, mailbox_id, uid) for uid in sorted(await self.rows(account, mailbox_id))
        ]

    async def fetchval(self, statement: str, *arguments: object) -> Any:
        """One value of the database."""
        async with self.database.connection() as connection:
            return await connection.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: object) -> None:
        """Meddle with the database."""
        async with self.database.connection() as connection:
            await connection.execute(statement, *arguments)

    async def counters_are_right(self, account: MailAccount) -> bool:
        """Whether the counters of mailboxes and account equal what is there."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(_COUNTED, account.id)
            used = await connection.fetchval(_USED, account.id)
        return all(row["right"] for row in rows) and bool(used)


def rows_by_uid(rows: mailbox_pb2.Rows) -> dict[int, tuple[int, int, int]]:
    """Flags, keywords and MODSEQ by UID."""
    return dict(zip(rows.uids, zip(rows.flags, rows.keywords, rows.modseqs, strict=True), strict=True))


def inline(octets: bytes) -> content_pb2.Content:
    """Octets that come along."""
    return content_pb2.Content(
        digest=hashlib.sha256(octets).digest(), size=len(octets), zstd=zstandard.compress(octets, 1)
    )


def capability(account_id: UUID, address: str, scope: Scope, quota: Quota = NO_QUOTA) -> str:
    """A token that the tests' mail store believes."""
    now = dt.datetime.now(dt.UTC)
    expires_at = now + dt.timedelta(hours=1)
    held = Capability(AccountId(account_id), DEFAULT_TENANT, address, scope, expires_at, quota=quota)
    return sign(held, _KEY, now)


async def _keys() -> Sequence[PublicKey]:
    return [PublicKey(_KEY.key_id, _KEY.key.public_key().public_bytes_raw())]


@contextlib.asynccontextmanager
async def running_mail_store(
    database: Database, objects: ObjectStore, directory: Path, **overrides: Any
) -> AsyncGenerator[MailStore]:
    """A mail store over a migrated database. `directory` takes the socket: short, and open to nobody else."""
    hooks, lifecycle = StoreHooks(), Lifecycle()
    parts = _Parts(database, objects, hooks, lifecycle, overrides)
    store = MailStore(database, objects, parts, hooks)
    listen = f"unix:{directory / 'store'}"
    server = await serve_grpc(
        listen, parts.add, policy=_module("policy").POLICY, tls=None, lifecycle=lifecycle
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        edge = await stack.enter_async_context(channel(listen, "webmail-api"))
        relay = await stack.enter_async_context(channel(listen, "smtp-outbound"))
        store.delivery = delivery_pb2_grpc.DeliveryServiceStub(edge)
        store.mailbox = mailbox_pb2_grpc.MailboxServiceStub(edge)
        store.queue = queue_pb2_grpc.QueueServiceStub(relay)
        store.administrator = queue_pb2_grpc.QueueServiceStub(edge)
        store.accounts = account_pb2_grpc.AccountServiceStub(edge)
        store.retention = retention_pb2_grpc.RetentionServiceStub(edge)
        store.doctor = doctor_pb2_grpc.DoctorServiceStub(edge)
        committing = asyncio.ensure_future(parts.committer.run())
        try:
            yield store
        finally:
            committing.cancel()
            await asyncio.wait([committing])


class _Parts:
    """The store's own objects; of types that only it knows."""

    def __init__(
        self,
        database: Database,
        objects: ObjectStore,
        hooks: StoreHooks,
        lifecycle: Lifecycle,
        overrides: dict[str, Any],
    ) -> None:
        segments, uploads = _module("blobs.segments"), _module("intake.uploads")
        committer = _module("intake.committer")
        verifier = CapabilityVerifier(_keys)
        self.segment = segments.OpenSegment(overrides.get("segment_limits"))
        self.reader = _module("blobs.reader").BlobReader(database, objects)
        self.committer = committer.Committer(
            database, self.segment, hooks.ring, overrides.get("commit_limits", committer.CommitLimits())
        )
        self.uploads = uploads.Uploads(database, objects)
        self.delivery = _module("delivery_service").DeliveryService(
            database, self.committer, self.uploads, verifier, lifecycle.stopping
        )
        news = _module("news").News(hooks.publish, hooks.publish)
        self.mailbox = _module("mailbox_service").MailboxService(
            database, self.reader, self.segment, self.uploads, verifier, news
        )
        schedule = overrides.get("schedule", _module("queue.schedule").RetrySchedule())
        retrying = _module("queue.reports").Retrying(schedule)
        self.queue = _module("queue_service").QueueService(
            database, self.reader, verifier, hooks.ring, retrying, overrides.get("claim_limits")
        )

        self.account = _module("account_service").AccountService(database, verifier, hooks.publish)
        self.retention = _module("retention_service").RetentionService(
            database, verifier, hooks.publish, overrides.get("retention_limits")
        )
        self.doctor = _module("doctor_service").DoctorService(
            database,
            objects,
            _module("serve").MIGRATIONS,
            verifier,
            lambda: True,
            overrides.get("examination_limits"),
        )

    def add(self, server: Any) -> None:
        """Add the services to a server."""
        add_delivery: Callable[[Any, Any], None] = delivery_pb2_grpc.add_DeliveryServiceServicer_to_server
        add_delivery(self.delivery, server)
        mailbox_pb2_grpc.add_MailboxServiceServicer_to_server(self.mailbox, server)
        queue_pb2_grpc.add_QueueServiceServicer_to_server(self.queue, server)
        account_pb2_grpc.add_AccountServiceServicer_to_server(self.account, server)
        retention_pb2_grpc.add_RetentionServiceServicer_to_server(self.retention, server)
        doctor_pb2_grpc.add_DoctorServiceServicer_to_server(self.doctor, server)


def _module(name: str) -> Any:
    return importlib.import_module(f"mailstore.{name}")


Measured: TypeAlias = Callable[[MailStore], Awaitable[dict[str, int]]]
"""What upkeep says of a store's queue, by gauge."""
