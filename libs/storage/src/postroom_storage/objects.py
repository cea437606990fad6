"""The core's way to the object store: obstore moves octets, minio makes buckets, URLs and multipart uploads.

Only what every S3 store has is used: Put, ranged Get, Head, Delete, ListV2, multipart with part copy and
ListParts, presigned URLs, path style. Any call ends within `Limits.call_seconds` with an answer or
`UnavailableError`; a PUT that was cut may yet arrive, so keys are random and never written twice.
"""

# pyright: reportPrivateUsage=false
# The minio client has the multipart requests under names that are not public, and there are no others.

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import obstore
import urllib3
from minio import Minio
from minio.datatypes import Part
from minio.error import MinioException, S3Error
from obstore.exceptions import BaseError
from obstore.store import S3Store
from urllib3.exceptions import HTTPError

from postroom_contracts.errors import UnavailableError, UploadIncompleteError
from postroom_storage.errors import ObjectNotFoundError

T = TypeVar("T")
_Headers: TypeAlias = dict[str, str | list[str] | tuple[str]]

_MISSING: Final = frozenset({"NoSuchKey", "NoSuchUpload", "NoSuchObject"})
_INCOMPLETE: Final = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "MalformedXML"})


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """One bucket of an S3 store."""

    endpoint: str
    """http(s)://host:port"""
    region: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one `ObjectStore`."""

    call_seconds: float = 4.0
    transfer_seconds: float = 30.0
    """For a PUT or GET of more than `small` octets, and for completing a multipart upload."""
    small: int = 1 << 20
    connect_seconds: float = 1.0
    presigned_seconds: int = 3_600
    threads: int = 8
    waiting: int = 256
    """Callers that wait for a thread; one more is refused at once."""
    page: int = 1_000


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """What the store says about an object."""

    key: str
    size: int
    modified_at: datetime
    etag: str


@dataclass(frozen=True, slots=True)
class UploadedPart:
    """A part of a multipart upload that the store has. `size` is None where nobody said."""

    number: int
    etag: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class PartTarget:
    """Which part of which multipart upload."""

    key: str
    upload: str
    number: int


class ObjectStore:
    """One bucket. Nothing is asked of the store before the first call."""

    def __init__(self, address: StoreAddress, limits: Limits | None = None) -> None:
        self.address = address
        self.limits = limits or Limits()
        self._transfers = _make_transfers(address, self.limits)
        self._control = _Control(address, self.limits, self.limits.call_seconds)
        self._slow_control = _Control(address, self.limits, self.limits.transfer_seconds)

    def close(self) -> None:
        """Let go of the threads."""
        self._control.close()
        self._slow_control.close()

    async def ensure_bucket(self) -> None:
        """Make the bucket if it is not there."""
        bucket = self.address.bucket

        def ensure(client: Minio) -> None:
            if client.bucket_exists(bucket):
                return
            try:
                client.make_bucket(bucket, self.address.region)
            except S3Error as error:  # another replica was quicker
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

        await self._control.ask(ensure)

    async def probe(self) -> None:
        """Raise `UnavailableError` unless the store answers and has the bucket."""
        bucket = self.address.bucket
        if not await self._control.ask(lambda client: client.bucket_exists(bucket)):
            raise UnavailableError(f"the object store has no bucket {bucket}")

    async def put(self, key: str, octets: bytes) -> str:
        """Write a whole object and return its ETag."""
        put = obstore.put_async(self._transfers, key, octets, use_multipart=False)
        return (await self._transfer(put, len(octets)))["e_tag"] or ""

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Octets of an object; raises `ObjectNotFoundError`."""
        if length == 0:
            return b""
        get = obstore.get_range_async(self._transfers, key, start=offset, length=length)
        return bytes(await self._transfer(get, length))

    async def head(self, key: str) -> ObjectFacts:
        """Facts about an object; raises `ObjectNotFoundError`."""
        found = await self._transfer(obstore.head_async(self._transfers, key), 0)
        return ObjectFacts(found["path"], found["size"], found["last_modified"], found["e_tag"] or "")

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are no error."""
        for key in keys:
            try:
                await self._transfer(obstore.delete_async(self._transfers, key), 0)
            except ObjectNotFoundError:
                continue

    async def list_objects(self, prefix: str, after: str | None = None) -> AsyncGenerator[ObjectFacts]:
        """All objects whose key begins with `prefix` and a slash, in the order of their keys."""
        stream = obstore.list(  # pyright: ignore[reportUnknownMemberType]  # its Arrow overloads
            self._transfers, prefix, offset=after, chunk_size=self.limits.page
        )
        while True:
            try:
                page = await self._transfer(anext(stream), 0)
            except StopAsyncIteration:
                return
            for found in page:
                yield ObjectFacts(found["path"], found["size"], found["last_modified"], found["e_tag"] or "")

    def presign_put(self, key: str) -> str:
        """A URL for one PUT of the whole object; no request is made."""
        return self._presign("PUT", key, {})

    def presign_get(self, key: str) -> str:
        """A URL for (ranged) GETs of the object; no request is made."""
        return self._presign("GET", key, {})

    def presign_part(self, key: str, upload: str, number: int) -> str:
        """A URL for one PUT of one part; no request is made."""
        return self._presign("PUT", key, {"uploadId": upload, "partNumber": str(number)})

    async def begin_multipart(self, key: str) -> str:
        """Open a multipart upload and return its id. It keeps its parts until completed or aborted."""
        bucket = self.address.bucket
        headers: _Headers = {"Content-Type": "application/octet-stream"}
        return await self._control.ask(
            lambda client: client._create_multipart_upload(bucket, key, headers)  # noqa: SLF001
        )

    async def copy_part(self, target: PartTarget, source: str, offset: int, length: int) -> UploadedPart:
        """Make a part of octets that the store has under another key. Raises `ObjectNotFoundError`."""
        bucket = self.address.bucket
        headers: _Headers = {
            "x-amz-copy-source": quote(f"/{bucket}/{source}"),
            "x-amz-copy-source-range": f"bytes={offset}-{offset + length - 1}",
        }
        etag, _ = await self._slow_control.ask(
            lambda client: client._upload_part_copy(  # noqa: SLF001
                bucket, target.key, target.upload, target.number, headers
            )
        )
        return UploadedPart(target.number, etag, length)

    async def list_parts(self, key: str, upload: str) -> list[UploadedPart]:
        """The parts that the store has; raises `ObjectNotFoundError` for an upload that is over."""
        bucket = self.address.bucket
        parts: list[UploadedPart] = []
        marker: str | None = None
        while True:
            page = await self._control.ask(
                lambda client, at=marker: client._list_parts(  # noqa: SLF001
                    bucket, key, upload, part_number_marker=at
                )
            )
            parts += [UploadedPart(part.part_number, part.etag, part.size) for part in page.parts]
            if not page.is_truncated or page.next_part_number_marker is None:
                return parts
            marker = str(page.next_part_number_marker)

    async def complete_multipart(self, key: str, upload: str, parts: Sequence[UploadedPart]) -> None:
        """Make the object of these parts. Raises `UploadIncompleteError`, `ObjectNotFoundError`.

        After `UnavailableError` it may have happened: `head` tells.
        """
        bucket = self.address.bucket
        listed = [Part(part.number, part.etag.strip('"')) for part in parts]
        result = await self._slow_control.ask(
            lambda client: client._complete_multipart_upload(bucket, key, upload, listed)  # noqa: SLF001
        )
        if not result.etag:  # S3 may say 200 first and then that it failed
            raise UnavailableError("the object store did not complete the upload")

    async def abort_multipart(self, key: str, upload: str) -> None:
        """Drop a multipart upload and its parts; one that is over is no error."""
        bucket = self.address.bucket
        try:
            await self._control.ask(
                lambda client: client._abort_multipart_upload(bucket, key, upload)  # noqa: SLF001
            )
        except ObjectNotFoundError:
            return

    def _presign(self, method: str, key: str, query: dict[str, str]) -> str:
        return self._control.client.get_presigned_url(
            method,
            self.address.bucket,
            key,
            expires=timedelta(seconds=self.limits.presigned_seconds),
            extra_query_params=dict(query),
        )

    async def _transfer(self, request: Awaitable[T], size: int) -> T:
        limits = self.limits
        seconds = limits.transfer_seconds if size > limits.small else limits.call_seconds
        with _translated():
            async with asyncio.timeout(seconds):
                return await request


class _Control:
    """The minio client in a few threads of its own; a request that nobody answers holds one for `seconds`."""

    def __init__(self, address: StoreAddress, limits: Limits, seconds: float) -> None:
        self.client = _make_client(address, limits, seconds)
        self._limits = limits
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="object-store")
        self._running = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ask(self, call: Callable[[Minio], T]) -> T:
        if self._running >= self._limits.threads + self._limits.waiting:
            raise UnavailableError("too many callers wait for the object store")
        self._running += 1
        try:
            with _translated():
                async with asyncio.timeout(self._seconds):
                    return await asyncio.get_running_loop().run_in_executor(self._threads, call, self.client)
        finally:
            self._running -= 1


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectNotFoundError(str(error)) from error
    except S3Error as error:
        if error.code in _MISSING:
            raise ObjectNotFoundError(error.code) from error
        if error.code in _INCOMPLETE:
            raise UploadIncompleteError(error.code) from error
        raise UnavailableError(f"object store: {error.code}") from error
    except TimeoutError as error:
        raise UnavailableError("the object store did not answer in time") from error
    except (BaseError, MinioException, HTTPError, OSError) as error:
        raise UnavailableError(f"object store: {type(error).__name__}") from error


def _make_transfers(address: StoreAddress, limits: Limits) -> S3Store:
    return S3Store(
        address.bucket,
        config={
            "endpoint": address.endpoint,
            "region": address.region,
            "access_key_id": address.access_key,
            "secret_access_key": address.secret_key,
            "virtual_hosted_style_request": False,
            "unsigned_payload": True,  # what is kept has a digest of our own
        },
        client_options={
            "allow_http": address.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=limits.connect_seconds),
            "timeout": timedelta(seconds=limits.transfer_seconds),
        },
        retry_config={
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=limits.call_seconds),
            "backoff": {
                "init_backoff": timedelta(milliseconds=50),
                "max_backoff": timedelta(milliseconds=500),
                "base": 2,
            },
        },
    )


def _make_client(address: StoreAddress, limits: Limits, seconds: float) -> Minio:
    parts = urlsplit(address.endpoint)
    pool = urllib3.PoolManager(
        maxsize=limits.threads,
        timeout=urllib3.Timeout(connect=limits.connect_seconds, read=seconds),
        retries=urllib3.Retry(total=1, connect=1, read=0, redirect=0, status=0, other=0),
    )
    return Minio(
        parts.netloc,
        access_key=address.access_key,
        secret_key=address.secret_key,
        secure=parts.scheme == "https",
        region=address.region,  # known, so that presigning asks nobody
        http_client=pool,
    )
