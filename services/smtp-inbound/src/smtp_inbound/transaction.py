"""One mail transaction: who it is from and for, and its content (RFC 5321 s3.3)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from postroom.directory.v1 import directory_pb2
from postroom.mailstore.v1 import content_pb2, delivery_pb2
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id, queue_id_text
from postroom_runtime.spans import Span
from postroom_wire.smtp import Body, ForwardPath, Mail, Postmaster
from smtp_inbound.content import Gathering


@dataclass(slots=True)
class Transaction:
    """What is known of the message under way; `queue_id` is its id as people read it."""

    mail: Mail
    span: Span
    capability: str
    tenant_id: UUID | None
    id: UUID = field(default_factory=new_id)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    recipients: list[delivery_pb2.Recipient] = field(default_factory=list[delivery_pb2.Recipient])
    gathering: Gathering | None = None
    queue_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.queue_id = queue_id_text(self.id)

    def takes_tenant(self, tenant_id: UUID) -> bool:
        """Whether a recipient of this tenant fits: octets are never shared between tenants."""
        return self.tenant_id in (None, tenant_id)

    def add_local(self, address: str, resolution: directory_pb2.Resolution) -> None:
        """Add where a local address leads; an account that is there already gets one copy."""
        self.tenant_id = UUID(bytes=resolution.tenant_id)
        there = {(each.account_id, each.remote_address.lower()) for each in self.recipients}
        for target in resolution.targets:
            if (target.account_id, target.remote_address.lower()) not in there:
                self.recipients.append(_recipient(address, target))

    def add_remote(self, address: str) -> None:
        """Add an address that is not ours."""
        if all(each.remote_address != address for each in self.recipients):
            self.recipients.append(delivery_pb2.Recipient(address=address, remote_address=address))

    async def finish(self) -> content_pb2.Content:
        """The content, durable where it is large. Raises UnavailableError."""
        if self.gathering is None:
            raise UnavailableError("there is no content")
        return await self.gathering.finish()

    async def discard(self) -> None:
        """Forget the content."""
        if self.gathering is not None:
            await self.gathering.discard()
            self.gathering = None

    def item(self, content: content_pb2.Content) -> delivery_pb2.AcceptItem:
        """What the mail store accepts."""
        item = delivery_pb2.AcceptItem(
            id=self.id.bytes,
            tenant_id=(self.tenant_id or UUID(int=0)).bytes,
            reverse_path="" if self.mail.reverse_path is None else str(self.mail.reverse_path),
            recipients=self.recipients,
            content=content,
            eight_bit=self.mail.body is Body.EIGHT_BIT_MIME,
            smtp_utf8=self.mail.smtputf8,
            traceparent=self.span.traceparent,
            capability=self.capability,
        )
        item.received_at.FromDatetime(self.received_at)
        return item


def address_of(path: ForwardPath, hostname: str) -> str:
    """The address to resolve; a bare postmaster is ours (RFC 5321 s4.5.1)."""
    return f"postmaster@{hostname}" if isinstance(path, Postmaster) else str(path)


def _recipient(address: str, target: directory_pb2.Target) -> delivery_pb2.Recipient:
    if target.WhichOneof("target") == "account_id":
        return delivery_pb2.Recipient(address=address, account_id=target.account_id)
    return delivery_pb2.Recipient(address=address, remote_address=target.remote_address)
