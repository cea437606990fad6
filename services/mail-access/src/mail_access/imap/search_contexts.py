"""Searches that the client is told of as their results change (RFC 5267 s4.3), while the mailbox is selected.

What has changed is found by MODSEQ, so one's own changes count as well as others'. When the store cannot be
asked about a text, the look is taken again with the next change.
"""

from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.finding import find
from mail_access.imap.refusals import CommandRefusedError
from postroom_contracts.errors import PostroomError
from postroom_wire.imap import responses
from postroom_wire.imap.errors import Condition, Refusal, Tag
from postroom_wire.imap.fetch_items import FetchItem
from postroom_wire.imap.search_context import (
    CancelUpdate,
    SearchContext,
    encode_update,
    frozen,
    no_update,
)
from postroom_wire.imap.search_keys import SearchKey
from postroom_wire.imap.view import Updates

_MAX_CONTEXTS: Final = 8
_MAX_RESULTS: Final = 200_000
"""Of one context."""
_TAG_REUSED: Final = Refusal(Condition.BAD, b"Tag in use by another search with UPDATE")
_NO_CONTEXT: Final = Refusal(Condition.NO, b"No such search with UPDATE")


class Kept(NamedTuple):
    """What was found at first, whether by `uid`, and what new messages are told with."""

    uids: Sequence[int]
    uid: bool
    items: tuple[FetchItem, ...]


def check_tag(context: Context) -> None:
    """Raises `CommandRefusedError` when the tag of this search is in use (s4.3)."""
    if context.selected is not None and context.engine.pending_tag in context.selected.contexts:
        raise CommandRefusedError(_TAG_REUSED)


def keep(context: Context, selected: Selected, key: SearchKey, found: Kept) -> None:
    """Tell of this search's changes from now on, or say that they will not be told of (s4.3.1)."""
    uids = found.uids
    tag = context.engine.pending_tag
    if len(selected.contexts) >= _MAX_CONTEXTS or len(uids) > _MAX_RESULTS:
        refuse(context, tag)
        return
    modseq = selected.mailbox.modseq
    frozen_key, results = frozen(key, selected.view), array("I", uids)
    selected.contexts[tag] = SearchContext(frozen_key, found.uid, results, modseq, found.items)


def refuse(context: Context, tag: Tag) -> None:
    """The untagged NO of s4.3.1."""
    context.output.write(responses.untagged(Condition.NO, b"Changes will not be told", no_update(tag)))


def cancel(context: Context, command: CancelUpdate) -> Done:
    """CANCELUPDATE."""
    contexts = context.require_selected().contexts
    known = [contexts.pop(tag, None) is not None for tag in command.tags]
    if not all(known):
        raise CommandRefusedError(_NO_CONTEXT)
    return Done(b"CANCELUPDATE completed")


def tell_expunged(context: Context, selected: Selected, updates: Updates) -> None:
    """REMOVEFROM of messages whose numbers are still valid: before EXPUNGE (s4.3.4)."""
    numbers = dict(zip(updates.vanished, reversed(updates.expunged), strict=True))
    for tag, search in selected.contexts.items():
        gone = [uid for uid in search.results if uid in numbers]
        if gone:
            search.results = array("I", (uid for uid in search.results if uid not in numbers))
            removed = gone if search.uid else [numbers[uid] for uid in gone]
            context.output.write(encode_update(tag, removed, (), uid=search.uid))


class ContextChange(NamedTuple):
    """How the results of one search have changed; UIDs."""

    tag: Tag
    search: SearchContext
    removed: set[int]
    added: set[int]


async def find_changes(context: Context, selected: Selected) -> list[ContextChange]:
    """What was changed or added since this was asked for last."""
    found: list[ContextChange] = []
    for tag, search in list(selected.contexts.items()):
        modseq, view = selected.mailbox.modseq, selected.view
        changed = selected.mailbox.rows.changed_since(view, view.all, search.modseq)
        if not changed:
            search.modseq = max(search.modseq, modseq)
            continue
        try:
            matching = {row.uid for row in (await find(context, selected, search.key, numbers=changed)).rows}
        except PostroomError:
            continue
        search.modseq = modseq
        before, looked_at = set(search.results), {uid for _, uid in view.rows(changed)}
        change = ContextChange(tag, search, (looked_at & before) - matching, matching - before)
        if change.added or change.removed:
            search.results = array("I", sorted((before | change.added) - change.removed))
            found.append(change)
    return found


def tell_changes(context: Context, selected: Selected, changes: Sequence[ContextChange]) -> None:
    """REMOVEFROM and ADDTO: after EXISTS and FETCH (s4.3.3)."""
    view = selected.view
    for tag, search, *both in changes:
        removed, added = (
            sorted(uids if search.uid else (view.sequence_number(uid) or 0 for uid in uids)) for uids in both
        )
        context.output.write(encode_update(tag, removed, added, uid=search.uid))
