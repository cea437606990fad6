"""`postroom doctor` at the file store: whatever is damaged is told, and what is in order is not."""

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import uuid4

import pytest

from filestore.examining import FilesExamination
from filestore.garbage import object_key
from postroom.doctor.v1 import doctor_pb2
from postroom.doctor.v1.doctor_pb2_grpc import DoctorServiceStub
from postroom.filestore.v1 import file_pb2 as pb
from postroom_contracts.capability import Scope
from postroom_contracts.errors import NotPermittedError
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_storage.database import Database
from postroom_storage.examination import Examination, ExaminationLimits
from postroom_storage.objects import ObjectStore
from postroom_testing.small_directory_service import SmallDirectory

Kind = doctor_pb2.Finding
SMALL = ExaminationLimits(answer_seconds=0.0, objects=2, rows=2, settled_seconds=0.0)


class Client(Protocol):
    async def make(self, path: str) -> pb.Node: ...
    async def delete(self, path: str) -> None: ...
    async def begin(self, path: str, *, size_hint: int) -> tuple[bytes, pb.BeginUploadResponse]: ...
    async def write(self, path: str, octets: bytes) -> pb.Node: ...


async def examine(database: Database, objects: ObjectStore) -> doctor_pb2.ExamineResponse:
    """All of it in the smallest steps, added up."""
    files = FilesExamination(database, objects, SMALL)
    examination = Examination({"objects": files.objects, "trees": files.trees}, SMALL)
    total, cursor = doctor_pb2.ExamineResponse(), "objects:"
    while cursor:
        answer = await examination.examine(cursor)
        total.findings.extend(answer.findings)
        total.garbage_objects += answer.garbage_objects
        for name, count in answer.examined.items():
            total.examined[name] += count
        cursor = answer.next_cursor
    return total


async def test_what_is_in_order_is_not_told_and_what_is_damaged_is(
    ann: Client,
    database: Database,
    objects: ObjectStore,
    put_octets: Callable[[str, bytes], Awaitable[str]],
) -> None:
    await ann.make("/papers")
    for number in range(5):
        await ann.write(f"/papers/{number}", b"octets %d" % number)
    await ann.write("/empty", b"")
    _, begun = await ann.begin("/coming", size_hint=6)
    await put_octets(begun.parts[0].url, b"coming")
    await ann.delete("/papers/0")
    fine = await examine(database, objects)
    assert not fine.findings
    assert dict(fine.examined) == {"objects": 4, "trees": 1}

    async with database.connection() as connection:
        rows = await connection.fetch("SELECT object_id FROM filestore.node WHERE size > 0 ORDER BY 1")
        missing, short = [row["object_id"] for row in rows[:2]]
        await connection.execute("UPDATE filestore.tree SET nodes = 99, octets = octets + 1")
    await objects.delete([object_key(missing)])
    await objects.put(object_key(short), b"short")
    await objects.put(object_key(uuid4()), b"whose am I?")
    damaged = await examine(database, objects)
    assert [(each.kind, each.subject) for each in damaged.findings[:-1]] == [
        (Kind.KIND_OBJECT_MISSING, object_key(missing)),
        (Kind.KIND_OBJECT_SIZE, object_key(short)),
    ]
    assert damaged.findings[-1].kind == Kind.KIND_COUNTER
    assert damaged.findings[-1].detail == "nodes 99 instead of 6; octets 33 instead of 32"
    assert damaged.garbage_objects == fine.garbage_objects + 1


async def test_only_an_administrator_asks(
    start: Callable[[], Awaitable[str]], directory: SmallDirectory
) -> None:
    ann = directory.add("ann@example.org")
    async with channel(await start(), "webmail-api") as joined:
        stub, request = DoctorServiceStub(joined), doctor_pb2.ExamineRequest()
        user, admin = (on_behalf_of(directory.capability(ann, each)) for each in (Scope.API, Scope.ADMIN))
        with pytest.raises(NotPermittedError):
            await stub.Examine(request, metadata=user)
        assert not (await stub.Examine(request, metadata=admin)).findings
