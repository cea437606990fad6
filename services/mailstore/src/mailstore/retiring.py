"""What belonged to accounts that the directory has deleted: it goes as deleted mailboxes do, then the rest.

Nothing is purged because nobody knows the account: only what the directory says to be deleted, and a day
after that, when its mail that was under way is filed and its last login is over. What is purged is kept as
expunged for as long as any other. Mail that comes later is filed and purged in the next round.
"""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from mailstore.accounts import INBOX, lock_accounts
from mailstore.mailboxes.catalogue import Owner, delete_mailbox
from postroom_contracts.ids import TenantId
from postroom_runtime.logs import log
from postroom_storage.database import Connection, Database

FindDeleted: TypeAlias = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, dt.datetime]]]
"""When those of these accounts were deleted that were. Raises `PostroomError`."""
Purge: TypeAlias = Callable[[UUID, UUID], Awaitable[None]]
"""Takes all messages out of a mailbox, in slices: account, mailbox."""

_PAGE: Final = """
SELECT account_id, tenant_id FROM mailstore.account_state WHERE account_id > $1 ORDER BY account_id LIMIT $2
"""
_MAILBOXES: Final = "SELECT id, name FROM mailstore.mailbox WHERE account_id = $1 AND deleted_at IS NULL"
# INBOX stays to the end: mail may be filed until then.
_FORGET_SHARES: Final = """
DELETE FROM mailstore.mailbox_right AS r WHERE r.mailbox_id = $2 OR (r.tenant_id = $3 AND r.grantee_id = $1)
"""
_IS_EMPTY: Final = f"""
SELECT NOT EXISTS (SELECT FROM mailstore.mailbox_message WHERE account_id = $1)
   AND NOT EXISTS (SELECT FROM mailstore.expunged WHERE account_id = $1)
   AND NOT EXISTS (SELECT FROM mailstore.mailbox WHERE account_id = $1 AND name <> '{INBOX}')
"""
_FORGET_SEEN: Final = """
DELETE FROM mailstore.seen_by_guest AS s USING mailstore.mailbox AS b
WHERE b.account_id = $1 AND s.mailbox_id = b.id
"""
_TABLES: Final = ("annotation", "keyword", "subscription", "mailbox", "account_state")


@dataclass(frozen=True, slots=True)
class RetiringLimits:
    """Seconds from a deletion to the purge, and between rounds; accounts that are asked about at once."""

    grace_seconds: float = 86_400.0
    round_seconds: float = 3_600.0
    page: int = 500


async def retire_accounts(
    database: Database, find_deleted: FindDeleted, purge: Purge, limits: RetiringLimits
) -> None:
    """One round over all accounts; what is cut off goes on in the next."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=limits.grace_seconds)
    after = UUID(int=0)
    while True:
        async with database.connection() as connection:
            rows = await connection.fetch(_PAGE, after, limits.page)
        if not rows:
            return
        deleted = await find_deleted([row["account_id"] for row in rows])
        for row in rows:
            at = deleted.get(row["account_id"])
            if at is not None and at <= before:
                await _retire(database, Owner(row["account_id"], TenantId(row["tenant_id"])), purge)
        after = rows[-1]["account_id"]


async def _retire(database: Database, owner: Owner, purge: Purge) -> None:
    inbox_id = await database.run(lambda connection: _close(connection, owner))
    if inbox_id is not None:
        await purge(owner.account_id, inbox_id)
    if await database.run(lambda connection: _forget(connection, owner.account_id)):
        log.info("account_purged", account_id=str(owner.account_id))


async def _close(connection: Connection, owner: Owner) -> UUID | None:
    """Delete all mailboxes but INBOX, and what was shared; gives INBOX."""
    modseqs = await lock_accounts(connection, [owner.account_id])
    inbox_id: UUID | None = None
    for row in await connection.fetch(_MAILBOXES, owner.account_id):
        if row["name"] == INBOX:
            inbox_id = row["id"]
        else:
            await delete_mailbox(connection, owner, modseqs[owner.account_id], row["id"])
    await connection.execute(_FORGET_SHARES, owner.account_id, inbox_id, owner.tenant_id)
    return inbox_id


async def _forget(connection: Connection, account_id: UUID) -> bool:
    """Forget the account itself, once nothing of it is kept any more."""
    await lock_accounts(connection, [account_id])
    if not await connection.fetchval(_IS_EMPTY, account_id):
        return False
    await connection.execute(_FORGET_SEEN, account_id)
    for table in _TABLES:
        await connection.execute(f"DELETE FROM mailstore.{table} WHERE account_id = $1", account_id)
    return True
