"""Uploads before they are published: the intent, the URLs, and what is kept of the old file.

The edge puts the octets into the object store; nobody sees them until `Publishing` makes them a file. The
intent is there first, so that what is never finished is swept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID, uuid4

from asyncpg import Record

from filestore.garbage import note_object, object_key
from filestore.limits import Limits
from filestore.paths import TreePath
from filestore.tree import Node, Owner, walk
from postroom_contracts.errors import (
    AbortedError,
    InvalidRequestError,
    IsADirectoryError,  # noqa: A004
    LimitError,
    NotPermittedError,
    UnavailableError,
    UploadNotFoundError,
)
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import ObjectStore, PartTarget

FIND_UPLOAD: Final = "SELECT * FROM filestore.upload WHERE id = $1"
_INSERT: Final = """
INSERT INTO filestore.upload (id, tenant_id, account_id, state, parent_id, name, object_id, size_hint,
    bound, base_version, base_object_id, kept, expires_at)
VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9, $10, $11, now() + make_interval(secs => $12))
ON CONFLICT (id) DO NOTHING
"""
_OPEN: Final = """
SELECT count(*) FROM (
    SELECT FROM filestore.upload WHERE account_id = $1 AND state = 'open' LIMIT $2
) AS opened
"""
_SET_MULTIPART: Final = """
UPDATE filestore.upload SET multipart_id = $2 WHERE id = $1 AND multipart_id IS NULL AND state = 'open'
RETURNING multipart_id
"""
_SET_COPIED: Final = "UPDATE filestore.upload SET copied_parts = $2 WHERE id = $1"
_ABORT: Final = """
INSERT INTO filestore.upload (id, tenant_id, account_id, state, object_id, expires_at)
VALUES ($1, $2, $3, 'aborted', $4, now() + make_interval(secs => $5))
ON CONFLICT (id) DO UPDATE SET state = 'aborted', expires_at = EXCLUDED.expires_at
WHERE upload.state = 'open' AND upload.account_id = EXCLUDED.account_id
RETURNING object_id, multipart_id
"""

NumberedUrl: TypeAlias = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an edge wants to write: `keep` octets of the file that is there (all of them with `append`)."""

    upload_id: UUID
    path: TreePath
    size_hint: int = 0
    keep: int = 0
    append: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """What the edge needs to begin: `BeginUploadResponse`."""

    urls: Sequence[NumberedUrl]
    part_size: int
    kept: int
    copied: int
    next_part_number: int
    tail_url: str


class Uploads:
    """Intents and URLs."""

    def __init__(self, database: Database, objects: ObjectStore, limits: Limits) -> None:
        self._database, self._objects = database, objects
        self._limits = limits

    async def begin(self, owner: Owner, wanted: Wanted) -> Begun:
        """Open an upload; asking again with the same id answers the same.

        Raises `NodeNotFoundError`, `NotADirectoryError` (the way there), `IsADirectoryError`,
        `InvalidRequestError` (more to keep than there is), `LimitError`, `AbortedError`.
        """
        limits = self._limits
        if wanted.size_hint < 0 or wanted.keep < 0 or wanted.path.is_root:
            raise InvalidRequestError("not a file that can be written")
        if wanted.size_hint > limits.file or wanted.keep > limits.file:
            raise LimitError("more than a file may have")
        async with self._database.connection() as connection:
            row = await connection.fetchrow(FIND_UPLOAD, wanted.upload_id)
            if row is None:
                await self._insert(connection, owner, wanted)
                row = await connection.fetchrow(FIND_UPLOAD, wanted.upload_id)
        upload = opened(row, owner)
        reached("upload.begun")
        part_size = self._part_size(upload["size_hint"])
        copied = upload["kept"] // limits.part_size * limits.part_size
        next_number = 1
        if copied:
            next_number += len(await self._copy(upload, copied))
        return Begun(
            await self._first_urls(upload, next_number),
            part_size,
            upload["kept"],
            copied,
            next_number,
            self._tail_url(upload, copied),
        )

    async def presign(self, owner: Owner, upload_id: UUID, first: int, count: int) -> list[NumberedUrl]:
        """URLs for parts. Raises `UploadNotFoundError`, `NotPermittedError`, `AbortedError`, `LimitError`."""
        if first < 1 or not 0 < count <= self._limits.parts_at_once:
            raise InvalidRequestError("no such parts")
        if first > self._limits.parts:
            raise LimitError("more parts than an upload may have")
        async with self._database.connection() as connection:
            upload = opened(await connection.fetchrow(FIND_UPLOAD, upload_id), owner)
        return await self._part_urls(upload, first, count)

    async def abort(self, owner: Owner, upload_id: UUID) -> None:
        """Give an upload up: it can never be published. Without effect once it is.

        An id that is not known yet is given up too. Raises `NotPermittedError`.
        """
        limits = self._limits
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                _ABORT, upload_id, owner.tenant_id, owner.account_id, uuid4(), limits.upload_seconds
            )
            if row is not None:
                await note_object(connection, row["object_id"], limits.garbage_seconds, row["multipart_id"])
                return
            found = await connection.fetchrow(FIND_UPLOAD, upload_id)
            if found is not None and found["account_id"] != owner.account_id:
                raise NotPermittedError("an upload of somebody else")

    async def _insert(self, connection: Connection, owner: Owner, wanted: Wanted) -> None:
        limits = self._limits
        place = await walk(connection, owner, wanted.path)
        parent, base = place.parent(), place.node
        if base is not None and base.directory:
            raise IsADirectoryError(str(wanted.path))
        opened_now = await connection.fetchval(_OPEN, owner.account_id, limits.open_uploads)
        if opened_now >= limits.open_uploads:
            raise LimitError("too many uploads at once")
        kept = _kept(wanted, base)
        bound = wanted.append or wanted.keep > 0
        await connection.execute(
            _INSERT,
            wanted.upload_id,
            owner.tenant_id,
            owner.account_id,
            parent.id,
            wanted.path.name,
            uuid4(),  # keys are random: nobody guesses one from another
            wanted.size_hint,
            bound,
            base.version if base and bound else None,
            base.object_id if base and bound else None,
            kept,
            limits.upload_seconds,
        )

    async def _copy(self, upload: Record, copied: int) -> list[list[int | str]]:
        """Copy what is kept in whole parts; gives [number, etag] of each, as the row keeps them."""
        if upload["copied_parts"]:
            return upload["copied_parts"]
        limits = self._limits
        target = object_key(upload["object_id"])
        multipart_id = await self._multipart(upload)
        source = object_key(upload["base_object_id"])
        listed: list[list[int | str]] = []
        try:
            for number, offset in enumerate(range(0, copied, limits.copied_part), 1):
                length = min(limits.copied_part, copied - offset)
                part = await self._objects.copy_part(
                    PartTarget(target, multipart_id, number), source, offset, length
                )
                listed.append([number, part.etag.strip('"')])
        except ObjectNotFoundError as error:  # replaced and swept, or the upload is over
            raise UnavailableError("what was to be kept is gone") from error
        async with self._database.connection() as connection:
            await connection.execute(_SET_COPIED, upload["id"], listed)
        reached("upload.copied")
        return listed

    async def _first_urls(self, upload: Record, next_number: int) -> list[NumberedUrl]:
        if next_number > 1 or upload["size_hint"] > self._limits.single_put:
            return await self._part_urls(upload, next_number, 2)
        return [(0, self._objects.presign_put(object_key(upload["object_id"])))]

    async def _part_urls(self, upload: Record, first: int, count: int) -> list[NumberedUrl]:
        key, multipart_id = object_key(upload["object_id"]), await self._multipart(upload)
        last = min(first + count - 1, self._limits.parts)
        return [
            (number, self._objects.presign_part(key, multipart_id, number))
            for number in range(first, last + 1)
        ]

    async def _multipart(self, upload: Record) -> str:
        """The multipart upload, which is opened once parts are wanted."""
        if upload["multipart_id"] is not None:
            return upload["multipart_id"]
        key = object_key(upload["object_id"])
        begun = await self._objects.begin_multipart(key)
        async with self._database.connection() as connection:
            if await connection.fetchval(_SET_MULTIPART, upload["id"], begun) is not None:
                return begun
            row = await connection.fetchrow(FIND_UPLOAD, upload["id"])
        await self._objects.abort_multipart(key, begun)
        if row is None or row["state"] != "open" or row["multipart_id"] is None:
            raise AbortedError("the upload is over")
        return row["multipart_id"]

    def _tail_url(self, upload: Record, copied: int) -> str:
        if upload["kept"] == copied or upload["base_object_id"] is None:
            return ""
        return self._objects.presign_get(object_key(upload["base_object_id"]))

    def _part_size(self, size_hint: int) -> int:
        """So that all fits in the parts that an upload may have, with room for those that are copied."""
        mebibyte = 1 << 20
        least = -(-size_hint // (self._limits.parts // 2))
        return max(self._limits.part_size, -(-least // mebibyte) * mebibyte)


def opened(row: Record | None, owner: Owner) -> Record:
    """The row of an open upload; raises `UploadNotFoundError`, `NotPermittedError`, `AbortedError`."""
    if row is None:
        raise UploadNotFoundError("no such upload")
    if row["account_id"] != owner.account_id:
        raise NotPermittedError("an upload of somebody else")
    match row["state"]:
        case "open":
            return row
        case "published":
            raise InvalidRequestError("the upload is published already")
        case _:
            raise AbortedError("the upload was given up")


def _kept(wanted: Wanted, base: Node | None) -> int:
    there = base.size if base is not None else 0
    if wanted.append:
        return there
    if wanted.keep > there:
        raise InvalidRequestError("more to keep than there is")
    return wanted.keep
