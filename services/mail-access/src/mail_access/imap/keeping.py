"""The octets of a message that a client brings on their way to the store.

Up to 256 KiB go along with the call, more goes to the object store by signed URLs; of several messages of one
command only the first MiB goes along.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator
from typing import Final

import zstandard

from mail_access.imap.context import Context
from postroom.mailstore.v1 import content_pb2
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.transfer import StaleUrlError

INLINE: Final = 256 * 1024
_INLINE_OF_COMMAND: Final = 1024 * 1024
_ZSTD_LEVEL: Final = 1


class _Kept(threading.local):
    """Making a compressor takes longer than compressing some KiB; each thread has its own."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)


_KEPT: Final = _Kept()


class Keeper:
    """For the messages of one command."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._room = _INLINE_OF_COMMAND

    async def keep(self, source: AsyncGenerator[bytes], size: int | None) -> content_pb2.Content:
        """Take a message whose size is known, or is not. Raises `UnavailableError` and as the source."""
        try:
            return await self._keep(source, size)
        except StaleUrlError:
            raise UnavailableError("the object store refused a signed URL") from None

    async def _keep(self, source: AsyncGenerator[bytes], size: int | None) -> content_pb2.Content:
        context = self._context
        if size is not None and (size > INLINE or self._room <= 0):
            return await self._upload(size, source)
        async with context.resources.budget.hold(INLINE if size is None else size):
            begun = bytearray()
            async for octets in source:
                begun += octets
                if len(begun) > INLINE:
                    break
            else:
                if self._room > 0 or not begun:
                    return self._inline(bytes(begun))
        # The size is known only now: as if the largest message were coming.
        return await self._upload(context.resources.settings.append_octets, _chained(bytes(begun), source))

    def _inline(self, octets: bytes) -> content_pb2.Content:
        zstd = _KEPT.compressor.compress(octets)
        self._room -= len(zstd)
        return content_pb2.Content(digest=hashlib.sha256(octets).digest(), size=len(octets), zstd=zstd)

    async def _upload(self, size: int, source: AsyncGenerator[bytes]) -> content_pb2.Content:
        resources, login = self._context.resources, self._context.login
        store, transfers = resources.store, resources.transfers
        upload_id = new_id()
        begun = await store.begin_upload(login, upload_id, size)
        urls = {part.number: part.url for part in begun.parts}
        upload = content_pb2.UploadedContent(upload_id=upload_id.bytes)
        if 0 in urls:
            async with resources.budget.hold(size):
                octets = b"".join([each async for each in source])
                await transfers.put(urls[0], octets)
                digest = await asyncio.to_thread(_digest, octets)
            return content_pb2.Content(digest=digest, size=len(octets), upload=upload)

        async def url_of(number: int) -> str:
            return urls.get(number) or await store.presign_part(login, upload_id, number)

        stored = await transfers.put_parts(url_of, source, part_size=begun.part_size)
        upload.parts.extend(
            content_pb2.UploadedPart(number=part.number, etag=part.etag) for part in stored.parts
        )
        return content_pb2.Content(digest=stored.digest, size=stored.size, upload=upload)


async def _chained(begun: bytes, source: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    yield begun
    async for octets in source:
        yield octets


def _digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
