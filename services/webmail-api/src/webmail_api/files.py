"""The account's files: the tree through filestore, the octets between client and object store."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import grpc

from postroom.filestore.v1 import file_pb2 as pb
from postroom.filestore.v1.file_pb2_grpc import FileServiceStub
from postroom_contracts.errors import PostroomError, UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import ask_twice, on_behalf_of
from postroom_runtime.logs import log
from postroom_runtime.steps import reached
from postroom_runtime.transfer import StaleUrlError, Stored, Transfers
from webmail_api.limits import DEFAULT_LIMITS, Limits
from webmail_api.mail_store import CallOptions
from webmail_api.sessions import User

Q = TypeVar("Q")
A = TypeVar("A")

_SINGLE_PUT: Final = 0
_PARTS_AT_ONCE: Final = 8
_PARTS_A_SECOND: Final = 200


class Files:
    """Files of all users; one for each process. All methods raise `PostroomError`."""

    def __init__(self, stub: FileServiceStub, transfers: Transfers, limits: Limits = DEFAULT_LIMITS) -> None:
        self._stub, self._transfers, self._limits = stub, transfers, limits

    async def node(self, user: User, node_id: bytes) -> pb.Node:
        """A file or directory."""
        return (await self._stub.GetNode(pb.GetNodeRequest(id=node_id), **self._options(user))).node

    async def page(self, user: User, path: str, cursor: str, limit: int) -> pb.ListNodesResponse:
        """A page of a directory."""
        request = pb.ListNodesRequest(path=path, cursor=cursor, limit=limit)
        return await self._stub.ListNodes(request, **self._options(user))

    async def create_directory(self, user: User, path: str) -> pb.Node:
        """A new directory."""
        request = pb.CreateDirectoryRequest(path=path, operation_id=new_id().bytes)
        return (await self._change(user, self._stub.CreateDirectory, request)).node

    async def delete(self, user: User, node_id: bytes) -> None:
        """A file or an empty directory less."""
        request = pb.DeleteNodeRequest(id=node_id, operation_id=new_id().bytes)
        await self._change(user, self._stub.DeleteNode, request)

    async def move(self, user: User, node_id: bytes, new_path: str) -> pb.Node:
        """Another path for a file, or a directory with all that is in it."""
        path = (await self.node(user, node_id)).path
        request = pb.MoveNodeRequest(path=path, new_path=new_path, operation_id=new_id().bytes)
        return (await self._change(user, self._stub.MoveNode, request)).node

    async def open(self, user: User, node_id: bytes) -> pb.OpenFileResponse:
        """A version to read, whatever happens to the file from now on."""
        return await self._stub.OpenFile(pb.OpenFileRequest(id=node_id), **self._options(user))

    async def read(self, opened: pb.OpenFileResponse, offset: int, length: int) -> AsyncGenerator[bytes]:
        """Octets of an opened file."""
        if not opened.url or not length:
            return
        try:
            async for piece in self._transfers.get_range(opened.url, offset, length):
                yield piece
        except StaleUrlError:
            raise UnavailableError("the object store refused a signed URL") from None

    async def write(
        self, user: User, path: str, source: AsyncIterator[bytes], *, exclusive: bool = False
    ) -> pb.Node:
        """Make what `source` gives the file at this path, all at once in the end.

        Whatever goes wrong before, the old file stays; an error of `source` comes out as it is.
        """
        upload_id = new_id()
        begun = await self._stub.BeginUpload(
            pb.BeginUploadRequest(upload_id=upload_id.bytes, path=path), **self._options(user)
        )
        upload = _Upload(begun, self._more_urls(user, upload_id))
        reached("file.begun")
        try:
            stored = await self._transfers.put_parts(
                upload.url, upload.counted(source), part_size=begun.part_size
            )
            reached("file.stored")
            node = await self._publish(user, upload_id, stored, upload, exclusive=exclusive)
        except BaseException as error:
            await asyncio.shield(self._abort(user, upload_id))
            if isinstance(error, StaleUrlError):
                raise UnavailableError("the object store refused a signed URL") from None
            raise
        reached("file.published")
        return node

    async def _publish(
        self, user: User, upload_id: UUID, stored: Stored, upload: "_Upload", *, exclusive: bool
    ) -> pb.Node:
        parts = [pb.UploadedPart(number=part.number, etag=part.etag, size=part.size) for part in stored.parts]
        request = pb.PublishUploadRequest(
            upload_id=upload_id.bytes,
            size=stored.size,
            digest=stored.digest,
            parts=[] if upload.single else parts,
            exclusive=exclusive,
        )
        # The store joins thousands of parts in some seconds.
        seconds = self._limits.call_seconds * 0.5 + len(parts) / _PARTS_A_SECOND
        metadata = on_behalf_of(user.capability)
        try:
            answer = await self._stub.PublishUpload(request, timeout=seconds, metadata=metadata)
        except UnavailableError:  # whether it was published is unknown: the id makes that harmless
            answer = await self._stub.PublishUpload(request, timeout=seconds, metadata=metadata)
        return answer.node

    async def _abort(self, user: User, upload_id: UUID) -> None:
        """Give an upload up; what cannot be told now is swept later."""
        request = pb.AbortUploadRequest(upload_id=upload_id.bytes)
        metadata = on_behalf_of(user.capability)
        try:
            await self._stub.AbortUpload(request, timeout=self._limits.abort_seconds, metadata=metadata)
        except PostroomError as error:
            log.warning("abort_unknown", upload_id=str(upload_id), error=error.name)

    def _more_urls(self, user: User, upload_id: UUID) -> Callable[[int], Awaitable[list[pb.PresignedPart]]]:
        async def more(number: int) -> list[pb.PresignedPart]:
            request = pb.PresignPartsRequest(
                upload_id=upload_id.bytes, first_number=number, count=_PARTS_AT_ONCE
            )
            return list((await self._stub.PresignParts(request, **self._options(user))).parts)

        return more

    async def _change(self, user: User, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
        """Ask for a change, again with the same id when nobody knows whether it was made."""
        return await ask_twice(
            call, request, seconds=self._limits.call_seconds, metadata=on_behalf_of(user.capability)
        )

    def _options(self, user: User) -> CallOptions:
        return {"timeout": self._limits.call_seconds, "metadata": on_behalf_of(user.capability)}


class _Upload:
    """Which URL each part goes to: one PUT when all ended before the first part was full."""

    def __init__(
        self, begun: pb.BeginUploadResponse, more: Callable[[int], Awaitable[list[pb.PresignedPart]]]
    ) -> None:
        self._urls = {part.number: part.url for part in begun.parts}
        self._part_size, self._more = begun.part_size, more
        self._octets, self._ended = 0, False
        self.single = False
        """Whether it was one PUT."""

    def _is_all(self) -> bool:
        """Whether the first part is all there is, as far as is known when it is sent."""
        return _SINGLE_PUT in self._urls and self._ended and self._octets <= self._part_size

    async def counted(self, source: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """What the source gives."""
        async for octets in source:
            self._octets += len(octets)
            yield octets
        self._ended = True

    async def url(self, number: int) -> str:
        """The URL of a part."""
        if number == 1 and self._is_all():
            self.single = True
            return self._urls[_SINGLE_PUT]
        if number not in self._urls:
            self._urls.update({part.number: part.url for part in await self._more(number)})
        return self._urls.pop(number)
