"""The QueueService: the queue for relays, and for administrators."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import grpc
import zstandard

from mailstore.blobs.reader import BlobReader
from mailstore.lanes import REMOTE_BELL, local_bell
from mailstore.queue import claims, listing
from mailstore.queue.claims import ClaimedDelivery, ClaimLimits, ClaimWish
from mailstore.queue.reports import Report, Retrying, Verdict, take_reports
from mailstore.queue.sites import report_site
from postroom.mailstore.v1 import content_pb2, queue_pb2, queue_pb2_grpc
from postroom_contracts.capability import Capability, CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.operations import once, operation_of
from postroom_wire.mime import clean_line

_Context = grpc.aio.ServicerContext[Any, Any]

_ADMINISTERING: Final = frozenset({Scope.ADMIN})
_INLINE_OCTETS: Final = 256 * 1024
_INLINE_TOTAL: Final = 2 * 1024 * 1024
_MAX_REPORTS: Final = 5_000
_MAX_TEXT: Final = 2_000
_MAX_PAGE: Final = 500
_MAX_SITES: Final = 1_000


class QueueService(queue_pb2_grpc.QueueServiceServicer):
    """What relays may ask is decided by the policy; administrators need a capability of their own."""

    def __init__(  # what it is made of
        self,
        database: Database,
        reader: BlobReader,
        verifier: CapabilityVerifier,
        ring: Callable[[str], Awaitable[None]],
        retrying: Retrying,
        limits: ClaimLimits | None = None,
    ) -> None:
        self._database, self._reader, self._verifier, self._ring = database, reader, verifier, ring
        self._retrying, self._limits = retrying, limits or ClaimLimits()

    async def Claim(self, request: queue_pb2.ClaimRequest, context: _Context) -> queue_pb2.ClaimResponse:
        """Work for a relay."""
        most = min(max(request.max_messages, 1), self._limits.deliveries)
        wish = ClaimWish(
            clean_line(request.worker),
            most,
            self._seconds(request.lease_seconds),
            request.site,
            list(request.except_sites)[:_MAX_SITES],
        )
        claim = await claims.open_claim(self._database, wish, self._limits)
        if claim is not None and claim.deliveries:
            return await self._claim_message(claim)
        if claim is not None:
            await claims.release_claim(self._database, claim.id, claim.token)
        response = queue_pb2.ClaimResponse()
        if (due_at := await claims.next_due(self._database)) is not None:
            response.next_due_at.FromDatetime(due_at)
        return response

    async def Extend(self, request: queue_pb2.ExtendRequest, context: _Context) -> queue_pb2.ExtendResponse:
        """More time."""
        expires_at = await claims.extend_claim(
            self._database,
            parse_id(request.claim_id),
            parse_id(request.token),
            self._seconds(request.lease_seconds),
        )
        response = queue_pb2.ExtendResponse()
        response.expires_at.FromDatetime(expires_at)
        return response

    async def ReadContent(
        self, request: queue_pb2.ReadContentRequest, context: _Context
    ) -> AsyncIterator[queue_pb2.ReadContentResponse]:
        """The octets of a claimed message."""
        blob_id = await claims.claimed_blob(
            self._database, parse_id(request.claim_id), parse_id(request.token), parse_id(request.message_id)
        )
        blob = (await self._reader.locate([blob_id]))[blob_id]
        if (url := self._reader.presigned(blob)) is not None:
            place = content_pb2.PresignedRead(url=url, offset=0, length=blob.size)
            yield queue_pb2.ReadContentResponse(chunk=content_pb2.ContentChunk(url=place, last=True))
            return
        async for octets in self._reader.read(blob_id, 0, blob.size):
            yield queue_pb2.ReadContentResponse(chunk=content_pb2.ContentChunk(octets=octets))
        yield queue_pb2.ReadContentResponse(chunk=content_pb2.ContentChunk(last=True))

    async def Report(self, request: queue_pb2.ReportRequest, context: _Context) -> queue_pb2.ReportResponse:
        """How deliveries ended."""
        if len(request.reports) > _MAX_REPORTS:
            raise InvalidRequestError("too many reports")
        reports = [_report(report) for report in request.reports]
        claim_id, token = parse_id(request.claim_id), parse_id(request.token)
        live = await take_reports(self._database, claim_id, token, reports, self._retrying)
        return queue_pb2.ReportResponse(live=live)

    async def Release(
        self, request: queue_pb2.ReleaseRequest, context: _Context
    ) -> queue_pb2.ReleaseResponse:
        """What is left is free again."""
        await claims.release_claim(self._database, parse_id(request.claim_id), parse_id(request.token))
        return queue_pb2.ReleaseResponse()

    async def ReportSite(
        self, request: queue_pb2.ReportSiteRequest, context: _Context
    ) -> queue_pb2.ReportSiteResponse:
        """Where a domain's mail goes."""
        domain, site = clean_line(request.domain).lower(), clean_line(request.site).lower()
        if not domain or not site or len(domain) > _MAX_TEXT or len(site) > _MAX_TEXT:
            raise InvalidRequestError("no domain or site")
        await report_site(self._database, domain, site)
        return queue_pb2.ReportSiteResponse()

    async def ListQueue(
        self, request: queue_pb2.ListQueueRequest, context: _Context
    ) -> queue_pb2.ListQueueResponse:
        """What waits, oldest first."""
        await self._administrator()
        after = UUID(int=0) if not request.cursor else _cursor(request.cursor)
        most = min(request.limit or 100, _MAX_PAGE)
        found = await listing.list_queue(self._database, after, most)
        following = found[-1].id.hex if len(found) == most else ""
        return queue_pb2.ListQueueResponse(
            entries=[_entry(message) for message in found], next_cursor=following
        )

    async def GetQueued(
        self, request: queue_pb2.GetQueuedRequest, context: _Context
    ) -> queue_pb2.GetQueuedResponse:
        """One message that waits."""
        await self._administrator()
        return queue_pb2.GetQueuedResponse(
            entry=_entry(await listing.get_queued(self._database, parse_id(request.id)))
        )

    async def RetryQueued(
        self, request: queue_pb2.RetryQueuedRequest, context: _Context
    ) -> queue_pb2.RetryQueuedResponse:
        """Try now."""
        admin, message_id = await self._administrator(), parse_id(request.id)
        lanes: set[int | None] = set()

        async def retry(connection: Connection) -> queue_pb2.RetryQueuedResponse:
            retried = await listing.retry_queued(connection, message_id)
            lanes.update(retried)
            return queue_pb2.RetryQueuedResponse(deliveries=len(retried))

        operation = operation_of(admin.account_id, admin.tenant_id, request.operation_id, request)
        answer = await once(self._database, operation, queue_pb2.RetryQueuedResponse, retry)
        reached("queue.after_commit")
        for lane in lanes:
            await self._ring(REMOTE_BELL if lane is None else local_bell(lane))
        return answer

    async def CancelQueued(
        self, request: queue_pb2.CancelQueuedRequest, context: _Context
    ) -> queue_pb2.CancelQueuedResponse:
        """Do not send."""
        admin, message_id = await self._administrator(), parse_id(request.id)

        async def cancel(connection: Connection) -> queue_pb2.CancelQueuedResponse:
            cancelled = await listing.cancel_queued(connection, message_id)
            return queue_pb2.CancelQueuedResponse(deliveries=cancelled)

        operation = operation_of(admin.account_id, admin.tenant_id, request.operation_id, request)
        answer = await once(self._database, operation, queue_pb2.CancelQueuedResponse, cancel)
        reached("queue.after_commit")
        return answer

    async def _administrator(self) -> Capability:
        return await self._verifier.verify(capability_token(), scopes=_ADMINISTERING)

    def _seconds(self, wanted: float) -> float:
        return min(wanted if wanted > 0 else self._limits.lease_seconds, self._limits.lease_max_seconds)

    async def _claim_message(self, claim: claims.Claim) -> queue_pb2.ClaimResponse:
        inline = await self._inline(claim.deliveries)
        messages: dict[tuple[UUID, str], queue_pb2.QueuedMessage] = {}
        for delivery in claim.deliveries:
            key = (delivery.accepted_id, delivery.domain)
            if key not in messages:
                messages[key] = _queued(delivery, inline.get(delivery.blob_id, b""))
            messages[key].recipients.add(
                delivery_id=delivery.id.bytes, address=delivery.recipient, attempts=delivery.attempts
            )
        response = queue_pb2.ClaimResponse(
            claim_id=claim.id.bytes, token=claim.token.bytes, site=claim.site, messages=messages.values()
        )
        response.expires_at.FromDatetime(claim.expires_at)
        return response

    async def _inline(self, deliveries: Sequence[ClaimedDelivery]) -> dict[UUID, bytes]:
        """The octets of small messages as zstd frames, as many as one answer may carry."""
        wanted: list[UUID] = []
        total = 0
        for blob_id, size in {delivery.blob_id: delivery.size for delivery in deliveries}.items():
            if size <= _INLINE_OCTETS and total + size <= _INLINE_TOTAL:
                wanted.append(blob_id)
                total += size
        loaded = await self._reader.load(wanted)
        return {blob_id: zstandard.compress(octets, 1) for blob_id, octets in loaded.items()}


def _queued(delivery: ClaimedDelivery, zstd: bytes) -> queue_pb2.QueuedMessage:
    message = queue_pb2.QueuedMessage(
        id=delivery.accepted_id.bytes,
        tenant_id=delivery.tenant_id.bytes,
        reverse_path=delivery.reverse_path,
        domain=delivery.domain,
        size=delivery.size,
        digest=delivery.digest,
        eight_bit=delivery.eight_bit,
        smtp_utf8=delivery.smtp_utf8,
        traceparent=delivery.traceparent,
        zstd=zstd,
    )
    message.expires_at.FromDatetime(delivery.expires_at)
    return message


def _report(report: queue_pb2.DeliveryReport) -> Report:
    try:
        verdict = Verdict(report.outcome)
    except ValueError:
        raise InvalidRequestError("no such outcome") from None
    return Report(
        parse_id(report.delivery_id),
        verdict,
        clean_line(report.status)[:20],
        clean_line(report.diagnostic)[:_MAX_TEXT],
        clean_line(report.remote_host)[:300],
        clean_line(report.site).lower()[:_MAX_TEXT],
        report.site_refused,
    )


def _entry(message: listing.ListedMessage) -> queue_pb2.QueueEntry:
    entry = queue_pb2.QueueEntry(
        id=message.id.bytes,
        tenant_id=message.tenant_id.bytes,
        reverse_path=message.reverse_path,
        size=message.size,
    )
    entry.received_at.FromDatetime(message.received_at)
    entry.expires_at.FromDatetime(message.expires_at)
    for delivery in message.deliveries:
        added = entry.deliveries.add(
            delivery_id=delivery.id.bytes,
            address=delivery.recipient,
            site=delivery.site,
            attempts=delivery.attempts,
            last_diagnostic=delivery.last_diagnostic,
            claimed_by=delivery.claimed_by,
            parked=delivery.parked,
        )
        added.due_at.FromDatetime(delivery.due_at)
        if delivery.site_held_until is not None:
            added.site_held_until.FromDatetime(delivery.site_held_until)
    return entry


def _cursor(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError:
        raise InvalidRequestError("not a cursor") from None
