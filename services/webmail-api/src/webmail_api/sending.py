"""Sending: a document becomes a message, and goes to everybody whom it names."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from postroom.directory.v1 import directory_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.mailstore.v1 import delivery_pb2, mailbox_pb2
from postroom_contracts.errors import LimitError, NotPermittedError, PostroomError
from postroom_contracts.ids import new_id, queue_id_text
from postroom_runtime.logs import log
from postroom_runtime.traces import current_traceparent, new_traceparent
from postroom_wire.mime import HeaderError, Mailbox, OutgoingAttachment, OutgoingMessage, compose
from postroom_wire.smtp.addresses import AddressError
from postroom_wire.smtp.addresses import Mailbox as Path
from webmail_api.delivering import Delivery
from webmail_api.identifiers import MessageKey
from webmail_api.limits import DEFAULT_LIMITS, Limits
from webmail_api.mail_models import NewMessage, Recipient, Sent
from webmail_api.mail_store import MailStore
from webmail_api.problems import (
    CONTENT_TOO_LARGE,
    INVALID_HEADER,
    INVALID_REQUEST,
    SENDER_NOT_PERMITTED,
    UNKNOWN_RECIPIENT,
    ProblemError,
)
from webmail_api.sessions import User

_SEEN: Final = 1
_COMPOSED_ON_LOOP: Final = 64 * 1024


class Sender:
    """Sends for users; one for each process."""

    def __init__(
        self,
        directory: DirectoryServiceStub,
        delivery: Delivery,
        store: MailStore,
        message_octets: int,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._directory, self._delivery, self._store = directory, delivery, store
        self._message_octets, self._limits = message_octets, limits

    async def send(self, user: User, message: NewMessage) -> Sent:
        """Return when the message is durable. Raises `ProblemError`, `PostroomError`."""
        if message.from_ is not None and message.from_.address.lower() != user.address.lower():
            raise ProblemError(SENDER_NOT_PERMITTED)
        addresses = self._recipients(message)
        queue_id = new_id()
        message_id = f"<{queue_id_text(queue_id)}@{user.address.rpartition('@')[2]}>"
        octets = await _compose(user, message, message_id)
        if len(octets) > self._message_octets:
            raise ProblemError(CONTENT_TOO_LARGE)
        item = await self._item(user, queue_id, addresses)
        item.smtp_utf8 = not all(address.isascii() for address in (*addresses, user.address))
        await self._delivery.accept(item, octets)
        log.info(
            "sent", queue_id=queue_id_text(queue_id), recipients=len(item.recipients), octets=len(octets)
        )
        copy = await self._keep(user, octets) if message.save_to_sent else None
        return Sent(queue_id=queue_id_text(queue_id), message_id=message_id, sent_copy=copy)

    def _recipients(self, message: NewMessage) -> list[str]:
        """Everybody once, in the order of the document."""
        named = (*message.to, *message.cc, *message.bcc)
        addresses = list(dict.fromkeys(recipient.address for recipient in named))
        if not addresses:
            raise ProblemError(INVALID_REQUEST)
        if len(addresses) > self._limits.recipients:
            raise LimitError("too many recipients")
        for address in addresses:
            try:
                Path.parse(address)
            except AddressError:
                raise ProblemError(INVALID_HEADER, addresses=[address]) from None
        return addresses

    async def _item(self, user: User, queue_id: UUID, addresses: Sequence[str]) -> delivery_pb2.AcceptItem:
        request = directory_pb2.ResolveRecipientsRequest(addresses=addresses)
        answer = await self._directory.ResolveRecipients(request, timeout=self._limits.call_seconds)
        unknown = [
            address
            for address, resolution in zip(addresses, answer.resolutions, strict=True)
            if resolution.outcome == directory_pb2.Resolution.OUTCOME_UNKNOWN
        ]
        if unknown:
            raise ProblemError(UNKNOWN_RECIPIENT, addresses=unknown)
        item = delivery_pb2.AcceptItem(
            id=queue_id.bytes,
            tenant_id=user.tenant_id,
            reverse_path=user.address,
            traceparent=current_traceparent() or new_traceparent(),
            capability=user.capability,
        )
        item.received_at.GetCurrentTime()
        for address, resolution in zip(addresses, answer.resolutions, strict=True):
            _add(item, address, resolution)
        return item

    async def _keep(self, user: User, octets: bytes) -> str | None:
        """File the copy. The message is on its way whatever becomes of it."""
        try:
            mailbox = await self._store.special(user, mailbox_pb2.SPECIAL_USE_SENT, "Sent")
            uid = await self._delivery.append(user, mailbox.id, octets, _SEEN)
        except PostroomError as error:
            log.warning("sent_copy_failed", error=error.name)
            return None
        return str(MessageKey(mailbox.id, uid))


async def _compose(user: User, message: NewMessage, message_id: str) -> bytes:
    outgoing = OutgoingMessage(
        sender=Mailbox(user.address, user.display_name if message.from_ is None else message.from_.name),
        to=_mailboxes(message.to),
        cc=_mailboxes(message.cc),
        reply_to=_mailboxes(message.reply_to),
        message_id=message_id,
        date=datetime.now(UTC),
        subject=message.subject,
        text=message.text,
        html=message.html,
        attachments=[
            OutgoingAttachment(each.name, each.media_type, each.content, each.content_id)
            for each in message.attachments
        ],
        in_reply_to=message.in_reply_to,
        references=message.references,
    )
    size = sum(len(each.content) for each in message.attachments) + len(message.html or message.text or "")
    try:
        if size <= _COMPOSED_ON_LOOP:
            return compose(outgoing)
        return await asyncio.to_thread(compose, outgoing)
    except HeaderError:
        raise ProblemError(INVALID_HEADER) from None


def _mailboxes(recipients: Sequence[Recipient]) -> list[Mailbox]:
    return [Mailbox(recipient.address, recipient.name) for recipient in recipients]


def _add(item: delivery_pb2.AcceptItem, address: str, resolution: directory_pb2.Resolution) -> None:
    """Add where an address leads; an account that is there already gets one copy."""
    if resolution.outcome == directory_pb2.Resolution.OUTCOME_REMOTE:
        item.recipients.add(address=address, remote_address=address)
        return
    if resolution.tenant_id != item.tenant_id:
        raise NotPermittedError("octets are never shared between tenants")
    there = {(each.account_id, each.remote_address.lower()) for each in item.recipients}
    for target in resolution.targets:
        if (target.account_id, target.remote_address.lower()) in there:
            continue
        if target.WhichOneof("target") == "account_id":
            item.recipients.add(address=address, account_id=target.account_id)
        else:
            item.recipients.add(address=address, remote_address=target.remote_address)
