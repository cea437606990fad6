"""What a client that was away has missed: SELECT (QRESYNC ...) and UID FETCH (... VANISHED) (RFC 7162 s3.2).

A view is complete up to its mailbox's MODSEQ, and the store's tombstones may be ahead of it. So a UID that
the view still has is never told as vanished earlier: it goes by its own VANISHED once the view loses it.
"""

from typing import Final

from mail_access.imap.context import Context, Selected, chunks
from mail_access.imap.limiting import Newest, hard_limit, newest
from mail_access.imap.refusals import QRESYNC_DISABLED, CommandRefusedError
from mail_access.imap.updates import write_flags
from postroom_wire.imap.commands import Fetch
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.message_limit import message_limit, too_many
from postroom_wire.imap.qresync import Resynchronization, SelectParameters, vanished_earlier
from postroom_wire.imap.sequence import NumberRanges, SequenceSet

_ROWS_AT_ONCE: Final = 2_000


def check_parameters(context: Context, parameters: SelectParameters) -> None:
    """Before anything is closed. Raises `CommandRefusedError` when QRESYNC was not enabled (s3.2.5)."""
    if parameters.resynchronization is not None:
        _require_qresync(context)


async def resynchronize(context: Context, selected: Selected, known: Resynchronization) -> None:
    """Tell what vanished and what changed since; nothing when the UIDs are others now (s3.2.5)."""
    mailbox = selected.mailbox
    if known.uid_validity != mailbox.uid_validity:
        return
    uids = known.uids
    if uids is None:
        uids = NumberRanges(((1, mailbox.uid_next - 1),)) if mailbox.uid_next > 1 else NumberRanges()
    await _tell_vanished(context, selected, known.modseq, uids.above(known.known_below(selected.view) - 1))
    numbers = selected.view.select(SequenceSet(uids.ranges), by_uid=True)
    for some in chunks(mailbox.rows.changed_since(selected.view, numbers, known.modseq), _ROWS_AT_ONCE):
        write_flags(context, selected, mailbox.rows.read(selected.view, some), uid=True)
        await context.output.flow()


async def tell_changes(context: Context, selected: Selected, command: Fetch) -> Newest:
    """Of the messages of a FETCH those that its CHANGEDSINCE lets through; VANISHED comes before (s3.2.6).

    Raises `CommandRefusedError` when QRESYNC was not enabled, and for a PARTIAL of too many messages.
    """
    since, view, limit = command.modifiers.changed_since, selected.view, hard_limit(context)
    numbers = view.select(command.messages, by_uid=command.uid)
    if (partial := command.modifiers.partial) is not None:
        numbers = numbers.part(partial.of(len(numbers)))  # RFC 9394 s3.4: before CHANGEDSINCE
        if len(numbers) > limit:
            raise CommandRefusedError(too_many(message_limit(limit)))  # RFC 9738 s3.1
    if command.modifiers.vanished and since is not None:
        _require_qresync(context)
        # "*" is the last message that there is, but above it others may have vanished.
        uids = command.messages.resolve(max(selected.mailbox.uid_next - 1, 1))
        if command.messages.saved:
            uids = uids.union(NumberRanges.of(view.saved))
        await _tell_vanished(context, selected, since, uids)
    if since is not None:
        numbers = selected.mailbox.rows.changed_since(view, numbers, since)
    return newest(selected, numbers, limit)


async def _tell_vanished(context: Context, selected: Selected, since: int, uids: NumberRanges) -> None:
    mailbox = selected.mailbox
    # Even of who knows all up to the view's MODSEQ: the view may have lost messages above that, which its own
    # sessions expunged or which went with a page of changes.
    if not uids:
        return
    found = await context.resources.store.get_vanished(context.reading, mailbox.id, since, uids.ranges)
    # Where the store has forgotten, what is not there is told as vanished (s3.2.6).
    gone = uids.below(mailbox.uid_next - 1) if found is None else NumberRanges(tuple(found))
    if left := selected.view.without_known(gone):
        context.output.write(vanished_earlier(left))


def _require_qresync(context: Context) -> None:
    if Extension.QRESYNC not in context.enabled:
        raise CommandRefusedError(QRESYNC_DISABLED)
