"""SEARCH over rows in memory, and what is left for the store (RFC 3501 s6.4.4)."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.flags import SEEN, Flag
from postroom_wire.imap.search import EVERYTHING, Column, SearchProgram, SearchRow, SearchScope
from postroom_wire.imap.search_keys import (
    All,
    And,
    Arrived,
    ChangedSince,
    HasFlag,
    HeaderContains,
    IsRecent,
    Larger,
    LeafKey,
    Not,
    Older,
    Or,
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

DAY = date(1994, 2, 1)
NOON = 760_104_000
"""Of that day, in seconds since 1970."""
ROW = SearchRow(
    sequence_number=3,
    uid=30,
    flags=frozenset({"\\seen", "$junk"}),
    recent=True,
    size=100,
    arrived=NOON,
    sent_date=date(1994, 1, 31),
    modseq=8,
)
TEXT = TextContains(TextField.TEXT, "x")
HEADER = HeaderContains("X", "y")


def program(key: SearchKey, columns: frozenset[Column] = EVERYTHING) -> SearchProgram:
    scope = SearchScope(exists=5, last_uid=50, columns=columns, saved={30, 7}, now=NOON + 60)
    return SearchProgram(key, scope)


def numbers(*items: tuple[int, int]) -> SequenceSet:
    return SequenceSet(items)


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        (All(), True),
        (HasFlag(SEEN), True),
        (HasFlag(Flag("$JUNK")), True),
        (HasFlag(Flag("$Other")), False),
        (Not(HasFlag(SEEN)), False),
        (IsRecent(), True),
        (SequenceNumbers(numbers((3, 3))), True),
        (SequenceNumbers(numbers((4, STAR))), False),
        (SequenceNumbers(numbers((1, 4294967295))), True),
        (Uids(numbers((30, 30))), True),
        (Uids(numbers((31, STAR))), False),
        (Larger(99), True),
        (Larger(100), False),
        (Smaller(101), True),
        (Smaller(100), False),
        (Arrived(When.BEFORE, DAY), False),
        (Arrived(When.ON, DAY), True),
        (Arrived(When.SINCE, DAY), True),
        (Arrived(When.BEFORE, DAY + timedelta(1)), True),
        (Arrived(When.ON, DAY - timedelta(1)), False),
        (Arrived(When.SINCE, DAY + timedelta(1)), False),
        (Older(60), True),
        (Older(61), False),
        (Younger(60), True),
        (Younger(59), False),
        (ChangedSince(8), True),
        (ChangedSince(9), False),
        (SequenceNumbers(SequenceSet((), saved=True)), True),
        (Uids(SequenceSet(((1, 1),), saved=True)), True),
        (Sent(When.BEFORE, DAY), True),
        (Sent(When.ON, DAY), False),
        (Sent(When.SINCE, DAY), False),
        (And((All(), IsRecent())), True),
        (And((All(), Not(All()))), False),
        (Or(Not(All()), All()), True),
        (Or(Not(All()), Not(All())), False),
        (TEXT, None),
        (HEADER, None),
        (Not(TEXT), None),
        (And((All(), TEXT)), None),
        (And((TEXT, Not(All()))), False),
        (Or(TEXT, All()), True),
        (Or(TEXT, Not(All())), None),
        (Or(Not(All()), TEXT), None),
    ],
)
def test_memory_answers_what_it_can(key: SearchKey, verdict: bool | None) -> None:
    assert program(key).verdict(ROW) is verdict


def test_what_memory_cannot_answer_is_asked_once() -> None:
    key = And((Or(TEXT, HEADER), Not(TEXT), HasFlag(SEEN)))
    search = program(key)
    assert search.asked == (TEXT, HEADER)
    search.learn(TEXT, {31})
    search.learn(HEADER, {30})
    assert search.verdict(ROW) is True
    assert search.verdict(ROW._replace(uid=31)) is False
    assert search.verdict(ROW._replace(uid=32)) is False


def test_columns_that_memory_lacks_are_asked() -> None:
    keys = (Larger(1), Smaller(9), Arrived(When.ON, DAY), Sent(When.ON, DAY), HasFlag(SEEN))
    assert program(And(keys)).asked == ()
    assert program(And(keys), frozenset({Column.SIZE})).asked == keys[2:4]
    assert program(And(keys), frozenset()).asked == keys[:4]
    assert program(And(keys), frozenset()).verdict(ROW) is None


def test_a_message_without_a_date_was_sent_on_no_day() -> None:
    row = ROW._replace(sent_date=None)
    assert [program(Sent(when, DAY)).verdict(row) for when in When] == [False, False, False]


def test_a_score_is_the_mean_of_what_the_store_says() -> None:
    search = program(Or(TEXT, HEADER))
    assert search.score(30) == 100
    search.learn(TEXT, {30, 31}, {30: 80, 31: 1})
    search.learn(HEADER, {30}, {30: 40})
    assert [search.score(uid) for uid in (30, 31, 32)] == [60, 1, 1]


@pytest.mark.parametrize(
    ("key", "first"),
    [
        (TEXT, True),
        (Or(TEXT, And((HEADER, All()))), True),
        (And((Uids(numbers((1, 9))), SequenceNumbers(numbers((2, 3))), TEXT, HEADER)), True),
        (Not(TEXT), False),
        (And((TEXT, Not(HEADER))), False),
        (And((TEXT, HasFlag(SEEN))), False),  # memory may leave less to ask about
        (Or(TEXT, Uids(numbers((1, 9)))), False),
        (And((Uids(numbers((1, 9))), All())), False),
        (HasFlag(SEEN), False),
    ],
)
def test_the_store_is_asked_first_where_memory_decides_nothing(key: SearchKey, first: bool) -> None:
    assert program(key).asks_first is first


leaves: st.SearchStrategy[SearchKey] = st.sampled_from(
    [All(), HasFlag(SEEN), IsRecent(), TEXT, HEADER, Larger(100), Smaller(101), Uids(numbers((1, 30)))]
)


def grown(inner: st.SearchStrategy[SearchKey]) -> st.SearchStrategy[SearchKey]:
    several = st.lists(inner, min_size=1, max_size=3).map(lambda keys: And(tuple(keys)))
    return st.one_of(st.builds(Not, inner), st.builds(Or, inner, inner), several)


def naive(key: SearchKey, row: SearchRow, found: dict[LeafKey, bool]) -> bool:
    match key:
        case Not(inner):
            return not naive(inner, row, found)
        case Or(left, right):
            return naive(left, row, found) or naive(right, row, found)
        case And(keys):
            return all(naive(part, row, found) for part in keys)
        case TextContains() | HeaderContains():
            return found[key]
        case _:
            return bool(program(key).verdict(row))


@given(
    key=st.recursive(leaves, grown, max_leaves=10),
    seen=st.booleans(),
    uid=st.integers(29, 32),
    text=st.booleans(),
    header=st.booleans(),
)
def test_an_early_verdict_is_never_wrong(
    key: SearchKey, seen: bool, uid: int, text: bool, header: bool
) -> None:
    row = ROW._replace(uid=uid, flags=frozenset({"\\seen"} if seen else ()))
    expected = naive(key, row, {TEXT: text, HEADER: header})
    search = program(key)
    early = search.verdict(row)
    assert early in {None, expected}
    if search.asks_first and expected:
        assert any(asked for each, asked in ((TEXT, text), (HEADER, header)) if each in search.asked)
    nothing: set[int] = set()
    assert set(search.asked) <= {TEXT, HEADER}
    search.learn(TEXT, {uid} if text else nothing)
    search.learn(HEADER, {uid} if header else nothing)
    assert search.verdict(row) is expected
