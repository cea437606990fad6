import asyncio
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from postroom_contracts.errors import UnavailableError, UploadIncompleteError
from postroom_contracts.ids import new_id
from postroom_embedded.seaweedfs import S3Address
from postroom_storage.errors import ObjectNotFoundError
from postroom_storage.objects import Limits, ObjectStore, PartTarget, StoreAddress, UploadedPart

PART = 5 << 20
SHORT = Limits(call_seconds=0.8, transfer_seconds=1.2, connect_seconds=0.3)


def _address(address: S3Address) -> StoreAddress:
    return StoreAddress(
        address.endpoint, address.region, "postroom-mail", address.access_key, address.secret_key
    )


@pytest.fixture
async def store(object_store: S3Address) -> AsyncGenerator[ObjectStore]:
    """The mail bucket of the store that all tests share."""
    opened = ObjectStore(_address(object_store))
    yield opened
    opened.close()


def _key() -> str:
    return f"message/{new_id()}"


async def _http(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, str]:
    """What the edge does with a presigned URL."""

    def ask() -> tuple[int, bytes, str]:
        request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  # the store's own
        try:
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
                return response.status, response.read(), response.headers.get("ETag", "")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, b"", ""

    return await asyncio.to_thread(ask)


async def test_octets_come_back_as_they_went_whole_and_in_ranges(store: ObjectStore) -> None:
    key, octets = _key(), bytes(range(256)) * 100
    await store.put(key, octets)
    assert (await store.head(key)).size == len(octets)
    assert await store.get_range(key, 0, len(octets)) == octets
    assert await store.get_range(key, 1_000, 300) == octets[1_000:1_300]
    assert await store.get_range(key, 5, 0) == b""


async def test_what_is_deleted_is_gone_and_deleting_it_again_is_no_error(store: ObjectStore) -> None:
    key = _key()
    await store.put(key, b"x")
    await store.delete([key, _key()])
    await store.delete([key])
    with pytest.raises(ObjectNotFoundError):
        await store.head(key)
    with pytest.raises(ObjectNotFoundError):
        await store.get_range(key, 0, 1)


async def test_a_listing_has_all_keys_below_a_prefix_and_goes_on_after_one(store: ObjectStore) -> None:
    prefix = f"pack/{new_id()}"
    keys = [f"{prefix}/{number:02}" for number in range(7)]
    for key in keys:
        await store.put(key, b"x")
    small = ObjectStore(store.address, Limits(page=3))
    assert [found.key async for found in small.list_objects(prefix)] == keys
    assert [found.key async for found in small.list_objects(prefix, after=keys[3])] == keys[4:]
    small.close()


async def test_presigned_urls_let_the_edge_write_and_read_one_object(store: ObjectStore) -> None:
    key = _key()
    status, _, _ = await _http("PUT", store.presign_put(key), b"from the edge")
    assert status == 200
    assert await _http("GET", store.presign_get(key)) == (200, b"from the edge", (await store.head(key)).etag)
    assert (await _http("GET", store.presign_get(key), Range="bytes=5-7"))[:2] == (206, b"the")
    forged = store.presign_get(key).replace("X-Amz-Signature=", "X-Amz-Signature=0")
    assert (await _http("GET", forged))[0] == 403
    assert (await _http("PUT", store.presign_get(key), b"changed"))[0] == 403


async def test_parts_from_the_edge_and_from_another_object_become_one_object(store: ObjectStore) -> None:
    source, key = _key(), _key()
    old = b"o" * (PART + 1_000)
    await store.put(source, old)
    upload = await store.begin_multipart(key)
    parts = [await store.copy_part(PartTarget(key, upload, 1), source, 0, PART)]
    status, _, etag = await _http("PUT", store.presign_part(key, upload, 2), b"new")
    assert status == 200
    parts.append(UploadedPart(2, etag))
    listed = await store.list_parts(key, upload)
    assert [(part.number, part.size) for part in listed] == [(1, PART), (2, 3)]
    await store.complete_multipart(key, upload, parts)
    assert (await store.head(key)).size == PART + 3
    assert await store.get_range(key, PART - 2, 5) == b"oonew"
    with pytest.raises(ObjectNotFoundError):
        await store.list_parts(key, upload)


async def test_an_upload_with_a_part_that_never_came_is_not_completed(store: ObjectStore) -> None:
    key = _key()
    upload = await store.begin_multipart(key)
    await _http("PUT", store.presign_part(key, upload, 1), b"x" * PART)
    with pytest.raises((UploadIncompleteError, UnavailableError)):
        await store.complete_multipart(key, upload, [UploadedPart(1, "0" * 32), UploadedPart(2, "1" * 32)])
    with pytest.raises(ObjectNotFoundError):
        await store.head(key)
    await store.abort_multipart(key, upload)
    await store.abort_multipart(key, upload)


async def test_the_bucket_is_made_once_whoever_asks(object_store: S3Address) -> None:
    address = StoreAddress(
        object_store.endpoint,
        object_store.region,
        f"test-{new_id().hex[:20]}",
        object_store.access_key,
        object_store.secret_key,
    )
    stores = [ObjectStore(address) for _ in range(3)]
    with pytest.raises(UnavailableError):
        await stores[0].probe()
    await asyncio.gather(*(store.ensure_bucket() for store in stores))
    await stores[0].probe()
    for store in stores:
        store.close()


async def test_wrong_keys_are_a_store_that_is_away(object_store: S3Address) -> None:
    wrong = ObjectStore(
        StoreAddress(object_store.endpoint, object_store.region, "postroom-mail", "nobody", "nothing" * 4)
    )
    with pytest.raises(UnavailableError):
        await wrong.put(_key(), b"x")
    with pytest.raises(UnavailableError):
        await wrong.begin_multipart(_key())
    wrong.close()


async def _calls_end_in_time(endpoint: str) -> None:
    store = ObjectStore(StoreAddress(endpoint, "us-east-1", "postroom-mail", "key", "secret" * 4), SHORT)
    begun = time.monotonic()
    answers = await asyncio.gather(
        store.put("message/a", b"x"),
        store.get_range("message/a", 0, 1),
        store.head("message/a"),
        store.begin_multipart("message/a"),
        store.complete_multipart("message/a", "u", [UploadedPart(1, "e")]),
        store.probe(),
        return_exceptions=True,
    )
    assert {type(answer) for answer in answers} == {UnavailableError}
    assert time.monotonic() - begun < SHORT.transfer_seconds + 1
    store.close()


async def test_a_store_that_is_not_there_is_away() -> None:
    await _calls_end_in_time("http://127.0.0.1:1")


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """Takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_store_that_takes_connections_and_says_nothing_is_away(silent_endpoint: str) -> None:
    await _calls_end_in_time(silent_endpoint)


def test_presigning_asks_nobody_and_keys_stay_out_of_sight() -> None:
    address = StoreAddress("http://127.0.0.1:1", "us-east-1", "postroom-mail", "the-key", "the-secret")
    store = ObjectStore(address)
    assert store.presign_put("message/a").startswith("http://127.0.0.1:1/postroom-mail/message/a?")
    assert "the-secret" not in store.presign_part("message/a", "upload", 3) + repr(address)
    store.close()


async def test_callers_beyond_the_bound_are_refused_at_once(silent_endpoint: str) -> None:
    limits = Limits(call_seconds=0.5, threads=1, waiting=1)
    store = ObjectStore(StoreAddress(silent_endpoint, "us-east-1", "bucket", "key", "secret" * 4), limits)
    calls = [asyncio.create_task(store.probe()) for _ in range(3)]
    done, _ = await asyncio.wait(calls, timeout=0.2)
    assert len(done) == 1
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {UnavailableError}
    store.close()


class Relay:
    """Stands before the store; can be closed or frozen, and opened again on the same port."""

    def __init__(self, endpoint: str) -> None:
        self._target = urlsplit(endpoint)
        self._server: asyncio.Server | None = None
        self._running = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._running.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def freeze(self) -> None:
        self._running.clear()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None
        for writer in tuple(self._writers):
            writer.transport.abort()
        self._running.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for end in (writer, far_writer):
                self._writers.discard(end)
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.read(65_536):
                await self._running.wait()
                writer.write(octets)
                await writer.drain()
            writer.close()
        except OSError:
            writer.transport.abort()


async def test_a_store_that_went_away_or_froze_is_found_again_by_itself(object_store: S3Address) -> None:
    relay = Relay(object_store.endpoint)
    store = ObjectStore(replace(_address(object_store), endpoint=relay.endpoint), SHORT)
    await relay.open()
    await store.put("message/before", b"x")
    await store.probe()
    for fault in (relay.close, relay.freeze):
        await fault()
        begun = time.monotonic()
        answers = await asyncio.gather(store.put(_key(), b"x"), store.probe(), return_exceptions=True)
        assert {type(answer) for answer in answers} == {UnavailableError}
        assert time.monotonic() - begun < SHORT.call_seconds + 1
        await relay.open()
        await store.put(_key(), b"x")
        await store.probe()
        assert await store.get_range("message/before", 0, 1) == b"x"
    store.close()
    await relay.close()
    await asyncio.sleep(0.05)
