"""Filing: one transaction that moves a batch of due deliveries into INBOXes.

The transaction shows the messages, gives their UIDs and ends the deliveries, so a delivery is filed once,
whatever dies when. The lane's lease is its fence. It is one call of a function in the schema.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from mailstore.accounts import ensure_accounts
from mailstore.local_delivery.lease import DueDelivery, LaneLostError, Lease
from mailstore.messages import NewMessage, message_columns
from mailstore.scanning import MessageFacts
from postroom_runtime.steps import reached
from postroom_storage.database import Database

_FILE: Final = """
SELECT * FROM mailstore.file_deliveries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                                        $17, $18, $19, $20, $21, $22)
"""


@dataclass(frozen=True, slots=True)
class Filed:
    """What a transaction filed, the MODSEQ of each account, and whether the lane is given back."""

    deliveries: Sequence[DueDelivery]
    modseqs: Mapping[UUID, int]
    given_back: bool


def prefix(delivery: DueDelivery) -> bytes:
    """The lines that this recipient's copy begins with (RFC 5321 s4.4 Return-Path)."""
    return f"Return-Path: <{delivery.reverse_path}>\r\nDelivered-To: {delivery.recipient}\r\n".encode()


async def file_deliveries(
    database: Database,
    lease: Lease,
    deliveries: Sequence[DueDelivery],
    facts: Mapping[UUID, MessageFacts],
    *,
    give_back: bool = False,
) -> Filed:
    """File deliveries, whose messages' facts are given by accepted id; those that somebody ended are not.

    `give_back`: the lane too, unless it was rung. Raises LaneLostError, and what Postgres says of the data.
    """
    tenants = {delivery.account_id: delivery.tenant_id for delivery in deliveries}
    prefixes = [prefix(delivery) for delivery in deliveries]
    sizes = [
        len(head) + facts[delivery.accepted_id].size
        for head, delivery in zip(prefixes, deliveries, strict=True)
    ]
    arguments: list[object] = [
        lease.lane,
        lease.token,
        give_back,
        list(tenants),
        [delivery.id for delivery in deliveries],
        [delivery.received_at for delivery in deliveries],
        sizes,
        prefixes,
        *message_columns(_messages(deliveries, facts)),
    ]
    reached("deliver.before_commit")
    try:
        row = await _transact(database, arguments)
    except _FirstMailError:
        await ensure_accounts(database, tenants)
        row = await _transact(database, arguments)
    reached("deliver.after_commit")
    filed = set(row["filed"])
    return Filed(
        [delivery for delivery in deliveries if delivery.id in filed],
        dict(zip(row["accounts"], row["modseqs"], strict=True)),
        row["given_back"],
    )


class _FirstMailError(Exception):
    """An account has no state yet: it is made in a transaction of its own, and only when it is missing."""


async def _transact(database: Database, arguments: Sequence[object]) -> asyncpg.Record:
    try:
        (row,) = await database.run_statement(_FILE, *arguments)
    except asyncpg.PostgresError as error:
        match error.sqlstate:
            case "MS001":
                raise LaneLostError("the lane is not held with this token") from error
            case "MS002":
                raise _FirstMailError from error
            case _:
                raise
    return row


def _messages(deliveries: Sequence[DueDelivery], facts: Mapping[UUID, MessageFacts]) -> list[NewMessage]:
    unique = {delivery.accepted_id: delivery for delivery in deliveries}
    return [
        NewMessage(message_id, delivery.tenant_id, delivery.blob.id, facts[message_id])
        for message_id, delivery in unique.items()
    ]
