"""Searches whose changes are told (RFC 5267 s4.3)."""

from array import array

import pytest

from postroom_wire.imap.errors import SYNTAX_ERROR, TOO_MANY_ITEMS, Refusal, RemoteProtocolError, Tag
from postroom_wire.imap.flags import SEEN
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.search_context import CancelUpdate, encode_update, frozen, no_update
from postroom_wire.imap.search_keys import And, HasFlag, Not, Or, SearchKey, SequenceNumbers, Uids
from postroom_wire.imap.sequence import STAR, SequenceSet
from postroom_wire.imap.view import MailboxUids

REFUSED: dict[bytes, Refusal] = {
    b"CANCELUPDATE": SYNTAX_ERROR,
    b"CANCELUPDATE B01": SYNTAX_ERROR,
    b'CANCELUPDATE ("B01")': SYNTAX_ERROR,
    b"CANCELUPDATE" + b' "a"' * 17: TOO_MANY_ITEMS,
}


def test_searches_are_cancelled_by_their_tags() -> None:
    command = parse_command(b'a CANCELUPDATE "B01" "x"').command
    assert command == CancelUpdate((Tag(b"B01"), Tag(b"x")))


@pytest.mark.parametrize("text", REFUSED)
def test_other_forms_are_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a " + text)
    assert refused.value.refusal is REFUSED[text]


def test_changes_are_told_in_the_order_of_the_mailbox() -> None:
    tag = Tag(b"B01")
    assert encode_update(tag, (), [32769, 32768], uid=True) == (
        b'* ESEARCH (TAG "B01") UID ADDTO (0 32768:32769)\r\n'
    )
    assert encode_update(tag, [7], [3, 5], uid=False) == (
        b'* ESEARCH (TAG "B01") REMOVEFROM (0 7) ADDTO (0 3,5)\r\n'
    )
    assert no_update(tag) == b'NOUPDATE "B01"'


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        (SequenceNumbers(SequenceSet(((2, STAR),))), Uids(SequenceSet(((5, 6),)))),
        (SequenceNumbers(SequenceSet(((9, 9),))), Uids(SequenceSet(()))),
        (SequenceNumbers(SequenceSet((), saved=True)), Uids(SequenceSet(((3, 3),)))),
        (Uids(SequenceSet(((6, 6),), saved=True)), Uids(SequenceSet(((3, 3), (6, 6))))),
        (Uids(SequenceSet(((5, STAR),))), Uids(SequenceSet(((5, STAR),)))),
    ],
)
def test_numbers_mean_what_they_meant_at_first(key: SearchKey, kept: SearchKey) -> None:
    view = MailboxUids([3, 5, 6]).attach()
    view.saved = array("I", [3])
    assert frozen(key, view) == kept
    seen = HasFlag(SEEN)
    assert frozen(And((seen, Or(Not(key), seen))), view) == And((seen, Or(Not(kept), seen)))
