"""Finding messages of one mailbox: memory decides what it can, the store is asked about the rest."""

import asyncio
from collections.abc import Sequence
from time import time
from typing import Final, NamedTuple

from mail_access.imap.asking import ask_store
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
