"""The message table: one immutable row for each message that is in some mailbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.scanning import MessageFacts
from postroom_storage.database import Connection

_INSERT: Final = """
SELECT mailstore.insert_messages($1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
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
    await connection.execute(_INSERT, *message_columns(messages))


def message_columns(messages: Sequence[NewMessage]) -> list[list[object]]:
    """The messages as the arrays that the schema's functions take."""
    facts = [message.facts for message in messages]
    return [
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
    ]
