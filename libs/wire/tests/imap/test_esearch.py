"""RETURN options and the ESEARCH response (RFC 4731, RFC 5182, RFC 9394)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import SYNTAX_ERROR, TOO_MANY_ITEMS, RemoteProtocolError, Tag
from postroom_wire.imap.esearch import (
    ALL_RESULTS,
    PartialRange,
    ResultOption,
    Results,
    ReturnOptions,
    Search,
    encode_esearch,
    encode_search,
    encode_sort,
    partial_range,
)
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.search_keys import All, TextContains, TextField

MIN, MAX, ALL, COUNT, SAVE, RELEVANCY, CONTEXT, UPDATE = ResultOption
FOUND = (2, 10, 11, 12, 13, 14, 15, 21)


def wanted(*options: ResultOption, partial: PartialRange | None = None) -> ReturnOptions:
    return ReturnOptions(frozenset(options), partial)


def told(
    numbers: tuple[int, ...], options: ReturnOptions, *, uid: bool = False, modseq: int | None = None
) -> bytes:
    return encode_esearch(Tag(b"a1"), Results(numbers, modseq), options, uid=uid)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (b"()", ALL_RESULTS),
        (b"(ALL)", wanted(ALL)),
        (b"(min Max COUNT)", wanted(MIN, MAX, COUNT)),
        (b"(SAVE)", wanted(SAVE)),
        (b"(MIN MIN)", wanted(MIN)),
        (b"(CONTEXT UPDATE COUNT)", wanted(CONTEXT, UPDATE, COUNT)),
        (b"(PARTIAL 1:500)", wanted(partial=PartialRange(1, 500))),
        (b"(COUNT PARTIAL -1:-100)", wanted(COUNT, partial=PartialRange(1, 100, from_end=True))),
    ],
)
def test_each_option_is_known(text: bytes, options: ReturnOptions) -> None:
    assert parse_command(b"a SEARCH RETURN " + text + b" ALL").command == Search(All(), returns=options)
    assert parse_command(b"a UID SEARCH RETURN " + text + b" CHARSET UTF-8 ALL").command == Search(
        All(), uid=True, returns=options
    )


@pytest.mark.parametrize(
    "text",
    [
        b"RETURN ALL",
        b"RETURN (ALL)",
        b"RETURN (ALL)ALL",
        b"RETURN  (ALL) ALL",
        b"RETURN ( ALL) ALL",
        b"RETURN (NONE) ALL",
        b"RETURN (RELEVANCY) TEXT x",
        b"RETURN (PARTIAL) ALL",
        b"RETURN (PARTIAL 1) ALL",
        b"RETURN (PARTIAL 0:1) ALL",
        b"RETURN (PARTIAL 1:*) ALL",
        b"RETURN (PARTIAL -1:2) ALL",
        b"RETURN (PARTIAL 1:-2) ALL",
        b"RETURN (PARTIAL 1:4294967296) ALL",
        b"RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL",
        b"RETURN (PARTIAL 1:2 ALL) ALL",
        b"CHARSET UTF-8 RETURN (ALL) ALL",
    ],
)
def test_what_is_no_option_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a SEARCH " + text)
    assert refused.value.refusal is SYNTAX_ERROR


def test_more_options_than_there_are_are_refused() -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a SEARCH RETURN (" + b"MIN " * 16 + b"MAX) ALL")
    assert refused.value.refusal is TOO_MANY_ITEMS


@pytest.mark.parametrize(
    ("options", "response"),
    [
        (ALL_RESULTS, b"ALL 2,10:15,21"),
        (wanted(MIN), b"MIN 2"),
        (wanted(MAX, MIN, SAVE), b"MIN 2 MAX 21"),
        (wanted(MIN, MAX, COUNT), b"MIN 2 MAX 21 COUNT 8"),
        (wanted(COUNT), b"COUNT 8"),
        (wanted(partial=PartialRange(2, 4)), b"PARTIAL (2:4 10:12)"),
        (wanted(partial=PartialRange(4, 2)), b"PARTIAL (4:2 10:12)"),
        (wanted(partial=PartialRange(8, 500)), b"PARTIAL (8:500 21)"),
        (wanted(partial=PartialRange(9, 500)), b"PARTIAL (9:500 NIL)"),
        (wanted(partial=PartialRange(1, 2, from_end=True)), b"PARTIAL (-1:-2 15,21)"),
        (wanted(partial=PartialRange(7, 100, from_end=True)), b"PARTIAL (-7:-100 2,10)"),
        (wanted(partial=PartialRange(9, 100, from_end=True)), b"PARTIAL (-9:-100 NIL)"),
    ],
)
def test_only_what_was_asked_for_is_told(options: ReturnOptions, response: bytes) -> None:
    assert told(FOUND, options) == b'* ESEARCH (TAG "a1") ' + response + b"\r\n"
    assert told(FOUND, options, uid=True) == b'* ESEARCH (TAG "a1") UID ' + response + b"\r\n"


def test_nothing_found_has_a_count_only() -> None:
    assert told((), wanted(MIN, MAX, ALL, COUNT), modseq=5) == b'* ESEARCH (TAG "a1") COUNT 0\r\n'
    assert told((), ALL_RESULTS, uid=True) == b'* ESEARCH (TAG "a1") UID\r\n'


def test_results_that_are_sorted_keep_their_order() -> None:
    options = wanted(MIN, MAX, ALL)
    assert told((5, 3, 4, 1, 2), options) == b'* ESEARCH (TAG "a1") MIN 5 MAX 2 ALL 5,3:4,1:2\r\n'


def test_the_highest_modseq_comes_last() -> None:
    assert told(FOUND, wanted(MIN), modseq=917162488).endswith(b" MIN 2 MODSEQ 917162488\r\n")


def test_scores_belong_to_the_results_that_are_told() -> None:
    results = Results((1, 5, 10), scores=(4, 99, 42))
    assert encode_esearch(Tag(b"B1"), results, wanted(ALL, RELEVANCY), uid=False) == (
        b'* ESEARCH (TAG "B1") ALL 1,5,10 RELEVANCY (4 99 42)\r\n'  # RFC 6203 s4
    )
    paged = wanted(RELEVANCY, partial=PartialRange(2, 9))
    assert encode_esearch(Tag(b"B1"), results, paged, uid=False) == (
        b'* ESEARCH (TAG "B1") PARTIAL (2:9 5,10) RELEVANCY (99 42)\r\n'
    )
    assert told((), wanted(RELEVANCY, COUNT)) == b'* ESEARCH (TAG "a1") COUNT 0 RELEVANCY ()\r\n'


def test_scores_are_asked_for_with_a_fuzzy_key() -> None:
    command = parse_command(b"a SEARCH RETURN (RELEVANCY) FUZZY TEXT x").command
    assert command == Search(TextContains(TextField.TEXT, "x", fuzzy=True), returns=wanted(RELEVANCY))


def test_without_return_options_results_are_a_list() -> None:
    assert encode_search(Results((2, 3, 6))) == b"* SEARCH 2 3 6\r\n"
    assert encode_sort(Results((5, 3, 4), 917162500)) == b"* SORT 5 3 4 (MODSEQ 917162500)\r\n"
    assert encode_search(Results((), 917162500)) == b"* SEARCH\r\n"  # RFC 7162 s3.1.5


@pytest.mark.parametrize(
    ("options", "kept"),
    [  # RFC 5182 s2.4, RFC 9394 s3.2
        (wanted(SAVE), FOUND),
        (wanted(SAVE, MIN), (2,)),
        (wanted(SAVE, MAX), (21,)),
        (wanted(SAVE, MIN, MAX), (2, 21)),
        (wanted(SAVE, ALL, MIN), FOUND),
        (wanted(SAVE, COUNT, MAX), FOUND),
        (wanted(SAVE, partial=PartialRange(2, 3)), (10, 11)),
        (wanted(SAVE, MIN, partial=PartialRange(2, 3)), (2, 10, 11)),
        (wanted(SAVE, MIN, MAX, partial=PartialRange(2, 3)), (2, 10, 11, 21)),
        (wanted(SAVE, COUNT, MIN, partial=PartialRange(2, 3)), FOUND),
    ],
)
def test_what_is_saved_depends_on_what_is_returned(options: ReturnOptions, kept: tuple[int, ...]) -> None:
    assert options.saves
    assert sorted(set(options.among(FOUND))) == list(kept)
    assert options.among(()) == []


def test_saving_alone_tells_nothing() -> None:
    assert not wanted(SAVE).answers
    assert wanted(SAVE, MIN).answers
    assert wanted(SAVE, partial=PartialRange(1, 1)).answers


ranges = st.builds(PartialRange, st.integers(1, 12), st.integers(1, 12), st.booleans())


@given(wanted=ranges, count=st.integers(0, 10))
def test_a_range_is_what_counting_finds(wanted: PartialRange, count: int) -> None:
    numbers = list(range(1, count + 1))
    low, high = sorted((wanted.first, wanted.last))
    naive = [n for n in numbers if low <= (count + 1 - n if wanted.from_end else n) <= high]
    assert numbers[wanted.of(count)] == naive
    cursor = Cursor(wanted.encode())
    assert partial_range(cursor) == wanted
    cursor.end()
