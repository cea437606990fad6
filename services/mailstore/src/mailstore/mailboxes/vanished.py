"""Which messages were expunged after a MODSEQ: the journal's tombstones (RFC 7162 s3.2.6, s5.3)."""

from typing import Final
from uuid import UUID

from mailstore.mailboxes.uid_ranges import Ranges, from_multirange, merge, multirange
from mailstore.placement import CHANGE_EXPUNGED
from postroom_contracts.errors import MailboxNotFoundError
from postroom_storage.database import Database

# One row, if there is such a mailbox.
_VANISHED: Final = """
SELECT s.change_floor, (
    SELECT range_agg(c.uids) * $5::int8multirange FROM mailstore.change AS c
    WHERE c.account_id = $1 AND c.mailbox_id = $2 AND c.modseq > $3 AND c.kind = $4
) AS uids
FROM mailstore.mailbox AS b JOIN mailstore.account_state AS s USING (account_id)
WHERE b.account_id = $1 AND b.id = $2 AND b.deleted_at IS NULL
"""


async def vanished_since(
    database: Database, account_id: UUID, mailbox_id: UUID, modseq: int, ranges: Ranges
) -> Ranges | None:
    """What of these UIDs was expunged after `modseq`; None when the journal does not reach back so far.

    Raises MailboxNotFoundError.
    """
    async with database.connection() as connection:
        row = await connection.fetchrow(
            _VANISHED, account_id, mailbox_id, modseq, CHANGE_EXPUNGED, multirange(ranges)
        )
    if row is None:
        raise MailboxNotFoundError("no such mailbox")
    if modseq < row["change_floor"] - 1:
        return None
    return merge(from_multirange(row["uids"] or ()))
