"""SEARCH (RFC 3501 s6.4.4): memory decides what it can, the store is asked about the text of the rest."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import Final

from mail_access.imap.context import Context, Done, Selected, chunks
from mail_access.imap.refusals import CommandRefusedError
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap import responses
from postroom_wire.imap.commands import Search
from postroom_wire.imap.errors import TOO_MANY_ITEMS
from postroom_wire.imap.search import Column, SearchProgram, SearchRow
from postroom_wire.imap.search_keys import HeaderContains, LeafKey, Sent, TextContains, TextField, When
from postroom_wire.imap.sequence import NumberRanges

_ROWS_AT_ONCE: Final = 2_000
_ASKED_AT_ONCE: Final = 500
_TERMS_AT_ONCE: Final = 64
_MAX_TERM: Final = 4_096
_COLUMNS: Final = frozenset({Column.SIZE, Column.INTERNAL_DATE})
_EPOCH: Final = date(1970, 1, 1).toordinal()
_SENT: Final[Mapping[When, mailbox_pb2.TextTerm.Field.ValueType]] = {
    When.BEFORE: mailbox_pb2.TextTerm.FIELD_SENT_BEFORE,
    When.ON: mailbox_pb2.TextTerm.FIELD_SENT_ON,
    When.SINCE: mailbox_pb2.TextTerm.FIELD_SENT_SINCE,
}


async def search(context: Context, command: Search) -> Done:
    """SEARCH and UID SEARCH. Messages that are gone are not found."""
    selected = context.require_selected()
    view = selected.view
    program = SearchProgram(command.key, exists=view.exists, last_uid=view.last_uid, columns=_COLUMNS)
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
    for start in range(0, len(undecided), _ASKED_AT_ONCE):
        candidates = undecided[start : start + _ASKED_AT_ONCE]
        await _ask(context, selected, program, candidates)
        found.extend(row for row in candidates if program.verdict(row))
    numbers_found = sorted(row.uid if command.uid else row.sequence_number for row in found)
    context.output.write(responses.search(numbers_found))
    return Done(b"SEARCH completed")


def _rows(selected: Selected, numbers: NumberRanges) -> list[SearchRow]:
    names = selected.mailbox.names
    return [
        SearchRow(
            row.sequence_number,
            row.uid,
            names.folded(row.word),
            recent=bool(selected.recent) and selected.is_recent(row.uid),
            size=row.size,
            internal_date=_day(row.date // 86_400),
        )
        for row in selected.mailbox.rows.read(selected.view, numbers)
    ]


async def _ask(
    context: Context, selected: Selected, program: SearchProgram, candidates: Sequence[SearchRow]
) -> None:
    uids = NumberRanges.of(row.uid for row in candidates).ranges
    for start in range(0, len(program.asked), _TERMS_AT_ONCE):
        keys = program.asked[start : start + _TERMS_AT_ONCE]
        answers = await context.resources.store.search_text(
            context.login, selected.mailbox.id, uids, [_term(key) for key in keys]
        )
        for key, ranges in zip(keys, answers, strict=True):
            program.learn(key, NumberRanges(tuple(ranges)))


def _term(key: LeafKey) -> mailbox_pb2.TextTerm:
    """A key in the store's words. Raises `CommandRefusedError` for one that is too long."""
    term = mailbox_pb2.TextTerm
    match key:
        case Sent(when, day):
            return term(field=_SENT[when], value=day.isoformat())
        case HeaderContains(name, value):
            found = term(field=term.FIELD_HEADER, header_name=name, value=value)
        case TextContains(TextField.BODY, value):
            found = term(field=term.FIELD_BODY, value=value)
        case TextContains(TextField.TEXT, value):
            found = term(field=term.FIELD_TEXT, value=value)
        case TextContains(field, value):
            found = term(field=term.FIELD_HEADER, header_name=field.value, value=value)
        case _:
            raise CommandRefusedError(TOO_MANY_ITEMS)
    if max(len(found.value), len(found.header_name)) > _MAX_TERM:
        raise CommandRefusedError(TOO_MANY_ITEMS)
    return found


@lru_cache(4_096)
def _day(days: int) -> date:
    return date.fromordinal(_EPOCH + days)
