"""What of a search only the store can answer: texts and what else is not in the view."""

from collections.abc import Container, Mapping, Sequence
from typing import Final

from mail_access.imap.context import Context, Selected
from mail_access.imap.refusals import CommandRefusedError
from mail_access.store import ranges_of
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.errors import TOO_MANY_ITEMS
from postroom_wire.imap.search import SearchProgram
from postroom_wire.imap.search_keys import (
    HasEmailId,
    HasThreadId,
    HeaderContains,
    LeafKey,
    Saved,
    Sent,
    TextContains,
    TextField,
    When,
)
from postroom_wire.imap.sequence import NumberRanges

_TERMS_AT_ONCE: Final = 64
MAX_RANGES: Final = 50_000
_FEW_RANGES: Final = 4
_MAX_SET: Final = 50_000
_MAX_TERM: Final = 4_096
_SENT: Final[Mapping[When, mailbox_pb2.TextTerm.Field.ValueType]] = {
    When.BEFORE: mailbox_pb2.TextTerm.FIELD_SENT_BEFORE,
    When.ON: mailbox_pb2.TextTerm.FIELD_SENT_ON,
    When.SINCE: mailbox_pb2.TextTerm.FIELD_SENT_SINCE,
}

_SAVED: Final[Mapping[When, mailbox_pb2.TextTerm.Field.ValueType]] = {
    When.BEFORE: mailbox_pb2.TextTerm.FIELD_SAVED_BEFORE,
    When.ON: mailbox_pb2.TextTerm.FIELD_SAVED_ON,
    When.SINCE: mailbox_pb2.TextTerm.FIELD_SAVED_SINCE,
}


async def ask_store(
    context: Context, selected: Selected, program: SearchProgram, uids: Sequence[tuple[int, int]]
) -> NumberRanges:
    """Let the program learn what the store says about these UIDs; gives what has any of the keys.

    More than `MAX_RANGES` ranges are asked as one. Raises `CommandRefusedError`.
    """
    if len(uids) > MAX_RANGES:
        uids = ((uids[0][0], uids[-1][1]),)
    found = NumberRanges()
    for start in range(0, len(program.asked), _TERMS_AT_ONCE):
        keys = program.asked[start : start + _TERMS_AT_ONCE]
        found = found.union(await _ask(context, selected, program, keys, uids))
    return found


async def _ask(
    context: Context,
    selected: Selected,
    program: SearchProgram,
    keys: Sequence[LeafKey],
    uids: Sequence[tuple[int, int]],
) -> NumberRanges:
    """The answers to some keys, which may come in parts; gives what has any of them."""
    terms = [_term(key) for key in keys]
    found: list[list[tuple[int, int]]] = [[] for _ in keys]
    scores: list[dict[int, int]] = [{} for _ in keys]
    while uids:
        answer = await context.resources.store.search_text(selected.login, selected.mailbox.id, uids, terms)
        for ranges, scored, matches in zip(found, scores, answer.matches, strict=True):
            some = ranges_of(matches.ranges)
            ranges += some
            if matches.scores:
                scored |= dict(zip(NumberRanges(tuple(some)), matches.scores, strict=True))
        uids = ranges_of(answer.unread)
    all_found = NumberRanges()
    for key, ranges, scored in zip(keys, found, scores, strict=True):
        matches = NumberRanges().union(NumberRanges(tuple(ranges)))
        program.learn(key, _quick(matches), scored)
        all_found = all_found.union(matches)
    return all_found


def _quick(uids: NumberRanges) -> Container[int]:
    """The same for many questions: a set knows sooner than many ranges, as long as it is not too large."""
    return uids if len(uids.ranges) <= _FEW_RANGES or len(uids) > _MAX_SET else frozenset(uids)


def _term(key: LeafKey) -> mailbox_pb2.TextTerm:
    """A key in the store's words. Raises `CommandRefusedError` for one that is too long."""
    term = mailbox_pb2.TextTerm
    match key:
        case Sent(when, day):
            return term(field=_SENT[when], value=day.isoformat())
        case Saved(when, day):
            return term(field=_SAVED[when], value=day.isoformat())
        case HasEmailId(octets):
            return term(field=term.FIELD_EMAIL_ID, value=octets.hex())
        case HasThreadId(octets):
            return term(field=term.FIELD_THREAD_ID, value=octets.hex())
        case HeaderContains(name, value, fuzzy):
            found = term(field=term.FIELD_HEADER, header_name=name, value=value, fuzzy=fuzzy)
        case TextContains(TextField.BODY, value, fuzzy):
            found = term(field=term.FIELD_BODY, value=value, fuzzy=fuzzy)
        case TextContains(TextField.TEXT, value, fuzzy):
            found = term(field=term.FIELD_TEXT, value=value, fuzzy=fuzzy)
        case TextContains(field, value, fuzzy):
            found = term(field=term.FIELD_HEADER, header_name=field.value, value=value, fuzzy=fuzzy)
        case _:
            raise CommandRefusedError(TOO_MANY_ITEMS)
    if max(len(found.value), len(found.header_name)) > _MAX_TERM:
        raise CommandRefusedError(TOO_MANY_ITEMS)
    return found
