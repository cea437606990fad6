"""Object identifiers (RFC 8474 s7)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap import codes, responses
from postroom_wire.imap.capability import capabilities
from postroom_wire.imap.commands import StatusItem
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.object_id import (
    OBJECT_ID,
    email_id_of,
    email_object_id,
    mailbox_object_id,
    thread_id_of,
    thread_object_id,
)
from postroom_wire.imap.state import State

IDS = st.binary(min_size=16, max_size=16)


@given(IDS, st.integers(1, 2**32 - 1))
def test_each_kind_has_a_form_of_its_own(identifier: bytes, uid_validity: int) -> None:
    mailbox = mailbox_object_id(identifier, uid_validity)
    ids = [mailbox, email_object_id(identifier), thread_object_id(identifier)]
    assert all(OBJECT_ID.fullmatch(each) for each in ids)
    assert len(set(ids)) == 3
    assert mailbox != mailbox_object_id(identifier, uid_validity + 1)
    assert codes.mailbox_id(mailbox) == b"MAILBOXID (" + mailbox + b")"


@given(IDS)
def test_an_id_of_a_message_is_read_as_it_was_written(identifier: bytes) -> None:
    assert email_id_of(email_object_id(identifier)) == identifier
    assert thread_id_of(thread_object_id(identifier)) == identifier
    assert email_id_of(thread_object_id(identifier)) is None
    assert thread_id_of(email_object_id(identifier)) is None


@pytest.mark.parametrize("octets", [b"", b"M", b"M" + b"0" * 31, b"M" + b"A" * 32, b"M" + b"0" * 33, b"x-1"])
def test_what_is_not_ours_names_nothing(octets: bytes) -> None:
    assert email_id_of(octets) is None
    assert thread_id_of(octets) is None


def test_a_status_tells_an_object_id_in_brackets() -> None:
    values: dict[StatusItem, int | bytes] = {StatusItem.MAILBOXID: b"Fa-1", StatusItem.APPENDLIMIT: 7}
    told = responses.status(MailboxName("a"), values)
    assert told == b'* STATUS "a" (MAILBOXID (Fa-1) APPENDLIMIT 7)\r\n'


def test_the_append_limit_is_among_the_capabilities() -> None:
    after = capabilities(State.AUTHENTICATED, offers_tls=False, takes_passwords=False, append_limit=7)
    assert b"APPENDLIMIT=7" in after
