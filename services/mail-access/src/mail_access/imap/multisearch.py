"""ESEARCH over several mailboxes (RFC 7377): each is opened as by EXAMINE, searched and left again."""

from array import array
from collections.abc import AsyncGenerator, Container
from contextlib import aclosing, asynccontextmanager
from typing import Final

from mail_access.imap import search_contexts
from mail_access.imap.context import Context, Done, Selected
from mail_access.imap.finding import find
from mail_access.imap.refusals import CommandRefusedError
from mail_access.imap.searching import results_of, save
from mail_access.imap.sharing import ROOT, Located, is_elsewhere, shared_mailboxes
from postroom_contracts.errors import MailboxNotFoundError
from postroom_wire.imap.acl import Rights
from postroom_wire.imap.errors import WRONG_STATE
from postroom_wire.imap.esearch import Search
from postroom_wire.imap.mailbox_filter import FilterKind, MailboxFilter
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
    async for located, modseq in _sources(context, command, selected):
        if selected is not None and located.id == selected.mailbox.id:
            await _search(context, command, selected, located.name, saved)
        elif located.mailbox.messages:
            await _search_closed(context, command, located, modseq)
    return Done(b"ESEARCH completed, result saved" if command.returns.saves else b"ESEARCH completed")


async def _sources(
    context: Context, command: MultiSearch, selected: Selected | None
) -> AsyncGenerator[tuple[Located, int]]:
    """The mailboxes to search, each once, with the MODSEQ of the account that keeps it."""
    listed = await context.resources.store.list_mailboxes(context.login)
    subscribed = {mailbox.name for mailbox in listed.mailboxes if mailbox.subscribed}
    subscribed.update(listed.subscribed_absent)

    def is_wanted(located: Located) -> bool:
        if selected is not None and located.id == selected.mailbox.id:
            return True
        return any(_holds(source, located, subscribed) for source in command.sources)

    for mailbox in listed.mailboxes:
        located = Located(MailboxName.of(mailbox.name, utf8=context.utf8), mailbox, context.login)
        if is_wanted(located):
            yield located, listed.modseq
    names = {name for source in command.sources for name in source.names}
    is_guest = selected is not None and selected.login.is_guest
    if not (is_guest or any(map(is_elsewhere, names)) or any(name.startswith(ROOT) for name in subscribed)):
        return  # the store need not be asked what is shared
    async with aclosing(shared_mailboxes(context)) as shared:
        async for located in shared:
            if is_wanted(located):
                (modseq,) = await context.resources.accounts.shared_modseqs([located.login])
                yield located, modseq


def _holds(source: MailboxFilter, located: Located, subscribed: Container[str]) -> bool:
    """Whether it is one of these; s2.2: what is not named must be seen, and all be readable (RFC 4314)."""
    if located.is_shared and source.kind in {FilterKind.PERSONAL, FilterKind.INBOXES}:
        return False
    named = source.kind is FilterKind.MAILBOXES
    needed = Rights.READ if named else Rights.READ | Rights.LOOKUP
    return located.rights & needed == needed and source.holds(located.name.value, subscribed)


async def _search_closed(context: Context, command: MultiSearch, located: Located, modseq: int) -> None:
    try:
        async with _opened(context, located, modseq) as opened:
            await _search(context, command, opened, located.name, _NOTHING)
    except MailboxNotFoundError:  # deleted since it was listed
        return


async def _search(
    context: Context, command: MultiSearch, selected: Selected, name: MailboxName, saved: "array[int]"
) -> None:
    found = await find(context, selected, command.key, saved)
    if context.selected is selected and command.returns.saves:
        save(selected, found.rows, command.returns)
    if context.selected is selected and command.returns.updates:  # s2.2: of no other mailbox
        uids = [row.uid for row in found.rows]
        kept = search_contexts.Kept(uids, True, command.returns.update_items)
        search_contexts.keep(context, selected, command.key, kept)
    if found.rows and command.returns.answers:
        wanted = Search(command.key, uid=True, returns=command.returns)
        results = results_of(wanted, found.rows, found.program)
        tag, validity = context.engine.pending_tag, selected.mailbox.uid_validity
        context.output.write(encode_multisearch(tag, name, validity, results, command.returns))
        await context.output.flow()


@asynccontextmanager
async def _opened(context: Context, located: Located, modseq: int) -> AsyncGenerator[Selected]:
    """The mailbox as if it were selected read-only, within the block; nothing wakes the session for it."""
    place = await context.resources.mailboxes.enter(located.login, located.id, modseq, _sleep_on)
    try:
        yield Selected(place, True, place.mailbox.names, rights=located.rights)
    finally:
        await place.leave()


def _sleep_on() -> None:
    """What a wake-up does."""
