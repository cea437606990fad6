"""New UIDVALIDITYs for mailboxes whose UIDs may have been given out to other messages (RFC 3501 s2.3.1.1).

A store that was restored to an earlier time has forgotten UIDs, UIDVALIDITYs and MODSEQs that clients and
open views know. So the new ones are above whatever the lost time can have reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.placement import CHANGE_UID_VALIDITY
from postroom_storage.database import Connection

SLICE_ACCOUNTS: Final = 200
"""Accounts of one transaction; those of a slice are locked together."""

_AHEAD: Final = 100_000
"""So many more mailboxes than seconds went by may an account have made in the lost time."""
_MODSEQS_AHEAD: Final = 1 << 32

_LOCK: Final = """
SELECT account_id FROM mailstore.account_state
WHERE account_id > $1 AND ($2::uuid IS NULL OR account_id = $2) ORDER BY account_id LIMIT $3 FOR UPDATE
"""
# UIDVALIDITYs begin at the second in which the account came, and each new mailbox has the next.
_RENEW: Final = """
WITH fresh AS MATERIALIZED (
    SELECT s.account_id, b.id, s.modseq + $2 AS modseq,
           greatest(s.last_uid_validity, extract(epoch FROM now())::bigint) + $3
           + row_number() OVER (PARTITION BY s.account_id ORDER BY b.id) AS uid_validity
    FROM mailstore.account_state AS s JOIN mailstore.mailbox AS b USING (account_id)
    WHERE s.account_id = ANY($1::uuid[]) AND b.deleted_at IS NULL
), renewed AS (
    UPDATE mailstore.mailbox AS b SET uid_validity = fresh.uid_validity, highest_modseq = fresh.modseq
    FROM fresh WHERE b.id = fresh.id
), journal AS (
    INSERT INTO mailstore.change (account_id, modseq, mailbox_id, kind)
    SELECT account_id, modseq, id, $4 FROM fresh
)
UPDATE mailstore.account_state AS s SET modseq = f.modseq, last_uid_validity = f.uid_validity
FROM (SELECT account_id, max(modseq) AS modseq, max(uid_validity) AS uid_validity, count(*) AS mailboxes
      FROM fresh GROUP BY account_id) AS f
WHERE s.account_id = f.account_id
RETURNING s.account_id, s.modseq, f.mailboxes
"""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A slice: each account's MODSEQ, how many mailboxes, and the last account when there may be more."""

    modseqs: Sequence[tuple[UUID, int]]
    mailboxes: int
    last: UUID | None


async def renew_uid_validity(connection: Connection, account_id: UUID | None, after: UUID) -> Renewed:
    """Renew all mailboxes of a slice of the accounts above `after`, or of one account."""
    locked = await connection.fetch(_LOCK, after, account_id, SLICE_ACCOUNTS)
    accounts = [row["account_id"] for row in locked]
    rows = await connection.fetch(_RENEW, accounts, _MODSEQS_AHEAD, _AHEAD, CHANGE_UID_VALIDITY)
    return Renewed(
        [(row["account_id"], row["modseq"]) for row in rows],
        sum(row["mailboxes"] for row in rows),
        accounts[-1] if len(accounts) == SLICE_ACCOUNTS else None,
    )
