"""The DeliveryService: accepts what the edge hands over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID

from mailstore.intake.committer import Committer
from mailstore.intake.item import Inline, IntakeItem, Uploaded, parse_item
from mailstore.intake.statements import ABORT, Staged
from mailstore.intake.uploads import Uploads, presigned_messages
from mailstore.mailboxes.quota import full_accounts
from postroom.mailstore.v1 import delivery_pb2, delivery_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, Quota, Scope
from postroom_contracts.errors import LimitError, NotPermittedError, PostroomError
from postroom_contracts.ids import new_id, parse_id, queue_id_text
from postroom_runtime.grpc_server import requests_until
from postroom_runtime.logs import bound_contextvars, log
from postroom_runtime.spans import traced
from postroom_storage.database import Database

_SENDING: Final = frozenset({Scope.SUBMISSION, Scope.API})


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one Accept stream, and of one FindFull."""

    items_in_flight: int = 1_024
    accounts_asked: int = 1_000


class DeliveryService(delivery_pb2_grpc.DeliveryServiceServicer):
    """Answers each item when it is durable; many streams share commits."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        uploads: Uploads,
        verifier: CapabilityVerifier,
        closing: asyncio.Event,
        limits: Limits | None = None,
    ) -> None:
        self._database, self._committer, self._uploads = database, committer, uploads
        self._verifier, self._closing = verifier, closing
        self._limits = limits or Limits()

    async def Accept(  # named by the contract
        self, request_iterator: AsyncIterator[delivery_pb2.AcceptRequest], context: object
    ) -> AsyncIterator[delivery_pb2.AcceptResponse]:
        """Accept the stream's items; the stream ends when the client ends it, or when this process drains."""
        async with _AcceptStream(self._accept, self._limits.items_in_flight) as stream:
            reading = stream.read(request_iterator, self._closing)
            async for response in stream.responses(reading):
                yield response

    async def Abort(self, request: delivery_pb2.AbortRequest, context: object) -> delivery_pb2.AbortResponse:
        """Make sure that an id is not accepted from now on."""
        message_id = parse_id(request.id)
        async with self._database.connection() as connection:
            accepted = bool(await connection.fetchval(ABORT, message_id, UUID(int=0)))
        log.info("aborted", queue_id=queue_id_text(message_id), accepted_before=accepted)
        return delivery_pb2.AbortResponse(accepted_before=accepted)

    async def BeginUpload(
        self, request: delivery_pb2.BeginUploadRequest, context: object
    ) -> delivery_pb2.BeginUploadResponse:
        """Open an upload."""
        upload = await self._uploads.begin(
            parse_id(request.upload_id), parse_id(request.tenant_id), None, request.size_hint
        )
        return delivery_pb2.BeginUploadResponse(
            parts=presigned_messages(upload.parts), part_size=upload.part_size
        )

    async def PresignUploadParts(
        self, request: delivery_pb2.PresignUploadPartsRequest, context: object
    ) -> delivery_pb2.PresignUploadPartsResponse:
        """More parts of an upload."""
        parts = await self._uploads.presign(
            parse_id(request.upload_id), None, request.first_number, request.count
        )
        return delivery_pb2.PresignUploadPartsResponse(parts=presigned_messages(parts))

    async def FindFull(
        self, request: delivery_pb2.FindFullRequest, context: object
    ) -> delivery_pb2.FindFullResponse:
        """Which accounts keep as much as they may. Raises InvalidRequestError, LimitError."""
        if len(request.accounts) > self._limits.accounts_asked:
            raise LimitError("too many accounts")
        quotas = {parse_id(each.account_id): _quota(each) for each in request.accounts}
        async with self._database.connection() as connection:
            found = await full_accounts(connection, quotas)
        return delivery_pb2.FindFullResponse(account_ids=[account_id.bytes for account_id in found])

    async def _accept(self, request: delivery_pb2.AcceptItem) -> delivery_pb2.AcceptResult:
        """Accept one item; every error becomes its result."""
        queue_id = _queue_id(request.id)
        with traced("accept", request.traceparent, "server") as work, bound_contextvars(queue_id=queue_id):
            result = await self._answer(request)
            work.set("postroom.queue_id", queue_id)
            if result.error:
                work.fail(result.error, ours=result.outcome == delivery_pb2.AcceptResult.OUTCOME_TEMPORARY)
            return result

    async def _answer(self, request: delivery_pb2.AcceptItem) -> delivery_pb2.AcceptResult:
        try:
            item = await self._checked(request)
            await self._committer.accept(await self._staged(item))
        except PostroomError as error:
            outcome = _outcome(error)
            log.info("not_accepted", error=error.name)
            return delivery_pb2.AcceptResult(id=request.id, outcome=outcome, error=error.name)
        except Exception:  # noqa: BLE001  # a message boundary: its neighbours on the stream go on
            log.exception("accept_failed")
            temporary = delivery_pb2.AcceptResult.OUTCOME_TEMPORARY
            return delivery_pb2.AcceptResult(id=request.id, outcome=temporary, error=PostroomError.name)
        return delivery_pb2.AcceptResult(id=request.id, outcome=delivery_pb2.AcceptResult.OUTCOME_ACCEPTED)

    async def _checked(self, request: delivery_pb2.AcceptItem) -> IntakeItem:
        """The item, if whoever hands it over may send it."""
        sender = None
        if request.capability:
            capability = await self._verifier.verify(request.capability, scopes=_SENDING)
            if capability.tenant_id.bytes != request.tenant_id:
                raise NotPermittedError("a capability of another tenant")
            sender = capability.account_id
        return parse_item(request, sender)

    async def _staged(self, item: IntakeItem) -> Staged:
        match item.content.source:
            case Inline():
                return Staged(item, new_id())
            case Uploaded() as upload:
                object_id = await self._uploads.complete(upload, item.content.size, account_id=None)
                return Staged(item, new_id(), object_id)


def _quota(asked: delivery_pb2.AccountBound) -> Quota:
    return Quota(
        asked.octets if asked.HasField("octets") else None,
        asked.messages if asked.HasField("messages") else None,
    )


def _queue_id(octets: bytes) -> str:
    return queue_id_text(UUID(bytes=octets)) if len(octets) == 16 else ""


def _outcome(error: PostroomError) -> delivery_pb2.AcceptResult.Outcome.ValueType:
    if error.transient:
        return delivery_pb2.AcceptResult.OUTCOME_TEMPORARY
    return delivery_pb2.AcceptResult.OUTCOME_REFUSED


class _AcceptStream:
    """One client's stream: items run side by side, their results leave in as few messages as they come in."""

    def __init__(
        self,
        accept: Callable[[delivery_pb2.AcceptItem], Awaitable[delivery_pb2.AcceptResult]],
        most: int,
    ) -> None:
        self._accept = accept
        self._room = asyncio.Semaphore(most)
        self._done: list[delivery_pb2.AcceptResult] = []
        self._news = asyncio.Event()
        self._running = 0
        self._ended = False
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._group.__aexit__(*error)  # pyright: ignore[reportArgumentType]  # the triple as it came

    async def read(self, requests: AsyncIterator[delivery_pb2.AcceptRequest], closing: asyncio.Event) -> None:
        """Start what comes in until the client or the process ends it."""
        try:
            async for request in requests_until(closing, requests):
                for item in request.items:
                    await self._room.acquire()
                    self._running += 1
                    self._group.create_task(self._run(item))
        finally:
            self._ended = True
            self._news.set()

    async def responses(self, reading: Awaitable[None]) -> AsyncIterator[delivery_pb2.AcceptResponse]:
        """What is done, as soon as it is, until all is done."""
        reader = asyncio.ensure_future(reading)
        try:
            while self._done or self._running or not self._ended:
                await self._news.wait()
                self._news.clear()
                if self._done:
                    results, self._done = self._done, []
                    yield delivery_pb2.AcceptResponse(results=results)
        finally:
            reader.cancel()

    async def _run(self, item: delivery_pb2.AcceptItem) -> None:
        try:
            result = await self._accept(item)
            self._done.append(result)  # not in one expression: the list is another one after the await
        finally:
            self._running -= 1
            self._room.release()
            self._news.set()
