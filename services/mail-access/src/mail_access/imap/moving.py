"""COPY, MOVE and EXPUNGE with their UID forms (RFC 3501 s6.4.3, s6.4.7, RFC 6851, RFC 4315)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.refusals import EXPUNGED, READ_ONLY, TRY_CREATE, CommandRefusedError
from mail_access.imap.sharing import Located, locate
from mail_access.store import ranges_of, uid_ranges
from postroom.mailstore.v1 import account_pb2, mailbox_pb2
from postroom_contracts.ids import new_id
from postroom_wire.imap import codes, responses
from postroom_wire.imap.commands import Copy, Expunge, Move
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.sequence import NumberRanges


class _Wanted(NamedTuple):
    """The messages that a command names, as UIDs, and whether some of them are gone."""

    uids: Sequence[tuple[int, int]]
    gone: bool
    target: Located


async def copy(context: Context, command: Copy) -> Done:
    """COPY: all or nothing."""
    selected = context.require_selected()
    wanted = await _wanted(context, selected, command)
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
    wanted = await _wanted(context, selected, command)
    if not wanted.uids:
        return Done(b"MOVE completed, nothing to move")
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
    return Done(b"MOVE completed", expunged=bool(moved.source))


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
    uids: Sequence[tuple[int, int]] = ()
    if command.uids is not None:
        found, _ = selected.uids(selected.view.select(command.uids, by_uid=True))
        if not found:  # no UIDs at all would mean every message
            return Done(b"EXPUNGE completed")
        uids = NumberRanges.of(found).ranges
    expunged = await context.resources.store.expunge_messages(selected.login, selected.mailbox.id, uids)
    selected.mailbox.expunged(expunged.expunged, expunged.modseq)
    await context.caught_up(selected.mailbox.id.bytes, expunged.modseq)
    return Done(b"EXPUNGE completed", expunged=bool(expunged.expunged))


async def _wanted(context: Context, selected: Selected, command: Copy | Move) -> _Wanted:
    uids, gone = selected.uids(selected.view.select(command.messages, by_uid=command.uid))
    if gone and not command.uid:
        raise CommandRefusedError(EXPUNGED)  # RFC 2180 s4.4.1
    target, _ = await locate(context, command.mailbox, TRY_CREATE)
    return _Wanted(NumberRanges.of(uids).ranges, gone, target)


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
