"""Transfers against a small object store that can fail on demand."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from postroom_contracts.errors import UnavailableError
from postroom_runtime.budget import ByteBudget
from postroom_runtime.transfer import Limits, StaleUrlError, Stored, Transfers

PART = 100_000


@dataclass
class Store:
    """Keeps objects; the next requests get the statuses that a test lays down (0 cuts the connection)."""

    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])
    failures: deque[int] = field(default_factory=deque[int])
    cut_after: int = 0
    base: str = ""

    async def put(self, request: web.Request) -> web.Response:
        assert request.content_length is not None
        body = await request.read()
        if self.failures:
            status = self.failures.popleft()
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=status or 500)
        self.objects[request.path_qs] = body
        return web.Response(headers={"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'})

    async def get(self, request: web.Request) -> web.StreamResponse:
        if self.failures:
            return web.Response(status=self.failures.popleft())
        first, last = (int(end) for end in request.headers["Range"].removeprefix("bytes=").split("-"))
        body = self.objects[request.path_qs][first : last + 1]
        response = web.StreamResponse(status=206, headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        if self.cut_after:
            await response.write(body[: self.cut_after])
            self.cut_after = 0
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(body)
        return response

    async def part_url(self, number: int) -> str:
        return f"{self.base}/part?partNumber={number}&X-Amz-Signature=a%2Fb"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    kept = Store()
    application = web.Application(client_max_size=1 << 30)
    application.router.add_put("/{key}", kept.put)
    application.router.add_get("/{key}", kept.get)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kept.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield kept
    await runner.cleanup()


@pytest.fixture
async def transfers() -> AsyncIterator[Transfers]:
    async with Transfers(ByteBudget(3 * PART), Limits(retry_seconds=0.001, stall_seconds=0.5)) as ready:
        yield ready


async def chunks(octets: bytes, size: int = 30_000) -> AsyncIterator[bytes]:
    for start in range(0, len(octets), size):
        yield octets[start : start + size]


def octets(count: int) -> bytes:
    return bytes(number * 7 % 251 for number in range(count))


@pytest.mark.parametrize("count", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 17])
async def test_parts_are_the_octets_in_order(store: Store, transfers: Transfers, count: int) -> None:
    body = octets(count)
    stored = await transfers.put_parts(store.part_url, chunks(body), part_size=PART)
    parts = [store.objects[f"/part?partNumber={part.number}&X-Amz-Signature=a%2Fb"] for part in stored.parts]
    assert b"".join(parts) == body
    assert all(len(part) == PART for part in parts[:-1])
    assert stored.size == count
    assert stored.digest == hashlib.sha256(body).digest()
    assert [part.size for part in stored.parts] == [len(part) for part in parts]
    etags = [hashlib.md5(part, usedforsecurity=False).hexdigest() for part in parts]
    assert [part.etag for part in stored.parts] == etags


async def test_a_part_that_fails_for_now_is_put_again(store: Store, transfers: Transfers) -> None:
    store.failures.extend([503, 0])
    stored = await transfers.put_parts(store.part_url, chunks(b"hello"), part_size=PART)
    assert store.objects.popitem()[1] == b"hello"
    assert stored.size == 5


async def test_a_store_that_stays_away_is_unavailable(store: Store) -> None:
    budget = ByteBudget(PART)
    async with Transfers(budget, Limits(retry_seconds=0.001)) as transfers:
        store.failures.extend([500] * 9)
        with pytest.raises(UnavailableError):
            await transfers.put_parts(store.part_url, chunks(octets(3 * PART)), part_size=PART)
        with pytest.raises(UnavailableError):
            await transfers.put("http://127.0.0.1:1/nobody", b"x")
    assert budget.held == 0


async def test_a_store_that_stalls_is_asked_once() -> None:
    connections = 0

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/part"
    async with server, Transfers(ByteBudget(PART), Limits(stall_seconds=0.1)) as transfers:
        with pytest.raises(UnavailableError):
            await transfers.put(url, b"x")
        with pytest.raises(UnavailableError):
            _ = [chunk async for chunk in transfers.get_range(url, 0, 1)]
    assert connections == 2


async def test_a_url_that_is_no_longer_good_is_told_apart(store: Store, transfers: Transfers) -> None:
    store.failures.append(403)
    with pytest.raises(StaleUrlError):
        await transfers.put_parts(store.part_url, chunks(b"x"), part_size=PART)
    store.failures.append(404)
    with pytest.raises(StaleUrlError):
        _ = [chunk async for chunk in transfers.get_range(f"{store.base}/a", 0, 5)]


async def test_a_source_that_breaks_off_ends_the_upload_with_its_own_error(store: Store) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield octets(2 * PART + 5)
        raise ConnectionResetError

    budget = ByteBudget(2 * PART)
    async with Transfers(budget) as transfers:
        with pytest.raises(ConnectionResetError):
            await transfers.put_parts(store.part_url, broken(), part_size=PART)
    assert budget.held == 0


async def test_a_cancelled_upload_gives_its_octets_back(store: Store) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield octets(PART + 1)
        begun.set()
        await asyncio.sleep(60)

    budget = ByteBudget(2 * PART)
    async with Transfers(budget) as transfers:
        upload = asyncio.ensure_future(transfers.put_parts(store.part_url, endless(), part_size=PART))
        await begun.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
    assert budget.held == 0


async def test_a_spent_budget_stops_the_reading(store: Store) -> None:
    budget = ByteBudget(PART)
    pulled = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(3):
            pulled += 1
            yield octets(PART)

    async with Transfers(budget) as transfers:
        await budget.acquire(PART)
        upload: asyncio.Future[Stored] = asyncio.ensure_future(
            transfers.put_parts(store.part_url, counted(), part_size=PART)
        )
        await asyncio.sleep(0.05)
        assert pulled == 0
        budget.release(PART)
        assert (await upload).size == 3 * PART
    assert budget.held == 0


async def test_a_range_is_read_to_its_end_although_the_connection_breaks(
    store: Store, transfers: Transfers
) -> None:
    store.objects["/a"] = octets(300_000)
    store.cut_after = 10_000
    got = b"".join([chunk async for chunk in transfers.get_range(f"{store.base}/a", 1000, 200_000)])
    assert got == octets(300_000)[1000:201_000]


async def test_a_range_of_a_store_that_stays_away_is_unavailable(store: Store, transfers: Transfers) -> None:
    store.failures.extend([500] * 3)
    with pytest.raises(UnavailableError):
        _ = [chunk async for chunk in transfers.get_range(f"{store.base}/a", 0, 5)]


async def test_a_budget_is_first_come_first_served_and_survives_cancellation() -> None:
    budget = ByteBudget(10)
    await budget.acquire(8)
    order: list[str] = []

    async def want(name: str, octets: int) -> None:
        async with budget.hold(octets):
            order.append(name)

    async with asyncio.TaskGroup() as tasks:
        big = tasks.create_task(want("big", 9))
        await asyncio.sleep(0)
        tasks.create_task(want("small", 1))
        await asyncio.sleep(0)
        assert not order  # the small one does not overtake
        big.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["small"]
        budget.release(8)
        tasks.create_task(want("more than there is", 99))
    assert order == ["small", "more than there is"]
    assert budget.held == 0
