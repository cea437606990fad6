"""CPU that each object store client needs for a transfer: `python tests/bench/object_store_clients.py`.

Starts an object store of its own, writes and reads with each client, and prints milliseconds of this process'
CPU (the server's is not counted) and of time for one transfer.
"""

import asyncio
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp
import uvloop

from postroom_embedded.instance import open_instance
from postroom_embedded.seaweedfs import S3Address, running_object_store
from postroom_storage.objects import Limits, ObjectStore, StoreAddress

_BUCKET: Final = "postroom-mail"
_CASES: Final = ((4 << 10, 400, 1), (4 << 10, 800, 8), (4 << 20, 24, 1), (4 << 20, 48, 4))
_NUMBERS: Final = count()


@dataclass(frozen=True, slots=True)
class Client:
    """One way to write an object under a key and to read it again."""

    name: str
    put: Callable[[str, bytes], Awaitable[object]]
    get: Callable[[str, int], Awaitable[bytes]]


@contextmanager
def _clients(address: S3Address) -> Generator[list[Client]]:
    store_address = StoreAddress(
        address.endpoint, address.region, _BUCKET, address.access_key, address.secret_key
    )
    store = ObjectStore(store_address, replace(Limits(), call_seconds=30.0))
    minio, threads = address.client(), ThreadPoolExecutor(8)

    async def minio_put(key: str, octets: bytes) -> None:
        def put() -> None:
            minio.put_object(_BUCKET, key, io.BytesIO(octets), len(octets))

        await asyncio.get_running_loop().run_in_executor(threads, put)

    async def minio_get(key: str, length: int) -> bytes:
        def get() -> bytes:
            with minio.get_object(_BUCKET, key, offset=0, length=length) as response:
                return response.data

        return await asyncio.get_running_loop().run_in_executor(threads, get)

    yield [
        Client("obstore", store.put, lambda key, length: store.get_range(key, 0, length)),
        Client("minio", minio_put, minio_get),
    ]
    store.close()
    threads.shutdown()


def _presigned(address: S3Address, session: aiohttp.ClientSession) -> Client:
    """What the edge does."""
    store = ObjectStore(
        StoreAddress(address.endpoint, address.region, _BUCKET, address.access_key, address.secret_key)
    )

    async def put(key: str, octets: bytes) -> None:
        async with session.put(store.presign_put(key), data=octets) as response:
            response.raise_for_status()

    async def get(key: str, length: int) -> bytes:
        headers = {"Range": f"bytes=0-{length - 1}"}
        async with session.get(store.presign_get(key), headers=headers) as response:
            response.raise_for_status()
            return await response.read()

    return Client("aiohttp, presigned", put, get)


async def _measure(transfers: list[Callable[[], Awaitable[object]]], parallel: int) -> tuple[float, float]:
    """Milliseconds of CPU and of time for one."""
    waiting = iter(transfers)

    async def work() -> None:
        for transfer in waiting:
            await transfer()

    cpu, begun = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(parallel):
            group.create_task(work())
    scale = 1_000 / len(transfers)
    return (time.process_time() - cpu) * scale, (time.perf_counter() - begun) * scale


async def _compare(client: Client, size: int, times: int, parallel: int) -> None:
    octets = bytes(range(256)) * (size // 256)
    keys = [f"bench/{next(_NUMBERS)}" for _ in range(times)]
    for key in ("bench/first", "bench/second"):
        await client.put(key, octets)
        if await client.get(key, size) != octets:
            raise RuntimeError(f"{client.name} gave back something else")
    put = await _measure([lambda key=key: client.put(key, octets) for key in keys], parallel)
    get = await _measure([lambda key=key: client.get(key, size) for key in keys], parallel)
    figures = "  ".join(f"{cpu:8.2f} {taken:8.2f}" for cpu, taken in (put, get))
    print(f"{client.name:20} {size >> 10:6} KiB {parallel:3}  {figures}")


async def main() -> None:
    """Print the table."""
    place = Path(tempfile.mkdtemp(prefix="postroom-bench-", dir="/tmp"))
    place.chmod(0o755)
    try:
        with open_instance(place / "data") as instance:
            async with running_object_store(instance) as address, aiohttp.ClientSession() as session:
                print(f"{'ms each':36} {'PUT cpu':>8} {'time':>8}  {'GET cpu':>8} {'time':>8}")
                with _clients(address) as clients:
                    for size, times, parallel in _CASES:
                        for client in (*clients, _presigned(address, session)):
                            await _compare(client, size, times, parallel)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
