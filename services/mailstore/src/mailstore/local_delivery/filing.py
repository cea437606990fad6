"""Filing: one transaction that moves a batch of due deliveries into INBOXes.

The transaction shows the messages, gives their UIDs and ends the deliveries, so a delivery is filed once,
whatever dies when. The lane's lease is its fence.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.accounts import INBOX, ensure_accounts, lock_accounts
from mailstore.local_delivery.lease import Lease, hold
from mailstore.messages import NewMessage, insert_messages
from mailstore.placement import Placement, place
from mailstore.scanning import MessageFacts
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database

OUTCOME_DELIVERED: Final = 1

_DUE: Final = """
SELECT d.id, d.accepted_id, d.tenant_id, d.account_id, d.recipient, d.attempts, d.starts,
       a.reverse_path, a.received_at, a.traceparent, a.blob_id, b.size
FROM mailstore.delivery AS d
JOIN mailstore.accepted AS a ON a.id = d.accepted_id
JOIN mailstore.blob AS b ON b.id = a.blob_id
WHERE d.local_lane = $1 AND NOT d.parked AND d.due_at <= now()
ORDER BY d.due_at, d.id LIMIT $2
"""
_INBOXES: Final = """
SELECT account_id, id FROM mailstore.mailbox
WHERE account_id = ANY($1::uuid[]) AND name = $2 AND deleted_at IS NULL
"""
_FINISH: Final = """
WITH finished AS (DELETE FROM mailstore.delivery WHERE id = ANY($1::uuid[]) RETURNING *)
INSERT INTO mailstore.delivery_history
    (delivery_id, accepted_id, tenant_id, recipient, outcome, status, diagnostic, remote_host, attempts)
SELECT id, accepted_id, tenant_id, recipient, $2, '2.1.5', '', '', attempts + 1 FROM finished
RETURNING delivery_id
"""


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery to an account of ours that is due, with what its message's envelope says."""

    id: UUID
    accepted_id: UUID
    tenant_id: UUID
    account_id: UUID
    recipient: str
    attempts: int
    starts: int
    reverse_path: str
    received_at: dt.datetime
    traceparent: str
    blob_id: UUID
    size: int


class _FirstMailError(Exception):
    """An account has no state yet: it is made in a transaction of its own, and only when it is missing."""


async def due_deliveries(database: Database, lane: int, most: int) -> list[DueDelivery]:
    """What is due in a lane, oldest first."""
    async with database.connection() as connection:
        return [DueDelivery(**row) for row in await connection.fetch(_DUE, lane, most)]


def prefix(delivery: DueDelivery) -> bytes:
    """The lines that this recipient's copy begins with (RFC 5321 s4.4 Return-Path)."""
    return f"Return-Path: <{delivery.reverse_path}>\r\nDelivered-To: {delivery.recipient}\r\n".encode()


async def file_deliveries(
    database: Database, lease: Lease, deliveries: Sequence[DueDelivery], facts: Mapping[UUID, MessageFacts]
) -> dict[UUID, int]:
    """File deliveries, whose messages' facts are given by accepted id; returns the MODSEQ of each account.

    Raises LaneLostError, and what Postgres says of the data.
    """
    tenants = {delivery.account_id: delivery.tenant_id for delivery in deliveries}

    async def transact(connection: Connection) -> dict[UUID, int]:
        await hold(connection, lease)
        modseqs = await lock_accounts(connection, tenants)
        if len(modseqs) < len(tenants):
            raise _FirstMailError
        live = await _finish(connection, deliveries)
        await insert_messages(connection, _messages(live, facts))
        await _place(connection, live, facts, modseqs)
        reached("deliver.before_commit")
        return modseqs

    try:
        modseqs = await database.run(transact)
    except _FirstMailError:
        await ensure_accounts(database, tenants)
        modseqs = await database.run(transact)
    reached("deliver.after_commit")
    return modseqs


async def _finish(connection: Connection, deliveries: Sequence[DueDelivery]) -> list[DueDelivery]:
    """End the deliveries; gives those that nobody had ended, by a cancel for instance."""
    rows = await connection.fetch(_FINISH, [delivery.id for delivery in deliveries], OUTCOME_DELIVERED)
    ended = {row["delivery_id"] for row in rows}
    return [delivery for delivery in deliveries if delivery.id in ended]


def _messages(deliveries: Sequence[DueDelivery], facts: Mapping[UUID, MessageFacts]) -> list[NewMessage]:
    # Ascending ids: two lanes that file the same messages must not wait for each other in a circle.
    unique = {delivery.accepted_id: delivery for delivery in deliveries}
    return [
        NewMessage(message_id, unique[message_id].tenant_id, unique[message_id].blob_id, facts[message_id])
        for message_id in sorted(unique)
    ]


async def _place(
    connection: Connection,
    deliveries: Sequence[DueDelivery],
    facts: Mapping[UUID, MessageFacts],
    modseqs: Mapping[UUID, int],
) -> None:
    if not deliveries:
        return
    rows = await connection.fetch(_INBOXES, list(modseqs), INBOX)
    inbox = {row["account_id"]: row["id"] for row in rows}
    placements: list[Placement] = []
    for delivery in deliveries:
        head = prefix(delivery)
        placements.append(
            Placement(
                account_id=delivery.account_id,
                tenant_id=delivery.tenant_id,
                mailbox_id=inbox[delivery.account_id],
                message_id=delivery.accepted_id,
                flags=0,
                keywords=0,
                internal_date=delivery.received_at,
                size=len(head) + facts[delivery.accepted_id].size,
                prefix=head,
            )
        )
    await place(connection, placements, modseqs)
