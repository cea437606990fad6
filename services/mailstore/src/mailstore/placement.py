"""Putting messages into mailboxes: UIDs are born in the schema's function `place`, and in COPY (`moving`).

Its UPDATE of the mailbox row gives the UIDs inside the transaction that shows the messages, so UIDs ascend in
the order of commits and a client that has seen one has seen all below it (RFC 3501 s2.3.1.1).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from postroom_storage.database import Connection

SEEN: Final = 1
ANSWERED: Final = 2
FLAGGED: Final = 4
DELETED: Final = 8
DRAFT: Final = 16

CHANGE_ADDED: Final = 1
CHANGE_FLAGS: Final = 2
CHANGE_EXPUNGED: Final = 3
CHANGE_MAILBOX_CREATED: Final = 4
CHANGE_MAILBOX_RENAMED: Final = 5
CHANGE_MAILBOX_DELETED: Final = 6
CHANGE_SUBSCRIPTIONS: Final = 7
CHANGE_UID_VALIDITY: Final = 8
CHANGE_SPECIAL_USE: Final = 9
CHANGE_ANNOTATIONS: Final = 10
CHANGE_RIGHTS: Final = 11

_PLACE: Final = "SELECT uid_validity, uid FROM mailstore.place($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


@dataclass(frozen=True, slots=True)
class Placement:
    """A message to put into a mailbox; `size` counts the message's octets and the prefix."""

    account_id: UUID
    tenant_id: UUID
    mailbox_id: UUID
    message_id: UUID
    flags: int
    keywords: int
    internal_date: dt.datetime
    size: int
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a placement went."""

    uid_validity: int
    uid: int


async def place(
    connection: Connection, placements: Sequence[Placement], modseqs: Mapping[UUID, int]
) -> list[Placed]:
    """Put messages into mailboxes; the accounts are locked and `modseqs` is what `lock_accounts` gave.

    Within a mailbox UIDs follow the order of `placements`. Writes the rows, the journal and the counters. The
    mailboxes exist: whoever locked the account has looked.
    """
    rows = await connection.fetch(
        _PLACE,
        [placement.account_id for placement in placements],
        [placement.mailbox_id for placement in placements],
        [placement.message_id for placement in placements],
        [placement.tenant_id for placement in placements],
        [placement.flags for placement in placements],
        [placement.keywords for placement in placements],
        [modseqs[placement.account_id] for placement in placements],
        [placement.internal_date for placement in placements],
        [placement.size for placement in placements],
        [placement.prefix for placement in placements],
    )
    return [Placed(row["uid_validity"], row["uid"]) for row in rows]
