"""Reading an account's tree: any path is one query, whatever its depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from asyncpg import Record

from filestore.paths import TreePath
from postroom_contracts.errors import (
    InvalidRequestError,
    IsADirectoryError,  # noqa: A004
    NodeNotFoundError,
    NotADirectoryError,  # noqa: A004
)
from postroom_contracts.ids import new_id
from postroom_storage.database import Connection

_COLUMNS: Final = "id, parent_id, name, directory, size, digest, object_id, version, modified_at, created_at"
# Beyond the end of the array the subscript is NULL, which no name equals.
_WALK: Final = f"""
WITH RECURSIVE walk AS (
    SELECT node.*, 0 AS depth FROM filestore.tree JOIN filestore.node ON node.id = tree.root_id
    WHERE tree.account_id = $1
    UNION ALL
    SELECT child.*, walk.depth + 1 FROM walk
    JOIN filestore.node AS child ON child.parent_id = walk.id AND child.name = ($2::text[])[walk.depth + 1]
)
SELECT {_COLUMNS} FROM walk ORDER BY depth
"""
_BY_ID: Final = f"""
WITH RECURSIVE up AS (
    SELECT id, parent_id, name, 0 AS height FROM filestore.node WHERE id = $2 AND account_id = $1
    UNION ALL
    SELECT above.id, above.parent_id, above.name, up.height + 1 FROM up
    JOIN filestore.node AS above ON above.id = up.parent_id
)
SELECT {_COLUMNS}, (SELECT array_agg(name ORDER BY height DESC) FROM up) AS names
FROM filestore.node WHERE id = $2 AND account_id = $1
"""
_LIST: Final = f"""
SELECT {_COLUMNS} FROM filestore.node WHERE parent_id = $1 AND name > $2 ORDER BY name LIMIT $3
"""
_PLANT: Final = """
WITH planted AS (
    INSERT INTO filestore.tree (account_id, tenant_id, root_id) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING RETURNING root_id
)
INSERT INTO filestore.node (id, tenant_id, account_id, name, directory, version)
SELECT root_id, $2, $1, '', true, root_id FROM planted
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose tree."""

    account_id: UUID
    tenant_id: UUID


@dataclass(frozen=True, slots=True)
class Node:
    """A file or a directory."""

    id: UUID
    parent_id: UUID | None
    name: str
    directory: bool
    size: int
    digest: bytes | None
    object_id: UUID | None
    version: UUID
    modified_at: datetime
    created_at: datetime

    @classmethod
    def of(cls, row: Record) -> "Node":
        """From a row of `filestore.node`."""
        return cls(
            row["id"],
            row["parent_id"],
            row["name"],
            row["directory"],
            row["size"],
            row["digest"],
            row["object_id"],
            row["version"],
            row["modified_at"],
            row["created_at"],
        )


@dataclass(frozen=True, slots=True)
class Located:
    """A node and where it is."""

    node: Node
    path: TreePath

    def file(self) -> Node:
        """The node; raises `IsADirectoryError`."""
        if self.node.directory:
            raise IsADirectoryError(str(self.path))
        return self.node

    def directory(self) -> Node:
        """The node; raises `NotADirectoryError`."""
        if not self.node.directory:
            raise NotADirectoryError(str(self.path))
        return self.node


@dataclass(frozen=True, slots=True)
class Place:
    """A path, and the nodes on it from the root as far as they exist."""

    path: TreePath
    nodes: Sequence[Node]

    @property
    def node(self) -> Node | None:
        """What is there, if anything."""
        return self.nodes[-1] if len(self.nodes) == len(self.path.names) + 1 else None

    def located(self) -> Located:
        """What is there; raises `NodeNotFoundError`."""
        if (node := self.node) is None:
            raise NodeNotFoundError(str(self.path))
        return Located(node, self.path)

    def parent(self) -> Node:
        """The directory that holds it or may; raises `NodeNotFoundError`, `NotADirectoryError`.

        `InvalidRequestError` for the root, which nothing holds.
        """
        if self.path.is_root:
            raise InvalidRequestError("the root is in no directory")
        if len(self.nodes) < len(self.path.names):
            raise NodeNotFoundError("a directory on the way is not there")
        parent = self.nodes[len(self.path.names) - 1]
        if not parent.directory:
            raise NotADirectoryError("a file is on the way")
        return parent


async def walk(connection: Connection, owner: Owner, path: TreePath) -> Place:
    """Follow a path from the root, which is made when the account has none yet."""
    rows = await connection.fetch(_WALK, owner.account_id, path.names)
    if not rows:
        await plant(connection, owner)
        rows = await connection.fetch(_WALK, owner.account_id, path.names)
    return Place(path, [Node.of(row) for row in rows])


async def by_id(connection: Connection, owner: Owner, node_id: UUID) -> Located:
    """The node with this id; raises `NodeNotFoundError`, for nodes of others too."""
    row = await connection.fetchrow(_BY_ID, owner.account_id, node_id)
    if row is None:
        raise NodeNotFoundError(str(node_id))
    return Located(Node.of(row), TreePath(tuple(row["names"][1:])))


async def children(connection: Connection, directory: UUID, after: str, count: int) -> list[Node]:
    """At most so many nodes of a directory whose names come behind `after`, in the order of their octets."""
    return [Node.of(row) for row in await connection.fetch(_LIST, directory, after, count)]


async def plant(connection: Connection, owner: Owner) -> None:
    """Make the account's root, unless somebody else just has."""
    await connection.execute(_PLANT, owner.account_id, owner.tenant_id, new_id())
