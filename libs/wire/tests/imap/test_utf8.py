"""Sessions whose client has enabled UTF-8 (RFC 6855 s3, RFC 9051 s4.3)."""

import pytest

from postroom_wire.imap import responses
from postroom_wire.imap.commands import Create, Rename, Select
from postroom_wire.imap.errors import BAD_MAILBOX_NAME, BAD_STRING, Condition, Refusal, Tag
from postroom_wire.imap.events import NEED_DATA, AppendStarted, CommandReceived, CommandRefused
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.session import ServerSession
from postroom_wire.imap.state import State


def session(*, utf8: bool = True) -> ServerSession:
    made = ServerSession()
    made.state = State.AUTHENTICATED
    if utf8:
        made.enable_utf8()
    return made


def sent(made: ServerSession, octets: bytes) -> object:
    made.receive_data(octets)
    event = made.next_event()
    return event.command if isinstance(event, CommandReceived) else event


def test_names_are_utf8_and_nothing_else() -> None:
    name = MailboxName.of("Entwürfe &")
    assert sent(session(), 'a SELECT "Entwürfe &"\r\n'.encode()) == Select(name)
    assert sent(session(), b"a SELECT &ZeVnLIqe-\r\n") == Select(MailboxName.of("&ZeVnLIqe-"))
    assert sent(session(utf8=False), b"a SELECT &ZeVnLIqe-\r\n") == Select(MailboxName.of("日本語"))
    command = sent(session(), "a SELECT {3+}\r\näb\r\n".encode())
    assert command == Select(MailboxName.of("äb"))
    assert isinstance(command, Select)
    assert command.mailbox.encode() == "äb".encode()


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (b'a SELECT "\xff"', BAD_STRING),
        (b'a SEARCH SUBJECT "\xc3"', BAD_STRING),
        ('a CREATE "cafe\u0301"'.encode(), BAD_MAILBOX_NAME),
        ('a RENAME x "cafe\u0301"'.encode(), BAD_MAILBOX_NAME),
    ],
)
def test_what_is_not_utf8_or_no_name_to_be_is_refused(line: bytes, refusal: Refusal) -> None:
    made = session()
    made.state = State.SELECTED
    assert sent(made, line + b"\r\n") == CommandRefused(Tag(b"a"), refusal)


def test_names_that_are_there_may_be_in_any_form() -> None:
    name = MailboxName.of("cafe\u0301")
    assert sent(session(), 'a SELECT "cafe\u0301"\r\n'.encode()) == Select(name)
    assert sent(session(), 'a RENAME "cafe\u0301" "caf\u00e9"\r\n'.encode()) == Rename(
        name, MailboxName.of("caf\u00e9")
    )
    assert sent(session(utf8=False), b"a CREATE cafe&AwE-\r\n") == Create(name)


def test_append_names_its_mailbox_in_utf8() -> None:
    made = session()
    event = sent(made, 'a APPEND "Entwürfe" {3+}\r\nabc\r\n'.encode())
    assert isinstance(event, AppendStarted)
    assert event.append.mailbox == MailboxName.of("Entwürfe")


def test_responses_are_in_the_form_of_the_name() -> None:
    name = 'a "quoted" ä'
    assert responses.mailbox_list((), MailboxName.of(name, utf8=True)) == (
        '* LIST () "/" "a \\"quoted\\" ä"\r\n'.encode()
    )
    assert responses.mailbox_list((), MailboxName.of(name)) == b'* LIST () "/" "a \\"quoted\\" &AOQ-"\r\n'


def test_it_begins_with_the_next_command() -> None:
    made = session(utf8=False)
    assert sent(made, b"a ENABLE UTF8=ACCEPT\r\n") is not NEED_DATA
    made.enable_utf8()
    made.answer(Condition.OK, b"done")
    assert sent(made, b"b SELECT &-\r\n") == Select(MailboxName.of("&-"))
