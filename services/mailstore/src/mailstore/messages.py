"""The message table: one immutable row for each message that is in some mailbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.scanning import MessageFacts
from postroom_storage.database import Connection

_INSERT: Final = """
INSERT INTO mailstore.message (id, tenant_id, blob_id, size, scanner_version, limited, envelope, body,
                               body_structure, parts, header, header_complete, summary, sent_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::smallint[], $6::bool[],
                     $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bool[],
                     $13::bytea[], $14::timestamptz[])
ON CONFLICT (id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be remembered, with the blob that holds its octets."""

    id: UUID
    tenant_id: UUID
    blob_id: UUID
    facts: MessageFacts


async def insert_messages(connection: Connection, messages: Sequence[NewMessage]) -> None:
    """Write message rows; one that is there already stays as it is."""
    if not messages:
        return
    facts = [message.facts for message in messages]
    await connection.execute(
        _INSERT,
        [message.id for message in messages],
        [message.tenant_id for message in messages],
        [message.blob_id for message in messages],
        [fact.size for fact in facts],
        [fact.scanner_version for fact in facts],
        [fact.limited for fact in facts],
        [fact.envelope for fact in facts],
        [fact.body for fact in facts],
        [fact.body_structure for fact in facts],
        [fact.parts for fact in facts],
        [fact.header for fact in facts],
        [fact.header_complete for fact in facts],
        [fact.summary for fact in facts],
        [fact.sent_at for fact in facts],
    )
