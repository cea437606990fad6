"""The account's files, as filestore has them."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import grpc

from ftp_gateway.logins import Login, Logins
from postroom.filestore.v1 import file_pb2 as pb
from postroom.filestore.v1.file_pb2_grpc import FileServiceStub
from postroom_contracts.errors import PostroomError
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import Metadata, ask_twice, on_behalf_of
from postroom_runtime.transfer import Stored
from postroom_wire.ftp import FtpPath

Q = TypeVar("Q")
A = TypeVar("A")

CALL_SECONDS: Final = 4.5
"""A client hears within 5 s that something is away."""

# Together within those 5 s too.
_PUBLISH_SECONDS: Final = 3.5
_ABORT_SECONDS: Final = 1.0
_PAGE: Final = 1_000
_PARTS_AT_ONCE: Final = 4  # a slow client uses them within the hour that they are good
_COPY_OCTETS_A_SECOND: Final = 20_000_000
_MOST_SECONDS: Final = 300.0


class Files:
    """The calls of one session. All raise `PostroomError`."""

    def __init__(self, stub: FileServiceStub, logins: Logins, login: Login) -> None:
        self._stub, self._logins, self._login = stub, logins, login

    async def node(self, path: FtpPath) -> pb.Node:
        """A file or directory."""
        request = pb.GetNodeRequest(path=str(path))
        answer = await self._stub.GetNode(request, timeout=CALL_SECONDS, metadata=await self._metadata())
        return answer.node

    async def page(self, directory: FtpPath | bytes, cursor: str = "") -> pb.ListNodesResponse:
        """One page of a directory, which is named by its path first and by its id from then on."""
        if isinstance(directory, FtpPath):
            request = pb.ListNodesRequest(path=str(directory), limit=_PAGE)
        else:
            request = pb.ListNodesRequest(id=directory, cursor=cursor, limit=_PAGE)
        return await self._stub.ListNodes(request, timeout=CALL_SECONDS, metadata=await self._metadata())

    async def pages(self, first: pb.ListNodesResponse) -> AsyncGenerator[pb.ListNodesResponse]:
        """The first page and all that follow."""
        page = first
        yield page
        while page.next_cursor:
            page = await self.page(first.directory.id, page.next_cursor)
            yield page

    async def create_directory(self, path: FtpPath) -> None:
        """MKD."""
        request = pb.CreateDirectoryRequest(path=str(path), operation_id=new_id().bytes)
        await self._change(self._stub.CreateDirectory, request)

    async def delete(self, path: FtpPath, kind: pb.NodeKind.ValueType) -> None:
        """DELE, RMD."""
        request = pb.DeleteNodeRequest(path=str(path), kind=kind, operation_id=new_id().bytes)
        await self._change(self._stub.DeleteNode, request)

    async def move(self, source: FtpPath, path: FtpPath) -> None:
        """RNTO."""
        request = pb.MoveNodeRequest(path=str(source), new_path=str(path), operation_id=new_id().bytes)
        await self._change(self._stub.MoveNode, request)

    async def open(self, path: FtpPath) -> pb.OpenFileResponse:
        """RETR."""
        request = pb.OpenFileRequest(path=str(path))
        return await self._stub.OpenFile(request, timeout=CALL_SECONDS, metadata=await self._metadata())

    async def begin(
        self, upload_id: UUID, path: FtpPath, *, keep: int = 0, append: bool = False
    ) -> pb.BeginUploadResponse:
        """STOR, APPE. What is kept is copied inside the store, which takes its time."""
        request = pb.BeginUploadRequest(upload_id=upload_id.bytes, path=str(path), keep=keep, append=append)
        seconds = CALL_SECONDS
        if keep or append:
            kept = keep or (await self._size(path))
            seconds += min(_MOST_SECONDS, kept / _COPY_OCTETS_A_SECOND)
        return await self._stub.BeginUpload(request, timeout=seconds, metadata=await self._metadata())

    def part_urls(self, upload_id: UUID) -> Callable[[int], Awaitable[str]]:
        """Gives the URL of a part by its number; asks for several at a time."""
        known: dict[int, str] = {}

        async def url(number: int) -> str:
            if (found := known.pop(number, None)) is not None:
                return found
            request = pb.PresignPartsRequest(
                upload_id=upload_id.bytes, first_number=number, count=_PARTS_AT_ONCE
            )
            answer = await self._stub.PresignParts(
                request, timeout=CALL_SECONDS, metadata=await self._metadata()
            )
            known.clear()
            known.update((part.number, part.url) for part in answer.parts)
            return known.pop(number)

        return url

    async def publish(self, upload_id: UUID, stored: Stored, copied: int, *, single: bool) -> pb.Node:
        """Make the upload a file. `copied` octets of it went past us, so the digest is not the file's."""
        parts = [pb.UploadedPart(number=part.number, etag=part.etag, size=part.size) for part in stored.parts]
        request = pb.PublishUploadRequest(
            upload_id=upload_id.bytes,
            size=stored.size + copied,
            digest=b"" if copied else stored.digest,
            parts=[] if single else parts,
        )
        # The store joins thousands of parts in some seconds.
        seconds = _PUBLISH_SECONDS + len(parts) / 200
        answer = await self._stub.PublishUpload(request, timeout=seconds, metadata=await self._metadata())
        return answer.node

    async def abort(self, upload_id: UUID) -> None:
        """Give an upload up; what cannot be told now is swept later."""
        request = pb.AbortUploadRequest(upload_id=upload_id.bytes)
        try:
            await self._stub.AbortUpload(request, timeout=_ABORT_SECONDS, metadata=await self._metadata())
        except PostroomError:
            return

    async def _change(self, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q) -> A:
        """Ask for a change, again with the same id when nobody knows whether it was made."""
        return await ask_twice(call, request, seconds=CALL_SECONDS, metadata=await self._metadata())

    async def _size(self, path: FtpPath) -> int:
        try:
            return (await self.node(path)).size
        except PostroomError:
            return 0  # beginning the upload says what is wrong

    async def _metadata(self) -> Metadata:
        return on_behalf_of(await self._logins.capability(self._login))
