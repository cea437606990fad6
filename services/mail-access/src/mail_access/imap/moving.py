"""COPY, MOVE and EXPUNGE with their UID forms (RFC 3501 s6.4.3, s6.4.7, RFC 6851, RFC 4315)."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.limiting import Newest, hard_limit, newest, pieces, require_all
from mail_access.imap.refusals import EXPUNGED, READ_ONLY, TRY_CREATE, CommandRefusedError
from mail_access.imap.sharing import Located, locate
from mail_access.store import ranges_of, uid_ranges
from postroom.mailstore.v1 import account_pb2, mailbox_pb2
from postroom_contracts.ids import new_id
from postroom_wire.imap import codes, responses
from postroom_wire.imap.commands import Copy, Expunge, Move
from postroom_wire.imap.cursor import MAX_NUMBER
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.flags import DELETED, SYSTEM_FLAGS
from postroom_wire.imap.sequence import NumberRanges

_DELETED: Final = 1 << SYSTEM_FLAGS.index(DELETED)
_EXPUNGED_AT_ONCE: Final = 20_000
"""Messages of one transaction: EXPUNGE and CLOSE may not be limited (RFC 9738 s3.1)."""


class _Wanted(NamedTuple):
    """The messages that a command names, as UIDs, and whether some of them are gone."""

    uids: Sequence[tuple[int, int]]
    gone: bool
    target: Located


async def copy(context: Context, command: Copy) -> Done:
    """COPY: all or nothing."""
    selected = context.require_selected()
    numbers = selected.view.select(command.messages, by_uid=command.uid)
    require_all(selected, numbers, context.resources.settings.message_limit)
    wanted = await _wanted(context, selected, command, numbers)
    if not wanted.uids:
        return Done(b"COPY completed, nothing to copy")
    if selected.login.is_guest or wanted.target.is_shared:
        done = await _transfer(context, selected, wanted, move=False)
        return Done(b"COPY completed", _copy_uid(done))
    copied = await context.resources.store.copy_messages(
        context.login, selected.mailbox.id, wanted.uids, wanted.target.id
    )
    await context.caught_up(wanted.target.mailbox.id, copied.modseq)
    return Done(b"COPY completed", _copy_uid(copied))


async def move(context: Context, command: Move) -> Done:
    """MOVE: COPYUID comes before the EXPUNGEs (RFC 6851 s4.3)."""
    selected = context.require_selected()
    if selected.read_only:
        raise CommandRefusedError(READ_ONLY)
    named = selected.view.select(command.messages, by_uid=command.uid)
    part = newest(selected, named, context.resources.settings.message_limit)
    wanted = await _wanted(context, selected, command, part.numbers)
    if not wanted.uids:
        return Done(b"MOVE completed, nothing to move", limited=part.code)
    if selected.login.is_guest or wanted.target.is_shared:
        moved = await _transfer(context, selected, wanted, move=True)
        modseq = moved.source_modseq
    else:
        moved = await context.resources.store.move_messages(
            context.login, selected.mailbox.id, wanted.uids, wanted.target.id
        )
        modseq = moved.modseq
    if (code := _copy_uid(moved)) is not None:
        context.output.write(responses.untagged(Condition.OK, b"Moved", code))
    if wanted.target.id != selected.mailbox.id:
        selected.mailbox.expunged(moved.source, modseq)
    await context.caught_up(wanted.target.mailbox.id, modseq)
    return Done(b"MOVE completed", expunged=bool(moved.source), limited=part.code)


async def _transfer(
    context: Context, selected: Selected, wanted: _Wanted, *, move: bool
) -> account_pb2.TransferMessagesResponse:
    """Between mailboxes of which one is somebody else's."""
    source, target = selected.login.account_id, wanted.target.login.account_id
    request = account_pb2.TransferMessagesRequest(
        source=account_pb2.MailboxPlace(account_id=source.bytes, mailbox_id=selected.mailbox.id.bytes),
        uids=uid_ranges(wanted.uids),
        target=account_pb2.MailboxPlace(account_id=target.bytes, mailbox_id=wanted.target.mailbox.id),
        move=move,
        operation_id=new_id().bytes,
    )
    done = await context.resources.accounts.transfer(context.login, request)
    await context.caught_up(selected.mailbox.id.bytes, done.source_modseq, source)
    await context.caught_up(wanted.target.mailbox.id, done.target_modseq, target)
    return done


async def expunge(context: Context, command: Expunge) -> Done:
    """EXPUNGE and UID EXPUNGE: what of them has \\Deleted."""
    selected = context.require_selected()
    if selected.read_only:
        raise CommandRefusedError(READ_ONLY)
    if command.uids is None:
        went = await expunge_deleted(context, selected)
        return Done(b"EXPUNGE completed", expunged=went)
    numbers = selected.view.select(command.uids, by_uid=True)
    part = Newest(numbers)
    if len(numbers) > (limit := hard_limit(context)):  # RFC 9738 s3.1: only those with \Deleted count
        part = newest(selected, _deleted(selected, numbers), limit)
    went = await _expunge_some(context, selected, part)
    return Done(b"EXPUNGE completed", expunged=went, limited=part.code)


async def expunge_deleted(context: Context, selected: Selected) -> bool:
    r"""Expunge all that has \\Deleted, as many as there may be; whether there were any."""
    uids = selected.mailbox.rows.uids.array
    # The last slice has what is not known here yet, too.
    starts = [1, *uids[_EXPUNGED_AT_ONCE::_EXPUNGED_AT_ONCE]]
    slices = zip(starts, [start - 1 for start in starts[1:]] + [MAX_NUMBER], strict=True)
    went = False
    for done, one in enumerate(list(slices)):
        context.progress = done * _EXPUNGED_AT_ONCE, len(uids)
        went |= await _expunge(context, selected, [one] if len(starts) > 1 else [])
    return went


async def _expunge_some(context: Context, selected: Selected, part: Newest) -> bool:
    went, done = False, 0
    for some in pieces(part.numbers, _EXPUNGED_AT_ONCE, backwards=part.is_part):
        context.progress = done, len(part.numbers)
        done += len(some)
        uids, _ = selected.uids(some)
        if uids:  # none at all would mean every message
            went |= await _expunge(context, selected, NumberRanges.of(uids).ranges)
    return went


async def _expunge(context: Context, selected: Selected, uids: Sequence[tuple[int, int]]) -> bool:
    expunged = await context.resources.store.expunge_messages(selected.login, selected.mailbox.id, uids)
    selected.mailbox.expunged(expunged.expunged, expunged.modseq)
    await context.caught_up(selected.mailbox.id.bytes, expunged.modseq)
    return bool(expunged.expunged)


def _deleted(selected: Selected, numbers: NumberRanges) -> NumberRanges:
    runs = selected.mailbox.rows.words(selected.view, numbers)
    return NumberRanges.of(
        number
        for run in runs
        for number, word in enumerate(run.words, run.sequence_number)
        if word & _DELETED
    )


async def _wanted(
    context: Context, selected: Selected, command: Copy | Move, numbers: NumberRanges
) -> _Wanted:
    uids, gone = selected.uids(numbers)
    if gone and not command.uid:
        raise CommandRefusedError(EXPUNGED)  # RFC 2180 s4.4.1
    target, _ = await locate(context, command.mailbox, TRY_CREATE)
    # Between messages that stand side by side there are no others, so it takes few ranges to name many.
    view = selected.view
    spans = [(view.uid(first), view.uid(last)) for first, last in numbers.ranges] if uids else []
    return _Wanted(spans, gone, target)


def _copy_uid(
    done: mailbox_pb2.CopyMessagesResponse
    | mailbox_pb2.MoveMessagesResponse
    | account_pb2.TransferMessagesResponse,
) -> bytes | None:
    if not done.source:
        return None
    pairs = zip(_each(ranges_of(done.source)), _each(ranges_of(done.target)), strict=True)
    return codes.copy_uid(done.target_uid_validity, pairs)


def _each(ranges: Sequence[tuple[int, int]]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)
