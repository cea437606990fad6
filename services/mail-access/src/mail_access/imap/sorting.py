"""SORT and THREAD (RFC 5256, RFC 5267 s3): found as by SEARCH, then put into order by the store."""

from array import array
from collections.abc import Iterable, Sequence

from mail_access.finder import MAX_RANGES
from mail_access.imap import search_contexts
from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.finding import find, searched
from mail_access.imap.limiting import hard_limit, require_all
from mail_access.imap.refusals import CommandRefusedError
from mail_access.imap.searching import results_of, save
from postroom_wire.imap.errors import TOO_MANY_ITEMS
from postroom_wire.imap.esearch import encode_esearch, encode_sort
from postroom_wire.imap.search import SearchRow
from postroom_wire.imap.search_keys import SearchKey
from postroom_wire.imap.sequence import NumberRanges
from postroom_wire.imap.sorting import Sort, SortKey
from postroom_wire.imap.thread_algorithms import Forest, Place
from postroom_wire.imap.threads import Thread, encode_threads


async def sort(context: Context, command: Sort) -> Done:
    """SORT and UID SORT."""
    selected = context.require_selected()
    returns = command.returns
    saves = returns is not None and returns.saves
    saved = selected.view.saved
    if saves:
        selected.view.saved = array("I")  # RFC 5182 s2.1: what a NO leaves
    if command.refused is not None:
        raise CommandRefusedError(command.refused)
    numbers = _all_searched(context, selected, command.key, saved)
    rows, program = await find(context, selected, command.key, saved, numbers)
    found = {row.uid: row for row in rows}
    ordered: list[SearchRow] = []
    if found:
        scores: dict[int, int] = {}
        if any(each.key is SortKey.RELEVANCY for each in command.criteria):
            scores = {uid: program.score(uid) for uid in found}
        uids = await context.resources.finder.sort(
            selected.login, selected.mailbox.id, _or_all_between(_ranges(found)), command.criteria, scores
        )
        ordered = [row for uid in uids if (row := found.get(uid)) is not None]
    results = results_of(command, ordered, program)
    if returns is None:
        context.output.write(encode_sort(results))
        return Done(b"SORT completed")
    if saves:
        save(selected, ordered, returns)
    if returns.updates:  # RFC 5267 s4.3.1: CONTEXT=SORT is not there
        search_contexts.refuse(context, context.engine.pending_tag)
    if returns.answers:
        tag = context.engine.pending_tag
        context.output.write(encode_esearch(tag, results, returns, uid=command.uid))
    return Done(b"SORT completed, result saved" if saves else b"SORT completed")


async def thread(context: Context, command: Thread) -> Done:
    """THREAD and UID THREAD."""
    selected = context.require_selected()
    numbers = _all_searched(context, selected, command.key, selected.view.saved)
    rows, _ = await find(context, selected, command.key, selected.view.saved, numbers)
    found = {row.uid: row for row in rows}
    forest: Forest = []
    if found:
        uids = _ranges(found)
        if len(uids) > MAX_RANGES:
            raise CommandRefusedError(TOO_MANY_ITEMS)
        forest = await context.resources.finder.threads(
            selected.login, selected.mailbox.id, uids, command.algorithm
        )
    if not command.uid:
        forest = [
            Place(place.depth, found[place.number].sequence_number if place.number else 0) for place in forest
        ]
    context.output.write(encode_threads(forest))
    return Done(b"THREAD completed")


def _all_searched(context: Context, selected: Selected, key: SearchKey, saved: Sequence[int]) -> NumberRanges:
    """The message numbers to look at; too many cannot be put into order (RFC 9738 s3.3)."""
    numbers = searched(selected.view, key, saved)
    require_all(selected, numbers, hard_limit(context))
    return numbers


def _ranges(uids: Iterable[int]) -> Sequence[tuple[int, int]]:
    return NumberRanges.of(uids).ranges


def _or_all_between(ranges: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """The ranges, or one that holds them all when they are too many for a request."""
    return ranges if len(ranges) <= MAX_RANGES else [(ranges[0][0], ranges[-1][1])]
