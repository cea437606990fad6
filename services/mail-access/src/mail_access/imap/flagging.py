"""STORE (RFC 3501 s6.4.6)."""

from collections.abc import Mapping
from typing import Final

from mail_access.imap.context import Context, Done, Selected, chunks
from mail_access.imap.refusals import EXPUNGED, READ_ONLY, CommandRefusedError
from mail_access.store import uid_ranges
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap import fetch_response
from postroom_wire.imap.commands import Store, StoreMode
from postroom_wire.imap.flags import SYSTEM_FLAGS, Flag
from postroom_wire.imap.sequence import NumberRanges

_ROWS_AT_ONCE: Final = 2_000
_STORED_AT_ONCE: Final = 20_000
"""Messages of one transaction, whose answer holds a row for each."""
_MODES: Final[Mapping[StoreMode, mailbox_pb2.StoreFlagsRequest.Mode.ValueType]] = {
    StoreMode.REPLACE: mailbox_pb2.StoreFlagsRequest.MODE_REPLACE,
    StoreMode.ADD: mailbox_pb2.StoreFlagsRequest.MODE_ADD,
    StoreMode.REMOVE: mailbox_pb2.StoreFlagsRequest.MODE_REMOVE,
}


async def store(context: Context, command: Store) -> Done:
    """STORE and UID STORE."""
    selected = context.require_selected()
    if selected.read_only:
        raise CommandRefusedError(READ_ONLY)
    numbers = selected.view.select(command.messages, by_uid=command.uid)
    uids, gone = selected.uids(numbers)
    flags, keywords = split_flags(command.flags)
    for start in range(0, len(uids), _STORED_AT_ONCE):
        some = NumberRanges.of(uids[start : start + _STORED_AT_ONCE])
        request = mailbox_pb2.StoreFlagsRequest(
            uids=uid_ranges(some.ranges),
            mode=_MODES[command.mode],
            flags=flags,
            keywords=keywords,
        )
        await store_in(context, selected, request)
    if not command.silent:
        await _tell(context, selected, numbers, with_uid=command.uid)
    if gone and not command.uid:
        raise CommandRefusedError(EXPUNGED)  # RFC 2180 s4.2
    return Done(b"STORE completed")


async def store_in(context: Context, selected: Selected, request: mailbox_pb2.StoreFlagsRequest) -> None:
    """Store flags in the selected mailbox; this session and the others of the process see it at once."""
    request.mailbox_id = selected.mailbox.id.bytes
    stored = await context.resources.store.store_flags(context.login, request)
    selected.mailbox.stored(stored, selected.view)
    # A call that was asked twice answers with what the second one changed, which may be nothing.
    await context.caught_up(selected.mailbox.id.bytes, stored.modseq)


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


async def _tell(context: Context, selected: Selected, numbers: NumberRanges, *, with_uid: bool) -> None:
    for some in chunks(numbers, _ROWS_AT_ONCE):
        rows = selected.mailbox.rows.read(selected.view, some)
        if with_uid:
            pieces = fetch_response.uids_and_flags(
                (row.sequence_number, row.uid, selected.flag_list(row.uid, row.word)) for row in rows
            )
        else:
            pieces = fetch_response.only_flags(
                (row.sequence_number, selected.flag_list(row.uid, row.word)) for row in rows
            )
        for piece in pieces:
            context.output.write(piece)
        await context.output.flow()
