"""SEARCH and what it tells (RFC 3501 s6.4.4, RFC 4731, RFC 5182, RFC 5267)."""

from array import array
from collections.abc import Sequence

from mail_access.imap import search_contexts
from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.finding import find, searched
from mail_access.imap.limiting import hard_limit, newest, ordered
from mail_access.imap.refusals import CommandRefusedError
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.esearch import (
    ALL_RESULTS,
    Results,
    ReturnOptions,
    Search,
    encode_esearch,
    encode_search,
)
from postroom_wire.imap.search import SearchProgram, SearchRow
from postroom_wire.imap.search_keys import ChangedSince, leaves
from postroom_wire.imap.sorting import Sort


async def search(context: Context, command: Search) -> Done:
    """SEARCH and UID SEARCH. Messages that are gone are not found."""
    selected = context.require_selected()
    returns = command.returns
    if returns is None and Extension.IMAP4REV2 in context.enabled:
        returns = ALL_RESULTS  # RFC 9051 s6.4.4: always ESEARCH
    saves = returns is not None and returns.saves
    saved = selected.view.saved
    updates = returns is not None and returns.updates
    if updates:
        search_contexts.check_tag(context)
    if saves:
        selected.view.saved = array("I")  # RFC 5182 s2.1: what a NO leaves
    if command.refused is not None:
        raise CommandRefusedError(command.refused)
    part = newest(selected, searched(selected.view, command.key, saved), hard_limit(context))
    found = await find(context, selected, command.key, saved, part.numbers)
    if returns is None:
        told = ordered(found.rows, backwards=part.is_part)
        context.output.write(encode_search(results_of(command, told, found.program)))
        return Done(b"SEARCH completed", limited=part.code)
    results = results_of(command, found.rows, found.program)
    if saves:
        save(selected, found.rows, returns)
    if returns.updates and part.is_part:  # of a part nobody can say what changes
        search_contexts.refuse(context, context.engine.pending_tag)
    elif returns.updates:
        uids = [row.uid for row in found.rows]
        kept = search_contexts.Kept(uids, command.uid, returns.update_items)
        search_contexts.keep(context, selected, command.key, kept)
    if returns.answers:
        tag = context.engine.pending_tag
        context.output.write(encode_esearch(tag, results, returns, uid=command.uid))
    text = b"SEARCH completed, result saved" if saves else b"SEARCH completed"
    return Done(text, limited=part.code)


def results_of(command: Search | Sort, found: Sequence[SearchRow], program: SearchProgram) -> Results:
    """The numbers to tell, and the MODSEQ where the search has one (RFC 7162 s3.1.5, RFC 4731 s3.2)."""
    numbers = [row.uid if command.uid else row.sequence_number for row in found]
    returns = command.returns or ALL_RESULTS
    scores = [program.score(row.uid) for row in found] if returns.scores else ()
    if not any(isinstance(leaf, ChangedSince) for leaf in leaves(command.key)):
        return Results(numbers, scores=scores)
    told = returns.among(range(len(found)))
    return Results(numbers, max((found[at].modseq for at in told), default=None), scores)


def save(selected: Selected, found: Sequence[SearchRow], returns: ReturnOptions) -> None:
    """Let `$` mean what was found, or that part of it that is returned (RFC 5182 s2.4)."""
    selected.view.saved = array("I", sorted(set(returns.among([row.uid for row in found]))))
