"""Octets of messages, streamed: a stream that breaks is taken up where it broke."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID

import zstandard

from mail_access.login import Login
from mail_access.store import MailStore
from postroom.mailstore.v1 import content_pb2, mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_runtime.transfer import StaleUrlError, Transfers

_MAX_FRAME: Final = 256 * 1024
"""Octets of a frame's content, by the contract."""
_DECOMPRESSOR: Final = zstandard.ZstdDecompressor()


class ReadRange(NamedTuple):
    """Octets of one message, its prefix included."""

    uid: int
    offset: int
    length: int


class Piece(NamedTuple):
    """Octets of the range of this number, from 0. The `last` piece of a range may be empty.

    A message that is gone has a last piece before its range was whole.
    """

    number: int
    octets: bytes
    last: bool


class Pieces:
    """Pieces one after another, from lists of what came together: what is at hand needs no waiting."""

    __slots__ = ("_at", "_batch", "_batches")

    def __init__(self, batches: AsyncGenerator[Sequence[Piece]]) -> None:
        self._batches = batches
        self._batch: Sequence[Piece] = ()
        self._at = 0

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> Piece:
        while self._at >= len(self._batch):
            self._batch, self._at = (), 0  # let go before the next ones come
            self._batch = await anext(self._batches)
        self._at += 1
        return self._batch[self._at - 1]

    def take_whole(self, number: int, length: int) -> bytes | None:
        """All octets of a range when they are the next at hand, and as many as wanted."""
        if self._at >= len(self._batch):
            return None
        piece = self._batch[self._at]
        if not piece.last or piece.number != number or len(piece.octets) != length:
            return None
        self._at += 1
        return piece.octets


@dataclass
class _Progress:
    """How far a reading has come."""

    index: int = 0
    offset: int = 0


class ContentReader:
    """Reads ranges of messages; one for each process."""

    def __init__(self, store: MailStore, transfers: Transfers) -> None:
        self._store, self._transfers = store, transfers

    async def read(
        self, login: Login, mailbox_id: UUID, ranges: Sequence[ReadRange]
    ) -> AsyncGenerator[Piece]:
        """As `read_together`, piece by piece; the last one of a range is empty."""
        async with aclosing(self.read_together(login, mailbox_id, ranges)) as batches:
            async for batch in batches:
                for piece in batch:
                    if piece.octets:
                        yield piece._replace(last=False)
                    if piece.last:
                        yield piece._replace(octets=b"")

    async def read_together(
        self, login: Login, mailbox_id: UUID, ranges: Sequence[ReadRange]
    ) -> AsyncGenerator[list[Piece]]:
        """Up to 1,000 ranges one after another, in pieces; what is not asked for is not read ahead.

        Raises `PostroomError`, `LoginEndedError`; `UnavailableError` only when trying again did not help.
        """
        at, failures, limits = _Progress(), 0, self._store.limits
        while at.index < len(ranges):
            before, started = (at.index, at.offset), monotonic()
            try:
                async with aclosing(self._read_on(login, mailbox_id, ranges, at)) as batches:
                    async for batch in batches:
                        yield batch
            except (UnavailableError, StaleUrlError) as error:
                failures = 0 if before != (at.index, at.offset) else failures + 1
                # A quick failure may be one replica's; after a slow one the client has waited enough.
                slow = monotonic() - started > limits.call_seconds / 2
                if (slow and failures) or failures + 1 >= limits.read_attempts:
                    raise UnavailableError("the octets could not be read") from error
                await asyncio.sleep(limits.read_again_seconds)

    async def _read_on(
        self, login: Login, mailbox_id: UUID, ranges: Sequence[ReadRange], at: _Progress
    ) -> AsyncGenerator[list[Piece]]:
        """One stream, from where the reading is; moves `at` along."""
        first, done = at.index, at.offset
        reads = [
            mailbox_pb2.MessageRange(uid=uid, offset=offset, length=length)
            for uid, offset, length in (ranges[first:] if first else ranges)
        ]
        reads[0].offset += done
        reads[0].length -= done
        async with aclosing(self._store.read_messages(login, mailbox_id, reads)) as responses:
            async for response in responses:
                # A store of the release before answers one by one.
                batch: list[Piece] = []
                for chunk in response.chunks or (response.chunk,):
                    number, octets, last = first + chunk.read, chunk.octets, chunk.last
                    if zstd := chunk.zstd:
                        octets += _decompressed(zstd)
                    if not octets and chunk.HasField("url"):
                        yield _passed(batch, at)
                        async with aclosing(self._fetched(chunk.url)) as pieces:
                            async for piece in pieces:
                                yield _passed([Piece(number, piece, last=False)], at)
                        batch = []
                    if octets or last:
                        batch.append(Piece(number, octets, last))
                yield _passed(batch, at)
        if at.index < len(ranges):
            raise UnavailableError("the stream of octets ended early")

    async def _fetched(self, url: content_pb2.PresignedRead) -> AsyncGenerator[bytes]:
        async with aclosing(self._transfers.get_range(url.url, url.offset, url.length)) as pieces:
            async for piece in pieces:
                yield piece


def _decompressed(frame: bytes) -> bytes:
    """The octets of a stored message, which are few. Raises `UnavailableError` for a broken frame."""
    try:
        if zstandard.frame_content_size(frame) > _MAX_FRAME:
            raise UnavailableError("a frame is too large")
        return _DECOMPRESSOR.decompress(frame, max_output_size=_MAX_FRAME)
    except zstandard.ZstdError as error:
        raise UnavailableError("a frame is broken") from error


def _passed(batch: list[Piece], at: _Progress) -> list[Piece]:
    """The same, and the reading has come so far."""
    for piece in batch:
        if piece.last:
            at.index, at.offset = piece.number + 1, 0
        else:
            at.offset += len(piece.octets)
    return batch
