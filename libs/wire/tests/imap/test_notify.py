"""NOTIFY (RFC 5465): the command, what it answers, and UPDATE with items (s7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.errors import (
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    Condition,
    Refusal,
    RemoteProtocolError,
)
from postroom_wire.imap.esearch import ResultOption, Search
from postroom_wire.imap.events import CommandReceived, NeedData
from postroom_wire.imap.fetch_items import FetchAttribute, FetchItem, FetchSection
from postroom_wire.imap.mailbox_filter import FilterKind, MailboxFilter
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.metadata import changed_metadata
from postroom_wire.imap.notify import (
    COUNTS,
    MESSAGE_EVENTS,
    Event,
    EventGroup,
    Notify,
    SelectedEvents,
    old_name,
)
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.responses import mailbox_list
from postroom_wire.imap.section import Section, SectionText
from postroom_wire.imap.session import ServerSession
from postroom_wire.imap.state import State, enables_condstore
from postroom_wire.imap.view import MailboxUids

SUBJECT = FetchSection(
    Section((), SectionText.HEADER_FIELDS, (b"from", b"to", b"subject")),
    None,
    peek=True,
    label=b"BODY[HEADER.FIELDS (from to subject)]",
)


def named(kind: FilterKind, *names: str) -> MailboxFilter:
    return MailboxFilter(kind, tuple(MailboxName(name) for name in names))


COMMANDS = {
    b"NOTIFY NONE": Notify(),
    b"notify set (selected none)": Notify(),
    b"NOTIFY SET (selected-delayed NONE)": Notify(SelectedEvents(delayed=True)),
    b"NOTIFY SET (selected (messagenew messageexpunge))": Notify(SelectedEvents(COUNTS)),
    b"NOTIFY SET STATUS "
    b"(selected (MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)) "
    b"(subtree Lists (MessageNew MessageExpunge))": Notify(
        SelectedEvents(COUNTS, items=(FetchAttribute.UID, SUBJECT)),
        (EventGroup(named(FilterKind.SUBTREE, "Lists"), COUNTS),),
        status=True,
    ),
    b"NOTIFY SET (SELECTED-DELAYED (FlagChange MessageExpunge MessageNew))": Notify(
        SelectedEvents(MESSAGE_EVENTS, delayed=True)
    ),
    b'notify set (mailboxes (INBOX "a b" {1}\r\nc) (Messagenew messageExpunge)) '
    b"(personal (SubscriptionChange))": Notify(
        groups=(
            EventGroup(named(FilterKind.MAILBOXES, "INBOX", "a b", "c"), COUNTS),
            EventGroup(named(FilterKind.PERSONAL), frozenset({Event.SUBSCRIPTION_CHANGE})),
        )
    ),
    b"NOTIFY SET (inboxes NONE) (subscribed (MailboxName MailboxMetadataChange ServerMetadataChange)) "
    b"(subtree-one a (MailboxName MailboxName))": Notify(
        groups=(
            EventGroup(named(FilterKind.INBOXES), frozenset()),
            EventGroup(
                named(FilterKind.SUBSCRIBED),
                frozenset({Event.MAILBOX_NAME, Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE}),
            ),
            EventGroup(named(FilterKind.SUBTREE_ONE, "a"), frozenset({Event.MAILBOX_NAME})),
        )
    ),
}
BOTH = b"(MessageNew MessageExpunge)"
REFUSED: dict[bytes, Refusal] = {
    b"NOTIFY": SYNTAX_ERROR,
    b"NOTIFY SET": SYNTAX_ERROR,
    b"NOTIFY SET STATUS": SYNTAX_ERROR,
    b"NOTIFY NONE NONE": SYNTAX_ERROR,
    b"NOTIFY NONE (selected NONE)": SYNTAX_ERROR,
    b"NOTIFY SET selected NONE": SYNTAX_ERROR,
    b"NOTIFY SET (selected)": SYNTAX_ERROR,
    b"NOTIFY SET (selected ())": SYNTAX_ERROR,
    b"NOTIFY SET (selected MessageNew)": SYNTAX_ERROR,
    b"NOTIFY SET (everything NONE)": SYNTAX_ERROR,
    b"NOTIFY SET (subtree () NONE)": SYNTAX_ERROR,
    b"NOTIFY SET (mailboxes NONE)": SYNTAX_ERROR,
    b"NOTIFY SET (selected NONE)(personal NONE)": SYNTAX_ERROR,
    # s5: some events are of use with others only
    b"NOTIFY SET (selected (MessageNew))": SYNTAX_ERROR,
    b"NOTIFY SET (personal (MessageExpunge))": SYNTAX_ERROR,
    b"NOTIFY SET (personal (FlagChange))": SYNTAX_ERROR,
    b"NOTIFY SET (personal (FlagChange MessageNew))": SYNTAX_ERROR,
    b"NOTIFY SET (subtree Lists (MessageNew MailboxName))": SYNTAX_ERROR,
    # s6.1: message events only, and only one of the two filters
    b"NOTIFY SET (selected (MailboxName))": SYNTAX_ERROR,
    b"NOTIFY SET (selected-delayed (MessageNew MessageExpunge ServerMetadataChange))": SYNTAX_ERROR,
    b"NOTIFY SET (selected NONE) (selected-delayed NONE)": SYNTAX_ERROR,
    b"NOTIFY SET (selected " + BOTH + b") (selected " + BOTH + b")": SYNTAX_ERROR,
    # s8: items of the selected mailbox's new messages only
    b"NOTIFY SET (personal (MessageNew (UID) MessageExpunge))": SYNTAX_ERROR,
    b"NOTIFY SET (selected (MessageNew () MessageExpunge))": SYNTAX_ERROR,
    b"NOTIFY SET (selected (MessageNew (NOTHING) MessageExpunge))": SYNTAX_ERROR,
    b"NOTIFY SET (selected (MessageNew MessageExpunge (UID)))": SYNTAX_ERROR,
    b"NOTIFY SET " + b" ".join([b"(personal NONE)"] * 33): TOO_MANY_ITEMS,
    b"NOTIFY SET (personal (" + b" ".join([b"MailboxName"] * 17) + b"))": TOO_MANY_ITEMS,
    b"NOTIFY SET (mailboxes (" + b"a " * 256 + b"a) NONE)": TOO_MANY_ITEMS,
    b"NOTIFY SET (mailboxes (" + b"a " * 255 + b"a) NONE) (subtree a NONE)": TOO_MANY_ITEMS,
}


@pytest.mark.parametrize("text", COMMANDS)
def test_each_form_is_a_command(text: bytes) -> None:
    assert parse_command(b"a " + text).command == COMMANDS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_other_forms_are_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a " + text)
    assert refused.value.refusal is REFUSED[text]


@pytest.mark.parametrize(
    "text",
    [
        b"NOTIFY SET (selected (MessageNew MessageExpunge AnnotationChange))",
        b"NOTIFY SET (personal (AnnotationChange))",
        b"NOTIFY SET STATUS (personal (MailboxName x-party)) (whatever comes",
    ],
)
def test_an_event_that_there_is_not_is_refused_with_those_there_are(text: bytes) -> None:
    command = parse_command(b"a " + text).command
    assert isinstance(command, Notify)
    assert command.refused == Refusal(
        Condition.NO,
        b"Event not supported",
        b"BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange"
        b" ServerMetadataChange)",
    )


@pytest.mark.parametrize("text", COMMANDS)
@pytest.mark.parametrize("state", [State.AUTHENTICATED, State.SELECTED])
def test_it_does_not_matter_where_the_network_cuts(text: bytes, state: State) -> None:
    line = b"a " + text + b"\r\n"
    for cut in range(1, len(line)):
        session = ServerSession()
        session.state = state
        found: list[object] = []
        for octets in (line[:cut], line[cut:]):
            session.receive_data(octets)
            while not isinstance(event := session.next_event(), NeedData):
                found.append(event)
                if isinstance(event, CommandReceived):
                    session.answer(Condition.OK, b"done")
        assert found[-1] == CommandReceived(parse_command(line[:-2]).tag, COMMANDS[text])


_WORDS = st.sampled_from(
    [event.value for event in Event]
    + [b"AnnotationChange", b"NONE", b"(", b")", b" ", b" ", b"(", b")", b"selected", b"selected-delayed"]
    + [
        b"personal",
        b"mailboxes",
        b"subtree",
        b"INBOX",
        b"STATUS",
        b"UID",
        b"body.peek[]",
        b'"',
        b"{1}\r\n",
        b"\0",
    ]
)


@given(st.lists(_WORDS, max_size=24))
def test_any_words_are_a_command_or_refused(words: list[bytes]) -> None:
    try:
        command = parse_command(b"a NOTIFY SET " + b"".join(words)).command
    except RemoteProtocolError:
        return
    assert isinstance(command, Notify)
    for events in (command.selected.events, *(group.events for group in command.groups)):
        assert not events & MESSAGE_EVENTS or events >= COUNTS
    assert not command.selected.items or Event.MESSAGE_NEW in command.selected.events


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (b"SEARCH RETURN (UPDATE) ALL", ()),
        (b"SEARCH RETURN (UPDATE(UID)) ALL", (FetchAttribute.UID,)),
        (
            b"SEARCH RETURN (COUNT UPDATE (UID BODY.PEEK[HEADER.FIELDS (from to subject)] UID)) ALL",
            (FetchAttribute.UID, SUBJECT),
        ),
    ],
)
def test_update_may_ask_for_items_of_new_messages(text: bytes, items: tuple[FetchItem, ...]) -> None:
    command = parse_command(b"a " + text).command
    assert isinstance(command, Search)
    assert command.returns is not None
    assert ResultOption.UPDATE in command.returns.options
    assert command.returns.update_items == items


@pytest.mark.parametrize("option", [b"UPDATE ()", b"UPDATE (UID", b"UPDATE (NOTHING)", b"COUNT (UID)"])
def test_other_items_are_refused(option: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a SEARCH RETURN (" + option + b") ALL")
    assert refused.value.refusal is SYNTAX_ERROR


def test_asking_for_modseqs_enables_condstore() -> None:
    for items, enables in ((b"MODSEQ", True), (b"UID", False)):
        text = b"a NOTIFY SET (selected (MessageNew (" + items + b") MessageExpunge))"
        assert enables_condstore(parse_command(text).command) is enables


def test_responses_have_the_form_of_the_rfc() -> None:
    new, old = MailboxName("NewMailbox"), MailboxName("OldMailbox")
    assert mailbox_list((), new, (old_name(old),)) == (
        b'* LIST () "/" "NewMailbox" ("OLDNAME" ("OldMailbox"))\r\n'
    )
    assert changed_metadata(MailboxName("INBOX"), ["/shared/comment"]) == (
        b"* METADATA INBOX /shared/comment\r\n"
    )
    assert changed_metadata(None, ["/private/a", "/shared/b"]) == b'* METADATA "" /private/a /shared/b\r\n'


def test_a_view_keeps_back_what_is_not_wanted() -> None:
    mailbox = MailboxUids([1, 2, 3])
    view = mailbox.attach()
    mailbox.append([4])
    mailbox.flags_changed([2])
    updates = view.updates(expunges=True, new=False, flags=False)
    assert updates == ([], [], None, [])
    assert view.exists == 3
    assert view.has_updates(expunges=False)
    assert view.updates(expunges=True, flags=False).exists == 4
    assert view.updates(expunges=True).changed == [(2, 2)]
    assert not view.has_updates(expunges=True)
