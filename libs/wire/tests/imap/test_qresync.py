"""RFC 7162: the grammar of section 7, and what message sequence match data say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap import fetch_response
from postroom_wire.imap.commands import Command, Examine, Fetch, Select, Store, StoreMode
from postroom_wire.imap.errors import SYNTAX_ERROR, TOO_MANY_ITEMS, Refusal, RemoteProtocolError
from postroom_wire.imap.esearch import PartialRange
from postroom_wire.imap.fetch_items import FetchAttribute
from postroom_wire.imap.flags import DELETED, Flag
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.qresync import (
    MAX_MODSEQ,
    FetchModifiers,
    Match,
    Resynchronization,
    SelectParameters,
    highest_modseq,
    modified,
    vanished,
    vanished_earlier,
)
from postroom_wire.imap.sequence import STAR, NumberRanges, SequenceSet
from postroom_wire.imap.state import enables_condstore
from postroom_wire.imap.view import MailboxUids

INBOX = MailboxName("INBOX")
ONE = SequenceSet(((1, 1),))
ALL = SequenceSet(((1, STAR),))
KNOWN = NumberRanges(((41, 211), (214, 541)))


def resynchronize(
    uid_validity: int, modseq: int, uids: NumberRanges | None = None, *matches: Match
) -> SelectParameters:
    return SelectParameters(resynchronization=Resynchronization(uid_validity, modseq, uids, matches))


ACCEPTED: dict[bytes, Command] = {
    b"SELECT INBOX (CONDSTORE)": Select(INBOX, SelectParameters(condstore=True)),
    b"EXAMINE INBOX (condstore)": Examine(INBOX, SelectParameters(condstore=True)),
    b"SELECT INBOX (QRESYNC (67890007 20050715194045000))": Select(
        INBOX, resynchronize(67890007, 20050715194045000)
    ),
    b"SELECT INBOX (QRESYNC (67890007 9 41:211,214:541))": Select(INBOX, resynchronize(67890007, 9, KNOWN)),
    b"SELECT INBOX (QRESYNC (7 9 214:541,211:41) CONDSTORE)": Select(
        INBOX, SelectParameters(condstore=True, resynchronization=Resynchronization(7, 9, KNOWN))
    ),
    b"SELECT INBOX (QRESYNC (7 9 41:211,214:541 (5000,7500 15000,22500)))": Select(
        INBOX, resynchronize(7, 9, KNOWN, Match(5000, 15000, 1), Match(7500, 22500, 1))
    ),
    b"SELECT INBOX (QRESYNC (7 9 (1:3,9 2:4,12)))": Select(
        INBOX, resynchronize(7, 9, None, Match(1, 2, 3), Match(9, 12, 1))
    ),
    b"SELECT INBOX (QRESYNC (7 9 (1:6 2:3,5,7:9)))": Select(
        INBOX, resynchronize(7, 9, None, Match(1, 2, 2), Match(3, 5, 1), Match(4, 7, 3))
    ),
    b"EXAMINE INBOX (QRESYNC (1 9223372036854775807 (1:4294967295 1:4294967295)))": Examine(
        INBOX, resynchronize(1, MAX_MODSEQ, None, Match(1, 1, 4294967295))
    ),
    b"FETCH 1 MODSEQ": Fetch(ONE, (FetchAttribute.MODSEQ,)),
    b"FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)": Fetch(
        ALL, (FetchAttribute.FLAGS, FetchAttribute.MODSEQ), modifiers=FetchModifiers(12345)
    ),
    b"UID FETCH 1:* (MODSEQ FLAGS) (VANISHED CHANGEDSINCE 0012)": Fetch(
        ALL,
        (FetchAttribute.UID, FetchAttribute.MODSEQ, FetchAttribute.FLAGS),
        uid=True,
        modifiers=FetchModifiers(12, vanished=True),
    ),
    b"UID FETCH 1:* (FLAGS) (PARTIAL -1:-30 CHANGEDSINCE 12)": Fetch(
        ALL,
        (FetchAttribute.UID, FetchAttribute.FLAGS, FetchAttribute.MODSEQ),
        uid=True,
        modifiers=FetchModifiers(12, partial=PartialRange(1, 30, from_end=True)),
    ),
    b"STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)": Store(
        ONE, StoreMode.ADD, silent=True, flags=(Flag("$MDNSent"),), unchanged_since=0
    ),
    b"UID STORE 1 (unchangedsince 12121230045) -flags \\Deleted": Store(
        ONE, StoreMode.REMOVE, silent=False, flags=(DELETED,), uid=True, unchanged_since=12121230045
    ),
}

REFUSED: dict[bytes, Refusal] = {
    b"SELECT INBOX ()": SYNTAX_ERROR,
    b"SELECT INBOX (CONDSTORE": SYNTAX_ERROR,
    b"SELECT INBOX(CONDSTORE)": SYNTAX_ERROR,
    b"SELECT INBOX (CONDSTORE CONDSTORE)": SYNTAX_ERROR,
    b"SELECT INBOX (CONDSTORE QRESYNC (1 2) CONDSTORE)": TOO_MANY_ITEMS,
    b"SELECT INBOX (NONSENSE)": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC)": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (0 5))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 0))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 -5))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 9223372036854775808))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 " + b"9" * 5_000 + b"))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 5 1:*))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 5 1 (1 *)))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 5 1 (1:2 1)))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 5 1 (2,1 1,2)))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 5 1 (1,2 2:1)))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 5 1 (1,1 1,2)))": SYNTAX_ERROR,
    b"SELECT INBOX (QRESYNC (1 5 1 (1)))": SYNTAX_ERROR,
    b"FETCH 1 FLAGS ()": SYNTAX_ERROR,
    b"FETCH 1 FLAGS (CHANGEDSINCE)": SYNTAX_ERROR,
    b"FETCH 1 FLAGS (CHANGEDSINCE 0)": SYNTAX_ERROR,
    b"FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)": SYNTAX_ERROR,
    b"FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)": SYNTAX_ERROR,
    b"UID FETCH 1 FLAGS (VANISHED)": SYNTAX_ERROR,
    b"FETCH 1 FLAGS (PARTIAL 1:2)": SYNTAX_ERROR,
    b"UID FETCH 1 FLAGS (PARTIAL 1:2 PARTIAL 1:2)": SYNTAX_ERROR,
    b"UID FETCH 1 FLAGS (VANISHED VANISHED CHANGEDSINCE 1)": SYNTAX_ERROR,
    b"STORE 1 (UNCHANGEDSINCE) FLAGS ()": SYNTAX_ERROR,
    b"STORE 1 (UNCHANGEDSINCE 1 UNCHANGEDSINCE 1) FLAGS ()": SYNTAX_ERROR,
    b"STORE 1 (CHANGEDSINCE 1) FLAGS ()": SYNTAX_ERROR,
    b"STORE 1 () FLAGS ()": SYNTAX_ERROR,
    b"STORE 1 (UNCHANGEDSINCE 1)FLAGS ()": SYNTAX_ERROR,
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_commands_of_the_rfc(text: bytes) -> None:
    assert parse_command(b"a " + text).command == ACCEPTED[text]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_of_the_grammar(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_command(b"a " + text)
    assert caught.value.refusal == REFUSED[text]


def test_responses() -> None:
    assert highest_modseq(715194045007) == b"HIGHESTMODSEQ 715194045007"
    assert modified(NumberRanges.of([7, 9])) == b"MODIFIED 7,9"
    assert vanished(NumberRanges.of([405, 407, 408])) == b"* VANISHED 405,407:408\r\n"
    assert vanished_earlier(NumberRanges(((41, 43),))) == b"* VANISHED (EARLIER) 41:43\r\n"
    assert b"".join(fetch_response.with_modseqs([(49, 117, "(\\Seen)", 90060115194045001)])) == (
        b"* 49 FETCH (UID 117 FLAGS (\\Seen) MODSEQ (90060115194045001))\r\n"
    )
    assert b"".join(fetch_response.only_modseqs([(1, 4, 12121231000)])) == (
        b"* 1 FETCH (UID 4 MODSEQ (12121231000))\r\n"
    )


def test_the_example_of_messages_divisible_by_three() -> None:
    """RFC 7162 s3.2.5.2."""
    view = MailboxUids(range(3, 30_012, 3)).attach()
    numbers, uids = b"5000,7500,9000,9990:9999", b"15000,22500,27000,29970,29973,29976,29979,29982,29985"
    text = b"a SELECT INBOX (QRESYNC (67890007 90060115194045000 1:29997 (%b %b,29988,29991,29994,29997)))"
    command = parse_command(text % (numbers, uids)).command
    assert isinstance(command, Select)
    assert command.parameters.resynchronization is not None
    assert command.parameters.resynchronization.known_below(view) == 29_998


def test_a_match_that_does_not_hold_says_nothing() -> None:
    """RFC 7162 s3.2.5.2: the fourth message has UID 8, the twelfth is another one now."""
    view = MailboxUids([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 25]).attach()
    known = Resynchronization(1, 1, None, (Match(4, 8, 1), Match(12, 24, 1)))
    assert known.known_below(view) == 9
    assert Resynchronization(1, 1, None, (Match(13, 26, 1),)).known_below(view) == 1
    assert Resynchronization(1, 1).known_below(view) == 1


@given(
    uids=st.sets(st.integers(1, 40), max_size=25),
    matches=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40), st.integers(1, 12)), max_size=4),
)
def test_the_last_pair_that_holds_counts(uids: set[int], matches: list[tuple[int, int, int]]) -> None:
    there = sorted(uids)
    view = MailboxUids(there).attach()
    runs = [Match(*each) for each in sorted(matches)]
    expected = 1
    for run in runs:
        holding = [
            at
            for at in range(run.length)
            if run.number + at <= len(there) and there[run.number + at - 1] == run.uid + at
        ]
        if holding:
            expected = run.uid + holding[-1] + 1
    assert Resynchronization(1, 1, None, tuple(runs)).known_below(view) == expected


@pytest.mark.parametrize(
    ("text", "enables"),
    [
        (b"SELECT x (CONDSTORE)", True),
        (b"EXAMINE x (CONDSTORE)", True),
        (b"SELECT x", False),
        (b"FETCH 1 MODSEQ", True),
        (b"FETCH 1 FLAGS (CHANGEDSINCE 1)", True),
        (b"FETCH 1 FLAGS", False),
        (b"STORE 1 (UNCHANGEDSINCE 0) FLAGS ()", True),
        (b"STORE 1 FLAGS ()", False),
        (b"SEARCH OR SEEN NOT MODSEQ 5", True),
        (b'UID SORT (DATE) UTF-8 MODSEQ "/flags/$x" all 5', True),
        (b"THREAD REFS UTF-8 MODSEQ 5", True),
        (b"SEARCH ALL", False),
        (b"STATUS x (MESSAGES HIGHESTMODSEQ)", True),
        (b'LIST "" * RETURN (STATUS (HIGHESTMODSEQ))', True),
        (b"STATUS x (MESSAGES)", False),
        (b"NOOP", False),
    ],
)
def test_what_asks_for_modseqs_enables_condstore(text: bytes, enables: bool) -> None:
    """RFC 7162 s3.1."""
    assert enables_condstore(parse_command(b"a " + text).command) is enables
