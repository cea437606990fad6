"""STORE (RFC 3501 s6.4.6), also on the condition that nothing has changed since (RFC 7162 s3.1.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.limiting import Newest, hard_limit, newest, ordered, pieces, tell_limited
from mail_access.imap.refusals import EXPUNGED, READ_ONLY, CommandRefusedError, some_expunged
from mail_access.imap.updates import write_flags, write_modseqs
from mail_access.mailbox_rows import WordChange
from mail_access.packed_rows import unpack_flags
from mail_access.store import ranges_of, uid_ranges
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.ids import new_id
from postroom_wire.imap.acl import Rights
from postroom_wire.imap.commands import Store, StoreMode
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.flags import DELETED, SEEN, SYSTEM_FLAGS, Flag
from postroom_wire.imap.qresync import modified
from postroom_wire.imap.sequence import NumberRanges

_SEEN: Final = 1 << SYSTEM_FLAGS.index(SEEN)
_DELETED: Final = 1 << SYSTEM_FLAGS.index(DELETED)
_ROWS_AT_ONCE: Final = 2_000
_STORED_AT_ONCE: Final = 100_000
"""Messages of one transaction; no more ranges than the store takes in one request."""
_MODES: Final[Mapping[StoreMode, mailbox_pb2.StoreFlagsRequest.Mode.ValueType]] = {
    StoreMode.REPLACE: mailbox_pb2.StoreFlagsRequest.MODE_REPLACE,
    StoreMode.ADD: mailbox_pb2.StoreFlagsRequest.MODE_ADD,
    StoreMode.REMOVE: mailbox_pb2.StoreFlagsRequest.MODE_REMOVE,
}


@dataclass(slots=True)
class _Outcome:
    """The UIDs that are different now, and those that failed the condition."""

    changed: list[int] = field(default_factory=list[int])
    modified: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])


async def store(context: Context, command: Store) -> Done:
    """STORE and UID STORE."""
    selected = context.require_selected()
    if selected.read_only:
        raise CommandRefusedError(READ_ONLY)
    named = selected.view.select(command.messages, by_uid=command.uid)
    wanted = newest(selected, named, hard_limit(context))
    uids, gone = selected.uids(wanted.numbers)
    outcome = await _store_all(context, selected, command, uids, backwards=wanted.is_part)
    await _tell(context, selected, command, wanted, outcome)
    code = _modified_code(selected, command, outcome)
    if gone and not command.uid:  # RFC 2180 s4.2
        tell_limited(context, wanted.code)
        raise CommandRefusedError(EXPUNGED if code is None else some_expunged(code))
    return Done(b"STORE completed", code, limited=wanted.code)


async def store_in(
    context: Context, selected: Selected, request: mailbox_pb2.StoreFlagsRequest, change: WordChange
) -> mailbox_pb2.StoreFlagsResponse:
    """Store flags in the selected mailbox; this session and the others of the process see it at once.

    `change` is what the request makes of a message's flag word.
    """
    request.mailbox_id = selected.mailbox.id.bytes
    stored = await context.resources.store.store_flags(selected.login, request)
    selected.mailbox.stored(stored, selected.view, change)
    # A call that was asked twice answers with what the second one changed, which may be nothing.
    await context.caught_up(selected.mailbox.id.bytes, stored.modseq)
    return stored


def split_flags(flags: tuple[Flag, ...]) -> tuple[int, list[str]]:
    """The bits of the system flags, and the names of the keywords."""
    bits = 0
    keywords: list[str] = []
    for flag in flags:
        if flag in SYSTEM_FLAGS:
            bits |= 1 << SYSTEM_FLAGS.index(flag)
        else:
            keywords.append(flag)
    return bits, keywords


async def _store_all(
    context: Context, selected: Selected, command: Store, uids: list[int], *, backwards: bool
) -> _Outcome:
    flags, keywords = split_flags(command.flags)
    outcome = _Outcome()
    try:
        starts = range(0, len(uids), _STORED_AT_ONCE)
        for done, start in enumerate(ordered(starts, backwards=backwards)):
            context.progress = done * _STORED_AT_ONCE, len(uids)
            some = NumberRanges.of(uids[start : start + _STORED_AT_ONCE])
            request = mailbox_pb2.StoreFlagsRequest(
                uids=uid_ranges(some.ranges),
                mode=_MODES[command.mode],
                flags=flags,
                keywords=keywords,
                unchanged_since=command.unchanged_since,
                operation_id=b"" if command.unchanged_since is None else new_id().bytes,
                packed=True,
            )
            stored = await store_in(context, selected, request, _word_change(selected, command))
            outcome.changed += _changed_uids(stored)
            outcome.modified += ranges_of(stored.modified)
    except BaseException:
        # What was changed before it failed is told like the changes of others.
        selected.view.flags_changed(outcome.changed)
        raise
    return outcome


def _changed_uids(stored: mailbox_pb2.StoreFlagsResponse) -> Iterable[int]:
    return unpack_flags(stored.changed).uids if stored.HasField("changed") else stored.rows.uids


def _word_change(selected: Selected, command: Store) -> WordChange:
    """What the command makes of a flag word; asked only once the bits of its keywords are known."""
    known: list[int] = []
    mask = _changeable(selected.rights)

    def change(word: int) -> int:
        if not known:
            known.append(selected.mailbox.names.word(command.flags) & mask)
        match command.mode:
            case StoreMode.REPLACE:
                return (word & ~mask) | known[0]
            case StoreMode.ADD:
                return word | known[0]
            case StoreMode.REMOVE:
                return word & ~known[0]

    return change


def _changeable(rights: Rights) -> int:
    """The bits of a flag word that the user may change (RFC 4314 s4)."""
    mask = _SEEN if rights & Rights.SEEN else 0
    mask |= _DELETED if rights & Rights.DELETE_MESSAGES else 0
    return mask | (~(_SEEN | _DELETED) if rights & Rights.WRITE else 0)


async def _tell(
    context: Context, selected: Selected, command: Store, wanted: Newest, outcome: _Outcome
) -> None:
    """The flags, or where they are not asked for the MODSEQs to those who follow these (RFC 7162 s3.1.3)."""
    by_modseq = Extension.CONDSTORE in context.enabled
    failed = NumberRanges(tuple(outcome.modified))
    passed = None if command.unchanged_since is not None else NumberRanges.of(outcome.changed)
    for some in pieces(wanted.numbers, _ROWS_AT_ONCE, backwards=wanted.is_part):
        rows = ordered(selected.mailbox.rows.read(selected.view, some), backwards=wanted.is_part)
        if not command.silent:
            write_flags(context, selected, rows, uid=command.uid)
        elif by_modseq:
            told = rows if passed is None else [row for row in rows if row.uid in passed]
            write_modseqs(context, selected, [row for row in told if row.uid not in failed])
            # Why they failed: the client needs not ask (RFC 7162 s3.1.3, example 10).
            write_flags(context, selected, [row for row in rows if row.uid in failed], uid=True)
        await context.output.flow()


def _modified_code(selected: Selected, command: Store, outcome: _Outcome) -> bytes | None:
    """MODIFIED with UIDs for UID STORE, else with message numbers."""
    if not outcome.modified:
        return None
    uids = NumberRanges(tuple(outcome.modified))
    if command.uid:
        return modified(uids)
    numbers = (selected.view.sequence_number(uid) for uid in uids)
    return modified(NumberRanges.of(number for number in numbers if number is not None))
