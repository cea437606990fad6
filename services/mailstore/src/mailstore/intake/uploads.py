"""Uploads of large messages: the edge puts the octets into the object store, the core checks and takes them.

An upload is an intent row first, so that what is never finished can be swept. Completing is idempotent: the
same message may be handed over again after an unknown outcome.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.blobs.reader import message_key
from mailstore.intake.item import Uploaded
from postroom.mailstore.v1 import content_pb2
from postroom_contracts.errors import (
    ContentMismatchError,
    InvalidRequestError,
    NotPermittedError,
    UploadIncompleteError,
    UploadNotFoundError,
)
from postroom_storage.database import Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import ObjectStore, UploadedPart

_BEGIN: Final = """
INSERT INTO mailstore.upload (id, tenant_id, account_id, object_id, multipart_id, size_hint, expires_at)
VALUES ($1, $2, $3, $1, $4, $5, now() + make_interval(secs => $6))
ON CONFLICT (id) DO NOTHING RETURNING id
"""
_FIND: Final = """
SELECT id, tenant_id, account_id, object_id, multipart_id, completed_size, expires_at < now() AS over
FROM mailstore.upload WHERE id = $1
"""
_COMPLETED: Final = "UPDATE mailstore.upload SET completed_size = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Octets of a single PUT, a part, a message; parts presigned at once; seconds that an upload may take."""

    single_put: int = 5 * 1024 * 1024
    part_size: int = 5 * 1024 * 1024
    message_size: int = 100 * 1024 * 1024
    parts_at_once: int = 16
    lifetime_seconds: float = 86_400.0


@dataclass(frozen=True, slots=True)
class PresignedPart:
    """A URL for one PUT of one part; number 0 is the single PUT."""

    number: int
    url: str


@dataclass(frozen=True, slots=True)
class BegunUpload:
    """What the edge needs to begin."""

    parts: Sequence[PresignedPart]
    part_size: int


def presigned_messages(parts: Iterable[PresignedPart]) -> list[content_pb2.PresignedPart]:
    """The parts as the contract has them."""
    return [content_pb2.PresignedPart(number=part.number, url=part.url) for part in parts]


class Uploads:
    """Upload intents of mail from outside (no account) and of APPEND (the account's own)."""

    def __init__(self, database: Database, objects: ObjectStore, limits: UploadLimits | None = None) -> None:
        self._database, self._objects = database, objects
        self._limits = limits or UploadLimits()

    async def begin(
        self, upload_id: UUID, tenant_id: UUID, account_id: UUID | None, size_hint: int
    ) -> BegunUpload:
        """Open an upload. Asking again with the same id answers the same.

        Raises InvalidRequestError, NotPermittedError (somebody else's id, or one that is complete).
        """
        limits = self._limits
        if not 0 <= size_hint <= limits.message_size:
            raise InvalidRequestError("more than a message may have")
        key = message_key(upload_id)
        single = 0 < size_hint <= limits.single_put
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_FIND, upload_id)
        if row is None:
            multipart = None if single else await self._objects.begin_multipart(key)
            async with self._database.connection() as connection:
                await connection.fetchval(
                    _BEGIN, upload_id, tenant_id, account_id, multipart, size_hint, limits.lifetime_seconds
                )
        elif row["account_id"] != account_id or row["completed_size"] is not None:
            raise NotPermittedError("an upload of somebody else, or a complete one")
        elif row["multipart_id"] is not None:
            single = False
        if single:
            return BegunUpload((PresignedPart(0, self._url(key, None, 0)),), limits.single_put)
        return BegunUpload(await self.presign(upload_id, account_id, 1, 2), limits.part_size)

    async def presign(
        self, upload_id: UUID, account_id: UUID | None, first: int, count: int
    ) -> list[PresignedPart]:
        """URLs for parts. Raises UploadNotFoundError, NotPermittedError, InvalidRequestError."""
        if not (1 <= first <= 10_000 and 0 < count <= self._limits.parts_at_once):
            raise InvalidRequestError("no such parts")
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_FIND, upload_id)
        if row is None or row["multipart_id"] is None or row["over"]:
            raise UploadNotFoundError("no such multipart upload")
        if row["account_id"] != account_id:
            raise NotPermittedError("an upload of somebody else")
        key = message_key(row["object_id"])
        return [
            PresignedPart(number, self._url(key, row["multipart_id"], number))
            for number in range(first, first + count)
        ]

    async def complete(self, upload: Uploaded, size: int, *, account_id: UUID | None) -> UUID:
        """Close an upload and check its size; returns the id of the object.

        Raises UploadNotFoundError, UploadIncompleteError, ContentMismatchError, NotPermittedError,
        UnavailableError.
        """
        async with self._database.connection() as connection:
            row = await connection.fetchrow(_FIND, upload.upload_id)
        if row is None or row["over"]:  # its octets may be swept at any time
            raise UploadNotFoundError("no such upload")
        if row["account_id"] != account_id:
            raise NotPermittedError("an upload of somebody else")
        object_id: UUID = row["object_id"]
        if row["completed_size"] is None:
            await self._close(upload, row["multipart_id"], message_key(object_id), size)
            async with self._database.connection() as connection:
                await connection.execute(_COMPLETED, upload.upload_id, size)
        elif row["completed_size"] != size:
            raise ContentMismatchError("the upload was completed with another size")
        return object_id

    async def _close(self, upload: Uploaded, multipart_id: str | None, key: str, size: int) -> None:
        if multipart_id is not None and await self._stored_size(key) != size:
            parts = [UploadedPart(number, etag) for number, etag in upload.parts]
            if not parts:  # the store's client has no answer to that
                raise UploadIncompleteError("no parts")
            await self._objects.complete_multipart(key, multipart_id, parts)
        stored = await self._stored_size(key)
        if stored is None:
            raise UploadIncompleteError("the object is not there")
        if stored != size:
            raise ContentMismatchError("the object has another size")

    async def _stored_size(self, key: str) -> int | None:
        try:
            return (await self._objects.head(key)).size
        except ObjectNotFoundError:
            return None

    def _url(self, key: str, multipart_id: str | None, number: int) -> str:
        if multipart_id is None:
            return self._objects.presign_put(key)
        return self._objects.presign_part(key, multipart_id, number)
