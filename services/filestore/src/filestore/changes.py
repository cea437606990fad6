"""Changing an account's tree: every change locks the tree first, within the caller's transaction."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from filestore.garbage import note_object
from filestore.limits import Limits
from filestore.paths import TreePath
from filestore.tree import Located, Node, Owner, Place, by_id, plant, walk
from postroom_contracts.errors import (
    DirectoryNotEmptyError,
    InvalidNameError,
    InvalidRequestError,
    LimitError,
    NodeExistsError,
    NotPermittedError,
)
from postroom_contracts.ids import new_id
from postroom_storage.database import Connection

_LOCK: Final = "SELECT nodes, octets FROM filestore.tree WHERE account_id = $1 FOR UPDATE"
_COUNT: Final = """
UPDATE filestore.tree SET nodes = nodes + $2, octets = octets + $3 WHERE account_id = $1
"""
_INSERT_DIRECTORY: Final = """
INSERT INTO filestore.node (id, tenant_id, account_id, parent_id, name, directory, version)
VALUES ($1, $2, $3, $4, $5, true, $1)
"""
_HAS_CHILDREN: Final = "SELECT EXISTS (SELECT FROM filestore.node WHERE parent_id = $1)"
_DELETE: Final = "DELETE FROM filestore.node WHERE id = $1"
_MOVE: Final = "UPDATE filestore.node SET parent_id = $2, name = $3 WHERE id = $1"
_SET_MODIFIED: Final = "UPDATE filestore.node SET modified_at = $2 WHERE id = $1"
_HEIGHT: Final = """
WITH RECURSIVE below AS (
    SELECT $1::uuid AS id, 0 AS height
    UNION ALL
    SELECT child.id, below.height + 1 FROM below
    JOIN filestore.node AS child ON child.parent_id = below.id AND child.directory
)
SELECT max(height) FROM below
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a locked tree holds: files and directories, and the files' octets."""

    nodes: int
    octets: int


async def lock_tree(connection: Connection, owner: Owner) -> Usage:
    """Be the only one who changes this tree until the transaction ends."""
    row = await connection.fetchrow(_LOCK, owner.account_id)
    if row is None:
        await plant(connection, owner)
        row = await connection.fetchrow(_LOCK, owner.account_id)
    return Usage(row["nodes"], row["octets"]) if row else Usage(0, 0)


async def count(connection: Connection, owner: Owner, nodes: int, octets: int) -> None:
    """Note what a change adds to the tree or takes away."""
    await connection.execute(_COUNT, owner.account_id, nodes, octets)


class Changes:
    """What a user does with directories and names; who opened the transaction commits it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def create_directory(self, connection: Connection, owner: Owner, path: TreePath) -> Located:
        """Raises `NodeExistsError`, `NodeNotFoundError`, `NotADirectoryError`, `LimitError`."""
        usage = await lock_tree(connection, owner)
        place = await walk(connection, owner, path)
        if place.node is not None:
            raise NodeExistsError(str(path))
        parent = place.parent()
        if usage.nodes >= self._limits.nodes:
            raise LimitError("as many files and directories as an account may have")
        node_id = new_id()
        await connection.execute(
            _INSERT_DIRECTORY, node_id, owner.tenant_id, owner.account_id, parent.id, path.name
        )
        await count(connection, owner, 1, 0)
        return await by_id(connection, owner, node_id)

    async def delete(
        self, connection: Connection, owner: Owner, key: TreePath | UUID, *, directory: bool | None
    ) -> None:
        """Delete a file or an empty directory; `directory` says what the caller takes it for.

        Raises `NodeNotFoundError`, `NotADirectoryError`, `IsADirectoryError`, `DirectoryNotEmptyError`, and
        `NotPermittedError` for the root.
        """
        await lock_tree(connection, owner)
        located = await locate(connection, owner, key)
        if directory is not None:
            located.directory() if directory else located.file()
        await self._delete(connection, owner, located.node)

    async def _delete(self, connection: Connection, owner: Owner, node: Node) -> None:
        if node.parent_id is None:
            raise NotPermittedError("the root stays")
        if node.directory and await connection.fetchval(_HAS_CHILDREN, node.id):
            raise DirectoryNotEmptyError(node.name)
        await connection.execute(_DELETE, node.id)
        await count(connection, owner, -1, -node.size)
        if node.object_id is not None:
            await note_object(connection, node.object_id, self._limits.garbage_seconds)

    async def move(self, connection: Connection, owner: Owner, old: TreePath, new: TreePath) -> Located:
        """Rename a node, with whatever is below it. Replaces a file by a file, and nothing else.

        Raises `NodeNotFoundError`, `NotADirectoryError`, `NodeExistsError`, `InvalidRequestError` (into
        itself), `InvalidNameError` (too deep), and `NotPermittedError` for the root.
        """
        await lock_tree(connection, owner)
        source = (await walk(connection, owner, old)).located().node
        if source.parent_id is None:
            raise NotPermittedError("the root stays")
        target = await walk(connection, owner, new)
        if target.node is not None and target.node.id == source.id:
            return Located(source, new)
        parent = target.parent()
        await self._check_move(connection, source, target)
        if target.node is not None:
            await self._delete(connection, owner, target.node)
        await connection.execute(_MOVE, source.id, parent.id, new.name)
        return Located(replace(source, parent_id=parent.id, name=new.name), new)

    async def _check_move(self, connection: Connection, source: Node, target: Place) -> None:
        if any(node.id == source.id for node in target.nodes):
            raise InvalidRequestError("a directory cannot be moved into itself")
        if target.node is not None and (source.directory or target.node.directory):
            raise NodeExistsError(str(target.path))
        if source.directory:
            height = await connection.fetchval(_HEIGHT, source.id)
            # One more for the files in the deepest directory.
            if len(target.path.names) + height + 1 > self._limits.depth:
                raise InvalidNameError("what is below would be too deep")

    async def set_modified(
        self, connection: Connection, owner: Owner, path: TreePath, instant: datetime
    ) -> Located:
        """Say when a node was last changed. Raises `NodeNotFoundError`."""
        await lock_tree(connection, owner)
        located = (await walk(connection, owner, path)).located()
        await connection.execute(_SET_MODIFIED, located.node.id, instant)
        return Located(replace(located.node, modified_at=instant), path)


async def locate(connection: Connection, owner: Owner, key: TreePath | UUID) -> Located:
    """What is at a path or has an id; raises `NodeNotFoundError`."""
    if isinstance(key, UUID):
        return await by_id(connection, owner, key)
    return (await walk(connection, owner, key)).located()
