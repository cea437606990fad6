"""Uploads: intents, parts, what is kept, publishing once and whole."""

import asyncio
import hashlib
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from filestore.garbage import Sweeper, object_key
from filestore.limits import Limits
from postroom.filestore.v1 import file_pb2 as pb
from postroom_contracts.errors import (
    AbortedError,
    ContentMismatchError,
    InvalidRequestError,
    IsADirectoryError,  # noqa: A004
    LimitError,
    NodeExistsError,
    NodeNotFoundError,
    NotPermittedError,
    OverQuotaError,
    UnavailableError,
    UploadIncompleteError,
    UploadNotFoundError,
)
from postroom_contracts.ids import new_id
from postroom_runtime import steps
from postroom_storage.database import Database
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import ObjectStore
from postroom_testing.small_directory_service import SmallDirectory

PART = 5 << 20


@pytest.fixture
def hook() -> Iterator[Any]:
    """Installs a hook for the named steps."""
    yield steps.install
    steps.install(None)


async def test_a_small_file_is_one_put(ann: Any, put_octets: Any) -> None:
    upload_id, begun = await ann.begin("/f", size_hint=3)
    assert [part.number for part in begun.parts] == [0]
    await put_octets(begun.parts[0].url, b"abc")
    digest = hashlib.sha256(b"abc").digest()
    node = await ann.publish(upload_id, 3, digest=digest)
    assert (node.path, node.size, node.digest, node.directory) == ("/f", 3, digest, False)
    assert await ann.read("/f") == b"abc"


async def test_nobody_sees_an_upload_before_it_is_published(ann: Any, put_octets: Any) -> None:
    await ann.write("/f", b"old")
    upload_id, begun = await ann.begin("/f", size_hint=3)
    other_id, other = await ann.begin("/g", size_hint=3)
    for one in (begun, other):
        await put_octets(one.parts[0].url, b"new")
    assert await ann.read("/f") == b"old"
    assert await ann.names("/") == ["f"]
    old = await ann.get("/f")
    new = await ann.publish(upload_id, 3)
    assert (await ann.publish(other_id, 3)).path == "/g"
    assert await ann.read("/f") == b"new"
    assert new.id == old.id
    assert new.version != old.version


async def test_the_old_version_stays_readable_by_its_url(ann: Any, get_octets: Any) -> None:
    await ann.write("/f", b"old")
    opened = await ann.stub.OpenFile(pb.OpenFileRequest(path="/f"), metadata=ann.metadata)
    await ann.write("/f", b"new")
    assert await get_octets(opened.url) == b"old"


async def test_a_large_file_is_put_in_parts(ann: Any, put_octets: Any) -> None:
    octets = bytes(range(256)) * (PART // 256) + b"the rest"
    upload_id, begun = await ann.begin("/f", size_hint=len(octets))
    assert [part.number for part in begun.parts] == [1, 2]
    assert begun.part_size == PART
    etags = [
        await put_octets(begun.parts[0].url, octets[:PART]),
        await put_octets(begun.parts[1].url, octets[PART:]),
    ]
    parts = [pb.UploadedPart(number=number, etag=etag) for number, etag in enumerate(etags, 1)]
    node = await ann.publish(upload_id, len(octets), parts)
    assert node.size == len(octets)
    assert await ann.read("/f") == octets


async def test_of_unknown_size_it_may_be_one_put_or_parts(ann: Any, put_octets: Any) -> None:
    upload_id, begun = await ann.begin("/f")
    assert [part.number for part in begun.parts] == [0]
    request = pb.PresignPartsRequest(upload_id=upload_id, first_number=1, count=2)
    presigned = (await ann.stub.PresignParts(request, metadata=ann.metadata)).parts
    assert [part.number for part in presigned] == [1, 2]
    etag = await put_octets(presigned[0].url, b"short")
    node = await ann.publish(upload_id, 5, [pb.UploadedPart(number=1, etag=etag)])
    assert node.size == 5
    assert await ann.read("/f") == b"short"


async def test_a_file_of_no_octets_has_no_object(ann: Any, database: Database) -> None:
    upload_id, _ = await ann.begin("/f")
    assert (await ann.publish(upload_id, 0)).size == 0
    assert await ann.read("/f") == b""
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(object_id) FROM filestore.node") == 0


async def test_asking_again_does_it_once_and_answers_the_same(ann: Any, put_octets: Any) -> None:
    upload_id, begun = await ann.begin("/f", size_hint=3)
    _, again = await ann.begin("/f", upload_id=upload_id, size_hint=3)
    assert again.parts[0].number == begun.parts[0].number
    await put_octets(begun.parts[0].url, b"abc")
    calls: list[Awaitable[pb.Node]] = [ann.publish(upload_id, 3) for _ in range(2)]
    first, second = await asyncio.gather(*calls)
    assert first == second == await ann.publish(upload_id, 3)
    await ann.write("/f", b"other")
    late = await ann.publish(upload_id, 3)
    assert (late.id, late.version, late.size) == (first.id, first.version, 3)
    assert await ann.read("/f") == b"other"
    with pytest.raises(InvalidRequestError):
        await ann.begin("/f", upload_id=upload_id, size_hint=3)


async def test_publishing_goes_on_after_multipart_was_completed(ann: Any, put_octets: Any, hook: Any) -> None:
    upload_id, _ = await ann.begin("/f")
    request = pb.PresignPartsRequest(upload_id=upload_id, first_number=1, count=1)
    presigned = (await ann.stub.PresignParts(request, metadata=ann.metadata)).parts
    parts = [pb.UploadedPart(number=1, etag=await put_octets(presigned[0].url, b"abc"))]
    for step in ("publish.completed", "publish.before_commit"):

        def fail(reached: str, step: str = step) -> None:
            if reached == step:
                raise UnavailableError("cut off")

        hook(fail)
        with pytest.raises(UnavailableError):
            await ann.publish(upload_id, 3, parts)
        hook(None)
        assert await ann.names("/") == []
    await ann.publish(upload_id, 3, parts)
    assert await ann.read("/f") == b"abc"


async def test_what_is_not_whole_is_not_published(ann: Any, put_octets: Any) -> None:
    upload_id, begun = await ann.begin("/f", size_hint=3)
    with pytest.raises(UploadIncompleteError):
        await ann.publish(upload_id, 3)
    await put_octets(begun.parts[0].url, b"ab")
    with pytest.raises(ContentMismatchError):
        await ann.publish(upload_id, 3)
    with pytest.raises(UploadIncompleteError):
        await ann.publish(upload_id, 3, [pb.UploadedPart(number=2, etag="x")])
    with pytest.raises(InvalidRequestError):
        await ann.publish(upload_id, 2, digest=b"short")
    with pytest.raises(UploadNotFoundError):
        await ann.publish(new_id().bytes, 3)
    assert await ann.names("/") == []


async def test_an_aborted_upload_can_never_be_published(ann: Any, put_octets: Any) -> None:
    upload_id, begun = await ann.begin("/f", size_hint=3)
    await put_octets(begun.parts[0].url, b"abc")
    for unknown in (upload_id, new_id().bytes):
        request = pb.AbortUploadRequest(upload_id=unknown)
        await ann.stub.AbortUpload(request, metadata=ann.metadata)
        await ann.stub.AbortUpload(request, metadata=ann.metadata)
        with pytest.raises(AbortedError):
            await ann.publish(unknown, 3)
        with pytest.raises(AbortedError):
            await ann.begin("/f", upload_id=unknown)
    assert await ann.names("/") == []


async def test_an_abort_that_comes_too_late_takes_nothing_back(ann: Any, put_octets: Any) -> None:
    upload_id, begun = await ann.begin("/f", size_hint=3)
    await put_octets(begun.parts[0].url, b"abc")
    await ann.publish(upload_id, 3)
    await ann.stub.AbortUpload(pb.AbortUploadRequest(upload_id=upload_id), metadata=ann.metadata)
    assert await ann.read("/f") == b"abc"


async def test_an_upload_is_its_accounts_own(start: Any, connect: Any, directory: SmallDirectory) -> None:
    address = await start()
    ann = await connect(address, directory.add("ann@example.org"))
    bob = await connect(address, directory.add("bob@example.org"))
    upload_id, _ = await ann.begin("/f")
    calls = (
        lambda: bob.begin("/f", upload_id=upload_id),
        lambda: bob.publish(upload_id, 0),
        lambda: bob.stub.AbortUpload(pb.AbortUploadRequest(upload_id=upload_id), metadata=bob.metadata),
        lambda: bob.stub.PresignParts(
            pb.PresignPartsRequest(upload_id=upload_id, first_number=1, count=1), metadata=bob.metadata
        ),
    )
    for call in calls:
        with pytest.raises(NotPermittedError):
            await call()
    assert (await ann.publish(upload_id, 0)).path == "/f"


async def test_an_upload_needs_a_directory_and_no_directory_in_its_place(ann: Any) -> None:
    await ann.make("/d")
    with pytest.raises(IsADirectoryError):
        await ann.begin("/d")
    with pytest.raises(NodeNotFoundError):
        await ann.begin("/x/f")
    with pytest.raises(InvalidRequestError):
        await ann.begin("/")
    upload_id, _ = await ann.begin("/d/f")
    await ann.move("/d", "/e")
    assert (await ann.publish(upload_id, 0)).path == "/e/f"
    gone_id, _ = await ann.begin("/e/g")
    await ann.delete("/e/f")
    await ann.delete("/e")
    with pytest.raises(NodeNotFoundError):
        await ann.publish(gone_id, 0)


async def test_an_exclusive_upload_replaces_nothing(ann: Any) -> None:
    upload_id, _ = await ann.begin("/f")
    await ann.write("/f", b"1")
    with pytest.raises(NodeExistsError):
        await ann.publish(upload_id, 0, exclusive=True)
    assert await ann.read("/f") == b"1"


async def test_octets_are_bounded(start: Any, connect: Any, directory: SmallDirectory) -> None:
    address = await start(file_octets=2000, account_octets=2500)
    ann = await connect(address, directory.add("ann@example.org"))
    with pytest.raises(LimitError):
        await ann.begin("/f", size_hint=2001)
    upload_id, _ = await ann.begin("/f")
    with pytest.raises(LimitError):
        await ann.publish(upload_id, 2001)
    await ann.write("/f", b"x" * 2000)
    await ann.write("/f", b"y" * 2000)
    with pytest.raises(OverQuotaError):
        await ann.write("/g", b"x" * 501)


async def test_a_short_file_is_appended_to_by_its_tail(ann: Any, put_octets: Any, get_octets: Any) -> None:
    await ann.write("/f", b"old ")
    upload_id, begun = await ann.begin("/f", append=True)
    assert (begun.kept, begun.copied, begun.next_part_number) == (4, 0, 1)
    assert (begun.tail_offset, begun.tail_length) == (0, 4)
    await put_octets(begun.parts[0].url, await get_octets(begun.tail_url) + b"new")
    await ann.publish(upload_id, 7)
    assert await ann.read("/f") == b"old new"


async def test_a_long_file_is_appended_to_inside_the_store(
    ann: Any, put_octets: Any, get_octets: Any
) -> None:
    old = bytes(range(256)) * (PART // 256) + b"tail"
    upload_id, begun = await ann.begin("/f", size_hint=len(old))
    numbers = [
        await put_octets(part.url, octets)
        for part, octets in zip(begun.parts, (old[:PART], old[PART:]), strict=True)
    ]
    await ann.publish(
        upload_id, len(old), [pb.UploadedPart(number=n, etag=e) for n, e in enumerate(numbers, 1)]
    )
    upload_id, begun = await ann.begin("/f", keep=PART + 2)
    _, again = await ann.begin("/f", upload_id=upload_id, keep=PART + 2)
    assert (begun.kept, begun.copied, begun.next_part_number) == (PART + 2, PART, 2)
    assert (begun.tail_offset, begun.tail_length) == (PART, 2)
    assert [part.number for part in again.parts] == [2, 3]
    tail = (await get_octets(begun.tail_url))[begun.tail_offset :][: begun.tail_length]
    etag = await put_octets(begun.parts[0].url, tail + b"new")
    node = await ann.publish(upload_id, PART + 5, [pb.UploadedPart(number=2, etag=etag)])
    assert node.digest == b""
    assert await ann.read("/f") == old[:PART] + b"tanew"


async def test_nothing_that_is_not_there_is_kept(ann: Any) -> None:
    await ann.write("/f", b"abc")
    for path, keep in (("/f", 4), ("/g", 1), ("/f", -1)):
        with pytest.raises(InvalidRequestError):
            await ann.begin(path, keep=keep)
    _, begun = await ann.begin("/g", append=True)
    assert (begun.kept, begun.tail_url) == (0, "")


async def test_two_who_append_at_once_do_not_lose_each_others_octets(ann: Any, put_octets: Any) -> None:
    for path in ("/f", "/new"):
        if path == "/f":
            await ann.write("/f", b"0")
        (one, begun), (two, begun_too) = [await ann.begin(path, append=True) for _ in range(2)]
        await put_octets(begun.parts[0].url, b"01")
        await put_octets(begun_too.parts[0].url, b"02")
        await ann.publish(one, 2)
        with pytest.raises(ContentMismatchError):
            await ann.publish(two, 2)
        assert await ann.read(path) == b"01"


async def test_what_no_node_has_any_more_is_swept_after_a_while(
    ann: Any, database: Database, objects: ObjectStore, put_octets: Any
) -> None:
    await ann.write("/f", b"old")
    await ann.write("/f", b"new")
    open_id, begun = await ann.begin("/g")
    await put_octets(begun.parts[0].url, b"never")
    await ann.stub.PresignParts(
        pb.PresignPartsRequest(upload_id=open_id, first_number=1, count=1), metadata=ann.metadata
    )
    kept = Sweeper(database, objects, Limits(), 1.0)
    assert not await kept.sweep()
    async with database.connection() as connection:
        keys = {row["object_id"] for row in await connection.fetch("SELECT object_id FROM filestore.upload")}
        await connection.execute(
            "UPDATE filestore.upload SET expires_at = now() - $1::interval", timedelta(1)
        )
        await connection.execute("UPDATE filestore.garbage SET due_at = now() - $1::interval", timedelta(1))
    await Sweeper(database, objects, Limits(garbage_seconds=-1.0, upload_seconds=-1.0), 1.0).sweep()
    await kept.sweep()
    assert await _there(objects, keys) == {await _object_of(database, "f")}
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM filestore.upload") == 0
        assert await connection.fetchval("SELECT count(*) FROM filestore.garbage") == 0
    with pytest.raises(UploadNotFoundError):
        await ann.publish(open_id, 5)
    assert await ann.read("/f") == b"new"


async def test_the_object_store_away_is_a_temporary_error_and_names_go_on(
    start: Any, connect: Any, directory: SmallDirectory
) -> None:
    address = await start(s3_endpoint="http://127.0.0.1:9")
    ann = await connect(address, directory.add("ann@example.org"))
    upload_id, _ = await ann.begin("/f", size_hint=3)
    async with asyncio.timeout(5.0):
        with pytest.raises(UnavailableError):
            await ann.publish(upload_id, 3)
    await ann.make("/d")
    assert await ann.names("/") == ["d"]


async def _there(objects: ObjectStore, keys: set[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for key in keys:
        try:
            await objects.head(object_key(key))
        except ObjectNotFoundError:
            continue
        found.add(key)
    return found


async def _object_of(database: Database, name: str) -> UUID:
    async with database.connection() as connection:
        found = await connection.fetchval("SELECT object_id FROM filestore.node WHERE name = $1", name)
    assert isinstance(found, UUID)
    return found
