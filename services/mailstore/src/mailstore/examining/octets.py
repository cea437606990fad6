"""Whether octets are where their rows say: staged, in packs, or as objects of their own."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import asyncpg

from mailstore.blobs.reader import message_key, pack_key
from mailstore.blobs.segments import table
from postroom_storage.database import Database
from postroom_storage.examination import (
    About,
    ExaminationLimits,
    Finding,
    NamedObject,
    ObjectComparison,
    Rows,
    Step,
    detail_of,
    id_of_position,
    tell_about,
)
from postroom_storage.objects import ObjectStore

_PACKS: Final = "SELECT id, size FROM mailstore.pack WHERE id > $1 ORDER BY id LIMIT $2"
_OBJECTS: Final = """
SELECT object_id AS id, stored_length AS size FROM mailstore.blob
WHERE object_id > $1 ORDER BY object_id LIMIT $2
"""
_UPLOADS: Final = "SELECT object_id FROM mailstore.upload WHERE object_id = ANY($1::uuid[])"
_DOOMED: Final = "SELECT key FROM mailstore.doomed_object WHERE key = ANY($1::text[])"
_HELD: Final = """
SELECT b.{place} AS id, count(mm.uid) AS messages, count(DISTINCT mm.account_id) AS accounts
FROM mailstore.blob AS b JOIN mailstore.message AS m ON m.blob_id = b.id
JOIN mailstore.mailbox_message AS mm ON mm.message_id = m.id
WHERE b.{place} = ANY($1::uuid[]) GROUP BY b.{place}
"""
_BLOBS: Final = """
SELECT b.id, b.segment,
       b.pack_id IS NOT NULL AND (p.id IS NULL OR b.start + b.stored_length > p.size) AS astray
FROM (SELECT id, segment, pack_id, start, stored_length FROM mailstore.blob
      WHERE id > $1 ORDER BY id LIMIT $2) AS b
LEFT JOIN mailstore.pack AS p ON p.id = b.pack_id ORDER BY b.id
"""
# One statement, so that the packer does not move a blob between two looks.
_STAGED: Final = """
SELECT b.id FROM mailstore.blob AS b LEFT JOIN mailstore.{segment} AS s ON s.blob_id = b.id
WHERE b.segment = $1 AND b.id > $2 AND b.id <= $3
  AND (s.blob_id IS NULL OR octet_length(s.octets) <> b.stored_length)
"""
_STILL_STAGED: Final = "SELECT id FROM mailstore.blob WHERE segment = $1 AND id > $2 AND id <= $3"


class OctetsExamination:
    """The stages that look for octets."""

    def __init__(self, database: Database, objects: ObjectStore, limits: ExaminationLimits) -> None:
        self._database, self._limits = database, limits
        self._packs = ObjectComparison(
            objects, "pack", self._named(_PACKS), self._doomed_packs, self._held("pack_id"), limits
        )
        self._objects = ObjectComparison(
            objects, "message", self._named(_OBJECTS), self._uploads, self._held("object_id"), limits
        )

    async def packs(self, at: str) -> Step:
        """Packs in the bucket and in Postgres."""
        return await self._packs.step(at)

    async def objects(self, at: str) -> Step:
        """Messages that have an object of their own."""
        return await self._objects.step(at)

    async def blobs(self, at: str) -> Step:
        """Whether each blob's segment or pack has its octets."""
        after = id_of_position(at)
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            rows = await connection.fetch(_BLOBS, after, self._limits.rows)
        if not rows:
            return Step()
        bad = [row["id"] for row in rows if row["astray"]]
        for number in sorted({row["segment"] for row in rows if row["segment"] is not None}):
            bad += await self._unstaged(number, after, rows[-1]["id"])
        held = await tell_about(self._held("id"), bad)
        findings = [
            Finding(
                kind=Finding.KIND_OCTETS_MISSING,
                subject=f"blob {blob_id}",
                detail=detail_of("its octets are not where its row says", held.get(blob_id)),
            )
            for blob_id in bad
        ]
        return Step(str(rows[-1]["id"]), findings, {"blobs": len(rows)})

    async def _unstaged(self, number: int, after: UUID, last: UUID) -> list[UUID]:
        try:
            async with self._database.connection(seconds=self._limits.step_seconds) as connection:
                rows = await connection.fetch(_STAGED.format(segment=table(number)), number, after, last)
        except asyncpg.UndefinedTableError:  # dropped meanwhile, or lost
            async with self._database.connection(seconds=self._limits.step_seconds) as connection:
                rows = await connection.fetch(_STILL_STAGED, number, after, last)
        return [row["id"] for row in rows]

    def _named(self, statement: str) -> Rows:
        async def rows(after: UUID, most: int) -> list[NamedObject]:
            async with self._database.connection(seconds=self._limits.step_seconds) as connection:
                return [NamedObject(**row) for row in await connection.fetch(statement, after, most)]

        return rows

    async def _doomed_packs(self, ids: Sequence[UUID]) -> set[UUID]:
        """Packs that are kept for a while, or about to get their rows."""
        return await self._doomed({pack_key(each): each for each in ids})

    async def _uploads(self, ids: Sequence[UUID]) -> set[UUID]:
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            uploads = {row["object_id"] for row in await connection.fetch(_UPLOADS, ids)}
        return uploads | await self._doomed({message_key(each): each for each in ids})

    async def _doomed(self, keys: Mapping[str, UUID]) -> set[UUID]:
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            return {keys[row["key"]] for row in await connection.fetch(_DOOMED, list(keys))}

    def _held(self, place: str) -> About:
        async def about(ids: Sequence[UUID]) -> Mapping[UUID, str]:
            async with self._database.connection(seconds=self._limits.about_seconds) as connection:
                rows = await connection.fetch(_HELD.format(place=place), ids)
            return {
                row["id"]: f"with {row['messages']} messages of {row['accounts']} accounts" for row in rows
            }

        return about
