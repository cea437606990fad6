"""Accounts as the mail store knows them: the row that is locked first, and each one's first mailboxes.

Every change to an account's mailboxes begins with `lock_accounts`. It locks in ascending account id, so that
changes to several accounts never wait for each other in a circle, and it gives the MODSEQ of the change:
MODSEQs ascend in the order of commits (RFC 7162 s3.1).
"""

import time
from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.ids import new_id
from postroom_storage.database import Connection, Database

INBOX: Final = "INBOX"
FIRST_MAILBOXES: Final[Mapping[str, int]] = {
    INBOX: mailbox_pb2.SPECIAL_USE_UNSPECIFIED,
    "Sent": mailbox_pb2.SPECIAL_USE_SENT,
    "Drafts": mailbox_pb2.SPECIAL_USE_DRAFTS,
    "Trash": mailbox_pb2.SPECIAL_USE_TRASH,
    "Junk": mailbox_pb2.SPECIAL_USE_JUNK,
    "Archive": mailbox_pb2.SPECIAL_USE_ARCHIVE,
}
"""What an account has from the start, with its special use (RFC 6154 s2)."""

_MISSING: Final = """
SELECT t.account_id FROM unnest($1::uuid[]) AS t(account_id)
WHERE NOT EXISTS (SELECT FROM mailstore.account_state s WHERE s.account_id = t.account_id)
"""

_PROVISION: Final = """
WITH born AS (
    INSERT INTO mailstore.account_state (account_id, tenant_id, last_uid_validity)
    VALUES ($1, $2, $3 + cardinality($4::uuid[]))
    ON CONFLICT DO NOTHING RETURNING account_id
), boxes AS (
    INSERT INTO mailstore.mailbox (id, tenant_id, account_id, name, special_use, uid_validity)
    SELECT t.id, $2, $1, t.name, t.special_use, $3 + t.nth
    FROM born,
         unnest($4::uuid[], $5::text[], $6::smallint[]) WITH ORDINALITY AS t(id, name, special_use, nth)
)
INSERT INTO mailstore.subscription (account_id, name) SELECT $1, name FROM born, unnest($5::text[]) AS t(name)
"""

_LOCK: Final = "SELECT account_id, modseq FROM mailstore.lock_accounts($1)"


async def ensure_accounts(database: Database, tenants: Mapping[UUID, UUID]) -> None:
    """Make sure that these accounts (account id to tenant id) have a state row and their first mailboxes.

    It commits by itself, before the caller's transaction: rows made inside it would be locked out of order.
    """
    async with database.connection() as connection:
        missing = await connection.fetch(_MISSING, list(tenants))
        for account_id in sorted(row["account_id"] for row in missing):
            # Each mailbox has its own, or one that is renamed could bring UIDs under a name that had others.
            # The clock keeps them above those of a lost, restored store.
            uid_validity = int(time.time())
            names, uses = list(FIRST_MAILBOXES), list(FIRST_MAILBOXES.values())
            ids = [new_id() for _ in names]
            await connection.execute(
                _PROVISION, account_id, tenants[account_id], uid_validity, ids, names, uses
            )


async def lock_accounts(connection: Connection, account_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Lock these accounts for the rest of the transaction; returns the MODSEQ that its changes have.

    Accounts that `ensure_accounts` never saw are left out of the answer.
    """
    rows = await connection.fetch(_LOCK, list(account_ids))
    return {row["account_id"]: row["modseq"] for row in rows}
