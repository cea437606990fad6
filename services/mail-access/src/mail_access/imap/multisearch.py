"""ESEARCH over several mailboxes (RFC 7377): each is opened as by EXAMINE, searched and left again."""

from array import array
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from mail_access.imap import search_contexts
from mail_access.imap.context import Context, Done, Selected, id_of
from mail_access.imap.finding import find
from mail_access.imap.refusals import CommandRefusedError
from mail_access.imap.searching import results_of, save
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import MailboxNotFoundError
from postroom_wire.imap.errors import WRONG_STATE
from postroom_wire.imap.esearch import Search
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.multisearch import MultiSearch, encode_multisearch

_NOTHING: Final = array("I")


async def multisearch(context: Context, command: MultiSearch) -> Done:
    """ESEARCH. A mailbox in which nothing is found is not told of, one that there is not neither."""
    selected = context.require_selected() if command.needs_selected and context.selected else None
    if command.needs_selected and selected is None:
        raise CommandRefusedError(WRONG_STATE)  # s2.2
    if command.returns.updates:
        if context.selected is None:
            raise CommandRefusedError(WRONG_STATE)
        search_contexts.check_tag(context)
    saved = _NOTHING if selected is None else selected.view.saved
    if selected is not None and command.returns.saves:
        selected.view.saved = array("I")  # RFC 5182 s2.1: what a NO leaves
    if command.refused is not None:
        raise CommandRefusedError(command.refused)
    listed = await context.resources.store.list_mailboxes(context.login)
    subscribed = {mailbox.name for mailbox in listed.mailboxes if mailbox.subscribed}
    for mailbox in listed.mailboxes:
        if selected is not None and id_of(mailbox.id) == selected.mailbox.id:
            await _search(context, command, selected, mailbox.name, saved)
        elif any(source.holds(mailbox.name, subscribed) for source in command.sources):
            await _search_closed(context, command, mailbox, listed.modseq)
    return Done(b"ESEARCH completed, result saved" if command.returns.saves else b"ESEARCH completed")


async def _search_closed(
    context: Context, command: MultiSearch, mailbox: mailbox_pb2.Mailbox, modseq: int
) -> None:
    if not mailbox.messages:
        return
    try:
        async with _opened(context, mailbox, modseq) as opened:
            await _search(context, command, opened, mailbox.name, _NOTHING)
    except MailboxNotFoundError:  # deleted since it was listed
        return


async def _search(
    context: Context, command: MultiSearch, selected: Selected, name: str, saved: "array[int]"
) -> None:
    found = await find(context, selected, command.key, saved)
    if context.selected is selected and command.returns.saves:
        save(selected, found.rows, command.returns)
    if context.selected is selected and command.returns.updates:  # s2.2: of no other mailbox
        uids = [row.uid for row in found.rows]
        search_contexts.keep(context, selected, command.key, uids, uid=True)
    if found.rows and command.returns.answers:
        told = MailboxName.of(name, utf8=context.utf8)
        wanted = Search(command.key, uid=True, returns=command.returns)
        results = results_of(wanted, found.rows, found.program)
        tag, validity = context.engine.pending_tag, selected.mailbox.uid_validity
        context.output.write(encode_multisearch(tag, told, validity, results, command.returns))
        await context.output.flow()


@asynccontextmanager
async def _opened(context: Context, mailbox: mailbox_pb2.Mailbox, modseq: int) -> AsyncGenerator[Selected]:
    """The mailbox as if it were selected read-only, within the block; nothing wakes the session for it."""
    async with AsyncExitStack() as stack:
        opened, reader = await stack.enter_async_context(
            context.resources.mailboxes.open(context.login, id_of(mailbox.id), modseq, _sleep_on)
        )
        yield Selected(opened, reader, read_only=True, place=stack, names=opened.names)


def _sleep_on() -> None:
    """What a wake-up does."""
