"""RFC 9738."""

import pytest

from postroom_wire.imap.append_parser import AppendReader
from postroom_wire.imap.capability import capabilities
from postroom_wire.imap.cursor import MAX_NUMBER, Cursor
from postroom_wire.imap.errors import RemoteProtocolError
from postroom_wire.imap.limits import Limits
from postroom_wire.imap.message_limit import message_limit, too_many
from postroom_wire.imap.search_keys import All, Not, SearchKey, Uids
from postroom_wire.imap.search_parser import parse_search
from postroom_wire.imap.sequence import SequenceSet
from postroom_wire.imap.state import State


def test_the_code_names_the_lowest_uid_where_it_is_known() -> None:
    assert message_limit(1000, 23221) == b"MESSAGELIMIT 1000 23221"
    assert message_limit(1000) == b"MESSAGELIMIT 1000"
    assert (
        too_many(message_limit(1000, 20001))
        .encode(None)
        .startswith(b"* NO [MESSAGELIMIT 1000 20001] Too many")
    )


def test_the_limit_is_among_the_capabilities_after_the_login() -> None:
    def told(state: State) -> list[bytes]:
        names = capabilities(
            state, offers_tls=False, takes_passwords=True, append_limit=7, message_limit=250_000
        )
        return [name for name in names if name.startswith(b"MESSAGELIMIT")]

    assert told(State.AUTHENTICATED) == [b"MESSAGELIMIT=250000"]
    assert told(State.NOT_AUTHENTICATED) == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"UIDAFTER 25000", Uids(SequenceSet(((25_001, MAX_NUMBER),)))),
        (b"uidafter 4294967295", Not(All())),
        (b"UIDBEFORE 25000", Uids(SequenceSet(((1, 24_999),)))),
        (b"UIDBEFORE 1", Not(All())),
    ],
)
def test_one_uid_stands_for_those_on_one_side_of_it(text: bytes, key: SearchKey) -> None:
    assert parse_search(Cursor(b" " + text)).key == key


@pytest.mark.parametrize(
    "text", [b"UIDAFTER", b"UIDAFTER 0", b"UIDBEFORE *", b"UIDBEFORE $", b"UIDAFTER 4294967296"]
)
def test_what_is_no_uid_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_search(Cursor(b" " + text + b"\r\n"))


def test_no_message_after_the_last_uid_is_found() -> None:
    key = parse_search(Cursor(b" UIDAFTER 9")).key
    assert isinstance(key, Uids)
    assert 9 not in key.uids.resolve(9)  # as it would be in 10:*


def test_an_append_of_too_many_messages_says_how_many_it_may_have() -> None:
    reader = AppendReader(Limits(max_append_messages=2), single=False)
    reader.read(Cursor(b" {1+}"))
    reader.read(Cursor(b" {1+}"))
    with pytest.raises(RemoteProtocolError) as refused:
        reader.read(Cursor(b" {1+}"))
    assert refused.value.refusal == too_many(message_limit(2))
