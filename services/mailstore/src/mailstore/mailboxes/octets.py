"""Ranges of messages as their readers see them: the copy's prefix first, then the shared octets."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.blobs.reader import BlobReader
from postroom_storage.database import Database

_FIND: Final = """
SELECT mm.uid, mm.prefix, mm.size, m.blob_id
FROM mailstore.mailbox_message AS mm JOIN mailstore.message AS m ON m.id = mm.message_id
WHERE mm.account_id = $1 AND mm.mailbox_id = $2 AND mm.uid = ANY($3::bigint[])
"""


@dataclass(frozen=True, slots=True)
class RangeWanted:
    """Octets of a message: `length` may reach beyond its end."""

    uid: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the read of this number; the last one of a read may be empty."""

    read: int
    octets: bytes
    last: bool


async def read_messages(
    database: Database, reader: BlobReader, account_id: UUID, mailbox_id: UUID, wanted: Sequence[RangeWanted]
) -> AsyncGenerator[Chunk]:
    """The ranges one after another. A message that is gone has one last chunk without octets.

    Raises UnavailableError, MessageNotFoundError when octets went while they were read.
    """
    async with database.connection() as connection:
        rows = await connection.fetch(_FIND, account_id, mailbox_id, [each.uid for each in wanted])
    found = {row["uid"]: row for row in rows}
    for number, each in enumerate(wanted):
        if (row := found.get(each.uid)) is not None:
            prefix: bytes = row["prefix"]
            end = min(each.offset + each.length, row["size"])
            if each.offset < len(prefix):
                yield Chunk(number, prefix[each.offset : end], last=False)
            start = max(each.offset, len(prefix))
            if start < end:
                async for octets in reader.read(row["blob_id"], start - len(prefix), end - start):
                    yield Chunk(number, octets, last=False)
        yield Chunk(number, b"", last=True)
