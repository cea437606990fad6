"""What a session is told unasked: expunged messages, new ones, other flags (RFC 3501 s5.2, s7.4.1).

As long as the client has not used NOTIFY that is all, and only while a command is under way; afterwards it
is what NOTIFY says (RFC 5465).
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from mail_access.imap.context import Context, Selected, SessionEndError, chunks
from mail_access.imap.fetching import tell_messages
from mail_access.imap.search_contexts import find_changes, tell_changes, tell_expunged
from mail_access.imap.updates import (
    claim_recent,
    has_new,
    tell_exists,
    tell_expunges,
    tell_flags,
    tell_highest_modseq,
    write_flags,
)
from postroom_contracts.errors import PostroomError
from postroom_runtime.logs import log
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.fetch_items import FetchAttribute, FetchItem
from postroom_wire.imap.notify import COUNTS, MESSAGE_EVENTS, Event, SelectedEvents
from postroom_wire.imap.sequence import NumberRanges, SequenceSet
from postroom_wire.imap.view import Updates

_ROWS_AT_ONCE: Final = 2_000
_AGAIN_SECONDS: Final = 1.0
"""After new messages could not be fetched."""
_ALL: Final = SelectedEvents(MESSAGE_EVENTS)


async def tell_updates(
    context: Context,
    *,
    expunges: bool,
    at_once: bool = False,
    highest: bool = True,
    own_expunges: bool = False,
) -> None:
    """Write what has changed and is wanted; EXPUNGE only where the protocol allows it now.

    Not `highest`: HIGHESTMODSEQ follows in the tagged response. `at_once` leaves \\Recent for the next
    command to find out, since that is a change in the store. `own_expunges` are told whatever is wanted.
    """
    selected = context.selected
    if selected is None:
        return
    wanted = _ALL if context.notification is None else context.notification.wanted.selected
    if not wanted.events and not own_expunges:
        return
    new = bool(wanted.events & COUNTS)
    if new and has_new(selected):
        selected.claims_recent = True
    if new and not at_once:
        await claim_recent(context, selected)
    if selected.names is not selected.mailbox.names:
        selected.names = selected.mailbox.names
        tell_flags(context, selected)
    last_uid = selected.view.last_uid
    updates = selected.view.updates(expunges=expunges, new=new, flags=Event.FLAG_CHANGE in wanted.events)
    if not selected.view.has_updates(expunges=True):
        selected.reader.settled = selected.mailbox.highest_modseq
    await _write(context, selected, updates)
    if wanted.events:
        await _tell_new(context, selected, wanted.items, last_uid)
    if highest:
        tell_highest_modseq(context)
    await context.output.flow()


async def _write(context: Context, selected: Selected, updates: Updates) -> None:
    if updates.expunged:
        tell_expunged(context, selected, updates)
        tell_expunges(context, updates)
    if updates.exists is not None:
        tell_exists(context, selected, updates.exists)
    numbers = NumberRanges.of(number for number, _ in updates.changed)
    for some in chunks(numbers, _ROWS_AT_ONCE):
        write_flags(context, selected, selected.mailbox.rows.read(selected.view, some), uid=True)


async def _tell_new(
    context: Context, selected: Selected, items: tuple[FetchItem, ...], last_uid: int
) -> None:
    """How the results of searches change, and the messages above this UID where that is wanted.

    RFC 5465 s5.2 has NOTIFY's FETCH responses after what searches tell, s7 those of searches alone before.
    """
    changes = await find_changes(context, selected)
    searched: dict[int, tuple[FetchItem, ...]] = {}
    for change in changes:
        if change.search.items:
            for uid in change.added:
                if uid > last_uid:
                    searched[uid] = tuple(dict.fromkeys((*searched.get(uid, ()), *change.search.items)))
    if not items:
        selected.unfetched = None
        await _fetch_searched(context, selected, searched)
        tell_changes(context, selected, changes)
        return
    tell_changes(context, selected, changes)
    first = last_uid + 1 if selected.unfetched is None else selected.unfetched
    if selected.view.last_uid >= first:
        numbers = selected.view.select(SequenceSet(((first, selected.view.last_uid),)), by_uid=True)
        uids = {uid for _, uid in selected.view.rows(numbers)}
        wanted = {uid: tuple(dict.fromkeys((*items, *searched.get(uid, ())))) for uid in uids}
        told = await _fetch_searched(context, selected, wanted)
        selected.unfetched = None if told else first
        if not told:
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, context.connection.wake)


async def _fetch_searched(
    context: Context, selected: Selected, wanted: dict[int, tuple[FetchItem, ...]]
) -> bool:
    """FETCH responses of messages that others have brought, each with its items; False when that failed."""
    by_items: dict[tuple[FetchItem, ...], list[int]] = {}
    for uid, items in wanted.items():
        by_items.setdefault(items, []).append(uid)
    for items, uids in by_items.items():
        numbers = _of_others(context, selected, uids)
        try:
            if numbers:
                await tell_messages(context, selected, numbers, _complete(context, items))
        except PostroomError as error:
            if context.output.broken:
                raise SessionEndError from error
            log.warning("new_messages_not_told", error=error.name)
            return False
    return True


def _of_others(context: Context, selected: Selected, uids: Sequence[int]) -> NumberRanges:
    """The sequence numbers of those that this session did not append or copy itself (s5.2)."""
    account_id = selected.login.account_id
    numbers = selected.view.select(SequenceSet(NumberRanges.of(sorted(uids)).ranges), by_uid=True)
    rows = selected.mailbox.rows.read(selected.view, numbers)
    return NumberRanges.of(
        row.sequence_number for row in rows if not context.has_written(row.modseq, account_id)
    )


def _complete(context: Context, items: tuple[FetchItem, ...]) -> tuple[FetchItem, ...]:
    """With the UID, where each unsolicited FETCH has it (RFC 7162 s3.2.4, RFC 9051 s7.5.2)."""
    if context.uid_only or context.enabled.isdisjoint({Extension.IMAP4REV2, Extension.QRESYNC}):
        return items
    return tuple(dict.fromkeys((FetchAttribute.UID, *items)))
