"""Objects that no node has any more: noted in the transaction that makes them so, deleted much later."""

import asyncio
import random
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from asyncpg import Record

from filestore.limits import Limits
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_storage.database import Connection, Database
from postroom_storage.objects import ObjectStore
from postroom_storage.operations import forget_old

_DELETED: Final = metrics.counter("files_objects_deleted_total", "Objects that no node had any more.")

_NOTE: Final = """
INSERT INTO filestore.garbage (object_id, multipart_id, due_at)
VALUES ($1, $2, now() + make_interval(secs => $3)) ON CONFLICT DO NOTHING
"""
# Whoever publishes at this moment has the row locked, and it is no longer open when we get it.
_EXPIRE: Final = """
WITH expired AS (
    UPDATE filestore.upload SET state = 'aborted', expires_at = now() + make_interval(secs => $2)
    WHERE id IN (
        SELECT id FROM filestore.upload WHERE expires_at < now() AND state = 'open'
        LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    RETURNING object_id, multipart_id
)
INSERT INTO filestore.garbage (object_id, multipart_id, due_at)
SELECT object_id, multipart_id, now() + make_interval(secs => $3) FROM expired ON CONFLICT DO NOTHING
"""
_FORGET: Final = """
DELETE FROM filestore.upload WHERE id IN (
    SELECT id FROM filestore.upload WHERE expires_at < now() AND state <> 'open'
    LIMIT $1 FOR UPDATE SKIP LOCKED
)
"""
_DUE: Final = """
SELECT object_id, multipart_id FROM filestore.garbage WHERE due_at < now() ORDER BY due_at LIMIT $1
"""
_REMOVE: Final = "DELETE FROM filestore.garbage WHERE object_id = ANY($1::uuid[])"


def object_key(object_id: UUID) -> str:
    """Where in the bucket an object lies."""
    return f"file/{object_id}"


async def note_object(
    connection: Connection, object_id: UUID, seconds: float, multipart_id: str | None = None
) -> None:
    """Have an object deleted, so many seconds from now; within the transaction that gives it up."""
    await connection.execute(_NOTE, object_id, multipart_id, seconds)


class Sweeper:
    """Ends expired uploads, deletes what is due, forgets operations; one in the cluster at a time."""

    def __init__(self, database: Database, objects: ObjectStore, limits: Limits, seconds: float) -> None:
        self._database, self._objects = database, objects
        self._limits = limits
        self._seconds = seconds

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        while True:
            await asyncio.sleep(self._seconds * random.uniform(0.5, 1.5))
            try:
                async with self._database.leadership("sweeper") as leadership:
                    while leadership is not None and leadership.held and await self.sweep():
                        pass
            except Exception as error:
                if not getattr(error, "transient", False):
                    raise
                log.warning("sweep_put_off", error=str(error))

    async def sweep(self) -> bool:
        """One round of a bounded size; whether there may be more. Raises `UnavailableError`."""
        limits = self._limits
        async with self._database.connection() as connection:
            await connection.execute(
                _EXPIRE, limits.swept_at_once, limits.upload_seconds, limits.garbage_seconds
            )
            await connection.execute(_FORGET, limits.swept_at_once)
            forgotten = await forget_old(connection, limits.swept_at_once)
            due = await connection.fetch(_DUE, limits.swept_at_once)
        if due:
            await self._delete(due)
        return limits.swept_at_once in {len(due), forgotten}

    async def _delete(self, due: Sequence[Record]) -> None:
        for row in due:
            key = object_key(row["object_id"])
            if row["multipart_id"] is not None:
                await self._objects.abort_multipart(key, row["multipart_id"])
            await self._objects.delete([key])
        async with self._database.connection() as connection:
            await connection.execute(_REMOVE, [row["object_id"] for row in due])
        _DELETED.inc(len(due))
