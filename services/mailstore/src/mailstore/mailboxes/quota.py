"""How much an account keeps, against how much it may (RFC 9208)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.mailboxes.catalogue import Owner
from postroom_contracts.capability import Quota
from postroom_contracts.errors import OverQuotaError
from postroom_storage.database import Connection

_HOST_QUOTA: Final = "SELECT quota_octets, quota_messages FROM mailstore.account_state WHERE account_id = $1"
_USED: Final = "SELECT used_octets, used_messages FROM mailstore.account_state WHERE account_id = $1"
_FULL: Final = """
SELECT asked.account_id
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS asked (account_id, octets, messages)
LEFT JOIN mailstore.account_state AS state USING (account_id)
WHERE coalesce(state.used_octets, 0) >= asked.octets OR coalesce(state.used_messages, 0) >= asked.messages
"""
_DELETED: Final = """
SELECT mailbox_id, sum(size)::bigint AS size FROM mailstore.mailbox_message
WHERE account_id = $1 AND mailbox_id = ANY($2::uuid[]) AND flags & 8 <> 0 GROUP BY mailbox_id
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account keeps."""

    octets: int
    messages: int


async def usage(connection: Connection, account_id: UUID) -> Usage:
    """As of now; nothing for an account that was never seen."""
    row = await connection.fetchrow(_USED, account_id)
    return Usage(0, 0) if row is None else Usage(row["used_octets"], row["used_messages"])


async def check_quota(connection: Connection, owner: Owner) -> None:
    """Called when messages were added to the locked account, which it takes back by raising OverQuotaError.

    Looked at behind, since only then it is known what was added. What is delivered is not asked for: after
    `250` mail is filed even over quota. Guests add to what their host may keep, as its capability said last.
    """
    octets, messages = owner.quota.octets, owner.quota.messages
    if owner.is_guest and (row := await connection.fetchrow(_HOST_QUOTA, owner.account_id)) is not None:
        octets, messages = row["quota_octets"], row["quota_messages"]
    if octets is None and messages is None:
        return
    used = await usage(connection, owner.account_id)
    if octets is not None and used.octets > octets:
        raise OverQuotaError("as many octets as the account may keep")
    if messages is not None and used.messages > messages:
        raise OverQuotaError("as many messages as the account may keep")


async def full_accounts(connection: Connection, quotas: Mapping[UUID, Quota]) -> list[UUID]:
    """Those that keep as much as they may, or more."""
    octets = [quota.octets for quota in quotas.values()]
    messages = [quota.messages for quota in quotas.values()]
    rows = await connection.fetch(_FULL, list(quotas), octets, messages)
    return [row["account_id"] for row in rows]


async def deleted_sizes(connection: Connection, account_id: UUID, mailbox_ids: Sequence[UUID]) -> list[int]:
    """The octets of what has \\Deleted in each mailbox (s4.1.4). It looks at all their messages."""
    rows = await connection.fetch(_DELETED, account_id, mailbox_ids)
    sizes = {row["mailbox_id"]: row["size"] for row in rows}
    return [sizes.get(mailbox_id, 0) for mailbox_id in mailbox_ids]
