"""Publishing: in one transaction an upload becomes the file at its path; readers see it or the old one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from asyncpg import Record

from filestore.changes import Usage, count, lock_tree
from filestore.garbage import note_object, object_key
from filestore.limits import Limits
from filestore.paths import TreePath
from filestore.tree import Located, Node, Owner, by_id
from filestore.uploads import FIND_UPLOAD, opened
from postroom_contracts.errors import (
    ContentMismatchError,
    InvalidRequestError,
    IsADirectoryError,  # noqa: A004
    LimitError,
    NodeExistsError,
    NodeNotFoundError,
    NotPermittedError,
    OverQuotaError,
    UploadIncompleteError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import ObjectStore, UploadedPart

_DIGEST_OCTETS: Final = 32  # SHA-256

_LOCK: Final = f"{FIND_UPLOAD} FOR UPDATE"
_THERE: Final = "SELECT * FROM filestore.node WHERE parent_id = $1 AND name = $2"
_INSERT: Final = """
INSERT INTO filestore.node
    (id, tenant_id, account_id, parent_id, name, directory, size, digest, object_id, version)
VALUES ($1, $2, $3, $4, $5, false, $6, $7, $8, $9)
"""
_REPLACE: Final = """
UPDATE filestore.node SET size = $2, digest = $3, object_id = $4, version = $5, modified_at = now()
WHERE id = $1
"""
_PUBLISHED: Final = """
UPDATE filestore.upload SET state = 'published', node_id = $2, size = $3, digest = $4, published_at = now(),
    expires_at = now() + make_interval(secs => $5)
WHERE id = $1
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """What the edge has put: the whole file's size and digest (None where it did not see all), and its parts.

    No parts, or number 0, say that it was a single PUT.
    """

    upload_id: UUID
    size: int
    digest: bytes | None
    parts: Sequence[UploadedPart]
    exclusive: bool = False


class Publishing:
    """The end of uploads."""

    def __init__(self, database: Database, objects: ObjectStore, limits: Limits) -> None:
        self._database, self._objects = database, objects
        self._limits = limits

    async def publish(self, owner: Owner, finished: Finished) -> Located:
        """Make the upload a file; asking again answers the same.

        Raises `UploadNotFoundError`, `AbortedError`, `UploadIncompleteError` (the store has not all parts),
        `ContentMismatchError` (another size; or what was kept is no longer the file that is there),
        `NodeExistsError`, `NodeNotFoundError` (the directory is gone), `IsADirectoryError`, `OverQuotaError`,
        `LimitError`, `UnavailableError`.
        """
        if finished.size < 0 or (finished.digest is not None and len(finished.digest) != _DIGEST_OCTETS):
            raise InvalidRequestError("not the size and digest of a file")
        if finished.size > self._limits.file:
            raise LimitError("more than a file may have")
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_UPLOAD, finished.upload_id)
            if row is not None and (done := await _published(connection, row, owner)) is not None:
                return done
        upload = opened(row, owner)
        reached("publish.begun")
        if finished.size:
            await self._complete(upload, finished)
        reached("publish.completed")
        located = await self._database.run(lambda connection: self._commit(connection, owner, finished))
        reached("publish.committed")
        return located

    async def _complete(self, upload: Record, finished: Finished) -> None:
        """Have one whole object of the right size in the store. What happened already is not done again."""
        key = object_key(upload["object_id"])
        size = await self._stored_size(key)
        parts = [part for part in finished.parts if part.number]
        if parts and size != finished.size:
            if upload["multipart_id"] is None:
                raise UploadIncompleteError("no part of this upload was ever asked for")
            copied = [UploadedPart(number, etag) for number, etag in upload["copied_parts"]]
            await self._complete_multipart(key, upload["multipart_id"], [*copied, *parts])
            size = await self._stored_size(key)
        if size is None:
            raise UploadIncompleteError("the object is not there")
        if size != finished.size:
            raise ContentMismatchError("the object has another size")

    async def _complete_multipart(self, key: str, multipart_id: str, parts: Sequence[UploadedPart]) -> None:
        if [part.number for part in parts] != list(range(1, len(parts) + 1)):
            raise UploadIncompleteError("a part is missing or there twice")
        try:
            await self._objects.complete_multipart(key, multipart_id, parts)
        except ObjectNotFoundError:
            return  # completed by somebody who asks the same; or it is gone, and then so is the object

    async def _stored_size(self, key: str) -> int | None:
        try:
            return (await self._objects.head(key)).size
        except ObjectNotFoundError:
            return None

    async def _commit(self, connection: Connection, owner: Owner, finished: Finished) -> Located:
        usage = await lock_tree(connection, owner)
        row = await connection.fetchrow(_LOCK, finished.upload_id)
        if row is not None and (done := await _published(connection, row, owner)) is not None:
            return done
        upload = opened(row, owner)
        parent = await by_id(connection, owner, upload["parent_id"])
        found = await connection.fetchrow(_THERE, parent.node.id, upload["name"])
        there = Node.of(found) if found is not None else None
        self._check(usage, upload, there, finished)
        node_id = there.id if there is not None else new_id()
        await self._write(connection, upload, there, node_id, finished)
        await count(connection, owner, 0 if there else 1, finished.size - (there.size if there else 0))
        await connection.execute(
            _PUBLISHED,
            upload["id"],
            node_id,
            finished.size,
            finished.digest,
            self._limits.upload_seconds,
        )
        reached("publish.before_commit")
        return await by_id(connection, owner, node_id)

    def _check(self, usage: Usage, upload: Record, there: Node | None, finished: Finished) -> None:
        if there is not None and there.directory:
            raise IsADirectoryError(there.name)
        if there is not None and finished.exclusive:
            raise NodeExistsError(there.name)
        if upload["bound"] and upload["base_version"] != (there.version if there else None):
            # Else what somebody else appended meanwhile, and was told to be kept, would be lost.
            raise ContentMismatchError("what was kept is not the file that is there now")
        if there is None and usage.nodes >= self._limits.nodes:
            raise LimitError("as many files and directories as an account may have")
        if usage.octets - (there.size if there else 0) + finished.size > self._limits.octets:
            raise OverQuotaError("as many octets as an account may have")

    async def _write(
        self, connection: Connection, upload: Record, there: Node | None, node_id: UUID, finished: Finished
    ) -> None:
        object_id = upload["object_id"] if finished.size else None
        if object_id is None:  # a file of no octets has no object
            await note_object(
                connection, upload["object_id"], self._limits.garbage_seconds, upload["multipart_id"]
            )
        if there is not None:
            await connection.execute(
                _REPLACE, node_id, finished.size, finished.digest, object_id, upload["id"]
            )
            if there.object_id is not None:
                await note_object(connection, there.object_id, self._limits.garbage_seconds)
            return
        await connection.execute(
            _INSERT,
            node_id,
            upload["tenant_id"],
            upload["account_id"],
            upload["parent_id"],
            upload["name"],
            finished.size,
            finished.digest,
            object_id,
            upload["id"],
        )


async def _published(connection: Connection, upload: Record, owner: Owner) -> Located | None:
    """The answer to an upload that is published already: its file, even if that has changed or gone since."""
    if upload["account_id"] != owner.account_id:
        raise NotPermittedError("an upload of somebody else")
    if upload["state"] != "published":
        return None
    try:
        located = await by_id(connection, owner, upload["node_id"])
    except NodeNotFoundError:
        located = None
    if located is not None and located.node.version == upload["id"]:
        return located
    instant = upload["published_at"]
    node = Node(
        id=upload["node_id"],
        parent_id=upload["parent_id"],
        name=upload["name"],
        directory=False,
        size=upload["size"],
        digest=upload["digest"],
        object_id=upload["object_id"],
        version=upload["id"],
        modified_at=instant,
        created_at=instant,
    )
    return Located(node, located.path if located else TreePath((upload["name"],)))
