"""Objects of the bucket that nobody needs after a time.

Whoever is about to write an object dooms it first, and spares it in the transaction that makes a row name it:
so what a process that dies leaves behind goes too. Octets that were deleted or rewritten are doomed in the
transaction that takes the last row away.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from postroom_contracts.errors import UnavailableError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_storage.database import Connection, Database
from postroom_storage.objects import ObjectStore

WRITING_SECONDS: Final = 3_600.0
"""An object that is not named by a row so long after somebody began to write it never will be."""

_DELETED: Final = metrics.counter("janitor_deleted_objects_total", "Objects that nobody needed any more.")
_AT_ONCE: Final = 8

_DOOM: Final = """
INSERT INTO mailstore.doomed_object (key, delete_after)
SELECT key, now() + make_interval(secs => $2) FROM unnest($1::text[]) AS t(key)
ON CONFLICT (key) DO UPDATE SET delete_after = excluded.delete_after
"""
_SPARE: Final = "DELETE FROM mailstore.doomed_object WHERE key = $1 AND delete_after > now() RETURNING true"
# A transaction that spares one may have begun just before the time and is not over yet.
_DUE: Final = """
SELECT key FROM mailstore.doomed_object WHERE delete_after < now() - interval '10 minutes'
ORDER BY delete_after LIMIT $1
"""
# Nothing should: but an object that a row names must not go, whatever has happened.
_NAMED: Final = """
SELECT 'pack/' || id AS key FROM mailstore.pack WHERE id = ANY($1::uuid[])
UNION SELECT 'pack/' || pack_id FROM mailstore.blob WHERE pack_id = ANY($1::uuid[])
UNION SELECT 'message/' || object_id FROM mailstore.blob WHERE object_id = ANY($1::uuid[])
UNION SELECT 'message/' || object_id FROM mailstore.upload WHERE object_id = ANY($1::uuid[])
"""
_FORGET: Final = "DELETE FROM mailstore.doomed_object WHERE key = ANY($1::text[])"


async def doom(connection: Connection, keys: Sequence[str], seconds: float) -> None:
    """Let these objects go after so many seconds."""
    await connection.execute(_DOOM, keys, seconds)


async def spare(connection: Connection, key: str) -> None:
    """Keep an object that a row names from this transaction on. Raises UnavailableError: it is too late."""
    if not await connection.fetchval(_SPARE, key):
        raise UnavailableError("writing the object took too long")


async def delete_doomed(database: Database, objects: ObjectStore, most: int) -> int:
    """Delete objects whose time has come; returns how many there were, at most so many."""
    async with database.connection() as connection:
        keys = [row["key"] for row in await connection.fetch(_DUE, most)]
        ids = [UUID(key.partition("/")[2]) for key in keys]
        named = {row["key"] for row in await connection.fetch(_NAMED, ids)}
    if named:
        log.error("doomed_objects_in_use", objects=len(named))
    unnamed = [key for key in keys if key not in named]
    for start in range(0, len(unnamed), _AT_ONCE):
        some = unnamed[start : start + _AT_ONCE]
        await asyncio.gather(*(objects.delete([key]) for key in some))
        _DELETED.inc(len(some))
    async with database.connection() as connection:
        await connection.execute(_FORGET, keys)
    return len(keys)
