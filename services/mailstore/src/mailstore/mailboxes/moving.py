"""COPY, MOVE and EXPUNGE: each is one transaction of the account, or of both, which are locked.

Each is one statement, or two, whatever the number of messages. What is removed is remembered in the same
one (`mailstore.expunged`): sessions that do not know yet read it there, and it can be restored for a while.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID

from mailstore.mailboxes.flags import ALL_FLAGS, MAX_KEYWORDS, keyword_bits, keywords_of
from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds, from_multirange
from mailstore.placement import CHANGE_ADDED, CHANGE_EXPUNGED, DELETED
from postroom_contracts.errors import NotPermittedError
from postroom_storage.database import Connection

_WORDS: Final = f"SELECT DISTINCT m.keywords FROM {IN_RANGES}"
# UIDs are born here as in the schema's function `place`, by the update of the mailbox's row. $9 and $10 say
# what words of keywords are in the target, where that is another account.
_COPY: Final = f"""
WITH source AS MATERIALIZED (
    SELECT m.uid, m.message_id, m.tenant_id, m.flags & $8::smallint AS flags, m.internal_date, m.size,
           m.prefix, CASE WHEN $9::bigint[] IS NULL THEN m.keywords
                ELSE coalesce((SELECT w.there FROM unnest($9, $10::bigint[]) AS w(here, there)
                               WHERE w.here = m.keywords), 0) END AS keywords,
           row_number() OVER (ORDER BY m.uid) - 1 AS above
    FROM {IN_RANGES}
), counted AS MATERIALIZED (
    SELECT count(*) AS messages, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
           count(*) FILTER (WHERE flags & 8 <> 0) AS deleted, sum(size)::bigint AS size,
           range_agg(int8range(uid, uid + 1)) AS uids
    FROM source HAVING count(*) > 0
), allotted AS (
    UPDATE mailstore.mailbox AS b
    SET uid_next = b.uid_next + c.messages, messages = b.messages + c.messages, unseen = b.unseen + c.unseen,
        deleted = b.deleted + c.deleted, size = b.size + c.size, highest_modseq = $7
    FROM counted AS c WHERE b.id = $6 AND b.account_id = $5
    RETURNING b.uid_validity, b.uid_next - c.messages AS first, c.messages, c.size, c.uids
), placed AS (
    INSERT INTO mailstore.mailbox_message (
        account_id, mailbox_id, uid, message_id, tenant_id, flags, keywords, modseq, internal_date, size,
        prefix)
    SELECT $5, $6, a.first + s.above, s.message_id, s.tenant_id, s.flags, s.keywords, $7, s.internal_date,
           s.size, s.prefix
    FROM source AS s CROSS JOIN allotted AS a
), journal AS (
    INSERT INTO mailstore.change (account_id, modseq, mailbox_id, kind, uids)
    SELECT $5, $7, $6, {CHANGE_ADDED}, int8multirange(int8range(first, first + messages)) FROM allotted
), used AS (
    UPDATE mailstore.account_state AS s
    SET used_messages = s.used_messages + a.messages, used_octets = s.used_octets + a.size
    FROM allotted AS a WHERE s.account_id = $5
)
SELECT uid_validity, uids, first, first + messages - 1 AS last FROM allotted
"""
_REMOVE: Final = f"""
WITH gone AS (
    DELETE FROM mailstore.mailbox_message AS m
    WHERE m.account_id = $1 AND m.mailbox_id = $2
      AND m.uid = ANY (ARRAY(SELECT m.uid FROM {IN_RANGES} WHERE m.flags & $5 = $5))
    RETURNING m.*
), unmarked AS (
    DELETE FROM mailstore.seen_by_guest AS s USING gone WHERE s.mailbox_id = $2 AND s.uid = gone.uid
), kept AS (
    INSERT INTO mailstore.expunged (
        account_id, mailbox_id, uid, message_id, tenant_id, kind, flags, keywords, modseq, internal_date,
        saved_at, size, prefix)
    SELECT account_id, mailbox_id, uid, message_id, tenant_id, $7, flags, keywords, modseq, internal_date,
           saved_at, size, prefix
    FROM gone
), counted AS (
    SELECT count(*) AS messages, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
           count(*) FILTER (WHERE flags & 8 <> 0) AS deleted, sum(size)::bigint AS size,
           range_agg(int8range(uid, uid + 1)) AS uids
    FROM gone HAVING count(*) > 0
), box AS (
    UPDATE mailstore.mailbox AS b
    SET messages = b.messages - c.messages, unseen = b.unseen - c.unseen, deleted = b.deleted - c.deleted,
        size = b.size - c.size, highest_modseq = $6
    FROM counted AS c WHERE b.id = $2
), used AS (
    UPDATE mailstore.account_state AS s
    SET used_messages = s.used_messages - c.messages, used_octets = s.used_octets - c.size
    FROM counted AS c WHERE s.account_id = $1
), journal AS (
    INSERT INTO mailstore.change (account_id, modseq, mailbox_id, kind, uids)
    SELECT $1, $6, $2, {CHANGE_EXPUNGED}, uids FROM counted
)
SELECT uids FROM counted
"""
_TENANTS: Final = """
SELECT count(DISTINCT tenant_id) FROM mailstore.account_state WHERE account_id = ANY($1::uuid[])
"""


class Removal(Enum):
    """Why messages are removed; only what is not elsewhere is restored."""

    EXPUNGED = 1
    MOVED = 2
    PURGED = 3


@dataclass(frozen=True, slots=True)
class MailboxPlace:
    """A mailbox of a locked account, and the MODSEQ that the transaction has in that account."""

    account_id: UUID
    mailbox_id: UUID
    modseq: int


@dataclass(frozen=True, slots=True)
class Marks:
    """Which flags and keywords a copy takes along: what its maker may set in the target (RFC 4314 s4)."""

    flags: int = ALL_FLAGS
    keywords: bool = True


ALL_MARKS: Final = Marks()


@dataclass(frozen=True, slots=True)
class Copied:
    """Where messages went: equal in count and order (RFC 4315 s3)."""

    uid_validity: int
    source: Ranges
    target: Ranges


async def copy_messages(
    connection: Connection,
    source: MailboxPlace,
    ranges: Ranges,
    target: MailboxPlace,
    marks: Marks = ALL_MARKS,
) -> Copied | None:
    """Copy messages to another or the same mailbox, also of another account; None when there are none.

    Raises NotPermittedError when the accounts are of different tenants: octets are never shared by those.
    """
    if source.account_id != target.account_id:
        await _require_one_tenant(connection, source.account_id, target.account_id)
    here, there = await _words(connection, source, ranges, target, marks)
    row = await connection.fetchrow(
        _COPY,
        source.account_id,
        source.mailbox_id,
        *bounds(ranges),
        target.account_id,
        target.mailbox_id,
        target.modseq,
        marks.flags,
        here,
        there,
    )
    if row is None:
        return None
    return Copied(row["uid_validity"], from_multirange(row["uids"]), [(row["first"], row["last"])])


async def move_messages(
    connection: Connection,
    source: MailboxPlace,
    ranges: Ranges,
    target: MailboxPlace,
    marks: Marks = ALL_MARKS,
) -> Copied | None:
    """Copy, and remove the originals (RFC 6851 s3.3). Raises what `copy_messages` raises."""
    copied = await copy_messages(connection, source, ranges, target, marks)
    if copied is not None:
        await remove_messages(connection, source, copied.source, removal=Removal.MOVED)
    return copied


async def remove_messages(
    connection: Connection,
    source: MailboxPlace,
    ranges: Ranges,
    *,
    only_deleted: bool = False,
    removal: Removal = Removal.EXPUNGED,
) -> Ranges:
    """Expunge these messages, or those of them that have \\Deleted; returns the UIDs that are gone.

    One statement: the rows go, what they were is kept, counters and journal follow.
    """
    uids = await connection.fetchval(
        _REMOVE,
        source.account_id,
        source.mailbox_id,
        *bounds(ranges),
        DELETED if only_deleted else 0,
        source.modseq,
        removal.value,
    )
    return [] if uids is None else from_multirange(uids)


async def _words(
    connection: Connection, source: MailboxPlace, ranges: Ranges, target: MailboxPlace, marks: Marks
) -> tuple[list[int] | None, list[int] | None]:
    """Words of keywords as the messages have them, and what each is in the target; None where all stay.

    The bits are each account's own. A keyword for which the target has no room is left out: the message is
    worth more.
    """
    if not marks.keywords:
        return [], []
    if source.account_id == target.account_id:
        return None, None
    rows = await connection.fetch(_WORDS, source.account_id, source.mailbox_id, *bounds(ranges))
    words: list[int] = [row["keywords"] for row in rows]
    used = 0
    for word in words:
        used |= word
    known = (
        {name.lower() for name in await keywords_of(connection, target.account_id)} if used else set[str]()
    )
    bits: dict[int, int] = {}
    for name, bit in (await keywords_of(connection, source.account_id)).items():
        if used >> bit & 1 and (name.lower() in known or len(known) < MAX_KEYWORDS):
            bits[1 << bit] = await keyword_bits(connection, target.account_id, [name])
            known.add(name.lower())
    return words, [sum(there for here, there in bits.items() if word & here) for word in words]


async def _require_one_tenant(connection: Connection, *account_ids: UUID) -> None:
    if await connection.fetchval(_TENANTS, account_ids) != 1:
        raise NotPermittedError("accounts of different tenants")
