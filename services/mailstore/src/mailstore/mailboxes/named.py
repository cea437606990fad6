"""One mailbox by its name: one statement, for what comes before most commands."""

from dataclasses import dataclass
from typing import Final

from mailstore.accounts import ensure_accounts
from mailstore.mailboxes.catalogue import FIELDS, MailboxRow, Owner, mailbox_of
from mailstore.mailboxes.names import parse_name
from postroom_contracts.errors import InvalidNameError, MailboxNotFoundError
from postroom_storage.database import Database

# One row where the account is known; `id` is NULL when there is no such mailbox.
_FIND: Final = f"""
SELECT s.modseq AS account_modseq, {FIELDS}
FROM mailstore.account_state AS s
LEFT JOIN mailstore.mailbox AS b ON b.account_id = s.account_id AND b.name = $2 AND b.deleted_at IS NULL
WHERE s.account_id = $1
"""


@dataclass(frozen=True, slots=True)
class NamedMailbox:
    """A mailbox, and the account's MODSEQ at that moment."""

    mailbox: MailboxRow
    modseq: int


async def find_named(database: Database, owner: Owner, name: str) -> NamedMailbox:
    """The mailbox that is called so now. Raises MailboxNotFoundError."""
    try:
        wanted = parse_name(name)
    except InvalidNameError:
        raise MailboxNotFoundError("no mailbox can be called so") from None
    rows = await database.run_statement(_FIND, owner.account_id, wanted)
    if not rows:  # it was never seen
        await ensure_accounts(database, {owner.account_id: owner.tenant_id})
        rows = await database.run_statement(_FIND, owner.account_id, wanted)
    values = dict(rows[0])
    modseq = values.pop("account_modseq")
    if values["id"] is None:
        raise MailboxNotFoundError("no mailbox of that name")
    return NamedMailbox(mailbox_of(values), modseq)
