"""Sets of mailboxes that a command names by what they are (RFC 5465 s6 filter-mailboxes, RFC 7377 s2.2)."""

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.mailbox_name import DELIMITER, MailboxName


class FilterKind(Enum):
    """What kind of a set."""

    SELECTED = b"SELECTED"
    INBOXES = b"INBOXES"
    """Where mail is delivered to."""
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    SUBTREE_ONE = b"SUBTREE-ONE"
    """With the next level only (RFC 7377 s2.2)."""
    MAILBOXES = b"MAILBOXES"


_KINDS: Final = {kind.value: kind for kind in FilterKind}
_NAMED: Final = frozenset({FilterKind.SUBTREE, FilterKind.SUBTREE_ONE, FilterKind.MAILBOXES})


@dataclass(frozen=True, slots=True)
class MailboxFilter:
    """filter-mailboxes; `names` for the kinds that name some."""

    kind: FilterKind
    names: tuple[MailboxName, ...] = ()

    def holds(self, name: str, subscribed: Container[str]) -> bool:
        """Whether a mailbox of the user's own is one of these; the selected one is for the caller to know."""
        match self.kind:
            case FilterKind.SELECTED:
                return False
            case FilterKind.INBOXES:
                return MailboxName(name).is_inbox
            case FilterKind.PERSONAL:
                return True
            case FilterKind.SUBSCRIBED:
                return name in subscribed
            case FilterKind.MAILBOXES:
                return any(name == each.value for each in self.names)
            case FilterKind.SUBTREE | FilterKind.SUBTREE_ONE:
                return any(self._below(name, each.value) for each in self.names)

    def _below(self, name: str, top: str) -> bool:
        if name == top:
            return True
        if not name.startswith(top + DELIMITER):
            return False
        return self.kind is FilterKind.SUBTREE or DELIMITER not in name[len(top) + 1 :]


def filter_mailboxes(cursor: Cursor) -> MailboxFilter:
    """filter-mailboxes = filter-mailboxes-selected / filter-mailboxes-other."""
    kind = cursor.word_of(_KINDS)
    if kind not in _NAMED:
        return MailboxFilter(kind)
    cursor.sp()
    return MailboxFilter(kind, _one_or_more_mailbox(cursor))


def _one_or_more_mailbox(cursor: Cursor) -> tuple[MailboxName, ...]:
    """one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"."""
    if not cursor.accept(b"("):
        return (cursor.mailbox(),)
    names = [cursor.mailbox()]
    while cursor.more(len(names), cursor.limits.max_filter_mailboxes):
        names.append(cursor.mailbox())
    cursor.expect(b")")
    return tuple(names)
