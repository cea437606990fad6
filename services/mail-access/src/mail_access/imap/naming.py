"""CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE (RFC 3501 s6.3.3 to s6.3.7)."""

from collections.abc import Sequence
from typing import Final

from mail_access.imap.context import Context, Done, id_of
from mail_access.imap.listing import SPECIAL_USES
from mail_access.imap.refusals import NO_SUCH_USE, CommandRefusedError
from mail_access.imap.sharing import require_own
from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap import codes
from postroom_wire.imap.flags import Flag, fold
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.object_id import mailbox_object_id

_USES: Final = {fold(flag): use for use, flag in SPECIAL_USES.items()}


async def create(context: Context, name: MailboxName, uses: Sequence[Flag] = ()) -> Done:
    """CREATE: what is missing above is made too. The mailbox that had the special use before loses it."""
    require_own(name)
    created = await context.resources.store.create_mailbox(context.login, name.value, special_use(uses))
    context.wrote(created.modseq)
    made = created.mailbox
    return Done(b"CREATE completed", codes.mailbox_id(mailbox_object_id(made.id, made.uid_validity)))


def special_use(uses: Sequence[Flag]) -> mailbox_pb2.SpecialUse.ValueType:
    """The one use that these attributes name. Raises `CommandRefusedError` for others and for two of them."""
    known = {_USES.get(fold(use)) for use in uses}
    if not known:
        return mailbox_pb2.SPECIAL_USE_UNSPECIFIED
    use = known.pop()
    if use is None or known:
        raise CommandRefusedError(NO_SUCH_USE)
    return use


async def delete(context: Context, name: MailboxName) -> Done:
    """DELETE: mailboxes below stay. Other sessions that have it selected are sent away."""
    require_own(name)
    mailbox, _ = await context.find(name)
    mailbox_id = id_of(mailbox.id)
    if context.selected is not None and context.selected.mailbox.id == mailbox_id:
        context.selected.deleted_here = True
    context.wrote(await context.resources.store.delete_mailbox(context.login, mailbox_id))
    if context.selected is not None and context.selected.mailbox.id == mailbox_id:
        context.selected.mailbox.deleted()
    return Done(b"DELETE completed")


async def rename(context: Context, source: MailboxName, destination: MailboxName) -> Done:
    """RENAME: mailboxes below go with it; of INBOX only the messages (s6.3.5)."""
    require_own(source, destination)
    mailbox, _ = await context.find(source)
    store = context.resources.store
    context.wrote(await store.rename_mailbox(context.login, id_of(mailbox.id), destination.value))
    return Done(b"RENAME completed")


async def subscribe(context: Context, name: MailboxName, *, subscribed: bool) -> Done:
    """SUBSCRIBE and UNSUBSCRIBE; the mailbox need not exist (s6.3.6)."""
    store = context.resources.store
    context.wrote(await store.set_subscription(context.login, name.value, subscribed=subscribed))
    return Done(b"SUBSCRIBE completed" if subscribed else b"UNSUBSCRIBE completed")
