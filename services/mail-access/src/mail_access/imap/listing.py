"""LIST, LSUB, STATUS and NAMESPACE (RFC 3501 s6.3.8 to s6.3.10, RFC 5258, RFC 5819, RFC 6154, RFC 2342)."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

from mail_access.imap.context import Context, Done
from mail_access.imap.metadata import named
from mail_access.imap.sharing import PREFIX, Located, locate, shared_mailboxes
from mail_access.login import Login
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import MailboxNotFoundError, NotPermittedError
from postroom_runtime.logs import log
from postroom_wire.imap import acl, responses
from postroom_wire.imap.acl import ALL_RIGHTS, Rights
from postroom_wire.imap.commands import List, ListReturn, ListSelection, Lsub, Status, StatusItem
from postroom_wire.imap.flags import Flag
from postroom_wire.imap.mailbox_name import ListPattern, MailboxName, MailboxNameError
from postroom_wire.imap.metadata import metadata
from postroom_wire.imap.object_id import mailbox_object_id

SPECIAL_USES: Final[Mapping[mailbox_pb2.SpecialUse.ValueType, Flag]] = {
    mailbox_pb2.SPECIAL_USE_SENT: responses.USE_SENT,
    mailbox_pb2.SPECIAL_USE_DRAFTS: responses.USE_DRAFTS,
    mailbox_pb2.SPECIAL_USE_TRASH: responses.USE_TRASH,
    mailbox_pb2.SPECIAL_USE_JUNK: responses.USE_JUNK,
    mailbox_pb2.SPECIAL_USE_ARCHIVE: responses.USE_ARCHIVE,
}
_CRITERIA: Final = frozenset({ListSelection.SUBSCRIBED, ListSelection.SPECIAL_USE})


@dataclass(slots=True)
class Listed:
    """A name of the hierarchy: a mailbox, or only the place of one."""

    name: MailboxName
    mailbox: mailbox_pb2.Mailbox | None = None
    shared: Located | None = None
    """Where it is somebody else's."""
    subscribed: bool = False
    use: Flag | None = None
    has_children: bool = False
    chosen: bool = False
    """It meets the selection criteria."""
    chosen_below: bool = False
    chosen_unseen_below: bool = False
    """What meets them below it is there, and some of that is not told of itself."""

    @property
    def rights(self) -> Rights:
        """The user's there."""
        return ALL_RIGHTS if self.shared is None else self.shared.rights


class _More(NamedTuple):
    """What LIST tells of mailboxes that their list does not, by the mailbox's id."""

    deleted_sizes: dict[bytes, int]
    annotations: dict[bytes, dict[str, bytes]]


async def list_mailboxes(context: Context, command: List) -> Done:
    """LIST with selection and return options."""
    if command.patterns == (b"",) and not command.extended:
        context.output.write(responses.hierarchy_delimiter())
        return Done(b"LIST completed")
    listed = await _listed(context)
    # RFC 5258 s3: an empty pattern of an extended LIST matches nothing, whatever the reference.
    patterns = [ListPattern(command.reference, pattern) for pattern in command.patterns if pattern]
    matched = {each.name for each in listed.values() if any(one.matches(each.name) for one in patterns)}
    recursive = ListSelection.RECURSIVEMATCH in command.selection
    _choose(listed, command.selection, matched if recursive else None)
    told = [
        each for each in listed.values() if each.name in matched and (each.chosen or each.chosen_unseen_below)
    ]
    more = await _find_more(context, command, [each for each in told if each.chosen])
    for each in told:
        _tell(context, command, each, more)
        await context.output.flow()
    return Done(b"LIST completed")


async def _find_more(context: Context, command: List, told: Sequence[Listed]) -> _More:
    """What is asked for once for all of the user's mailboxes, and for each of others'."""
    more = _More({}, {})
    own = [each.mailbox for each in told if each.mailbox and each.shared is None]
    await _find_of(context.login, context, command, own, more)
    for each in told:
        if each.mailbox and each.shared is not None:
            await _find_of(each.shared.login, context, command, [each.mailbox], more)
    return more


async def _find_of(
    login: Login, context: Context, command: List, mailboxes: Sequence[mailbox_pb2.Mailbox], more: _More
) -> None:
    # Of what was deleted, or is not shared any more, meanwhile nothing is told.
    with suppress(MailboxNotFoundError, NotPermittedError):
        more.deleted_sizes.update(await _deleted_sizes(context, login, mailboxes, command.status))
        if command.metadata and mailboxes:
            ids = [mailbox.id for mailbox in mailboxes]
            found = await context.resources.accounts.annotations(login, ids, command.metadata)
            more.annotations.update(zip(ids, found, strict=True))


async def _listed(context: Context) -> dict[MailboxName, Listed]:
    """The hierarchy with what others share with the user."""
    answer = await context.resources.store.list_mailboxes(context.login)
    shared = [located async for located in shared_mailboxes(context) if located.rights & Rights.LOOKUP]
    return _hierarchy(context, answer, shared)


def _tell(context: Context, command: List, each: Listed, more: _More) -> None:
    """One name: LIST, and of a mailbox that exists STATUS and METADATA (RFC 5819 s2, RFC 9590)."""
    extended: list[bytes] = []
    if each.chosen_below:
        criteria = sorted(option.value for option in command.selection & _CRITERIA)
        extended.append(responses.child_info(criteria))
    context.output.write(responses.mailbox_list(attributes(each, command.returns), each.name, extended))
    if not each.chosen or each.mailbox is None:
        return
    if ListReturn.MYRIGHTS in command.returns:
        context.output.write(acl.my_rights(each.name, each.rights))
    if command.status and each.rights & Rights.READ:
        values = _status_values(context, each.mailbox, command.status, more.deleted_sizes)
        context.output.write(responses.status(each.name, values))
    if command.metadata and (annotations := more.annotations.get(each.mailbox.id)) is not None:
        context.output.write(metadata(each.name, named(annotations, command.metadata)))


async def tell_mailbox(context: Context, name: MailboxName) -> None:
    """LIST of one mailbox, as SELECT has it in IMAP4rev2 (RFC 9051 s6.3.2)."""
    listed = await _listed(context)
    if (each := listed.get(name)) is not None:
        context.output.write(responses.mailbox_list(attributes(each, frozenset()), each.name))


async def lsub(context: Context, command: Lsub) -> Done:
    """LSUB: a name above a subscribed one is told as \\Noselect where the pattern ends there (s6.3.9)."""
    if not command.pattern:
        context.output.write(responses.hierarchy_delimiter(b"LSUB"))
        return Done(b"LSUB completed")
    answer = await context.resources.store.list_mailboxes(context.login)
    names = [mailbox.name for mailbox in answer.mailboxes if mailbox.subscribed]
    subscribed = _names(context, [*names, *answer.subscribed_absent])
    pattern = ListPattern(command.reference, command.pattern)
    above: set[MailboxName] = set()
    if b"%" in command.pattern:
        above = {name for each in subscribed for name in each.ancestors()}
    for name in sorted({*subscribed, *above}, key=_by_name):
        if pattern.matches(name):
            attributes = () if name in subscribed else (responses.NO_SELECT,)
            context.output.write(responses.lsub(attributes, name))
    return Done(b"LSUB completed")


async def status(context: Context, command: Status) -> Done:
    """STATUS, from the store's counters."""
    located, _ = await locate(context, command.mailbox)
    located.require(Rights.READ)
    mailbox = located.mailbox
    deleted_sizes = await _deleted_sizes(context, located.login, [mailbox], command.items)
    values = _status_values(context, mailbox, command.items, deleted_sizes)
    context.output.write(responses.status(command.mailbox, values))
    return Done(b"STATUS completed")


def namespace(context: Context) -> Done:
    """NAMESPACE: what is the user's, and what others share."""
    others = responses.NamespacePrefix(PREFIX.encode("ascii"))
    context.output.write(responses.namespace([responses.NamespacePrefix()], [others]))
    return Done(b"NAMESPACE completed")


async def _deleted_sizes(
    context: Context,
    login: Login,
    mailboxes: Sequence[mailbox_pb2.Mailbox],
    items: Collection[StatusItem],
) -> dict[bytes, int]:
    """DELETED-STORAGE of those mailboxes that have any; the store looks at all messages of those only."""
    ids = [mailbox.id for mailbox in mailboxes if mailbox.deleted]
    if StatusItem.DELETED_STORAGE not in items or not ids:
        return {}
    return dict(zip(ids, await context.resources.accounts.deleted_sizes(login, ids), strict=True))


def _status_values(
    context: Context,
    mailbox: mailbox_pb2.Mailbox,
    items: Iterable[StatusItem],
    deleted_sizes: Mapping[bytes, int],
) -> dict[StatusItem, int | bytes]:
    known: dict[StatusItem, int | bytes] = {
        StatusItem.MESSAGES: mailbox.messages,
        StatusItem.RECENT: min(mailbox.recent, mailbox.messages),
        StatusItem.UIDNEXT: mailbox.uid_next,
        StatusItem.UIDVALIDITY: mailbox.uid_validity,
        StatusItem.UNSEEN: mailbox.unseen,
        StatusItem.DELETED: mailbox.deleted,
        StatusItem.DELETED_STORAGE: deleted_sizes.get(mailbox.id, 0),
        StatusItem.SIZE: mailbox.size,
        StatusItem.HIGHESTMODSEQ: mailbox.highest_modseq,
        StatusItem.MAILBOXID: mailbox_object_id(mailbox.id, mailbox.uid_validity),
        StatusItem.APPENDLIMIT: context.resources.settings.append_octets,
    }
    return {item: known[item] for item in items}


def _hierarchy(
    context: Context, answer: mailbox_pb2.ListMailboxesResponse, shared: Iterable[Located]
) -> dict[MailboxName, Listed]:
    """All names, those above them that do not exist included; INBOX first, as people expect."""
    found: dict[MailboxName, Listed] = {}
    for mailbox in answer.mailboxes:
        for name in _names(context, [mailbox.name]):
            use = SPECIAL_USES.get(mailbox.special_use)
            found[name] = Listed(name, mailbox, subscribed=mailbox.subscribed, use=use)
    for located in shared:
        found[located.name] = Listed(located.name, located.mailbox, located)
    for name in _names(context, answer.subscribed_absent):
        found.setdefault(name, Listed(name)).subscribed = True
    for name, listed in list(found.items()):
        for above in name.ancestors():
            found.setdefault(above, Listed(above)).has_children |= listed.mailbox is not None
    return {name: found[name] for name in sorted(found, key=_by_name)}


def _choose(
    listed: Mapping[MailboxName, Listed],
    selection: frozenset[ListSelection],
    matched: set[MailboxName] | None,
) -> None:
    """Which names meet the selection criteria; with RECURSIVEMATCH also what is above them.

    `matched` are then the names that the patterns match: of what is above a name that is told of itself only
    that is told again which meets the criteria itself (RFC 5258 s3.5).
    """
    for name, each in listed.items():
        each.chosen = _selected(each, selection)
        if each.chosen and matched is not None:
            for above in name.ancestors():
                listed[above].chosen_below = True
                listed[above].chosen_unseen_below |= name not in matched


def _names(context: Context, texts: Iterable[str]) -> list[MailboxName]:
    names: list[MailboxName] = []
    for text in texts:
        try:
            names.append(MailboxName.of(text, utf8=context.utf8))
        except MailboxNameError:  # one that REST made and IMAP cannot say
            log.warning("mailbox_name_hidden")
    return names


def _selected(each: Listed, selection: frozenset[ListSelection]) -> bool:
    if ListSelection.SUBSCRIBED in selection and not each.subscribed:
        return False
    if ListSelection.SPECIAL_USE in selection and each.use is None:
        return False
    return each.mailbox is not None or each.has_children or ListSelection.SUBSCRIBED in selection


def attributes(each: Listed, returns: frozenset[ListReturn]) -> list[Flag]:
    """mbx-list-flags (RFC 5258 s6)."""
    found: list[Flag] = []
    if each.mailbox is None:
        found += [responses.NON_EXISTENT, responses.NO_SELECT]
    elif not each.rights & Rights.READ:  # RFC 5819 s2
        found.append(responses.NO_SELECT)
    found.append(responses.HAS_CHILDREN if each.has_children else responses.HAS_NO_CHILDREN)
    if ListReturn.SUBSCRIBED in returns and each.subscribed:
        found.append(responses.SUBSCRIBED)
    if each.use is not None:
        found.append(each.use)
    return found


def _by_name(name: MailboxName) -> tuple[bool, str]:
    return not name.is_inbox, name.value
