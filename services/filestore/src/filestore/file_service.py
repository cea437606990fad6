"""The FileService as gRPC asks for it: requests checked, capabilities verified, answers put into messages."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

import grpc
from google.protobuf.message import Message

from filestore.changes import Changes, locate
from filestore.garbage import object_key
from filestore.limits import Limits
from filestore.paths import TreePath
from filestore.publishing import Finished, Publishing
from filestore.tree import Located, Owner, children
from filestore.uploads import NumberedUrl, Uploads, Wanted
from postroom.filestore.v1 import file_pb2, file_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.objects import ObjectStore, UploadedPart
from postroom_storage.operations import once, operation_of

M = TypeVar("M", bound=Message)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Change: TypeAlias = file_pb2.CreateDirectoryRequest | file_pb2.DeleteNodeRequest | file_pb2.MoveNodeRequest

_SCOPES: Final = (Scope.FTP, Scope.API)
_KINDS: Final = {
    file_pb2.NODE_KIND_UNSPECIFIED: None,
    file_pb2.NODE_KIND_FILE: False,
    file_pb2.NODE_KIND_DIRECTORY: True,
}
_MAX_ETAG: Final = 256
_END_OF_TIME: Final = 253_402_300_800  # the year 10000


class FileService(file_pb2_grpc.FileServiceServicer):
    """Answers for the account of the capability, and for no other."""

    def __init__(
        self, database: Database, objects: ObjectStore, verifier: CapabilityVerifier, limits: Limits
    ) -> None:
        self._database, self._objects = database, objects
        self._verifier = verifier
        self._limits = limits
        self._changes = Changes(limits)
        self._uploads = Uploads(database, objects, limits)
        self._publishing = Publishing(database, objects, limits)

    async def GetNode(self, request: file_pb2.GetNodeRequest, context: _Context) -> file_pb2.GetNodeResponse:
        """A file or directory."""
        owner, key = await self._owner(), self._key(request.WhichOneof("key"), request.path, request.id)
        async with self._database.connection() as connection:
            return file_pb2.GetNodeResponse(node=_message(await locate(connection, owner, key)))

    async def ListNodes(
        self, request: file_pb2.ListNodesRequest, context: _Context
    ) -> file_pb2.ListNodesResponse:
        """A page of a directory."""
        owner, key = await self._owner(), self._key(request.WhichOneof("key"), request.path, request.id)
        limit = min(request.limit, self._limits.page) if request.limit > 0 else self._limits.default_page
        if "\0" in request.cursor or len(request.cursor) > self._limits.name:
            raise InvalidRequestError("not a cursor of ours")
        async with self._database.connection() as connection:
            located = await locate(connection, owner, key)
            nodes = await children(connection, located.directory().id, request.cursor, limit + 1)
        page = nodes[:limit]
        inside = located.path.names
        return file_pb2.ListNodesResponse(
            directory=_message(located),
            nodes=[_message(Located(node, TreePath((*inside, node.name)))) for node in page],
            next_cursor=page[-1].name if len(nodes) > limit else "",
        )

    async def CreateDirectory(
        self, request: file_pb2.CreateDirectoryRequest, context: _Context
    ) -> file_pb2.CreateDirectoryResponse:
        """Make a directory."""
        owner, path = await self._owner(), self._path(request.path)

        async def create(connection: Connection) -> file_pb2.CreateDirectoryResponse:
            located = await self._changes.create_directory(connection, owner, path)
            return file_pb2.CreateDirectoryResponse(node=_message(located))

        return await self._once(owner, request, file_pb2.CreateDirectoryResponse, create)

    async def DeleteNode(
        self, request: file_pb2.DeleteNodeRequest, context: _Context
    ) -> file_pb2.DeleteNodeResponse:
        """Delete a file or an empty directory."""
        owner, key = await self._owner(), self._key(request.WhichOneof("key"), request.path, request.id)

        async def delete(connection: Connection) -> file_pb2.DeleteNodeResponse:
            await self._changes.delete(connection, owner, key, directory=_KINDS.get(request.kind))
            return file_pb2.DeleteNodeResponse()

        return await self._once(owner, request, file_pb2.DeleteNodeResponse, delete)

    async def MoveNode(
        self, request: file_pb2.MoveNodeRequest, context: _Context
    ) -> file_pb2.MoveNodeResponse:
        """Rename."""
        owner, old, new = await self._owner(), self._path(request.path), self._path(request.new_path)

        async def move(connection: Connection) -> file_pb2.MoveNodeResponse:
            return file_pb2.MoveNodeResponse(
                node=_message(await self._changes.move(connection, owner, old, new))
            )

        return await self._once(owner, request, file_pb2.MoveNodeResponse, move)

    async def SetModified(
        self, request: file_pb2.SetModifiedRequest, context: _Context
    ) -> file_pb2.SetModifiedResponse:
        """Say when a node was changed."""
        owner, path = await self._owner(), self._path(request.path)
        if not 0 <= request.modified_at.seconds < _END_OF_TIME or request.modified_at.nanos < 0:
            raise InvalidRequestError("not an instant that a file has")
        instant = request.modified_at.ToDatetime(UTC)
        located = await self._database.run(
            lambda connection: self._changes.set_modified(connection, owner, path, instant)
        )
        return file_pb2.SetModifiedResponse(node=_message(located))

    async def BeginUpload(
        self, request: file_pb2.BeginUploadRequest, context: _Context
    ) -> file_pb2.BeginUploadResponse:
        """Open an upload."""
        wanted = Wanted(
            parse_id(request.upload_id),
            self._path(request.path),
            request.size_hint,
            request.keep,
            request.append,
        )
        begun = await self._uploads.begin(await self._owner(), wanted)
        return file_pb2.BeginUploadResponse(
            parts=_parts(begun.urls),
            part_size=begun.part_size,
            kept=begun.kept,
            copied=begun.copied,
            next_part_number=begun.next_part_number,
            tail_url=begun.tail_url,
            tail_offset=begun.copied,
            tail_length=begun.kept - begun.copied,
        )

    async def PresignParts(
        self, request: file_pb2.PresignPartsRequest, context: _Context
    ) -> file_pb2.PresignPartsResponse:
        """URLs for more parts."""
        urls = await self._uploads.presign(
            await self._owner(), parse_id(request.upload_id), request.first_number, request.count
        )
        return file_pb2.PresignPartsResponse(parts=_parts(urls))

    async def PublishUpload(
        self, request: file_pb2.PublishUploadRequest, context: _Context
    ) -> file_pb2.PublishUploadResponse:
        """Make an upload a file."""
        if len(request.parts) > self._limits.parts or any(
            len(part.etag) > _MAX_ETAG for part in request.parts
        ):
            raise InvalidRequestError("more parts than an upload may have, or not an etag")
        finished = Finished(
            parse_id(request.upload_id),
            request.size,
            request.digest or None,
            [UploadedPart(part.number, part.etag) for part in request.parts],
            request.exclusive,
        )
        located = await self._publishing.publish(await self._owner(), finished)
        return file_pb2.PublishUploadResponse(node=_message(located))

    async def AbortUpload(
        self, request: file_pb2.AbortUploadRequest, context: _Context
    ) -> file_pb2.AbortUploadResponse:
        """Give an upload up."""
        await self._uploads.abort(await self._owner(), parse_id(request.upload_id))
        return file_pb2.AbortUploadResponse()

    async def OpenFile(
        self, request: file_pb2.OpenFileRequest, context: _Context
    ) -> file_pb2.OpenFileResponse:
        """Where to read a file."""
        owner, key = await self._owner(), self._key(request.WhichOneof("key"), request.path, request.id)
        async with self._database.connection() as connection:
            located = await locate(connection, owner, key)
        object_id = located.file().object_id
        url = self._objects.presign_get(object_key(object_id)) if object_id is not None else ""
        return file_pb2.OpenFileResponse(node=_message(located), url=url)

    async def _once(
        self,
        owner: Owner,
        request: _Change,
        answer: type[M],
        work: Callable[[Connection], Awaitable[M]],
    ) -> M:
        operation = operation_of(owner.account_id, owner.tenant_id, request.operation_id, request)
        answered = await once(self._database, operation, answer, work)
        reached("tree.after_commit")
        return answered

    async def _owner(self) -> Owner:
        capability = await self._verifier.verify(capability_token(), scopes=_SCOPES)
        return Owner(capability.account_id, capability.tenant_id)

    def _path(self, text: str) -> TreePath:
        return TreePath.parse(text, self._limits)

    def _key(self, which: str | None, path: str, node_id: bytes) -> TreePath | UUID:
        match which:
            case "path":
                return self._path(path)
            case "id":
                return parse_id(node_id)
            case _:
                raise InvalidRequestError("neither a path nor an id")


def _message(located: Located) -> file_pb2.Node:
    node = located.node
    message = file_pb2.Node(
        id=node.id.bytes,
        parent_id=node.parent_id.bytes if node.parent_id is not None else b"",
        path=str(located.path),
        name=node.name,
        directory=node.directory,
        size=node.size,
        digest=node.digest or b"",
        version=node.version.bytes,
    )
    message.modified_at.FromDatetime(node.modified_at)
    message.created_at.FromDatetime(node.created_at)
    return message


def _parts(urls: Sequence[NumberedUrl]) -> list[file_pb2.PresignedPart]:
    return [file_pb2.PresignedPart(number=number, url=url) for number, url in urls]
