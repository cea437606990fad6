"""Mailboxes that others may use: rights (RFC 4314 s2.1), who has them, and what each of them has seen.

The owner of a mailbox always has all rights. Those to create, delete and administer are the owner's alone.
A guest's rights are those of the guest and those of everybody together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Final
from uuid import UUID

from mailstore.mailboxes.catalogue import FIELDS, MailboxRow, Owner, find_mailbox, mailbox_of
from mailstore.mailboxes.journal import write_change
from mailstore.mailboxes.rows import RowColumns
from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds, compress
from mailstore.placement import CHANGE_FLAGS, CHANGE_RIGHTS, DELETED, SEEN
from postroom_contracts.errors import LimitError, MailboxNotFoundError, NotPermittedError
from postroom_storage.database import Connection

MAX_GRANTEES: Final = 200
"""Of one mailbox."""
EVERYBODY: Final = UUID(int=0)
"""The grantee that is everybody of the tenant ("anyone")."""


class Right(IntFlag):
    """s2.1; the obsolete "c" and "d" are for the edge to read and tell."""

    LOOKUP = 1
    READ = 2
    SEEN = 4
    WRITE = 8
    INSERT = 16
    POST = 32
    CREATE = 64
    DELETE_MAILBOX = 128
    DELETE_MESSAGES = 256
    EXPUNGE = 512
    ADMINISTER = 1024


ALL_RIGHTS: Final = Right(2047)
GRANTABLE: Final = ALL_RIGHTS & ~(Right.CREATE | Right.DELETE_MAILBOX | Right.ADMINISTER)

_RIGHTS_AT: Final = """
SELECT coalesce(bit_or(r.rights), 0) FROM mailstore.mailbox_right AS r
JOIN mailstore.mailbox AS b ON b.id = r.mailbox_id AND b.deleted_at IS NULL
WHERE r.mailbox_id = $1 AND r.account_id = $2 AND r.tenant_id = $3 AND r.grantee_id IN ($4, $5)
"""
_LISTED: Final = (
    "SELECT grantee_id, rights FROM mailstore.mailbox_right WHERE mailbox_id = $1 ORDER BY grantee_id"
)
_GRANT: Final = """
INSERT INTO mailstore.mailbox_right (mailbox_id, grantee_id, account_id, tenant_id, rights)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (mailbox_id, grantee_id) DO UPDATE SET rights = excluded.rights
"""
_REVOKE: Final = "DELETE FROM mailstore.mailbox_right WHERE mailbox_id = $1 AND grantee_id = $2"
_REMEMBER_QUOTA: Final = """
UPDATE mailstore.account_state SET quota_octets = $2, quota_messages = $3
WHERE account_id = $1 AND (quota_octets IS DISTINCT FROM $2 OR quota_messages IS DISTINCT FROM $3)
"""
_SHARED: Final = f"""
SELECT {FIELDS}, b.account_id, g.rights,
       (SELECT count(*) FROM mailstore.seen_by_guest AS s
        WHERE s.mailbox_id = b.id AND s.guest_id = $2 AND s.seen) AS seen
FROM (SELECT mailbox_id, bit_or(rights) AS rights FROM mailstore.mailbox_right
      WHERE tenant_id = $1 AND grantee_id IN ($2, $3) AND account_id <> $2 GROUP BY mailbox_id) AS g
JOIN mailstore.mailbox AS b ON b.id = g.mailbox_id AND b.deleted_at IS NULL
ORDER BY b.account_id, b.name LIMIT $4
"""
_MODSEQS: Final = """
SELECT t.position, s.modseq
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY AS t(user_id, tenant_id, host_id, position)
JOIN mailstore.account_state AS s ON s.account_id = t.host_id
WHERE EXISTS (SELECT FROM mailstore.mailbox_right AS r
              WHERE r.account_id = t.host_id AND r.tenant_id = t.tenant_id
                AND r.grantee_id IN (t.user_id, $4))
"""
_MAX_SHARED: Final = 10_000
_SEEN: Final = """
SELECT uid, seen, modseq FROM mailstore.seen_by_guest
WHERE mailbox_id = $1 AND guest_id = $2 AND uid BETWEEN $3 AND $4
"""
# A message that never was marked counts as unseen since it is there. `passes` is true without a condition.
_MARK: Final = f"""
WITH found AS MATERIALIZED (
    SELECT m.uid, coalesce(s.seen, false) AS seen,
           $8::bigint IS NULL OR greatest(m.modseq, s.modseq) <= $8 AS passes
    FROM {IN_RANGES}
    LEFT JOIN mailstore.seen_by_guest AS s ON s.mailbox_id = $2 AND s.guest_id = $5 AND s.uid = m.uid
), marked AS (
    INSERT INTO mailstore.seen_by_guest AS s (mailbox_id, guest_id, uid, seen, modseq)
    SELECT $2, $5, uid, $6, $7 FROM found WHERE passes AND seen <> $6
    ON CONFLICT (mailbox_id, guest_id, uid) DO UPDATE SET seen = excluded.seen, modseq = excluded.modseq
    RETURNING s.uid
)
SELECT (SELECT array_agg(uid ORDER BY uid) FROM marked) AS uids,
       (SELECT array_agg(uid ORDER BY uid) FROM found WHERE NOT passes) AS modified
"""
_MOVED_ON: Final = "UPDATE mailstore.mailbox SET highest_modseq = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class SharedMailbox:
    """Somebody else's mailbox as a guest has it: `unseen` is the guest's."""

    account_id: UUID
    mailbox: MailboxRow
    rights: Right


async def rights_at(connection: Connection, guest: Owner, mailbox_id: UUID) -> Right:
    """What a guest may do with a mailbox of its host; nothing when it is not there."""
    rights = await connection.fetchval(
        _RIGHTS_AT, mailbox_id, guest.account_id, guest.tenant_id, guest.user_id, EVERYBODY
    )
    return Right(rights)


async def require(connection: Connection, user: Owner, mailbox_id: UUID, right: Right) -> Owner:
    """The same with its rights at this mailbox.

    Raises NotPermittedError, and MailboxNotFoundError for whoever may not even know of it (s6).
    """
    if not user.is_guest:
        return user
    rights = await rights_at(connection, user, mailbox_id)
    if not rights or (right is Right.READ and not rights & right):
        raise MailboxNotFoundError("not shared with the user")
    if right & ~rights:
        raise NotPermittedError("the user has not the right")
    return replace(user, rights=int(rights))


async def list_shared(connection: Connection, user: Owner) -> list[SharedMailbox]:
    """What others share with the user, by owner and name."""
    rows = await connection.fetch(_SHARED, user.tenant_id, user.account_id, EVERYBODY, _MAX_SHARED)
    found: list[SharedMailbox] = []
    for row in rows:
        values = dict(row)
        account_id, rights, seen = values.pop("account_id"), values.pop("rights"), values.pop("seen")
        mailbox = mailbox_of({**values, "unseen": values["messages"] - seen, "special_use": 0})
        # What is recent is the owner's to be told.
        mailbox = replace(mailbox, recent_from=mailbox.uid_next, subscribed=False)
        found.append(SharedMailbox(account_id, mailbox, Right(rights)))
    return found


async def shared_modseqs(
    connection: Connection, users: Sequence[Owner | None], hosts: Sequence[UUID]
) -> list[int]:
    """The MODSEQ of each host for each user; 0 where nothing is shared, or for no user."""
    modseqs = [0] * len(hosts)
    user_ids = [None if user is None else user.account_id for user in users]
    tenant_ids = [None if user is None else user.tenant_id for user in users]
    for row in await connection.fetch(_MODSEQS, user_ids, tenant_ids, hosts, EVERYBODY):
        modseqs[row["position"] - 1] = row["modseq"]
    return modseqs


async def read_acl(connection: Connection, owner: Owner, mailbox_id: UUID) -> list[tuple[UUID, Right]]:
    """Who has what, but for the owner. Raises MailboxNotFoundError."""
    await find_mailbox(connection, owner.account_id, mailbox_id)
    return [(row["grantee_id"], Right(row["rights"])) for row in await connection.fetch(_LISTED, mailbox_id)]


async def write_right(
    connection: Connection,
    owner: Owner,
    modseq: int,
    mailbox_id: UUID,
    grantee_id: UUID,
    change: "RightChange",
) -> None:
    """Give or take rights, in the locked account of the owner.

    Raises MailboxNotFoundError, LimitError, and NotPermittedError for what is the owner's alone.
    """
    acl = dict(await read_acl(connection, owner, mailbox_id))
    rights = change.of(acl.get(grantee_id, Right(0)))
    if grantee_id == owner.account_id or rights & ~GRANTABLE:
        raise NotPermittedError("the owner has all rights, and some alone")
    if not rights:
        await connection.execute(_REVOKE, mailbox_id, grantee_id)
    else:
        if grantee_id not in acl and len(acl) >= MAX_GRANTEES:
            raise LimitError("as many grantees as there may be")
        await connection.execute(
            _GRANT, mailbox_id, grantee_id, owner.account_id, owner.tenant_id, int(rights)
        )
    quota = owner.quota
    await connection.execute(_REMEMBER_QUOTA, owner.account_id, quota.octets, quota.messages)
    await write_change(connection, owner.account_id, modseq, mailbox_id, CHANGE_RIGHTS)


@dataclass(frozen=True, slots=True)
class RightChange:
    """SETACL's modification: these rights, or with `sign` these more (+1) or less (-1)."""

    rights: Right
    sign: int = 0

    def of(self, before: Right) -> Right:
        """The rights afterwards."""
        if not self.sign:
            return self.rights
        return before | self.rights if self.sign > 0 else before & ~self.rights


async def as_seen(connection: Connection, user: Owner, mailbox_id: UUID, rows: RowColumns) -> RowColumns:
    """The rows as a guest has them; an owner's stay as they are."""
    if not user.is_guest or not rows.uids:
        return rows
    found = await connection.fetch(_SEEN, mailbox_id, user.user_id, rows.uids[0], rows.uids[-1])
    marks = {row["uid"]: (row["seen"], row["modseq"]) for row in found}
    flags = [flag & ~SEEN for flag in rows.flags]
    modseqs = list(rows.modseqs)
    for at, uid in enumerate(rows.uids):
        if (mark := marks.get(uid)) is not None:
            flags[at] |= SEEN if mark[0] else 0
            modseqs[at] = max(modseqs[at], mark[1])
    return replace(rows, flags=flags, modseqs=modseqs)


@dataclass(frozen=True, slots=True)
class Marking:
    """Which messages a guest marks as seen or not, perhaps only where nothing changed after a MODSEQ."""

    ranges: Ranges
    seen: bool
    unchanged_since: int | None = None


async def mark_seen(
    connection: Connection, guest: Owner, mailbox_id: UUID, modseq: int, marking: Marking
) -> tuple[Ranges, Ranges]:
    """Mark messages of the locked host's mailbox; what is different now, and what failed the condition."""
    row = await connection.fetchrow(
        _MARK,
        guest.account_id,
        mailbox_id,
        *bounds(marking.ranges),
        guest.user_id,
        marking.seen,
        modseq,
        marking.unchanged_since,
    )
    marked = compress(() if row is None else row["uids"] or ())
    if marked:
        await connection.execute(_MOVED_ON, mailbox_id, modseq)
        await write_change(connection, guest.account_id, modseq, mailbox_id, CHANGE_FLAGS, marked)
    return marked, compress(() if row is None else row["modified"] or ())


async def seen_by(connection: Connection, user: Owner, mailbox_id: UUID, uids: Sequence[int]) -> set[int]:
    """Which of these ascending UIDs the guest has seen."""
    if not uids:
        return set()
    rows = await connection.fetch(_SEEN, mailbox_id, user.user_id, uids[0], uids[-1])
    return {row["uid"] for row in rows if row["seen"]} & set(uids)


def flag_mask(user: Owner) -> int:
    """The flags that the user may change in what all have in common; \\Seen is each one's own."""
    if not user.is_guest:
        return _ALL_FLAGS
    mask = _OTHERS if user.rights & Right.WRITE else 0
    return mask | (DELETED if user.rights & Right.DELETE_MESSAGES else 0)


_ALL_FLAGS: Final = 31
_OTHERS: Final = _ALL_FLAGS & ~(SEEN | DELETED)
