"""A relay beside a real core: submitting mail, starting relays, and what became of the mail."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from uuid import UUID

import zstandard

from postroom.directory.v1 import directory_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.mailstore.v1 import content_pb2, delivery_pb2
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_runtime.grpc_client import channel
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.core import PASSWORD, Core, module, served
from postroom_testing.dns import DnsServer

SENDER = "ann@postroom.test"

_ENDINGS = """
SELECT recipient, outcome, status, diagnostic, remote_host, attempts
FROM mailstore.delivery_history WHERE accepted_id = $1 ORDER BY recipient
"""
_WAITING = """
SELECT site, attempts, last_status, last_diagnostic FROM mailstore.delivery
WHERE accepted_id = $1 AND attempts >= $2
"""
_REPORTS = """
SELECT m.header FROM mailstore.mailbox_message AS mm JOIN mailstore.message AS m ON m.id = mm.message_id
WHERE mm.account_id = $1
"""


@dataclass(frozen=True)
class Ending:
    """A row of the history; outcome 1 is delivered, 2 failed, 3 expired."""

    recipient: str
    outcome: int
    status: str
    diagnostic: str
    remote_host: str
    attempts: int


@dataclass(frozen=True)
class Waiting:
    """A delivery that is tried again."""

    site: str
    attempts: int
    last_status: str
    last_diagnostic: str


class Submitter:
    """Hands mail of one of our accounts to the mail store."""

    def __init__(self, core: Core, sender: str = SENDER) -> None:
        self._core, self._sender, self._capability = core, sender, ""

    async def __call__(
        self, recipients: Sequence[str], body: bytes = b"Hello\r\n", count: int = 1
    ) -> list[UUID]:
        """Submit so many messages to the same recipients; gives their queue ids."""
        sender = self._sender.encode()
        return await self._submit(
            recipients,
            [_inline(b"From: <%s>\r\nSubject: %d\r\n\r\n%s" % (sender, n, body)) for n in range(count)],
        )

    async def content(self, recipients: Sequence[str], content: content_pb2.Content) -> UUID:
        """Submit one message that is uploaded already; gives its queue id."""
        return (await self._submit(recipients, [content]))[0]

    async def _submit(self, recipients: Sequence[str], contents: Sequence[content_pb2.Content]) -> list[UUID]:
        capability = self._capability = self._capability or await self._log_in()
        items = [self._item(recipients, content, capability) for content in contents]
        accepted = 0

        async def requests() -> AsyncIterator[delivery_pb2.AcceptRequest]:
            for item in items:
                yield delivery_pb2.AcceptRequest(items=[item])

        async with channel(self._core.mailstore, "smtp-inbound") as way:
            async for response in DeliveryServiceStub(way).Accept(requests()):
                for result in response.results:
                    if result.outcome != delivery_pb2.AcceptResult.OUTCOME_ACCEPTED:
                        raise AssertionError(result.error)
                    accepted += 1
        if accepted != len(items):
            raise AssertionError(f"{accepted} answers to {len(items)} messages")
        return [UUID(bytes=item.id) for item in items]

    async def _log_in(self) -> str:
        async with channel(self._core.directory, "smtp-inbound") as way:
            request = directory_pb2.AuthenticateRequest(
                address=self._sender, password=PASSWORD, scope=directory_pb2.SCOPE_SUBMISSION
            )
            return (await DirectoryServiceStub(way).Authenticate(request)).capability

    def _item(
        self, recipients: Sequence[str], content: content_pb2.Content, capability: str
    ) -> delivery_pb2.AcceptItem:
        item = delivery_pb2.AcceptItem(
            id=new_id().bytes,
            tenant_id=DEFAULT_TENANT.bytes,
            reverse_path=self._sender,
            recipients=[
                delivery_pb2.Recipient(address=address, remote_address=address) for address in recipients
            ],
            content=content,
            capability=capability,
        )
        item.received_at.GetCurrentTime()
        return item


def _inline(octets: bytes) -> content_pb2.Content:
    digest = hashlib.sha256(octets).digest()
    return content_pb2.Content(digest=digest, size=len(octets), zstd=zstandard.compress(octets))


class House:
    """A core with one of our accounts that sends, and the relays that a test starts."""

    def __init__(self, core: Core, dns: DnsServer) -> None:
        self.core, self.dns = core, dns
        self.submit = Submitter(core)

    def relay(self, port: int, **more: object) -> AbstractAsyncContextManager[Lifecycle]:
        """A relay in this process, whose exchangers listen on this port."""
        return served(module("smtp_outbound.serve").serve, relay_settings(self.core, self.dns, port, **more))

    async def endings(self, queue_id: UUID, count: int = 1, seconds: float = 10.0) -> list[Ending]:
        """How a message's deliveries ended, by recipient, once so many have."""
        async with asyncio.timeout(seconds):
            while len(rows := await self.core.fetch(_ENDINGS, queue_id)) < count:
                await asyncio.sleep(0.02)
        return [Ending(**row) for row in rows]

    async def waiting(self, queue_id: UUID, attempts: int = 1, seconds: float = 10.0) -> Waiting:
        """A message's delivery, once it was tried so often."""
        async with asyncio.timeout(seconds):
            while not (rows := await self.core.fetch(_WAITING, queue_id, attempts)):
                await asyncio.sleep(0.02)
        return Waiting(**rows[0])

    async def reports_to_sender(self, seconds: float = 10.0) -> list[bytes]:
        """The headers of what is in the sender's INBOX, once there is something."""
        async with asyncio.timeout(seconds):
            while not (rows := await self.core.fetch(_REPORTS, self.core.accounts[SENDER])):
                await asyncio.sleep(0.05)
        return [row["header"] for row in rows]


def relay_settings(core: Core, dns: DnsServer, port: int, **more: object) -> object:
    """Of a relay whose patience is that of a test."""
    values: dict[str, object] = {
        "nats_url": core.nats.url,
        "mailstore_address": core.mailstore,
        "dns_servers": (dns.address,),
        "remote_port": port,
        "helo_name": "relay.postroom.test",
        "allow_loopback": True,
        "workers": 4,
        "poll_seconds": 0.2,
        "kept_seconds": 5.0,
        "connect_seconds": 2.0,
        "drain_seconds": 5.0,
    }
    return module("smtp_outbound.settings").Settings.model_validate(values | more)
