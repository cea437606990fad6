"""SEARCH programs (RFC 3501 s6.4.4, s9 search-key)."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.encoding import encode_astring
from postroom_wire.imap.errors import (
    BAD_CHARSET,
    BAD_STRING,
    NESTED_TOO_DEEPLY,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    Refusal,
    RemoteProtocolError,
)
from postroom_wire.imap.esearch import ResultOption, ReturnOptions, Search
from postroom_wire.imap.flags import ANSWERED, DELETED, DRAFT, FLAGGED, SEEN, Flag
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.search_keys import (
    All,
    And,
    Arrived,
    ChangedSince,
    HasEmailId,
    HasFlag,
    HasThreadId,
    HeaderContains,
    IsRecent,
    Larger,
    Not,
    Older,
    Or,
    Saved,
    SearchKey,
    Sent,
    SequenceNumbers,
    Smaller,
    TextContains,
    TextField,
    Uids,
    When,
    Younger,
)
from postroom_wire.imap.sequence import STAR, SequenceSet

ONE = SequenceNumbers(SequenceSet(((1, 1),)))
KEYS: dict[bytes, SearchKey] = {
    b"ALL": All(),
    b"ANSWERED": HasFlag(ANSWERED),
    b"UNANSWERED": Not(HasFlag(ANSWERED)),
    b"DELETED": HasFlag(DELETED),
    b"UNDELETED": Not(HasFlag(DELETED)),
    b"DRAFT": HasFlag(DRAFT),
    b"UNDRAFT": Not(HasFlag(DRAFT)),
    b"FLAGGED": HasFlag(FLAGGED),
    b"UNFLAGGED": Not(HasFlag(FLAGGED)),
    b"SEEN": HasFlag(SEEN),
    b"unseen": Not(HasFlag(SEEN)),
    b"KEYWORD $Junk": HasFlag(Flag("$Junk")),
    b"UNKEYWORD x": Not(HasFlag(Flag("x"))),
    b"NEW": And((IsRecent(), Not(HasFlag(SEEN)))),
    b"OLD": Not(IsRecent()),
    b"RECENT": IsRecent(),
    b"BEFORE 1-Feb-1994": Arrived(When.BEFORE, date(1994, 2, 1)),
    b'ON "1-Feb-1994"': Arrived(When.ON, date(1994, 2, 1)),
    b"SINCE 01-feb-1994": Arrived(When.SINCE, date(1994, 2, 1)),
    b"SENTBEFORE 1-Feb-1994": Sent(When.BEFORE, date(1994, 2, 1)),
    b"SENTON 1-Feb-1994": Sent(When.ON, date(1994, 2, 1)),
    b"SENTSINCE 1-Feb-1994": Sent(When.SINCE, date(1994, 2, 1)),
    b"LARGER 0": Larger(0),
    b"OLDER 1": Older(1),
    b"SAVEDBEFORE 1-Feb-1994": Saved(When.BEFORE, date(1994, 2, 1)),
    b"SAVEDON 1-Feb-1994": Saved(When.ON, date(1994, 2, 1)),
    b"SAVEDSINCE 1-Feb-1994": Saved(When.SINCE, date(1994, 2, 1)),
    b"SAVEDATESUPPORTED": All(),
    b"EMAILID M000102030405060708090a0b0c0d0e0f": HasEmailId(bytes(range(16))),
    b"THREADID T000102030405060708090a0b0c0d0e0f": HasThreadId(bytes(range(16))),
    b"EMAILID T000102030405060708090a0b0c0d0e0f": Not(All()),
    b"THREADID somebody_else-s": Not(All()),
    b'FUZZY SUBJECT "IMAP break"': TextContains(TextField.SUBJECT, "IMAP break", fuzzy=True),
    b"FUZZY (NOT BODY x OR HEADER y z SEEN)": And(
        (
            Not(TextContains(TextField.BODY, "x", fuzzy=True)),
            Or(HeaderContains("y", "z", fuzzy=True), HasFlag(SEEN)),
        )
    ),
    b"MODSEQ 0": ChangedSince(0),
    b'modseq "/flags/\\\\draft" all 620162338': ChangedSince(620162338),
    b"YOUNGER 4294967295": Younger(4294967295),
    b"$": SequenceNumbers(SequenceSet((), saved=True)),
    b"UID 7,$": Uids(SequenceSet(((7, 7),), saved=True)),
    b"SMALLER 4294967295": Smaller(4294967295),
    b"BCC a": TextContains(TextField.BCC, "a"),
    b"CC {1}\r\nb": TextContains(TextField.CC, "b"),
    b'FROM "Smith"': TextContains(TextField.FROM, "Smith"),
    b'SUBJECT ""': TextContains(TextField.SUBJECT, ""),
    b"TO a]": TextContains(TextField.TO, "a]"),
    b"BODY x": TextContains(TextField.BODY, "x"),
    b'TEXT "string not in mailbox"': TextContains(TextField.TEXT, "string not in mailbox"),
    'SUBJECT "ä"'.encode(): TextContains(TextField.SUBJECT, "ä"),
    b'HEADER Message-ID "<a@b>"': HeaderContains("Message-ID", "<a@b>"),
    b'HEADER X ""': HeaderContains("X", ""),
    b"UID 3,5:*": Uids(SequenceSet(((3, 3), (5, STAR)))),
    b"2,4:*": SequenceNumbers(SequenceSet(((2, 2), (4, STAR)))),
    b"*": SequenceNumbers(SequenceSet(((STAR, STAR),))),
    b"NOT 1": Not(ONE),
    b"OR 1 ALL": Or(ONE, All()),
    b"OR NOT 1 OR ALL 1": Or(Not(ONE), Or(All(), ONE)),
    b"(1)": ONE,
    b"1 ALL": And((ONE, All())),
    b"NOT (1 ALL) 1": And((Not(And((ONE, All()))), ONE)),
    b'FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"': And(  # s6.4.4
        (
            HasFlag(FLAGGED),
            Arrived(When.SINCE, date(1994, 2, 1)),
            Not(TextContains(TextField.FROM, "Smith")),
        )
    ),
    "CHARSET UTF-8 TEXT {6}\r\n日本".encode(): TextContains(TextField.TEXT, "日本"),  # s6.4.4
    b"charset us-ascii ALL": All(),
}


@pytest.mark.parametrize("text", KEYS)
def test_a_program_is_read_as_its_tree(text: bytes) -> None:
    assert parse_command(b"a SEARCH " + text).command == Search(KEYS[text])
    assert parse_command(b"a UID SEARCH " + text).command == Search(KEYS[text], uid=True)


REFUSED: dict[bytes, Refusal] = {
    b"": SYNTAX_ERROR,
    b"()": SYNTAX_ERROR,
    b"(ALL": SYNTAX_ERROR,
    b"ALL)": SYNTAX_ERROR,
    b"NOT": SYNTAX_ERROR,
    b"OR ALL": SYNTAX_ERROR,
    b"FOO": SYNTAX_ERROR,
    b"FOO bar": SYNTAX_ERROR,
    b"SINCE yesterday": SYNTAX_ERROR,
    b"ON 30-Feb-2026": SYNTAX_ERROR,
    b"LARGER -1": SYNTAX_ERROR,
    b"LARGER 9223372036854775808": SYNTAX_ERROR,
    b"KEYWORD \\Seen": SYNTAX_ERROR,
    b"HEADER Subject": SYNTAX_ERROR,
    b"UID a": SYNTAX_ERROR,
    b"MODSEQ": SYNTAX_ERROR,
    b"MODSEQ 9223372036854775808": SYNTAX_ERROR,
    b'MODSEQ "/flags/x" 1': SYNTAX_ERROR,
    b'MODSEQ "/flags/x" every 1': SYNTAX_ERROR,
    b"OLDER 0": SYNTAX_ERROR,
    b"SAVEDON yesterday": SYNTAX_ERROR,
    b"EMAILID": SYNTAX_ERROR,
    b'EMAILID "M"': SYNTAX_ERROR,
    b"EMAILID a.b": SYNTAX_ERROR,
    b"THREADID " + b"a" * 256: SYNTAX_ERROR,
    b"FUZZY": SYNTAX_ERROR,
    b"FUZZY " * 33 + b"ALL": NESTED_TOO_DEEPLY,
    b"0": SYNTAX_ERROR,
    b"CHARSET": SYNTAX_ERROR,
    b"CHARSET UTF-8": SYNTAX_ERROR,
    b"CHARSET KOI8-R ALL": BAD_CHARSET,
    b'SUBJECT "\xff"': BAD_STRING,
    b'HEADER "\xff" x': BAD_STRING,
    b"(" * 33 + b"ALL" + b")" * 33: NESTED_TOO_DEEPLY,
    b"NOT " * 33 + b"ALL": NESTED_TOO_DEEPLY,
    b"OR ALL " * 33 + b"ALL": NESTED_TOO_DEEPLY,
    b"(" * 60_000: NESTED_TOO_DEEPLY,
    b"ALL " * 512 + b"ALL": TOO_MANY_ITEMS,
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_program_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a1 SEARCH " + text)
    assert refused.value.refusal is REFUSED[text]
    assert refused.value.tag == b"a1"


def test_a_no_that_empties_the_saved_result_is_still_a_command() -> None:
    octets = b"a SEARCH RETURN (MIN SAVE) CHARSET KOI8-R (OR $ 1,3000:3021) TEXT {4}\r\nXXXX"  # RFC 5182 s2.2
    saving = ReturnOptions(frozenset({ResultOption.MIN, ResultOption.SAVE}))
    assert parse_command(octets).command == Search(All(), returns=saving, refused=BAD_CHARSET)
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a SEARCH RETURN (SAVE) TEXT")
    assert refused.value.refusal is SYNTAX_ERROR


def test_nesting_and_length_up_to_the_limit_are_taken() -> None:
    assert parse_command(b"a SEARCH " + b"(" * 32 + b"ALL" + b")" * 32).command == Search(All())
    assert parse_command(b"a SEARCH " + b" ".join([b"ALL"] * 512))


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(1, 4294967295)
sets = st.lists(st.tuples(numbers | st.just(STAR), numbers), min_size=1, max_size=3).map(
    lambda ranges: SequenceSet(tuple(ranges), saved=len(ranges) == 2)
)
days = st.dates(date(1000, 1, 1), date(9999, 12, 31))
leaves: st.SearchStrategy[SearchKey] = st.one_of(
    st.just(All()),
    st.just(IsRecent()),
    st.builds(HasFlag, st.sampled_from([Flag("$a"), Flag("b-c")])),
    st.builds(SequenceNumbers, sets),
    st.builds(Uids, sets),
    st.builds(Larger, numbers),
    st.builds(Smaller, numbers),
    st.builds(Older, numbers),
    st.builds(ChangedSince, st.integers(0, 2**63 - 1)),
    st.builds(Younger, numbers),
    st.builds(Arrived, st.sampled_from(When), days),
    st.builds(Sent, st.sampled_from(When), days),
    st.builds(Saved, st.sampled_from(When), days),
    st.builds(HasEmailId, st.binary(min_size=16, max_size=16)),
    st.builds(HasThreadId, st.binary(min_size=16, max_size=16)),
    st.builds(HeaderContains, words, words),
    st.builds(TextContains, st.sampled_from(TextField), words),
)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def extended(inner: st.SearchStrategy[SearchKey]) -> st.SearchStrategy[SearchKey]:
    several = st.lists(inner, min_size=2, max_size=4).map(lambda keys: And(tuple(keys)))
    return st.one_of(st.builds(Not, inner), st.builds(Or, inner, inner), several)


def spelled_day(day: date) -> bytes:
    return f"{day.day}-{MONTHS[day.month - 1]}-{day.year:04d}".encode()


def spelled(key: SearchKey) -> bytes:
    match key:
        case Not(inner):
            return b"NOT " + spelled(inner)
        case Or(left, right):
            return b"OR " + spelled(left) + b" " + spelled(right)
        case And(keys):
            return b"(" + b" ".join(spelled(part) for part in keys) + b")"
        case HeaderContains(name, value):
            return b"HEADER " + encode_astring(name.encode()) + b" " + encode_astring(value.encode())
        case TextContains(field, value):
            return field.value.encode() + b" " + encode_astring(value.encode())
        case _:
            return spelled_leaf(key)


def spelled_leaf(
    key: All
    | HasFlag
    | IsRecent
    | SequenceNumbers
    | Uids
    | Larger
    | Smaller
    | Older
    | Younger
    | Arrived
    | Sent
    | Saved
    | HasEmailId
    | HasThreadId
    | ChangedSince,
) -> bytes:
    match key:
        case All() | IsRecent():
            return b"ALL" if key == All() else b"RECENT"
        case HasFlag(flag):
            return b"KEYWORD " + flag.encode()
        case SequenceNumbers(wanted):
            return wanted.encode()
        case Uids(wanted):
            return b"UID " + wanted.encode()
        case Larger(number) | Smaller(number) | Older(number) | Younger(number):
            return type(key).__name__.upper().encode() + b" %d" % number
        case ChangedSince(modseq):
            return b"MODSEQ %d" % modseq
        case Arrived(when, day):
            return when.value.encode() + b" " + spelled_day(day)
        case Sent(when, day) | Saved(when, day):
            return type(key).__name__.upper().encode() + when.value.encode() + b" " + spelled_day(day)
        case HasEmailId(octets) | HasThreadId(octets):
            return (b"EMAILID M" if isinstance(key, HasEmailId) else b"THREADID T") + octets.hex().encode()


@given(key=st.recursive(leaves, extended, max_leaves=8))
def test_parsing_undoes_spelling(key: SearchKey) -> None:
    assert parse_command(b"a SEARCH " + spelled(key)).command == Search(key)
