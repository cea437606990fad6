"""ESEARCH over several mailboxes (RFC 7377), and filters of mailboxes (RFC 5465 s6)."""

import pytest

from postroom_wire.imap.errors import SYNTAX_ERROR, TOO_MANY_ITEMS, Refusal, RemoteProtocolError, Tag
from postroom_wire.imap.esearch import ALL_RESULTS, ResultOption, Results, ReturnOptions
from postroom_wire.imap.flags import SEEN
from postroom_wire.imap.mailbox_filter import FilterKind, MailboxFilter
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.multisearch import SELECTED_ONLY, MultiSearch, encode_multisearch
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.search_keys import All, HasFlag, Not, TextContains, TextField


def named(kind: FilterKind, *names: str) -> MailboxFilter:
    return MailboxFilter(kind, tuple(MailboxName(name) for name in names))


COMMANDS = {
    b"ESEARCH ALL": MultiSearch(SELECTED_ONLY, All()),
    b"ESEARCH RETURN (SAVE) ALL": MultiSearch(
        SELECTED_ONLY, All(), ReturnOptions(frozenset({ResultOption.SAVE}))
    ),
    b'ESEARCH IN (mailboxes "folder1" subtree "folder2") unseen': MultiSearch(
        (named(FilterKind.MAILBOXES, "folder1"), named(FilterKind.SUBTREE, "folder2")), Not(HasFlag(SEEN))
    ),
    b"ESEARCH IN (selected inboxes personal subscribed) ALL": MultiSearch(
        tuple(
            MailboxFilter(FilterKind(name)) for name in (b"SELECTED", b"INBOXES", b"PERSONAL", b"SUBSCRIBED")
        ),
        All(),
    ),
    b'ESEARCH IN (subtree-one (a {1}\r\nb)) RETURN (COUNT) CHARSET UTF-8 subject "chad"': MultiSearch(
        (named(FilterKind.SUBTREE_ONE, "a", "b"),),
        TextContains(TextField.SUBJECT, "chad"),
        ReturnOptions(frozenset({ResultOption.COUNT})),
    ),
}
REFUSED: dict[bytes, Refusal] = {
    b"ESEARCH": SYNTAX_ERROR,
    b"ESEARCH IN () ALL": SYNTAX_ERROR,
    b"ESEARCH IN (selected)": SYNTAX_ERROR,
    b"ESEARCH IN (selected-delayed) ALL": SYNTAX_ERROR,
    b"ESEARCH IN (mailboxes) ALL": SYNTAX_ERROR,
    b"ESEARCH IN (mailboxes ()) ALL": SYNTAX_ERROR,
    b"ESEARCH IN (everything) ALL": SYNTAX_ERROR,
    b"ESEARCH IN (personal (depth 1)) ALL": SYNTAX_ERROR,
    b"ESEARCH RETURN () IN (personal) ALL": SYNTAX_ERROR,
    b"ESEARCH IN (personal) RETURN (SAVE) ALL": SYNTAX_ERROR,
    b"ESEARCH IN (" + b"personal " * 256 + b"personal) ALL": TOO_MANY_ITEMS,
    b"ESEARCH IN (mailboxes (" + b"a " * 256 + b"a)) ALL": TOO_MANY_ITEMS,
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
    ("wanted", "held"),
    [
        (MailboxFilter(FilterKind.SELECTED), []),
        (MailboxFilter(FilterKind.INBOXES), ["INBOX"]),
        (MailboxFilter(FilterKind.PERSONAL), ["INBOX", "a", "a/b", "a/b/c", "ab"]),
        (MailboxFilter(FilterKind.SUBSCRIBED), ["a/b"]),
        (named(FilterKind.MAILBOXES, "a", "ab", "z"), ["a", "ab"]),
        (named(FilterKind.SUBTREE, "a"), ["a", "a/b", "a/b/c"]),
        (named(FilterKind.SUBTREE_ONE, "a", "INBOX"), ["INBOX", "a", "a/b"]),
    ],
)
def test_a_filter_is_a_set_of_names(wanted: MailboxFilter, held: list[str]) -> None:
    names = ["INBOX", "a", "a/b", "a/b/c", "ab"]
    assert [name for name in names if wanted.holds(name, {"a/b"})] == held


def test_responses_say_which_mailbox_they_are_of() -> None:
    told = encode_multisearch(Tag(b"tag1"), MailboxName("folder1"), 1, Results((4001, 4003)), ALL_RESULTS)
    assert told == b'* ESEARCH (TAG "tag1" MAILBOX "folder1" UIDVALIDITY 1) UID ALL 4001,4003\r\n'
