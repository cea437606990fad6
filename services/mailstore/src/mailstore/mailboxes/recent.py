"""\\Recent: each message is told to be recent to one session (RFC 3501 s2.3.2)."""

from typing import Final
from uuid import UUID

from postroom_storage.database import Connection

_CLAIM: Final = """
WITH before AS MATERIALIZED (
    SELECT id, recent_from FROM mailstore.mailbox
    WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE
)
UPDATE mailstore.mailbox AS b SET recent_from = b.uid_next FROM before
WHERE b.id = before.id
RETURNING before.recent_from AS first, b.uid_next - 1 AS last
"""


async def claim_recent(connection: Connection, account_id: UUID, mailbox_id: UUID) -> tuple[int, int] | None:
    """The UIDs that are recent to the caller alone, first > last for none; None without such a mailbox."""
    row = await connection.fetchrow(_CLAIM, account_id, mailbox_id)
    return None if row is None else (row["first"], row["last"])
