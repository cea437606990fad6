"""Handing a message over: compressed with the call, or put into the object store first."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import zstandard

from postroom.mailstore.v1 import content_pb2, delivery_pb2, mailbox_pb2
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom_contracts.errors import ERRORS, PostroomError, UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.logs import log
from postroom_runtime.steps import reached
from postroom_runtime.transfer import StaleUrlError, Transfers
from webmail_api.limits import DEFAULT_LIMITS, Limits
from webmail_api.mail_store import MailStore
from webmail_api.sessions import User

T = TypeVar("T")

_ZSTD_LEVEL: Final = 1
_PIECE: Final = 256 * 1024
_SINGLE_PUT: Final = 0


class Delivery:
    """Gives messages to the mail store; one for each process. All methods raise `PostroomError`."""

    def __init__(
        self,
        stub: DeliveryServiceStub,
        store: MailStore,
        transfers: Transfers,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._stub, self._store, self._transfers, self._limits = stub, store, transfers, limits

    async def accept(self, item: delivery_pb2.AcceptItem, octets: bytes) -> None:
        """Return when the message is durable.

        What is still unknown in the end is aborted, so that a client that is told to try again makes no
        duplicate of it.
        """
        item.content.CopyFrom(await self._content_to_send(item.tenant_id, octets))
        reached("send.uploaded")
        try:
            await self._accept_twice(item)
        except UnavailableError:
            if not await self._accepted_before(item.id):
                raise
        reached("send.accepted")

    async def append(self, user: User, mailbox_id: bytes, octets: bytes, flags: int) -> int:
        """File a copy of one's own; gives its UID."""
        request = mailbox_pb2.AppendMessageRequest(id=new_id().bytes, mailbox_id=mailbox_id, flags=flags)
        request.internal_date.GetCurrentTime()
        request.content.CopyFrom(await self._content_to_keep(user, octets))
        seconds = self._seconds(request.content)

        async def append() -> mailbox_pb2.AppendMessageResponse:
            return await self._store.stub.AppendMessage(request, timeout=seconds, **self._store.stream(user))

        return (await _twice(append)).uid

    async def _accept_twice(self, item: delivery_pb2.AcceptItem) -> None:
        seconds = self._seconds(item.content)

        async def accept() -> None:
            async with asyncio.timeout(seconds):
                async for answer in self._stub.Accept(_once(delivery_pb2.AcceptRequest(items=[item]))):
                    for result in answer.results:
                        _check(result)
                        return
            raise UnavailableError("the store did not answer")

        try:
            await _twice(accept)
        except TimeoutError:
            raise UnavailableError("the store did not answer in time") from None

    async def _accepted_before(self, message_id: bytes) -> bool:
        request = delivery_pb2.AbortRequest(id=message_id)
        try:
            answer = await self._stub.Abort(request, timeout=self._limits.abort_seconds)
        except PostroomError as error:
            log.warning("abort_unknown", queue_id=str(UUID(bytes=message_id)), error=error.name)
            return False
        return answer.accepted_before

    async def _content_to_send(self, tenant_id: bytes, octets: bytes) -> content_pb2.Content:
        if len(octets) <= self._limits.inline:
            return _inline(octets)
        upload_id, seconds = new_id(), self._limits.call_seconds
        begun = await self._stub.BeginUpload(
            delivery_pb2.BeginUploadRequest(
                upload_id=upload_id.bytes, tenant_id=tenant_id, size_hint=len(octets)
            ),
            timeout=seconds,
        )

        async def more(number: int) -> str:
            request = delivery_pb2.PresignUploadPartsRequest(
                upload_id=upload_id.bytes, first_number=number, count=1
            )
            return (await self._stub.PresignUploadParts(request, timeout=seconds)).parts[0].url

        urls = {part.number: part.url for part in begun.parts}
        return await self._upload(upload_id, urls, begun.part_size, more, octets)

    async def _content_to_keep(self, user: User, octets: bytes) -> content_pb2.Content:
        if len(octets) <= self._limits.inline:
            return _inline(octets)
        upload_id, stub = new_id(), self._store.stub
        begun = await stub.BeginAppendUpload(
            mailbox_pb2.BeginAppendUploadRequest(upload_id=upload_id.bytes, size_hint=len(octets)),
            **self._store.options(user),
        )

        async def more(number: int) -> str:
            request = mailbox_pb2.PresignAppendPartsRequest(
                upload_id=upload_id.bytes, first_number=number, count=1
            )
            return (await stub.PresignAppendParts(request, **self._store.options(user))).parts[0].url

        urls = {part.number: part.url for part in begun.parts}
        return await self._upload(upload_id, urls, begun.part_size, more, octets)

    async def _upload(
        self,
        upload_id: UUID,
        urls: dict[int, str],
        part_size: int,
        more: Callable[[int], Awaitable[str]],
        octets: bytes,
    ) -> content_pb2.Content:
        upload = content_pb2.UploadedContent(upload_id=upload_id.bytes)
        try:
            if _SINGLE_PUT in urls:
                await self._transfers.put(urls[_SINGLE_PUT], octets)
            else:

                async def url_of(number: int) -> str:
                    return urls.get(number) or await more(number)

                stored = await self._transfers.put_parts(url_of, _pieces(octets), part_size=part_size)
                upload.parts.extend(
                    content_pb2.UploadedPart(number=part.number, etag=part.etag) for part in stored.parts
                )
        except StaleUrlError:
            raise UnavailableError("the object store refused a signed URL") from None
        digest = await asyncio.to_thread(_digest, octets)
        return content_pb2.Content(digest=digest, size=len(octets), upload=upload)

    def _seconds(self, content: content_pb2.Content) -> float:
        if content.HasField("upload"):
            return self._limits.large_seconds
        return self._limits.call_seconds * 0.4  # twice, and an Abort, within 5 s


async def _twice(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask once more when the answer did not come; what is asked carries an id."""
    try:
        return await ask()
    except (UnavailableError, TimeoutError):
        return await ask()


async def _once(request: delivery_pb2.AcceptRequest) -> AsyncIterator[delivery_pb2.AcceptRequest]:
    yield request


async def _pieces(octets: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(octets), _PIECE):
        yield octets[start : start + _PIECE]


def _check(result: delivery_pb2.AcceptResult) -> None:
    if result.outcome != delivery_pb2.AcceptResult.OUTCOME_ACCEPTED:
        raise ERRORS.get(result.error, UnavailableError)("refused by the store")


def _inline(octets: bytes) -> content_pb2.Content:
    zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(octets)
    return content_pb2.Content(digest=_digest(octets), size=len(octets), zstd=zstd)


def _digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
