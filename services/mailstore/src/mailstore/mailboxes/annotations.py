"""Annotations of mailboxes and accounts (RFC 5464); one of them is a mailbox's special use (RFC 6154 s4)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mailstore.accounts import INBOX
from mailstore.mailboxes.catalogue import Owner, find_mailbox, set_special_use
from mailstore.mailboxes.journal import write_change
from mailstore.placement import CHANGE_ANNOTATIONS
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import InvalidNameError, InvalidRequestError, LimitError
from postroom_storage.database import Connection

MAX_VALUE: Final = 32_768
"""Octets of one value."""
MAX_ENTRIES: Final = 200
"""Of one mailbox, or of the account itself."""
MAX_OCTETS: Final = 8 * 1024**2
"""Of all annotations of one account."""
NOBODY: Final = UUID(int=0)
"""The mailbox that stands for the account, and the reader that stands for all."""
SPECIAL_USE: Final = "/private/specialuse"

# RFC 5464 s3.2: no wild card, no control, nothing but US-ASCII, no empty part; in lower case here.
_ENTRY: Final = re.compile(r"/(?:private|shared)(?:/[!-$&-)+-.0-@\[-~ ]+)*")
_MAX_ENTRY: Final = 1_024
_PRIVATE: Final = "/private"
_USES: Final[Mapping[int, bytes]] = {
    mailbox_pb2.SPECIAL_USE_SENT: b"\\Sent",
    mailbox_pb2.SPECIAL_USE_DRAFTS: b"\\Drafts",
    mailbox_pb2.SPECIAL_USE_TRASH: b"\\Trash",
    mailbox_pb2.SPECIAL_USE_JUNK: b"\\Junk",
    mailbox_pb2.SPECIAL_USE_ARCHIVE: b"\\Archive",
}
_USE_OF: Final = {name.lower(): use for use, name in _USES.items()}

_READ: Final = """
SELECT mailbox_id, entry, value FROM (
    SELECT a.mailbox_id, a.entry, a.value FROM mailstore.annotation AS a
    WHERE a.account_id = $1 AND a.mailbox_id = ANY($2::uuid[]) AND a.reader_id IN ($3, $4)
    UNION ALL
    SELECT b.id, '/private/specialuse', convert_to(u.name, 'UTF8') FROM mailstore.mailbox AS b
    JOIN unnest($7::int[], $8::text[]) AS u(use, name) ON u.use = b.special_use
    WHERE b.account_id = $1 AND b.id = ANY($2::uuid[])
) AS found
WHERE cardinality($5::text[]) = 0 OR EXISTS (
    SELECT FROM unnest($5::text[]) AS wanted(entry)
    WHERE found.entry = wanted.entry OR starts_with(found.entry, wanted.entry || '/') AND (
        $6 < 0 OR $6 > 0 AND position('/' IN substr(found.entry, length(wanted.entry) + 2)) = 0))
ORDER BY mailbox_id, entry
"""
_THERE: Final = """
SELECT count(DISTINCT id) FROM mailstore.mailbox
WHERE account_id = $1 AND id = ANY($2::uuid[]) AND deleted_at IS NULL
"""
_SET: Final = """
INSERT INTO mailstore.annotation (account_id, mailbox_id, reader_id, entry, value) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (account_id, mailbox_id, reader_id, entry) DO UPDATE SET value = excluded.value
"""
_REMOVE: Final = """
DELETE FROM mailstore.annotation WHERE account_id = $1 AND mailbox_id = $2 AND reader_id = $3 AND entry = $4
"""
# RFC 7162 s3.2: an annotation of a mailbox is one of the mailbox's changes.
_TOUCH: Final = "UPDATE mailstore.mailbox SET highest_modseq = $2 WHERE id = $1"
_KEPT: Final = """
SELECT count(*) FILTER (WHERE mailbox_id = $2) AS entries, coalesce(sum(octet_length(value)), 0) AS octets
FROM mailstore.annotation WHERE account_id = $1
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to read; none: all. `depth`: levels below each, -1 for all (RFC 5464 s4.2.2)."""

    entries: Sequence[str]
    depth: int = 0


def parse_entry(entry: str) -> str:
    """The name of an entry as it is kept. Raises InvalidRequestError."""
    lowered = entry.lower()
    if len(lowered) > _MAX_ENTRY or not _ENTRY.fullmatch(lowered):
        raise InvalidRequestError("not the name of an annotation")
    return lowered


async def read_annotations(
    connection: Connection, owner: Owner, mailbox_ids: Sequence[UUID], wanted: Wanted
) -> list[list[tuple[str, bytes]]]:
    """The annotations of each mailbox, or of the account for NOBODY; by entry.

    Raises MailboxNotFoundError for the first that is not there.
    """
    mailboxes = list(set(mailbox_ids) - {NOBODY})
    if await connection.fetchval(_THERE, owner.account_id, mailboxes) != len(mailboxes):
        for mailbox_id in mailboxes:
            await find_mailbox(connection, owner.account_id, mailbox_id)
    found: dict[UUID, list[tuple[str, bytes]]] = {mailbox_id: [] for mailbox_id in mailbox_ids}
    rows = await connection.fetch(
        _READ,
        owner.account_id,
        list(found),
        NOBODY,
        owner.user_id,
        wanted.entries,
        wanted.depth,
        [] if owner.is_guest else list(_USES),
        [] if owner.is_guest else [name.decode() for name in _USES.values()],
    )
    for row in rows:
        found[row["mailbox_id"]].append((row["entry"], row["value"]))
    return [found[mailbox_id] for mailbox_id in mailbox_ids]


async def write_annotations(
    connection: Connection,
    owner: Owner,
    modseq: int,
    mailbox_id: UUID,
    values: Iterable[tuple[str, bytes | None]],
) -> None:
    """Set values of the locked account's annotations, remove those of None.

    Raises MailboxNotFoundError, LimitError, and InvalidNameError for a special use that cannot be.
    """
    mailbox = None
    if mailbox_id != NOBODY:
        mailbox = await find_mailbox(connection, owner.account_id, mailbox_id)
    for entry, value in values:
        if value is not None and len(value) > MAX_VALUE:
            raise LimitError("a value is too long")
        if entry == SPECIAL_USE and owner.is_guest:
            raise InvalidNameError("a use is the owner's")
        if entry == SPECIAL_USE and mailbox is not None:
            use = _use(value, is_inbox=mailbox.name == INBOX)
            await set_special_use(connection, owner, modseq, mailbox_id, use)
        else:
            await _write(connection, owner, mailbox_id, entry, value)
    kept = await connection.fetchrow(_KEPT, owner.account_id, mailbox_id)
    if kept is not None and (kept["entries"] > MAX_ENTRIES or kept["octets"] > MAX_OCTETS):
        raise LimitError("as many annotations as there may be")
    changed = None if mailbox_id == NOBODY else mailbox_id
    if changed is not None:
        await connection.execute(_TOUCH, changed, modseq)
    await write_change(connection, owner.account_id, modseq, changed, CHANGE_ANNOTATIONS)


async def _write(
    connection: Connection, owner: Owner, mailbox_id: UUID, entry: str, value: bytes | None
) -> None:
    private = entry == _PRIVATE or entry.startswith(_PRIVATE + "/")
    reader_id = owner.user_id if private else NOBODY
    if value is None:
        await connection.execute(_REMOVE, owner.account_id, mailbox_id, reader_id, entry)
    else:
        await connection.execute(_SET, owner.account_id, mailbox_id, reader_id, entry, value)


def _use(value: bytes | None, *, is_inbox: bool) -> int:
    use = _USE_OF.get(value.lower()) if value else mailbox_pb2.SPECIAL_USE_UNSPECIFIED
    if use is None or (use and is_inbox):
        raise InvalidNameError("no mailbox can have this use")
    return use
