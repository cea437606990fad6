"""LIST, LSUB, STATUS and NAMESPACE (RFC 3501 s6.3.8 to s6.3.10, RFC 5258, RFC 5819, RFC 6154, RFC 2342)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mail_access.imap.context import Context, Done
from postroom.mailstore.v1 import mailbox_pb2
from postroom_runtime.logs import log
from postroom_wire.imap import responses
from postroom_wire.imap.commands import List, ListReturn, ListSelection, Lsub, Status, StatusItem
from postroom_wire.imap.flags import Flag
from postroom_wire.imap.mailbox_name import ListPattern, MailboxName, MailboxNameError
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
class _Listed:
    """A name of the hierarchy: a mailbox, or only the place of one."""

    name: MailboxName
    mailbox: mailbox_pb2.Mailbox | None = None
    subscribed: bool = False
    use: Flag | None = None
    has_children: bool = False
    chosen: bool = False
    """It meets the selection criteria."""
    chosen_below: bool = False
    chosen_unseen_below: bool = False
    """What meets them below it is there, and some of that is not told of itself."""


async def list_mailboxes(context: Context, command: List) -> Done:
    """LIST with selection and return options."""
    if command.patterns == (b"",) and not command.extended:
        context.output.write(responses.hierarchy_delimiter())
        return Done(b"LIST completed")
    listed = _hierarchy(await context.resources.store.list_mailboxes(context.login))
    # RFC 5258 s3: an empty pattern of an extended LIST matches nothing, whatever the reference.
    patterns = [ListPattern(command.reference, pattern) for pattern in command.patterns if pattern]
    matched = {each.name for each in listed.values() if any(one.matches(each.name) for one in patterns)}
    recursive = ListSelection.RECURSIVEMATCH in command.selection
    _choose(listed, command.selection, matched if recursive else None)
    for each in listed.values():
        if each.name in matched and (each.chosen or each.chosen_unseen_below):
            _tell(context, command, each)
            await context.output.flow()
    return Done(b"LIST completed")


def _tell(context: Context, command: List, each: _Listed) -> None:
    """One name: LIST, and STATUS of a mailbox that was asked for and exists (RFC 5819 s2)."""
    extended: list[bytes] = []
    if each.chosen_below:
        criteria = sorted(option.value for option in command.selection & _CRITERIA)
        extended.append(responses.child_info(criteria))
    context.output.write(responses.mailbox_list(_attributes(each, command.returns), each.name, extended))
    if each.chosen and each.mailbox is not None and command.status:
        context.output.write(
            responses.status(each.name, _status_values(context, each.mailbox, command.status))
        )


async def lsub(context: Context, command: Lsub) -> Done:
    """LSUB: a name above a subscribed one is told as \\Noselect where the pattern ends there (s6.3.9)."""
    if not command.pattern:
        context.output.write(responses.hierarchy_delimiter(b"LSUB"))
        return Done(b"LSUB completed")
    answer = await context.resources.store.list_mailboxes(context.login)
    names = [mailbox.name for mailbox in answer.mailboxes if mailbox.subscribed]
    subscribed = _names([*names, *answer.subscribed_absent])
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
    mailbox, _ = await context.find(command.mailbox)
    context.output.write(responses.status(command.mailbox, _status_values(context, mailbox, command.items)))
    return Done(b"STATUS completed")


def namespace(context: Context) -> Done:
    """NAMESPACE: everything is personal."""
    context.output.write(responses.namespace([responses.NamespacePrefix()]))
    return Done(b"NAMESPACE completed")


def _status_values(
    context: Context, mailbox: mailbox_pb2.Mailbox, items: Iterable[StatusItem]
) -> dict[StatusItem, int | bytes]:
    known: dict[StatusItem, int | bytes] = {
        StatusItem.MESSAGES: mailbox.messages,
        StatusItem.RECENT: min(mailbox.recent, mailbox.messages),
        StatusItem.UIDNEXT: mailbox.uid_next,
        StatusItem.UIDVALIDITY: mailbox.uid_validity,
        StatusItem.UNSEEN: mailbox.unseen,
        StatusItem.DELETED: mailbox.deleted,
        StatusItem.SIZE: mailbox.size,
        StatusItem.HIGHESTMODSEQ: mailbox.highest_modseq,
        StatusItem.MAILBOXID: mailbox_object_id(mailbox.id, mailbox.uid_validity),
        StatusItem.APPENDLIMIT: context.resources.settings.append_octets,
    }
    return {item: known[item] for item in items}


def _hierarchy(answer: mailbox_pb2.ListMailboxesResponse) -> dict[MailboxName, _Listed]:
    """All names, those above them that do not exist included; INBOX first, as people expect."""
    found: dict[MailboxName, _Listed] = {}
    for mailbox in answer.mailboxes:
        for name in _names([mailbox.name]):
            use = SPECIAL_USES.get(mailbox.special_use)
            found[name] = _Listed(name, mailbox, subscribed=mailbox.subscribed, use=use)
    for name in _names(answer.subscribed_absent):
        found[name] = _Listed(name, subscribed=True)
    for name, listed in list(found.items()):
        for above in name.ancestors():
            found.setdefault(above, _Listed(above)).has_children |= listed.mailbox is not None
    return {name: found[name] for name in sorted(found, key=_by_name)}


def _choose(
    listed: Mapping[MailboxName, _Listed],
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


def _names(texts: Iterable[str]) -> list[MailboxName]:
    names: list[MailboxName] = []
    for text in texts:
        try:
            names.append(MailboxName.of(text))
        except MailboxNameError:  # one that REST made and IMAP cannot say
            log.warning("mailbox_name_hidden")
    return names


def _selected(each: _Listed, selection: frozenset[ListSelection]) -> bool:
    if ListSelection.SUBSCRIBED in selection and not each.subscribed:
        return False
    if ListSelection.SPECIAL_USE in selection and each.use is None:
        return False
    return each.mailbox is not None or each.has_children or ListSelection.SUBSCRIBED in selection


def _attributes(each: _Listed, returns: frozenset[ListReturn]) -> list[Flag]:
    attributes: list[Flag] = []
    if each.mailbox is None:
        attributes += [responses.NON_EXISTENT, responses.NO_SELECT]
    attributes.append(responses.HAS_CHILDREN if each.has_children else responses.HAS_NO_CHILDREN)
    if ListReturn.SUBSCRIBED in returns and each.subscribed:
        attributes.append(responses.SUBSCRIBED)
    if each.use is not None:
        attributes.append(each.use)
    return attributes


def _by_name(name: MailboxName) -> tuple[bool, str]:
    return not name.is_inbox, name.value
