"""Looking whether rows and bucket agree: in parts of bounded time and memory, changing nothing.

A store has stages in a fixed order, and each is done in steps that end where the next one begins. The cursor
of an answer says which stage is next and where, so any replica can go on.
"""

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

from postroom.doctor.v1 import doctor_pb2
from postroom_contracts.errors import InvalidRequestError, UnavailableError
from postroom_storage.database import Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.migrations import Migrations
from postroom_storage.objects import ObjectFacts, ObjectStore

Finding: TypeAlias = doctor_pb2.Finding
_MAX_CURSOR: Final = 500
_HEADS_AT_ONCE: Final = 16
_VERSION: Final = "SELECT version_num FROM {schema}.alembic_version"


@dataclass(frozen=True, slots=True)
class ExaminationLimits:
    """Seconds and findings of an answer; of a step: seconds, also to tell what is lost, objects and rows.

    An object that no row names is told once it is `settled_seconds` old: its row may be on the way.
    """

    answer_seconds: float = 1.5
    answer_findings: int = 200
    step_seconds: float = 2.5
    about_seconds: float = 1.0
    objects: int = 500
    rows: int = 2_000
    settled_seconds: float = 900.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a step found, and where the next one begins; None after the last one of its stage."""

    after: str | None = None
    findings: Sequence[Finding] = ()
    examined: Mapping[str, int] = field(default_factory=dict[str, int])
    garbage: Sequence[ObjectFacts] = ()


Rows: TypeAlias = Callable[[UUID, int], Awaitable[list["NamedObject"]]]
Known: TypeAlias = Callable[[Sequence[UUID]], Awaitable[set[UUID]]]
About: TypeAlias = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, str]]]
Stage: TypeAlias = Callable[[str], Awaitable[Step]]
"""A step of a stage, from where the one before ended; "" for the first."""


@dataclass(frozen=True, slots=True)
class NamedObject:
    """What a row says of an object: its id, its size in octets."""

    id: UUID
    size: int


class Examination:
    """The stages of one store, by name and in their order."""

    def __init__(self, stages: Mapping[str, Stage], limits: ExaminationLimits | None = None) -> None:
        self._stages = stages
        self._limits = limits or ExaminationLimits()

    async def examine(self, cursor: str) -> doctor_pb2.ExamineResponse:
        """The part that begins here. Raises `InvalidRequestError`, `UnavailableError`."""
        limits, names = self._limits, list(self._stages)
        stage, at = self._parse(cursor)
        answer, examined = doctor_pb2.ExamineResponse(), Counter[str]()
        end = time.monotonic() + limits.answer_seconds
        while True:
            step = await self._stages[names[stage]](at)
            answer.findings.extend(step.findings)
            examined.update(step.examined)
            answer.garbage_objects += len(step.garbage)
            answer.garbage_octets += sum(each.size for each in step.garbage)
            stage, at = (stage + 1, "") if step.after is None else (stage, step.after)
            if stage == len(names):
                break
            if time.monotonic() >= end or len(answer.findings) >= limits.answer_findings:
                answer.next_cursor = f"{names[stage]}:{at}"
                break
        answer.examined.update(examined)
        return answer

    def _parse(self, cursor: str) -> tuple[int, str]:
        if not cursor:
            return 0, ""
        name, _, at = cursor.partition(":")
        if name not in self._stages or len(cursor) > _MAX_CURSOR:
            raise InvalidRequestError("not a cursor of ours")
        return list(self._stages).index(name), at


def id_of_position(at: str) -> UUID:
    """The id that a step ended with, below all of them for "". Raises `InvalidRequestError`."""
    try:
        return UUID(at) if at else UUID(int=0)
    except ValueError:
        raise InvalidRequestError("not a cursor of ours") from None


async def examine_schema(database: Database, migrations: Migrations) -> Step:
    """Whether the schema is the one that this release makes."""
    async with database.connection() as connection:
        found = await connection.fetchval(_VERSION.format(schema=migrations.schema))
    if found == migrations.head:
        return Step()
    said = f"it is at revision {found}, this release's is {migrations.head}"
    return Step(
        findings=[Finding(kind=Finding.KIND_OTHER_SCHEMA, subject=f"schema {migrations.schema}", detail=said)]
    )


def examine_bus(connected: bool) -> Step:
    """Whether NATS is there, without which all is right but later."""
    return Step(findings=[] if connected else [_away("NATS", "nobody is woken, so mail waits for timers")])


async def tell_about(about: About, ids: Sequence[UUID]) -> Mapping[UUID, str]:
    """What is lost with these; nothing where so much is lost that it cannot be counted in time."""
    if not ids:
        return {}
    try:
        return await about(ids)
    except UnavailableError:
        return {}


def detail_of(what: str, about: str | None) -> str:
    """What is wrong, and what is lost with it where that is known."""
    return f"{what}, {about}" if about else what


class ObjectComparison:
    """Compares the objects below a prefix, whose keys are `<prefix>/<uuid>`, with the rows that name them.

    `rows` gives those above an id in ascending order, at most so many. `known` says which ids other rows
    wait for, such as uploads: these are no garbage. `about` tells of ids what is lost with them.
    """

    def __init__(  # what it is made of
        self,
        objects: ObjectStore,
        prefix: str,
        rows: Rows,
        known: Known,
        about: About,
        limits: ExaminationLimits | None = None,
    ) -> None:
        self._objects, self._prefix = objects, prefix
        self._rows, self._known, self._about = rows, known, about
        self._limits = limits or ExaminationLimits()

    async def step(self, at: str) -> Step:
        """A page of both, merged. `at` is where the listing and the rows were left."""
        listed_to, rows_to = self._place(at)
        # Rows first: an object is there before its row is, so one that is missing now is missed.
        rows = await self._rows(rows_to, self._limits.objects)
        try:
            listed = await self._list(listed_to)
        except UnavailableError as error:
            return Step(findings=[_away("the object store", str(error))])
        ends = [
            last
            for page, last in (
                (rows, self._key(rows[-1].id) if rows else ""),
                (listed, listed[-1].key if listed else ""),
            )
            if len(page) == self._limits.objects
        ]
        if ends:
            rows = [row for row in rows if self._key(row.id) <= min(ends)]
            listed = [each for each in listed if each.key <= min(ends)]
            rows_to = rows[-1].id if rows else rows_to
        findings = await self._disagreements(rows, {each.key: each for each in listed})
        named = {self._key(row.id) for row in rows}
        return Step(
            f"{min(ends)} {rows_to}" if ends else None,
            findings,
            {"objects": len(rows)},
            await self._garbage([each for each in listed if each.key not in named]),
        )

    async def _disagreements(
        self, rows: Sequence[NamedObject], there: Mapping[str, ObjectFacts]
    ) -> list[Finding]:
        missing = await self._missing([row.id for row in rows if self._key(row.id) not in there])
        sizes = {
            row.id: f"has {found.size} octets instead of {row.size}"
            for row in rows
            if (found := there.get(self._key(row.id))) is not None and found.size != row.size
        }
        if not missing and not sizes:
            return []
        about = await tell_about(self._about, [*missing, *sizes])
        return [
            Finding(
                kind=Finding.KIND_OBJECT_SIZE if bad in sizes else Finding.KIND_OBJECT_MISSING,
                subject=self._key(bad),
                detail=detail_of(sizes.get(bad, "is not in the bucket"), about.get(bad)),
            )
            for bad in [*missing, *sizes]
        ]

    async def _missing(self, ids: Sequence[UUID]) -> list[UUID]:
        """Those that are really not there: a listing may come late."""
        found: list[bool] = []
        for start in range(0, len(ids), _HEADS_AT_ONCE):
            some = ids[start : start + _HEADS_AT_ONCE]
            found += await asyncio.gather(*(self._is_there(each) for each in some))
        return [each for each, there in zip(ids, found, strict=True) if not there]

    async def _is_there(self, object_id: UUID) -> bool:
        try:
            await self._objects.head(self._key(object_id))
        except ObjectNotFoundError:
            return False
        return True

    async def _garbage(self, unnamed: Sequence[ObjectFacts]) -> list[ObjectFacts]:
        if not unnamed:
            return []
        before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=self._limits.settled_seconds)
        known = await self._known([found for each in unnamed if (found := self._id(each.key)) is not None])
        return [each for each in unnamed if each.modified_at <= before and self._id(each.key) not in known]

    async def _list(self, after: str) -> list[ObjectFacts]:
        """A page of the bucket, bounded in time as all steps are."""
        page: list[ObjectFacts] = []
        async with aclosing(self._objects.list_objects(self._prefix, after or None)) as found:
            async for each in found:
                page.append(each)
                if len(page) == self._limits.objects:
                    break
        return page

    def _place(self, at: str) -> tuple[str, UUID]:
        listed_to, _, rows_to = at.rpartition(" ")
        return listed_to, id_of_position(rows_to)

    def _key(self, object_id: UUID) -> str:
        return f"{self._prefix}/{object_id}"

    def _id(self, key: str) -> UUID | None:
        """The id in a key; None where somebody else made the key."""
        try:
            found = UUID(key.removeprefix(f"{self._prefix}/"))
        except ValueError:
            return None
        return found if self._key(found) == key else None


def _away(what: str, why: str) -> Finding:
    return Finding(kind=Finding.KIND_DEPENDENCY_AWAY, subject=what, detail=why)
