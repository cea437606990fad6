"""The journal of changes, as far as operations on one mailbox write it."""

from typing import Final
from uuid import UUID

from mailstore.mailboxes.uid_ranges import Ranges, multirange
from postroom_storage.database import Connection

_WRITE: Final = """
INSERT INTO mailstore.change (account_id, modseq, mailbox_id, kind, uids)
VALUES ($1, $2, $3, $4, $5::int8multirange)
"""


async def write_change(  # the columns of a journal row
    connection: Connection,
    account_id: UUID,
    modseq: int,
    mailbox_id: UUID | None,
    kind: int,
    ranges: Ranges | None = None,
) -> None:
    """Add a row; `ranges` are the UIDs concerned, None for a change of the mailbox itself."""
    uids = None if ranges is None else multirange(ranges)
    await connection.execute(_WRITE, account_id, modseq, mailbox_id, kind, uids)
