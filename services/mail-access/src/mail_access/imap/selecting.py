"""SELECT, EXAMINE, CLOSE, UNSELECT, NOOP and CHECK (RFC 3501 s6.3.1, s6.4, RFC 3691)."""

from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.listing import tell_mailbox
from mail_access.imap.moving import expunge_deleted
from mail_access.imap.sharing import locate
from mail_access.imap.synchronizing import check_parameters, resynchronize
from mail_access.imap.updates import add_recent, count_recent, take_highest_modseq, tell_flags
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap import codes, responses
from postroom_wire.imap.acl import CHANGING, Rights
from postroom_wire.imap.commands import Examine, Select
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.object_id import mailbox_object_id


async def select(context: Context, command: Select | Examine) -> Done:
    """SELECT or EXAMINE: what was selected before is left, whether or not this succeeds."""
    check_parameters(context, command.parameters)
    # Left at the end, so that the account's subscription and a mailbox that is selected again stay.
    before, context.selected = context.selected, None
    if before is not None:  # RFC 7162 s3.2.11
        context.output.write(responses.untagged(Condition.OK, b"Left", codes.CLOSED))
    try:
        return await _select(context, command)
    finally:
        if before is not None:
            await before.place.leave()


async def _select(context: Context, command: Select | Examine) -> Done:
    located, modseq = await locate(context, command.mailbox)
    located.require(Rights.READ)
    read_only = isinstance(command, Examine) or not located.rights & CHANGING
    mailbox = located.mailbox
    place = await context.resources.mailboxes.enter(
        located.login, located.id, modseq, context.connection.wake
    )
    try:
        selected = Selected(place, read_only, place.mailbox.names, rights=located.rights)
        if context.tells_recent:
            await _claim_recent(context, selected, mailbox)
    except BaseException:
        await place.leave()
        raise
    context.selected = selected
    _describe(context, selected)
    if Extension.IMAP4REV2 in context.enabled:
        await tell_mailbox(context, command.mailbox)
    if command.parameters.resynchronization is not None:
        await resynchronize(context, selected, command.parameters.resynchronization)
    text = b"EXAMINE completed" if isinstance(command, Examine) else b"SELECT completed"
    return Done(text, codes.READ_ONLY if read_only else codes.READ_WRITE)


async def close(context: Context) -> Done:
    """CLOSE: expunges without a word, unless read-only."""
    selected = context.selected
    if selected is not None and _expunges(selected):
        await expunge_deleted(context, selected)
    await context.leave()
    return Done(b"CLOSE completed")


def _expunges(selected: Selected) -> bool:
    """RFC 4314 s4: who may not expunge closes all the same."""
    return not selected.read_only and not selected.mailbox.gone and bool(selected.rights & Rights.EXPUNGE)


async def unselect(context: Context) -> Done:
    """UNSELECT: leaves without expunging."""
    await context.leave()
    return Done(b"UNSELECT completed")


async def look(context: Context) -> None:
    """NOOP and CHECK ask the store, so that a lost wake-up is made good (s6.1.2)."""
    selected = context.selected
    if selected is None or selected.mailbox.gone:
        return
    login = selected.login
    if login.is_guest:
        (modseq,) = await context.resources.accounts.shared_modseqs([login])
    else:
        (modseq,) = await context.resources.store.get_modseqs([await login.token()])
    if modseq > selected.mailbox.modseq:
        await selected.mailbox.refresh(login, modseq)


async def _claim_recent(context: Context, selected: Selected, mailbox: mailbox_pb2.Mailbox) -> None:
    """\\Recent is given out to one session; who only examines takes nothing away (s6.3.2)."""
    if not selected.read_only:
        first, last = await context.resources.store.claim_recent(selected.login, selected.mailbox.id)
    else:
        first, last = mailbox.uid_next - mailbox.recent, mailbox.uid_next - 1
    add_recent(selected, first, last)


def _describe(context: Context, selected: Selected) -> None:
    mailbox, output = selected.mailbox, context.output
    tell_flags(context, selected)
    output.write(responses.exists(selected.view.exists))
    if context.tells_recent:  # neither RECENT nor UNSEEN is in IMAP4rev2 (RFC 9051 s6.3.2)
        output.write(responses.recent(count_recent(selected)))
        unseen = None if context.uid_only else mailbox.rows.first_unseen()
        if unseen is not None and unseen <= selected.view.exists:
            output.write(responses.untagged(Condition.OK, b"First unseen", codes.unseen(unseen)))
    output.write(responses.untagged(Condition.OK, b"UIDs valid", codes.uid_validity(mailbox.uid_validity)))
    output.write(responses.untagged(Condition.OK, b"Next UID", codes.uid_next(mailbox.uid_next)))
    output.write(responses.untagged(Condition.OK, b"Highest", take_highest_modseq(selected)))
    if Extension.CONDSTORE not in context.enabled:
        selected.client_modseq = None  # RFC 7162 s3.1: what enables CONDSTORE tells it once more
    object_id = mailbox_object_id(mailbox.id.bytes, mailbox.uid_validity)
    output.write(responses.untagged(Condition.OK, b"Object id", codes.mailbox_id(object_id)))
