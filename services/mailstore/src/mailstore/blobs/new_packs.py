"""Rows of packs: what the packer and the janitor add, in the transaction that turns blobs to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.blobs.doomed import spare
from mailstore.blobs.packs import PackEntry
from mailstore.blobs.reader import pack_key
from postroom_storage.database import Connection

_ADD: Final = """
INSERT INTO mailstore.pack (id, tenant_id, size, blobs, dead_octets, oldest_dead_at)
VALUES ($1, $2, $3, $4, $5::bigint, CASE WHEN $5::bigint > 0 THEN now() END)
"""


@dataclass(frozen=True, slots=True)
class NewPack:
    """A pack whose object has been written; its size in octets."""

    id: UUID
    tenant_id: UUID
    size: int
    entries: Sequence[PackEntry]


async def add_pack(connection: Connection, pack: NewPack, alive: int) -> None:
    """Add the row. Of the pack's blobs `alive` octets were turned to it; the others went meanwhile.

    Raises UnavailableError when writing took so long that the object may be gone.
    """
    dead = sum(entry.length for entry in pack.entries) - alive
    await connection.execute(_ADD, pack.id, pack.tenant_id, pack.size, len(pack.entries), dead)
    await spare(connection, pack_key(pack.id))
