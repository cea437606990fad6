"""SEARCH (RFC 3501 s6.4.4, RFC 4731): memory decides what it can, the store is asked about the rest."""

import asyncio
from array import array
from collections.abc import Sequence
from time import time
from typing import Final, NamedTuple

from mail_access.imap.asking import ask_store
from mail_access.imap.context import Context, Done, Selected, chunks
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
from postroom_wire.imap.search import Column, SearchProgram, SearchRow, SearchScope
from postroom_wire.imap.search_keys import ChangedSince, SearchKey, leaves
from postroom_wire.imap.sequence import NumberRanges
from postroom_wire.imap.sorting import Sort

_ROWS_AT_ONCE: Final = 2_000
_COLUMNS: Final = frozenset({Column.SIZE, Column.INTERNAL_DATE})


async def search(context: Context, command: Search) -> Done:
    """SEARCH and UID SEARCH. Messages that are gone are not found."""
    selected = context.require_selected()
    returns = command.returns
    if returns is None and Extension.IMAP4REV2 in context.enabled:
        returns = ALL_RESULTS  # RFC 9051 s6.4.4: always ESEARCH
    saves = returns is not None and returns.saves
    saved = selected.view.saved
    if saves:
        selected.view.saved = array("I")  # RFC 5182 s2.1: what a NO leaves
    if command.refused is not None:
        raise CommandRefusedError(command.refused)
    found = await find(context, selected, command.key, saved)
    results = results_of(command, found.rows, found.program)
    if returns is None:
        context.output.write(encode_search(results))
        return Done(b"SEARCH completed")
    if saves:
        save(selected, found.rows, returns)
    if returns.answers:
        tag = context.engine.pending_tag
        context.output.write(encode_esearch(tag, results, returns, uid=command.uid))
    return Done(b"SEARCH completed, result saved" if saves else b"SEARCH completed")


class Found(NamedTuple):
    """The messages that match, by ascending UID; the program knows how well."""

    rows: list[SearchRow]
    program: SearchProgram


async def find(context: Context, selected: Selected, key: SearchKey, saved: Sequence[int]) -> Found:
    """Search the selected mailbox; `saved` is what `$` means."""
    view = selected.view
    scope = SearchScope(
        exists=view.exists, last_uid=view.last_uid, columns=_COLUMNS, saved=frozenset(saved), now=int(time())
    )
    program = SearchProgram(key, scope)
    numbers = view.all
    if program.sequence_numbers is not None:
        numbers = program.sequence_numbers.below(view.exists)
    found: list[SearchRow] = []
    undecided: list[SearchRow] = []
    for some in chunks(numbers, _ROWS_AT_ONCE):
        for row in _rows(selected, some):
            verdict = program.verdict(row)
            if verdict is None:
                undecided.append(row)
            elif verdict:
                found.append(row)
        await asyncio.sleep(0)  # many rows must not hold the loop
    if undecided:
        await ask_store(context, selected, program, undecided)
        found.extend(row for row in undecided if program.verdict(row))
        found.sort(key=_uid_of)
    return Found(found, program)


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


def _uid_of(row: SearchRow) -> int:
    return row.uid


def _rows(selected: Selected, numbers: NumberRanges) -> list[SearchRow]:
    names = selected.mailbox.names
    return [
        SearchRow(
            row.sequence_number,
            row.uid,
            names.folded(row.word),
            recent=bool(selected.recent) and selected.is_recent(row.uid),
            size=row.size,
            arrived=row.date,
            modseq=row.modseq,
        )
        for row in selected.mailbox.rows.read(selected.view, numbers)
    ]
