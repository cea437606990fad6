"""Bounces: the DSNs that are owed to senders of ours (RFC 3464).

A bounce row is written in the transaction that ends the delivery; here it becomes mail to the sender's
account, in one transaction and under the id that the row has, so a DSN is neither lost nor sent twice. It has
the null reverse-path, and mail with that is never bounced.
"""

import asyncio
import datetime as dt
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import zstandard

from mailstore.blobs.reader import BlobReader
from mailstore.blobs.segments import OpenSegment, table
from mailstore.intake.item import Inline, IntakeItem, LocalRecipient, MessageContent
from mailstore.intake.statements import ACCEPT, Staged, accept_arguments, bells
from postroom_contracts.errors import MessageNotFoundError, PostroomError, UnavailableError
from postroom_contracts.ids import new_id, queue_id_text
from postroom_runtime.logs import log
from postroom_runtime.spans import traced
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_wire.mime.compose import Mailbox
from postroom_wire.mime.delivery_report import (
    Action,
    DeliveryReport,
    RecipientStatus,
    compose_delivery_report,
)
from postroom_wire.mime.header_writer import HeaderError

_OWED: Final = """
SELECT o.id, o.tenant_id, o.recipients, o.created_at, a.reverse_path, a.sender_account_id, a.received_at,
       a.blob_id, a.traceparent
FROM mailstore.bounce AS o JOIN mailstore.accepted AS a ON a.id = o.accepted_id
WHERE o.id > $1 ORDER BY o.id LIMIT $2
"""
_SETTLE: Final = "DELETE FROM mailstore.bounce WHERE id = $1 RETURNING true"
_ORIGINAL_OCTETS: Final = 64 * 1024
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class OwedBounce:
    """A DSN to write."""

    id: UUID
    tenant_id: UUID
    recipients: list[dict[str, str]]
    created_at: dt.datetime
    reverse_path: str
    sender_account_id: UUID
    received_at: dt.datetime
    blob_id: UUID
    traceparent: str


class Bouncer:
    """Writes owed DSNs. Run `run` in a task group, in as many processes as there are."""

    def __init__(  # what it is made of
        self,
        database: Database,
        reader: BlobReader,
        segment: OpenSegment,
        ring: Callable[[str], Awaitable[None]],
        *,
        hostname: str,
        round_seconds: float = 2.0,
    ) -> None:
        self._database, self._reader, self._segment, self._ring = database, reader, segment, ring
        self._hostname, self._round_seconds = hostname, round_seconds

    async def run(self) -> None:
        """Look for owed DSNs until cancelled."""
        while True:
            try:
                await self.run_once()
            except PostroomError as error:
                log.warning("bounces_put_off", error=error.name)
            except Exception:  # noqa: BLE001  # one odd bounce must not end them all
                log.exception("bounces_failed")
            await asyncio.sleep(self._round_seconds * random.uniform(0.7, 1.3))

    async def run_once(self) -> int:
        """Write what is owed now; returns how many."""
        written, after = 0, UUID(int=0)
        while True:
            async with self._database.connection() as connection:
                rows = await connection.fetch(_OWED, after, _AT_ONCE)
            if not rows:
                return written
            for bounce in (OwedBounce(**row) for row in rows):
                with traced("write delivery report", bounce.traceparent or None):
                    written += await self._write(bounce)
                after = bounce.id

    async def _write(self, bounce: OwedBounce) -> bool:
        """Write one DSN; whether it was ours to write and could be written."""
        try:
            item = self._item(bounce, await self._original(bounce))
        except HeaderError as error:
            await self._give_up(bounce, error)
            return False
        except UnavailableError as error:  # of the object store: others may lie elsewhere
            log.warning("bounce_put_off", queue_id=queue_id_text(bounce.id), error=str(error))
            return False
        if not await self._accept(bounce, item):
            return False
        log.info("bounced", queue_id=queue_id_text(bounce.id), account_id=str(bounce.sender_account_id))
        for subject in bells([item]):
            await self._ring(subject)
        return True

    async def _accept(self, bounce: OwedBounce, item: IntakeItem) -> bool:
        """Exchange the bounce for accepted mail; whether nobody was quicker."""

        async def transact(connection: Connection) -> bool:
            if not await connection.fetchval(_SETTLE, bounce.id):
                return False
            number = await self._segment.number(connection)
            arguments = accept_arguments([Staged(item, new_id())], number, 0.0)
            await connection.fetch(ACCEPT.format(segment=table(number)), *arguments)
            reached("bounce.before_commit")
            return True

        return await self._database.run(transact)

    async def _give_up(self, bounce: OwedBounce, error: HeaderError) -> None:
        """A DSN that nobody can write must not stand in the way of the others."""
        log.error("bounce_not_writable", queue_id=queue_id_text(bounce.id), error=str(error))
        async with self._database.connection() as connection:
            await connection.execute(_SETTLE, bounce.id)

    async def _original(self, bounce: OwedBounce) -> bytes:
        """The beginning of the message that failed; nothing when its octets are lost or broken."""
        try:
            return b"".join([chunk async for chunk in self._reader.read(bounce.blob_id, 0, _ORIGINAL_OCTETS)])
        except (MessageNotFoundError, zstandard.ZstdError) as error:
            log.warning("bounce_without_original", queue_id=queue_id_text(bounce.id), error=str(error))
            return b""

    def _item(self, bounce: OwedBounce, original: bytes) -> IntakeItem:
        octets = compose_delivery_report(
            DeliveryReport(
                reporting_mta=self._hostname,
                sender=Mailbox(f"MAILER-DAEMON@{self._hostname}", "Mail Delivery System"),
                recipient=bounce.reverse_path,
                message_id=f"<{bounce.id.hex}@{self._hostname}>",
                date=bounce.created_at,
                statuses=[_status(recipient) for recipient in bounce.recipients],
                original=original,
                arrival_date=bounce.received_at,
            )
        )
        content = MessageContent(
            hashlib.sha256(octets).digest(), len(octets), Inline(zstandard.compress(octets))
        )
        return IntakeItem(
            id=bounce.id,
            tenant_id=bounce.tenant_id,
            reverse_path="",
            recipients=(LocalRecipient(bounce.reverse_path, bounce.sender_account_id),),
            content=content,
            eight_bit=False,
            smtp_utf8=False,
            received_at=bounce.created_at,
            traceparent=bounce.traceparent,
            sender_account_id=None,
        )


def _status(recipient: dict[str, str]) -> RecipientStatus:
    expired = bool(recipient["expired"])
    said = recipient["status"]
    # An expiry is a failure of ours to reach them, whatever the last temporary status was (RFC 3463 s3.5).
    status = "5.4.7" if expired else said if said.startswith("5.") else "5.0.0"
    return RecipientStatus(
        recipient=recipient["recipient"],
        action=Action.FAILED,
        status=status,
        remote_mta=recipient["remote_host"] or None,
        diagnostic=recipient["diagnostic"] or None,
    )
