"""Whether what the file store's rows say is true: objects of files, and what accounts use."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from postroom_storage.database import Database
from postroom_storage.examination import (
    ExaminationLimits,
    Finding,
    NamedObject,
    ObjectComparison,
    Step,
    id_of_position,
)
from postroom_storage.objects import ObjectStore

_NODES: Final = """
SELECT object_id AS id, size FROM filestore.node WHERE object_id > $1 ORDER BY object_id LIMIT $2
"""
# A file's object before it is the file's, and after.
_KNOWN: Final = """
SELECT object_id FROM filestore.upload WHERE object_id = ANY($1::uuid[])
UNION SELECT object_id FROM filestore.garbage WHERE object_id = ANY($1::uuid[])
"""
_ABOUT: Final = "SELECT object_id, id, account_id FROM filestore.node WHERE object_id = ANY($1::uuid[])"
_TREES: Final = """
WITH page AS MATERIALIZED (
    SELECT * FROM filestore.tree WHERE account_id > $1 ORDER BY account_id LIMIT $2
)
SELECT p.account_id, r.id IS NULL AS rootless,
       array_remove(ARRAY[
           CASE WHEN p.nodes <> c.nodes THEN format('nodes %s instead of %s', p.nodes, c.nodes) END,
           CASE WHEN p.octets <> c.octets THEN format('octets %s instead of %s', p.octets, c.octets) END
       ], NULL) AS wrong
FROM page AS p LEFT JOIN filestore.node AS r ON r.id = p.root_id
LEFT JOIN (
    SELECT n.account_id, count(*) FILTER (WHERE n.parent_id IS NOT NULL) AS nodes, sum(n.size) AS octets
    FROM filestore.node AS n JOIN page USING (account_id) GROUP BY n.account_id
) AS c ON c.account_id = p.account_id
ORDER BY p.account_id
"""


class FilesExamination:
    """The stages of the file store."""

    def __init__(self, database: Database, objects: ObjectStore, limits: ExaminationLimits) -> None:
        self._database, self._limits = database, limits
        self._objects = ObjectComparison(objects, "file", self._named, self._known, self._about, limits)

    async def objects(self, at: str) -> Step:
        """Files in the bucket and in Postgres."""
        return await self._objects.step(at)

    async def trees(self, at: str) -> Step:
        """Whether what accounts use is what is in their trees."""
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            rows = await connection.fetch(_TREES, id_of_position(at), self._limits.rows)
        if not rows:
            return Step()
        findings = [
            Finding(
                kind=Finding.KIND_ROW_MISSING if row["rootless"] else Finding.KIND_COUNTER,
                subject=f"files of account {row['account_id']}",
                detail="the root is not there" if row["rootless"] else "; ".join(row["wrong"]),
            )
            for row in rows
            if row["rootless"] or row["wrong"]
        ]
        return Step(str(rows[-1]["account_id"]), findings, {"trees": len(rows)})

    async def _named(self, after: UUID, most: int) -> list[NamedObject]:
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            return [NamedObject(**row) for row in await connection.fetch(_NODES, after, most)]

    async def _known(self, ids: Sequence[UUID]) -> set[UUID]:
        async with self._database.connection(seconds=self._limits.step_seconds) as connection:
            return {row["object_id"] for row in await connection.fetch(_KNOWN, ids)}

    async def _about(self, ids: Sequence[UUID]) -> Mapping[UUID, str]:
        async with self._database.connection(seconds=self._limits.about_seconds) as connection:
            rows = await connection.fetch(_ABOUT, ids)
        return {row["object_id"]: f"of file {row['id']} of account {row['account_id']}" for row in rows}
