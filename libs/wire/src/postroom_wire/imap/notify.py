"""NOTIFY (RFC 5465): the command, and what only its notifications say."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.encoding import encode_mailbox
from postroom_wire.imap.errors import TOO_MANY_ITEMS, Condition, Refusal
from postroom_wire.imap.fetch_att import fetch_atts
from postroom_wire.imap.fetch_items import FetchItem
from postroom_wire.imap.flags import Flag
from postroom_wire.imap.mailbox_filter import FilterKind, MailboxFilter, filter_mailboxes
from postroom_wire.imap.mailbox_name import MailboxName

NO_ACCESS: Final = Flag("\\NoAccess")
"""mbx-list-oflag (s8): a mailbox that is there but not to be looked into."""
NOTIFICATION_OVERFLOW: Final = b"NOTIFICATIONOVERFLOW"


class Event(Enum):
    """event, as far as there is something to tell of it: there are no annotations of messages."""

    MESSAGE_NEW = b"MessageNew"
    MESSAGE_EXPUNGE = b"MessageExpunge"
    FLAG_CHANGE = b"FlagChange"
    MAILBOX_NAME = b"MailboxName"
    SUBSCRIPTION_CHANGE = b"SubscriptionChange"
    MAILBOX_METADATA_CHANGE = b"MailboxMetadataChange"
    SERVER_METADATA_CHANGE = b"ServerMetadataChange"


COUNTS: Final = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})
"""These two go together (s5)."""
MESSAGE_EVENTS: Final = COUNTS | {Event.FLAG_CHANGE}

_EVENTS: Final = {event.value.upper(): event for event in Event}
_BAD_EVENT: Final = Refusal(
    Condition.NO,
    b"Event not supported",
    b"BADEVENT (" + b" ".join(event.value for event in Event) + b")",
)
_SELECTED_DELAYED: Final = b"SELECTED-DELAYED"


@dataclass(frozen=True, slots=True)
class SelectedEvents:
    """What is told of the selected mailbox; `items` of each new message.

    `delayed`: expunges wait for a command that allows them (s6.1.2).
    """

    events: frozenset[Event] = frozenset()
    delayed: bool = False
    items: tuple[FetchItem, ...] = ()


@dataclass(frozen=True, slots=True)
class EventGroup:
    """What is told of other mailboxes."""

    mailboxes: MailboxFilter
    events: frozenset[Event]


@dataclass(frozen=True, slots=True)
class Notify:
    """s3.1; without any events it is NOTIFY NONE. `refused`: the NO for an event that there is not.

    `status`: first tell how the mailboxes are.
    """

    selected: SelectedEvents = SelectedEvents()
    groups: tuple[EventGroup, ...] = ()
    status: bool = False
    refused: Refusal | None = None


class _EventRefusedError(Exception):
    """There is no such event here."""


def parse_notify(cursor: Cursor) -> Notify:
    """notify = "NOTIFY" SP ("SET" [SP "STATUS"] SP event-groups / "NONE")."""
    cursor.sp()
    if cursor.accept_word(b"NONE"):
        return Notify()
    cursor.expect_word(b"SET")
    cursor.sp()
    status = cursor.accept_word(b"STATUS")
    if status:
        cursor.sp()
    try:
        return _event_groups(cursor, status=status)
    except _EventRefusedError:
        cursor.skip_rest()
        return Notify(refused=_BAD_EVENT)


def old_name(name: MailboxName) -> bytes:
    """oldname-extended-item = "OLDNAME" SP "(" mailbox ")"."""
    return b'"OLDNAME" (' + encode_mailbox(name) + b")"


def _event_groups(cursor: Cursor, *, status: bool) -> Notify:
    """event-groups = event-group *(SP event-group); one at most is of the selected mailbox (s6.1)."""
    selected: SelectedEvents | None = None
    groups: list[EventGroup] = []
    count = names = 0
    while not count or cursor.more(count, cursor.limits.max_event_groups):
        count += 1
        group = _event_group(cursor)
        if isinstance(group, EventGroup):
            groups.append(group)
            names += len(group.mailboxes.names)
            if names > cursor.limits.max_filter_mailboxes:  # each mailbox is compared with all of them
                raise cursor.wrong("fewer mailboxes", TOO_MANY_ITEMS)
        elif selected is None:
            selected = group
        else:
            raise cursor.wrong("one filter for the selected mailbox")
    return Notify(selected or SelectedEvents(), tuple(groups), status)


def _event_group(cursor: Cursor) -> SelectedEvents | EventGroup:
    """event-group = "(" filter-mailboxes SP events ")"."""
    cursor.expect(b"(")
    delayed = cursor.accept_word(_SELECTED_DELAYED)
    mailboxes = MailboxFilter(FilterKind.SELECTED) if delayed else filter_mailboxes(cursor)
    is_selected = mailboxes.kind is FilterKind.SELECTED
    cursor.sp()
    events, items = _events(cursor, takes_items=is_selected)
    cursor.expect(b")")
    if is_selected and events - MESSAGE_EVENTS:  # s6.1
        raise cursor.wrong("message-event")
    if events & MESSAGE_EVENTS and not events >= COUNTS:  # s5
        raise cursor.wrong("MessageNew with MessageExpunge")
    return SelectedEvents(events, delayed, items) if is_selected else EventGroup(mailboxes, events)


def _events(cursor: Cursor, *, takes_items: bool) -> tuple[frozenset[Event], tuple[FetchItem, ...]]:
    """events = ( "(" event *(SP event) ")" ) / "NONE".

    message-event = ( "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")" ] ) / ...
    """
    if cursor.accept_word(b"NONE"):
        return frozenset(), ()
    cursor.expect(b"(")
    events: set[Event] = set()
    items: tuple[FetchItem, ...] = ()
    count = 0
    while not count or cursor.more(count, cursor.limits.max_events):
        count += 1
        event = _EVENTS.get(cursor.atom().upper())
        if event is None:
            raise _EventRefusedError
        events.add(event)
        if takes_items and event is Event.MESSAGE_NEW and cursor.accept(b" ("):
            items = fetch_atts(cursor)
    cursor.expect(b")")
    return frozenset(events), items
