"""Sequence sets (RFC 3501 s9) and UID sets (RFC 4315 s3)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.cursor import MAX_NUMBER, Cursor
from postroom_wire.imap.errors import RemoteProtocolError
from postroom_wire.imap.sequence import STAR, NumberRanges, SequenceSet, encode_uid_set

numbers = st.integers(1, 40)
ends = numbers | st.just(STAR)
items = st.lists(st.tuples(ends, ends), min_size=1, max_size=8).map(tuple)
sets = st.builds(SequenceSet, items, st.booleans()) | st.just(SequenceSet((), saved=True))


def parsed(text: bytes) -> SequenceSet:
    cursor = Cursor(text)
    found = cursor.sequence_set()
    cursor.end()
    return found


@pytest.mark.parametrize(
    ("text", "maximum", "meant"),
    [
        (b"2,4:7,9,12:*", 15, [2, 4, 5, 6, 7, 9, 12, 13, 14, 15]),  # s9
        (b"*:4,5:7", 10, [4, 5, 6, 7, 8, 9, 10]),  # s9
        (b"4:2", 10, [2, 3, 4]),
        (b"3291:*", 20, list(range(20, 3292))),  # includes the last one, s9
        (b"*", 7, [7]),
        (b"*:*", 7, [7]),
        (b"1,1,1", 7, [1]),
    ],
)
def test_a_set_means_what_the_rfc_says(text: bytes, maximum: int, meant: list[int]) -> None:
    assert list(parsed(text).resolve(maximum)) == meant


@given(wanted=sets, maximum=st.integers(1, 50))
def test_resolving_equals_writing_all_numbers_down(wanted: SequenceSet, maximum: int) -> None:
    naive: set[int] = set()
    for a, b in wanted.items:
        low, high = sorted((a or maximum, b or maximum))
        naive.update(range(low, high + 1))
    resolved = wanted.resolve(maximum)
    assert list(resolved) == sorted(naive)
    assert len(resolved) == len(naive)
    assert all((number in resolved) == (number in naive) for number in range(60))
    assert resolved == NumberRanges.of(naive)


@given(wanted=sets)
def test_parsing_undoes_encoding(wanted: SequenceSet) -> None:
    assert parsed(wanted.encode()) == wanted


def test_a_set_of_all_numbers_stays_two_numbers() -> None:
    huge = parsed(b"1:4294967295,*:1")
    for maximum in (0, 1, MAX_NUMBER):
        assert huge.resolve(maximum).ranges == ((1, MAX_NUMBER),)
    assert 3_000_000_000 in huge.resolve(0)


def test_many_overlapping_ranges_merge() -> None:
    wanted = parsed(b",".join(b"%d:*" % number for number in range(1, 8_000)))
    assert wanted.resolve(100_000).ranges == ((1, 100_000),)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"01",
        b"1:",
        b":1",
        b"1,",
        b",1",
        b"1:2:3",
        b"a",
        b"-1",
        b"1 2",
        b"$,1",
        b"1:$",
        b"$$",
        b"4294967296",
        b"1:99999999999999999999",
        b"1" * 6000,
    ],
)
def test_what_is_no_set_is_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parsed(text)


@pytest.mark.parametrize(
    ("text", "exists", "fits"),
    [(b"1:3", 3, True), (b"1:4", 3, False), (b"*", 0, False), (b"1:*", 1, True), (b"2,9", 3, False)],
)
def test_a_number_beyond_the_mailbox_does_not_fit(text: bytes, exists: int, fits: bool) -> None:
    assert parsed(text).fits(exists) is fits


def test_the_saved_result_is_a_set_of_its_own() -> None:
    assert parsed(b"$") == SequenceSet((), saved=True)
    assert parsed(b"1:3,$") == SequenceSet(((1, 3),), saved=True)
    assert parsed(b"$").fits(0)  # it names nothing that could be missing
    assert not parsed(b"$").resolve(9)


@given(uids=st.sets(st.integers(1, 60)), wanted=sets)
def test_slices_are_what_a_filter_would_take(uids: set[int], wanted: SequenceSet) -> None:
    ascending = sorted(uids)
    ranges = wanted.resolve(max(uids, default=0))
    parts = list(ranges.slices(ascending))
    assert all(part.start < part.stop for part in parts)
    taken = [uid for part in parts for uid in ascending[part]]
    assert taken == [uid for uid in ascending if uid in ranges]


@given(wanted=sets, maximum=st.integers(0, 50))
def test_below_cuts_off_what_is_larger(wanted: SequenceSet, maximum: int) -> None:
    resolved = wanted.resolve(45)
    assert list(resolved.below(maximum)) == [number for number in resolved if number <= maximum]


def test_a_uid_set_keeps_its_order() -> None:
    assert encode_uid_set([304, 319, 320]) == b"304,319:320"  # RFC 4315 s3
    assert encode_uid_set([3956, 3957, 3958]) == b"3956:3958"
    assert encode_uid_set([5, 4, 3]) == b"5,4,3"
    assert NumberRanges.of([5, 4, 3, 9]).encode() == b"3:5,9"
    assert encode_uid_set([]) == b""


@given(wanted=sets, start=st.integers(0, 60), stop=st.integers(0, 60))
def test_a_part_is_what_a_slice_takes(wanted: SequenceSet, start: int, stop: int) -> None:
    resolved = wanted.resolve(45)
    assert list(resolved.part(slice(start, stop))) == list(resolved)[start:stop]


@given(st.lists(st.integers(0, 60), max_size=40))
def test_ranges_hold_exactly_the_numbers_in_whatever_order_they_come(found: list[int]) -> None:
    ranges = NumberRanges.of(found)
    assert list(ranges) == sorted(set(found))
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(ranges.ranges))
    assert NumberRanges.of(sorted(set(found))) == NumberRanges.of(iter(found)) == ranges


@given(sets, sets, st.integers(0, 40))
def test_an_intersection_has_what_is_in_both(one: SequenceSet, other: SequenceSet, maximum: int) -> None:
    mine, theirs = one.resolve(maximum), other.resolve(maximum)
    both = mine.intersection(theirs)
    assert list(both) == sorted(set(mine) & set(theirs))
    assert both == NumberRanges.of(both)
