"""Finding messages of one mailbox: memory decides what it can, the store is asked about the rest."""

import asyncio
from collections.abc import Sequence
from time import time
from typing import Final, NamedTuple

from mail_access.imap.asking import MAX_RANGES, ask_store
from mail_access.imap.context import Context, Selected, chunks
from postroom_wire.imap.search import Column, SearchProgram, SearchRow, SearchScope
from postroom_wire.imap.search_keys import And, SearchKey, SequenceNumbers, Uids
from postroom_wire.imap.sequence import NumberRanges, SequenceSet
from postroom_wire.imap.view import SessionView

_ROWS_AT_ONCE: Final = 2_000
_COLUMNS: Final = frozenset({Column.SIZE, Column.INTERNAL_DATE})


class Found(NamedTuple):
    """The messages that match, by ascending UID; the program knows how well."""

    rows: list[SearchRow]
    program: SearchProgram


async def find(
    context: Context,
    selected: Selected,
    key: SearchKey,
    saved: Sequence[int] = (),
    numbers: NumberRanges | None = None,
) -> Found:
    """Search a mailbox, or these message numbers of it; `saved` is what `$` means."""
    view = selected.view
    scope = SearchScope(
        exists=view.exists, last_uid=view.last_uid, columns=_COLUMNS, saved=frozenset(saved), now=int(time())
    )
    program = SearchProgram(key, scope)
    if numbers is None:
        numbers = searched(view, key, saved)
    if program.asks_first and (uids := _bounds(selected, numbers)) is not None:
        return Found(await _find_asked(context, selected, program, uids), program)
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
        await ask_store(context, selected, program, NumberRanges.of(map(_uid_of, undecided)).ranges)
        found.extend(row for row in undecided if program.verdict(row))
        found.sort(key=_uid_of)
    return Found(found, program)


def searched(view: SessionView, key: SearchKey, saved: Sequence[int] = ()) -> NumberRanges:
    """The message numbers that can match: those that the key names, if it does, whatever else it wants."""
    numbers = view.all
    for part in key.keys if isinstance(key, And) else (key,):
        match part:
            case SequenceNumbers(wanted):
                named = wanted.resolve(view.exists)
            case Uids(wanted):
                uids = SequenceSet(wanted.resolve(view.last_uid).ranges)
                named = view.select(uids, by_uid=True)
            case _:
                continue
        if wanted.saved:
            known = (view.sequence_number(uid) for uid in saved)
            named = named.union(NumberRanges.of(number for number in known if number is not None))
        numbers = numbers.intersection(named)
    return numbers


async def _find_asked(
    context: Context, selected: Selected, program: SearchProgram, uids: Sequence[tuple[int, int]]
) -> list[SearchRow]:
    """What matches when memory can tell nothing before the store was asked: only that is looked at."""
    matching = SequenceSet((await ask_store(context, selected, program, uids)).ranges) if uids else None
    found: list[SearchRow] = []
    if matching is None or not matching.items:
        return found
    for some in chunks(selected.view.select(matching, by_uid=True), _ROWS_AT_ONCE):
        found.extend(row for row in _rows(selected, some) if program.verdict(row))
        await asyncio.sleep(0)
    return found


def _bounds(selected: Selected, numbers: NumberRanges) -> list[tuple[int, int]] | None:
    """The UIDs of these messages, none of any other between them; None for too many ranges."""
    runs = selected.view.runs(numbers)
    if len(runs) > MAX_RANGES:
        return None
    return [(run.uids[0], run.uids[-1]) for run in runs if run.start is not None]


def _uid_of(row: SearchRow) -> int:
    return row.uid


def _rows(selected: Selected, numbers: NumberRanges) -> list[SearchRow]:
    names, any_recent = selected.mailbox.names, bool(selected.recent)
    return [
        SearchRow(
            row.sequence_number,
            row.uid,
            names.folded(row.word),
            any_recent and selected.is_recent(row.uid),
            row.size,
            row.date,
            modseq=row.modseq,
        )
        for row in selected.mailbox.rows.read(selected.view, numbers)
    ]
