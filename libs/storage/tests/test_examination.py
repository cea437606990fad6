"""Bucket and rows are compared in pages, and each disagreement is told once, wherever the pages end."""

import datetime as dt
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.doctor.v1 import doctor_pb2
from postroom_contracts.errors import InvalidRequestError, UnavailableError
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.examination import (
    Examination,
    ExaminationLimits,
    NamedObject,
    ObjectComparison,
    Step,
)
from postroom_storage.objects import ObjectFacts, ObjectStore, StoreAddress

Kind = doctor_pb2.Finding
OLD = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
LIMITS = ExaminationLimits(objects=2, answer_seconds=0.0)


def uuid(number: int) -> UUID:
    return UUID(int=number << 96)


def key(number: int) -> str:
    return f"pack/{uuid(number)}"


class Bucket(ObjectStore):
    """Objects by their keys; `hidden` are those that a listing does not show yet."""

    def __init__(self, objects: Mapping[str, int], modified_at: dt.datetime = OLD) -> None:
        super().__init__(StoreAddress("http://127.0.0.1:9", "us-east-1", "bucket", "key", "secret"))
        self.objects = {
            each: ObjectFacts(each, size, modified_at, "") for each, size in sorted(objects.items())
        }
        self.hidden: set[str] = set()
        self.away = False

    async def list_objects(self, prefix: str, after: str | None = None) -> AsyncGenerator[ObjectFacts]:
        for each in self.objects.values():
            if self.away:
                raise UnavailableError("away")
            if each.key > (after or "") and each.key not in self.hidden:
                yield each

    async def head(self, key: str) -> ObjectFacts:
        if key not in self.objects:
            raise ObjectNotFoundError(key)
        return self.objects[key]


def comparison(bucket: Bucket, rows: Mapping[int, int], known: Iterable[int] = ()) -> ObjectComparison:
    named = [NamedObject(uuid(number), size) for number, size in sorted(rows.items())]

    async def above(after: UUID, most: int) -> list[NamedObject]:
        return [each for each in named if each.id > after][:most]

    async def known_of(ids: Sequence[UUID]) -> set[UUID]:
        return set(ids) & {uuid(each) for each in known}

    async def about(ids: Sequence[UUID]) -> Mapping[UUID, str]:
        return dict.fromkeys(ids, "with what was in it")

    return ObjectComparison(bucket, "pack", above, known_of, about, LIMITS)


async def compare(compared: ObjectComparison) -> doctor_pb2.ExamineResponse:
    """All pages, added up."""
    examination = Examination({"packs": compared.step}, LIMITS)
    total, cursor, examined = doctor_pb2.ExamineResponse(), "packs:", Counter[str]()
    while cursor:
        answer = await examination.examine(cursor)
        total.findings.extend(answer.findings)
        total.garbage_objects += answer.garbage_objects
        total.garbage_octets += answer.garbage_octets
        examined.update(answer.examined)
        cursor = answer.next_cursor
    total.examined.update(examined)
    return total


_NUMBERS = st.dictionaries(st.integers(1, 12), st.integers(1, 3))


@given(
    there=_NUMBERS,
    rows=_NUMBERS,
    known=st.sets(st.integers(1, 12)),
    strangers=st.sets(st.text("09fz", max_size=3)),
)
async def test_each_disagreement_is_told_once_wherever_pages_end(
    there: dict[int, int], rows: dict[int, int], known: set[int], strangers: set[str]
) -> None:
    objects = {key(number): size for number, size in there.items()}
    bucket = Bucket(objects | {f"pack/{name}": 5 for name in strangers})
    found = await compare(comparison(bucket, rows, known))
    assert sorted((each.kind, each.subject) for each in found.findings) == sorted(
        [(Kind.KIND_OBJECT_MISSING, key(number)) for number in rows.keys() - there.keys()]
        + [
            (Kind.KIND_OBJECT_SIZE, key(number))
            for number in rows.keys() & there.keys()
            if rows[number] != there[number]
        ]
    )
    garbage = [size for number, size in there.items() if number not in rows and number not in known]
    assert found.garbage_objects == len(garbage) + len(strangers)
    assert found.garbage_octets == sum(garbage) + 5 * len(strangers)
    assert found.examined["objects"] == len(rows)


async def test_what_a_listing_does_not_show_yet_is_asked_for() -> None:
    bucket = Bucket({key(1): 1, key(2): 2})
    bucket.hidden = {key(2)}
    assert not (await compare(comparison(bucket, {1: 1, 2: 2}))).findings


async def test_young_objects_may_get_a_row_yet() -> None:
    bucket = Bucket({key(1): 1}, modified_at=dt.datetime.now(dt.UTC))
    assert (await compare(comparison(bucket, {}))).garbage_objects == 0


async def test_a_bucket_that_is_away_ends_its_stage() -> None:
    bucket = Bucket({key(1): 1})
    bucket.away = True
    (found,) = (await compare(comparison(bucket, {1: 1}))).findings
    assert (found.kind, found.subject) == (Kind.KIND_DEPENDENCY_AWAY, "the object store")


async def test_more_is_lost_than_can_be_counted_and_is_told_all_the_same() -> None:
    async def about(ids: Sequence[UUID]) -> Mapping[UUID, str]:
        raise UnavailableError("too slow")

    async def none(ids: Sequence[UUID]) -> set[UUID]:
        return set()

    async def rows(after: UUID, most: int) -> list[NamedObject]:
        return [NamedObject(uuid(1), 1)] if after < uuid(1) else []

    (found,) = (await compare(ObjectComparison(Bucket({}), "pack", rows, none, about, LIMITS))).findings
    assert (found.kind, found.detail) == (Kind.KIND_OBJECT_MISSING, "is not in the bucket"), (
        "no more is known"
    )


async def test_an_answer_ends_when_it_has_enough_and_the_next_stage_begins_where_it_says() -> None:
    async def first(at: str) -> Step:
        return Step("more" if not at else None, [Kind(subject=f"first {at}")], {"things": 2})

    async def second(at: str) -> Step:
        return Step(None, [Kind(subject="second")], {"things": 1})

    stages = {"first": first, "second": second}
    at_once = await Examination(stages).examine("")
    assert [each.subject for each in at_once.findings] == ["first ", "first more", "second"]
    assert (at_once.examined["things"], at_once.next_cursor) == (5, "")
    bounded = Examination(stages, ExaminationLimits(answer_findings=1))
    cursors = [(await bounded.examine(cursor)).next_cursor for cursor in ("", "first:more", "second:")]
    assert cursors == ["first:more", "second:", ""]
    with pytest.raises(InvalidRequestError):
        await bounded.examine("third:")
