"""What guests change in shared mailboxes (RFC 4314 s4): flags as far as they may, copies, and moves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from mailstore.mailboxes.catalogue import Owner, find_mailbox
from mailstore.mailboxes.flags import FlagChange, Stored, StoreMode, store_flags
from mailstore.mailboxes.moving import Copied, MailboxPlace, Marks, Removal, copy_messages, remove_messages
from mailstore.mailboxes.quota import check_quota
from mailstore.mailboxes.rows import RowColumns, rows_of
from mailstore.mailboxes.sharing import Marking, Right, as_seen, flag_mask, mark_seen, seen_by
from mailstore.mailboxes.uid_ranges import IN_RANGES, Ranges, bounds, compress, merge
from mailstore.placement import SEEN
from postroom_contracts.errors import NotPermittedError
from postroom_storage.database import Connection

_SEEN_BY_OWNER: Final = f"SELECT m.uid FROM {IN_RANGES} WHERE m.flags & 1 <> 0"


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """A mailbox as the user has it, at home or as a guest."""

    user: Owner
    mailbox_id: UUID

    def locked(self, modseqs: Mapping[UUID, int]) -> MailboxPlace:
        """The same in its locked account."""
        return MailboxPlace(self.user.account_id, self.mailbox_id, modseqs[self.user.account_id])


async def store_as_guest(
    connection: Connection, place: SharedPlace, modseq: int, ranges: Ranges, change: FlagChange
) -> Stored:
    """Change the flags that the guest may change, of which \\Seen is the guest's own.

    Raises NotPermittedError when there is none of them, TooManyKeywordsError.
    """
    guest, mailbox_id = place.user, place.mailbox_id
    own = _own_mark(guest, change)
    common = _common_change(guest, change)
    if own is None and common is None:
        if change.flags or change.keywords or change.mode is StoreMode.REPLACE:
            raise NotPermittedError("the user may change none of these flags")
        return Stored(RowColumns())
    marked: Ranges = ()
    modified: Ranges = ()
    if own is not None:
        marking = Marking(ranges, own, change.unchanged_since)
        marked, modified = await mark_seen(connection, guest, mailbox_id, modseq, marking)
    changed = list(marked)
    if common is not None and (left := without(ranges, modified)):
        stored = await store_flags(connection, guest.account_id, mailbox_id, modseq, left, common)
        changed += compress(stored.rows.uids)
        modified = merge(sorted([*modified, *stored.modified]))
    if not changed:
        return Stored(RowColumns(), modified)
    rows = await rows_of(connection, guest.account_id, mailbox_id, merge(sorted(changed)))
    return Stored(await as_seen(connection, guest, mailbox_id, rows), modified)


async def transfer(
    connection: Connection,
    source: SharedPlace,
    ranges: Ranges,
    target: SharedPlace,
    modseqs: Mapping[UUID, int],
    *,
    move: bool,
) -> Copied | None:
    """Copy or move between locked accounts; each user's \\Seen goes along, other flags as they may.

    Raises MailboxNotFoundError, OverQuotaError, and what `copy_messages` raises.
    """
    for place in (source, target):
        await find_mailbox(connection, place.user.account_id, place.mailbox_id)
    marks = Marks(
        flag_mask(target.user) & ~SEEN, not target.user.is_guest or bool(target.user.rights & Right.WRITE)
    )
    copied = await copy_messages(connection, source.locked(modseqs), ranges, target.locked(modseqs), marks)
    if copied is None:
        return None
    await _take_seen_along(connection, source, target, copied, modseqs[target.user.account_id])
    if move:
        await remove_messages(connection, source.locked(modseqs), copied.source, removal=Removal.MOVED)
    if not move or source.user.account_id != target.user.account_id:
        await check_quota(connection, target.user)
    return copied


async def mark_new(connection: Connection, place: SharedPlace, modseq: int, uids: Ranges) -> None:
    """New messages that the user has seen, at home or as a guest who may tell."""
    user = place.user
    if not user.is_guest:
        change = FlagChange(StoreMode.ADD, SEEN, ())
        await store_flags(connection, user.account_id, place.mailbox_id, modseq, uids, change)
    elif user.rights & Right.SEEN:
        await mark_seen(connection, user, place.mailbox_id, modseq, Marking(uids, seen=True))


async def _take_seen_along(
    connection: Connection, source: SharedPlace, target: SharedPlace, copied: Copied, modseq: int
) -> None:
    uids, new_uids = _each(copied.source), _each(copied.target)
    if source.user.is_guest:
        seen = await seen_by(connection, source.user, source.mailbox_id, uids)
    else:
        rows = await connection.fetch(
            _SEEN_BY_OWNER, source.user.account_id, source.mailbox_id, *bounds(copied.source)
        )
        seen = {row["uid"] for row in rows}
    marked = [new for old, new in zip(uids, new_uids, strict=True) if old in seen]
    if marked:
        await mark_new(connection, target, modseq, compress(marked))


def _own_mark(guest: Owner, change: FlagChange) -> bool | None:
    """What becomes of the guest's own \\Seen; None: nothing."""
    if not guest.rights & Right.SEEN or not (change.flags & SEEN or change.mode is StoreMode.REPLACE):
        return None
    return bool(change.flags & SEEN) and change.mode is not StoreMode.REMOVE


def _common_change(guest: Owner, change: FlagChange) -> FlagChange | None:
    """What becomes of the flags that all have in common; None: nothing."""
    mask = flag_mask(guest)
    writes = bool(guest.rights & Right.WRITE)
    flags, keywords = change.flags & mask, change.keywords if writes else ()
    if not (flags or keywords or (mask and change.mode is StoreMode.REPLACE)):
        return None
    return replace(change, flags=flags, keywords=keywords, mask=mask, keeps_keywords=not writes)


def without(ranges: Ranges, holes: Ranges) -> Ranges:
    """Ascending ranges less the holes."""
    left: list[tuple[int, int]] = []
    for first, last in ranges:
        start = first
        for hole_first, hole_last in holes:
            if hole_last < start or hole_first > last:
                continue
            if start < hole_first:
                left.append((start, hole_first - 1))
            start = hole_last + 1
        if start <= last:
            left.append((start, last))
    return left


def _each(ranges: Ranges) -> list[int]:
    return [uid for first, last in ranges for uid in range(first, last + 1)]
