"""An edge service's transfers with the object store, over URLs that the core has signed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from random import uniform
from ssl import SSLContext
from types import TracebackType
from typing import ClassVar, Final, Self

import aiohttp
from yarl import URL

from postroom_contracts.errors import UnavailableError
from postroom_runtime import metrics
from postroom_runtime.budget import ByteBudget
from postroom_runtime.logs import log

PartUrl = Callable[[int], Awaitable[str]]
"""Gives the signed URL of a part, by its number."""

_STALE: Final = frozenset({403, 404, 410, 416})
_OCTETS: Final = metrics.counter("transfer_octets_total", "Octets put and got.", ["direction"])
_FAILED: Final = metrics.counter("transfer_failures_total", "Attempts that failed.", ["direction"])


class StaleUrlError(Exception):
    """The store does not take this URL any more: ask the core for a new one, or give the upload up."""

    transient: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of transfers."""

    attempts: int = 3
    retry_seconds: float = 0.1
    connect_seconds: float = 2.0
    stall_seconds: float = 4.5
    """A store that says nothing for so long is away: asking it again would keep the client waiting."""
    put_seconds: float = 60.0
    chunk_octets: int = 262144
    connections: int = 128


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One part that the store has."""

    number: int
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Stored:
    """All that was put: what the core wants to know to complete the upload."""

    size: int
    digest: bytes  # SHA-256
    parts: tuple[StoredPart, ...]


class Transfers:
    """Puts and gets; one for each process, closed at its end."""

    def __init__(
        self, budget: ByteBudget, limits: Limits | None = None, *, tls: SSLContext | None = None
    ) -> None:
        self._budget = budget
        self._limits = limits or Limits()
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all connections."""
        if self._session is not None:
            await self._session.close()

    async def put(self, url: str, octets: bytes | bytearray) -> str:
        """Store a whole object or part; gives its ETag. The caller accounts for the octets.

        Raises `UnavailableError`, `StaleUrlError`.
        """
        last: Exception | None = None
        for attempt in range(self._limits.attempts):
            try:
                return await self._put_once(url, octets)
            except TimeoutError as error:
                _FAILED.labels("put").inc()
                raise UnavailableError("the object store stalls") from error
            except (aiohttp.ClientError, OSError) as error:
                last = error
                await self._after_failure("put", attempt, error)
        raise UnavailableError("the object store did not take a part") from last

    async def put_parts(
        self, part_url: PartUrl, source: AsyncIterator[bytes], *, part_size: int, first_number: int = 1
    ) -> Stored:
        """Store what `source` gives in parts of `part_size` octets (the last one shorter, at least one).

        Each part is held under the byte budget from its first octet until the store has it; the next is
        filled meanwhile. An error of `source` comes out as it is; the parts that the store has stay for the
        core to abort. Raises `UnavailableError`, `StaleUrlError`.
        """
        reader = _PartReader(source, part_size)
        stored: list[StoredPart] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                sending: asyncio.Task[StoredPart] | None = None
                number = first_number
                while (part := await self._fill(reader, first=number == first_number)) is not None:
                    if sending is not None:
                        try:
                            stored.append(await sending)
                        except BaseException:
                            self._budget.release(part_size)
                            raise
                    sending = tasks.create_task(self._send(part_url, number, part))
                    # Not in a `finally` of the task, which does not run when it is cancelled before it
                    # begins.
                    sending.add_done_callback(lambda _: self._budget.release(part_size))
                    number += 1
                if sending is not None:
                    stored.append(await sending)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return Stored(reader.size, reader.digest.digest(), tuple(stored))

    async def get_range(self, url: str, offset: int, length: int) -> AsyncGenerator[bytes]:
        """The octets from `offset` on, in chunks; a connection that breaks is taken up where it broke.

        Raises `UnavailableError`, `StaleUrlError`.
        """
        got, attempt = 0, 0
        while got < length:
            try:
                async for chunk in self._get_once(url, offset + got, length - got):
                    got += len(chunk)
                    attempt = 0
                    yield chunk
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if isinstance(error, TimeoutError) or attempt + 1 >= self._limits.attempts:
                    raise UnavailableError("the object store broke off") from error
                await self._after_failure("get", attempt, error)
                attempt += 1

    async def _fill(self, reader: "_PartReader", *, first: bool) -> bytearray | None:
        """The next part, under the budget; `None` at the end, but an empty first part is one."""
        if reader.ended:
            return None
        await self._budget.acquire(reader.part_size)
        try:
            part = await reader.read()
        except BaseException:
            self._budget.release(reader.part_size)
            raise
        if part or first:
            return part
        self._budget.release(reader.part_size)
        return None

    async def _send(self, part_url: PartUrl, number: int, part: bytearray) -> StoredPart:
        return StoredPart(number, await self.put(await part_url(number), part), len(part))

    async def _put_once(self, url: str, octets: bytes | bytearray) -> str:
        headers = {"Content-Length": str(len(octets))}
        async with (
            asyncio.timeout(self._limits.put_seconds),
            self._open().put(URL(url, encoded=True), data=self._slices(octets), headers=headers) as response,
        ):
            _check(response)
            _OCTETS.labels("put").inc(len(octets))
            return response.headers.get("ETag", "").strip('"')

    async def _slices(self, octets: bytes | bytearray) -> AsyncGenerator[memoryview]:
        """Pieces, so that a body of some MiB does not keep the event loop for itself."""
        view = memoryview(octets)
        for start in range(0, len(view), self._limits.chunk_octets):
            yield view[start : start + self._limits.chunk_octets]

    async def _get_once(self, url: str, offset: int, length: int) -> AsyncGenerator[bytes]:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        async with self._open().get(URL(url, encoded=True), headers=headers) as response:
            _check(response)
            if response.status != 206:
                raise aiohttp.ClientPayloadError("the range was not honoured")
            async for chunk in response.content.iter_chunked(self._limits.chunk_octets):
                _OCTETS.labels("get").inc(len(chunk))
                yield chunk

    async def _after_failure(self, direction: str, attempt: int, error: Exception) -> None:
        _FAILED.labels(direction).inc()
        log.warning("transfer_failed", direction=direction, attempt=attempt + 1, error=repr(error))
        if attempt + 1 < self._limits.attempts:
            await asyncio.sleep(uniform(0.5, 1.0) * self._limits.retry_seconds * 4**attempt)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limits.connections, ssl=self._tls or True),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self._limits.connect_seconds,
                    sock_read=self._limits.stall_seconds,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type", "User-Agent"),
                auto_decompress=False,
            )
        return self._session


class _PartReader:
    """Cuts chunks into parts, and counts and digests them on the way."""

    def __init__(self, source: AsyncIterator[bytes], part_size: int) -> None:
        self.part_size = part_size
        self.size = 0
        self.digest = sha256()
        self.ended = False
        self._source = source
        self._left = b""

    async def read(self) -> bytearray:
        """The next part; shorter than the others at the end."""
        part = bytearray()
        while len(part) < self.part_size:
            if not self._left and not await self._next():
                break
            taken = self._left[: self.part_size - len(part)]
            self._left = self._left[len(taken) :]
            part += taken
        return part

    async def _next(self) -> bool:
        try:
            self._left = await anext(self._source)
        except StopAsyncIteration:
            self.ended = True
            return False
        self.size += len(self._left)
        self.digest.update(self._left)
        return True


def _check(response: aiohttp.ClientResponse) -> None:
    if response.status in _STALE:
        raise StaleUrlError(f"HTTP {response.status}")
    response.raise_for_status()
