"""The octets of one message on their way from the client to the store.

Small mail is gathered, compressed and handed over in one piece. Larger mail is put into the object store
while it comes, in parts whose memory a budget of the whole process bounds: when it is spent, the client's
socket is not read.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Final
from uuid import UUID

import zstandard

from postroom.mailstore.v1 import content_pb2
from postroom_contracts.errors import UnavailableError
from postroom_runtime.transfer import StaleUrlError, Stored
from postroom_wire.smtp import trace_separator

STAGED_LIMIT: Final = 256 * 1024
_QUEUED_CHUNKS: Final = 8
_COMPRESSION_LEVEL: Final = 1
_of_thread: Final = threading.local()

Upload = Callable[[UUID, AsyncIterator[bytes]], Coroutine[None, None, Stored]]
"""Opens an upload with this id, puts all octets, and says what was put."""


class Gathering:
    """Takes a message's chunks; `finish` gives what to hand over. `upload_id` names a large one's upload.

    `trace` are the lines that go on top. What the client sent follows them as it is, after what keeps a
    content without a header from becoming a part of theirs (`trace_separator`).
    """

    def __init__(self, upload: Upload, upload_id: UUID, trace: bytes) -> None:
        self._upload, self._upload_id = upload, upload_id
        self._chunks: list[bytes] = [trace]
        self._size = len(trace)
        self._start: bytes | None = b""  # until it is clear what goes above it
        self._uploading: asyncio.Task[Stored] | None = None
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUED_CHUNKS)

    async def add(self, octets: bytes) -> None:
        """Take a chunk; waits while the object store is slower than the client."""
        if self._start is not None:
            self._start += octets
            if (separator := trace_separator(self._start)) is None:
                return
            octets, self._start = separator + self._start, None
        await self._take(octets)

    async def _take(self, octets: bytes) -> None:
        self._size += len(octets)
        if self._uploading is not None:
            await self._feed(octets)
            return
        self._chunks.append(octets)
        if self._size > STAGED_LIMIT:
            gathered, self._chunks = b"".join(self._chunks), []
            self._uploading = asyncio.create_task(self._upload(self._upload_id, self._source()))
            await self._feed(gathered)

    async def finish(self) -> content_pb2.Content:
        """The whole message. Raises UnavailableError when the object store did not take it."""
        if self._start:  # less than a line, which no DATA leaves
            separator = trace_separator(self._start + b"\r\n") or b""
            await self._take(separator + self._start)
        if self._uploading is None:
            return _inline(b"".join(self._chunks))
        await self._feed(None)
        try:
            stored = await self._uploading
        except StaleUrlError as error:
            raise UnavailableError("the object store takes the upload no more") from error
        parts = [content_pb2.UploadedPart(number=part.number, etag=part.etag) for part in stored.parts]
        upload = content_pb2.UploadedContent(upload_id=self._upload_id.bytes, parts=parts)
        return content_pb2.Content(digest=stored.digest, size=stored.size, upload=upload)

    async def discard(self) -> None:
        """Forget everything; what the object store has of it is swept later."""
        self._chunks = []
        if self._uploading is not None:
            self._uploading.cancel()
            await asyncio.gather(self._uploading, return_exceptions=True)

    async def _feed(self, octets: bytes | None) -> None:
        """Give octets to the upload; once it has failed they are dropped, and `finish` tells."""
        if self._uploading is None or self._uploading.done():
            return
        putting = asyncio.ensure_future(self._queue.put(octets))
        await asyncio.wait((putting, self._uploading), return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()

    async def _source(self) -> AsyncIterator[bytes]:
        while (octets := await self._queue.get()) is not None:
            yield octets


def _inline(octets: bytes) -> content_pb2.Content:
    return content_pb2.Content(
        digest=hashlib.sha256(octets).digest(),
        size=len(octets),
        zstd=_compressor().compress(octets),
    )


def _compressor() -> zstandard.ZstdCompressor:
    """This thread's own: making one costs as much as compressing a small message."""
    if (compressor := getattr(_of_thread, "compressor", None)) is None:
        compressor = _of_thread.compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)
    return compressor
