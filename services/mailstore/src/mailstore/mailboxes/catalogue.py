"""The list of an account's mailboxes, and its changes: CREATE, DELETE, RENAME, SUBSCRIBE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from mailstore.accounts import INBOX
from mailstore.mailboxes.journal import write_change
from mailstore.mailboxes.moving import MailboxPlace, move_messages
from mailstore.mailboxes.names import MAX_OCTETS, SEPARATOR, superiors
from mailstore.placement import (
    CHANGE_MAILBOX_CREATED,
    CHANGE_MAILBOX_DELETED,
    CHANGE_MAILBOX_RENAMED,
    CHANGE_SPECIAL_USE,
    CHANGE_SUBSCRIPTIONS,
)
from postroom_contracts.capability import Quota
from postroom_contracts.errors import (
    InvalidNameError,
    LimitError,
    MailboxExistsError,
    MailboxNotFoundError,
    MailboxProtectedError,
)
from postroom_contracts.ids import new_id
from postroom_storage.database import Connection

MAX_MAILBOXES: Final = 10_000
MAX_SUBSCRIPTIONS: Final = 20_000

FIELDS: Final = """
    b.id, b.name, b.special_use, b.uid_validity, b.uid_next, b.messages, b.unseen, b.deleted, b.size,
    b.highest_modseq, b.recent_from,
    EXISTS (SELECT FROM mailstore.subscription AS s WHERE s.account_id = b.account_id AND s.name = b.name)
        AS subscribed
"""
_LIST: Final = (
    f"SELECT {FIELDS} FROM mailstore.mailbox AS b WHERE account_id = $1 AND deleted_at IS NULL ORDER BY name"
)
_FIND: Final = f"""
SELECT {FIELDS} FROM mailstore.mailbox AS b WHERE id = $2 AND account_id = $1 AND deleted_at IS NULL
"""
_SUBSCRIBED_ABSENT: Final = """
SELECT name FROM mailstore.subscription AS s WHERE account_id = $1 AND NOT EXISTS (
    SELECT FROM mailstore.mailbox AS b WHERE b.account_id = $1 AND b.name = s.name AND b.deleted_at IS NULL)
ORDER BY name
"""
_MAILBOXES: Final = "SELECT count(*) FROM mailstore.mailbox WHERE account_id = $1 AND deleted_at IS NULL"
_SUBSCRIPTIONS: Final = "SELECT count(*) FROM mailstore.subscription WHERE account_id = $1"
_LONGEST: Final = """
SELECT max(octet_length($3 || substr(name, length($2) + 1))) FROM mailstore.mailbox
WHERE account_id = $1 AND deleted_at IS NULL AND (name = $2 OR starts_with(name, $2 || '/'))
"""
_NAMES: Final = """
SELECT name FROM mailstore.mailbox WHERE account_id = $1 AND name = ANY($2::text[]) AND deleted_at IS NULL
"""
_NEXT_VALIDITY: Final = """
UPDATE mailstore.account_state SET last_uid_validity = last_uid_validity + 1 WHERE account_id = $1
RETURNING last_uid_validity
"""
_CREATE: Final = """
INSERT INTO mailstore.mailbox (id, tenant_id, account_id, name, special_use, uid_validity, highest_modseq)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_UNUSED: Final = """
UPDATE mailstore.mailbox SET special_use = 0
WHERE account_id = $1 AND special_use = $2 AND deleted_at IS NULL AND id <> $3 RETURNING id
"""
_DELETE: Final = "UPDATE mailstore.mailbox SET deleted_at = now() WHERE id = $1"
_RENAME: Final = """
UPDATE mailstore.mailbox SET name = $3 || substr(name, length($2) + 1)
WHERE account_id = $1 AND deleted_at IS NULL AND (name = $2 OR starts_with(name, $2 || '/'))
RETURNING id
"""
_CLASHES: Final = """
SELECT EXISTS (
    SELECT FROM mailstore.mailbox AS taken JOIN mailstore.mailbox AS moved
        ON taken.account_id = moved.account_id AND taken.name = $3 || substr(moved.name, length($2) + 1)
    WHERE moved.account_id = $1 AND (moved.name = $2 OR starts_with(moved.name, $2 || '/'))
      AND moved.deleted_at IS NULL AND taken.deleted_at IS NULL)
"""
_SUBSCRIBE: Final = (
    "INSERT INTO mailstore.subscription (account_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING"
)
_UNSUBSCRIBE: Final = "DELETE FROM mailstore.subscription WHERE account_id = $1 AND name = $2"
_FORGET_ANNOTATIONS: Final = "DELETE FROM mailstore.annotation WHERE account_id = $1 AND mailbox_id = $2"
_FORGET_RIGHTS: Final = "DELETE FROM mailstore.mailbox_right WHERE mailbox_id = $1"  # RFC 4314 s4
_FORGET_SEEN: Final = "DELETE FROM mailstore.seen_by_guest WHERE mailbox_id = $1"
_COPY_ANNOTATIONS: Final = """
INSERT INTO mailstore.annotation (account_id, mailbox_id, reader_id, entry, value)
SELECT account_id, $3, reader_id, entry, value FROM mailstore.annotation
WHERE account_id = $1 AND mailbox_id = $2
"""
_USE: Final = "UPDATE mailstore.mailbox SET special_use = $2 WHERE id = $1 AND special_use <> $2 RETURNING id"
_ALL: Final = ((1, 2**32 - 1),)


@dataclass(frozen=True, slots=True)
class MailboxRow:
    """A mailbox as it is now; `recent_from` is the first UID that no session has claimed as \\Recent."""

    id: UUID
    name: str
    special_use: int
    uid_validity: int
    uid_next: int
    messages: int
    unseen: int
    deleted: int
    size: int
    highest_modseq: int
    recent_from: int
    subscribed: bool


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose mailboxes: an account and its tenant, and what it may keep.

    `guest_id` is the user where that is somebody else (RFC 4314), with `rights` at the mailbox in question.
    """

    account_id: UUID
    tenant_id: UUID
    quota: Quota = Quota()
    guest_id: UUID | None = None
    rights: int = 0

    @property
    def is_guest(self) -> bool:
        """Whether the user is not the owner."""
        return self.guest_id is not None

    @property
    def user_id(self) -> UUID:
        """Who asks."""
        return self.account_id if self.guest_id is None else self.guest_id


async def list_mailboxes(connection: Connection, account_id: UUID) -> list[MailboxRow]:
    """All mailboxes by name."""
    return [mailbox_of(row) for row in await connection.fetch(_LIST, account_id)]


async def subscribed_absent(connection: Connection, account_id: UUID) -> list[str]:
    """Subscribed names without a mailbox (RFC 3501 s6.3.9)."""
    return [row["name"] for row in await connection.fetch(_SUBSCRIBED_ABSENT, account_id)]


async def find_mailbox(connection: Connection, account_id: UUID, mailbox_id: UUID) -> MailboxRow:
    """One mailbox of the account. Raises MailboxNotFoundError."""
    row = await connection.fetchrow(_FIND, account_id, mailbox_id)
    if row is None:
        raise MailboxNotFoundError("no such mailbox")
    return mailbox_of(row)


async def create_mailbox(
    connection: Connection, owner: Owner, modseq: int, name: str, special_use: int
) -> MailboxRow:
    """Create a mailbox and what is missing above it, in a locked account. See `_take_use` for its use.

    Raises MailboxExistsError, LimitError.
    """
    wanted = [*superiors(name), name]
    there = {row["name"] for row in await connection.fetch(_NAMES, owner.account_id, wanted)}
    if name in there:
        raise MailboxExistsError("the name is taken")
    missing = [each for each in wanted if each not in there]
    if await connection.fetchval(_MAILBOXES, owner.account_id) + len(missing) > MAX_MAILBOXES:
        raise LimitError("as many mailboxes as an account may have")
    mailbox_id = UUID(int=0)
    for each in missing:
        use = special_use if each == name else 0
        mailbox_id = await _create(connection, owner, modseq, each, use)
    await _take_use(connection, owner, modseq, mailbox_id, special_use)
    return await find_mailbox(connection, owner.account_id, mailbox_id)


async def delete_mailbox(connection: Connection, owner: Owner, modseq: int, mailbox_id: UUID) -> None:
    """Mark a mailbox as gone; its messages are purged behind. Inferiors stay.

    Raises MailboxNotFoundError, MailboxProtectedError for INBOX.
    """
    mailbox = await find_mailbox(connection, owner.account_id, mailbox_id)
    if mailbox.name == INBOX:
        raise MailboxProtectedError("INBOX cannot be deleted")
    await connection.execute(_DELETE, mailbox_id)
    # RFC 5464 s4.1: a mailbox that comes to have the name does not inherit them.
    await connection.execute(_FORGET_ANNOTATIONS, owner.account_id, mailbox_id)
    await connection.execute(_FORGET_RIGHTS, mailbox_id)
    await connection.execute(_FORGET_SEEN, mailbox_id)
    await write_change(connection, owner.account_id, modseq, mailbox_id, CHANGE_MAILBOX_DELETED)


async def rename_mailbox(
    connection: Connection, owner: Owner, modseq: int, mailbox_id: UUID, new_name: str
) -> MailboxRow:
    """Rename a mailbox and its inferiors; of INBOX the messages move, and it stays (RFC 3501 s6.3.5).

    Raises MailboxNotFoundError, MailboxExistsError, InvalidNameError.
    """
    mailbox = await find_mailbox(connection, owner.account_id, mailbox_id)
    if mailbox.name == INBOX:
        return await _rename_inbox(connection, owner, modseq, mailbox_id, new_name)
    if new_name.startswith(mailbox.name + SEPARATOR):
        raise InvalidNameError("a mailbox cannot be moved below itself")
    if await connection.fetchval(_CLASHES, owner.account_id, mailbox.name, new_name):
        raise MailboxExistsError("the name is taken")
    if await connection.fetchval(_LONGEST, owner.account_id, mailbox.name, new_name) > MAX_OCTETS:
        raise InvalidNameError("an inferior's name would be too long")
    above = superiors(new_name)
    there = {row["name"] for row in await connection.fetch(_NAMES, owner.account_id, above)}
    for each in above:
        if each not in there:
            await _create(connection, owner, modseq, each, 0)
    for row in await connection.fetch(_RENAME, owner.account_id, mailbox.name, new_name):
        await write_change(connection, owner.account_id, modseq, row["id"], CHANGE_MAILBOX_RENAMED)
    return await find_mailbox(connection, owner.account_id, mailbox_id)


async def set_special_use(
    connection: Connection, owner: Owner, modseq: int, mailbox_id: UUID, special_use: int
) -> None:
    """Give a mailbox of the locked account another use, or none with 0; see `_take_use`."""
    if await connection.fetchval(_USE, mailbox_id, special_use) is not None:
        await write_change(connection, owner.account_id, modseq, mailbox_id, CHANGE_SPECIAL_USE)
        await _take_use(connection, owner, modseq, mailbox_id, special_use)


async def set_subscription(
    connection: Connection, owner: Owner, modseq: int, name: str, *, subscribed: bool
) -> None:
    """Subscribe to a name or end it; the mailbox need not exist. Raises LimitError."""
    if subscribed and await connection.fetchval(_SUBSCRIPTIONS, owner.account_id) >= MAX_SUBSCRIPTIONS:
        raise LimitError("as many subscriptions as an account may have")
    await connection.execute(_SUBSCRIBE if subscribed else _UNSUBSCRIBE, owner.account_id, name)
    await write_change(connection, owner.account_id, modseq, None, CHANGE_SUBSCRIPTIONS)


async def _create(connection: Connection, owner: Owner, modseq: int, name: str, special_use: int) -> UUID:
    mailbox_id = new_id()
    validity = await connection.fetchval(_NEXT_VALIDITY, owner.account_id)
    await connection.execute(
        _CREATE, mailbox_id, owner.tenant_id, owner.account_id, name, special_use, validity, modseq
    )
    await write_change(connection, owner.account_id, modseq, mailbox_id, CHANGE_MAILBOX_CREATED)
    return mailbox_id


async def _take_use(
    connection: Connection, owner: Owner, modseq: int, mailbox_id: UUID, special_use: int
) -> None:
    """No two mailboxes have the same use: the others lose it (RFC 6154 s3)."""
    if special_use:
        for row in await connection.fetch(_UNUSED, owner.account_id, special_use, mailbox_id):
            await write_change(connection, owner.account_id, modseq, row["id"], CHANGE_SPECIAL_USE)


async def _rename_inbox(
    connection: Connection, owner: Owner, modseq: int, mailbox_id: UUID, new_name: str
) -> MailboxRow:
    created = await create_mailbox(connection, owner, modseq, new_name, 0)
    await connection.execute(_COPY_ANNOTATIONS, owner.account_id, mailbox_id, created.id)  # RFC 5464 s4.1
    inbox = MailboxPlace(owner.account_id, mailbox_id, modseq)
    await move_messages(connection, inbox, _ALL, MailboxPlace(owner.account_id, created.id, modseq))
    return await find_mailbox(connection, owner.account_id, created.id)


def mailbox_of(row: Record | Mapping[str, Any]) -> MailboxRow:
    """The mailbox of a row with `FIELDS`."""
    return MailboxRow(**row)
