"""Octets of messages, streamed: a stream that breaks is taken up where it broke."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from mail_access.login import Login
from mail_access.store import MailStore
from postroom.mailstore.v1 import content_pb2, mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_runtime.transfer import StaleUrlError, Transfers


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
        """Up to 1,000 ranges one after another, in pieces; what is not asked for is not read ahead.

        Raises `PostroomError`, `LoginEndedError`; `UnavailableError` only when trying again did not help.
        """
        at, failures, limits = _Progress(), 0, self._store.limits
        while at.index < len(ranges):
            before, started = (at.index, at.offset), monotonic()
            try:
                async with aclosing(self._read_on(login, mailbox_id, ranges, at)) as pieces:
                    async for piece in pieces:
                        yield piece
            except (UnavailableError, StaleUrlError) as error:
                failures = 0 if before != (at.index, at.offset) else failures + 1
                # A quick failure may be one replica's; after a slow one the client has waited enough.
                slow = monotonic() - started > limits.call_seconds / 2
                if (slow and failures) or failures + 1 >= limits.read_attempts:
                    raise UnavailableError("the octets could not be read") from error
                await asyncio.sleep(limits.read_again_seconds)

    async def _read_on(
        self, login: Login, mailbox_id: UUID, ranges: Sequence[ReadRange], at: _Progress
    ) -> AsyncGenerator[Piece]:
        """One stream, from where the reading is; moves `at` along."""
        first, done = at.index, at.offset
        reads = [
            mailbox_pb2.MessageRange(uid=each.uid, offset=each.offset, length=each.length)
            for each in ranges[first:]
        ]
        reads[0].offset += done
        reads[0].length -= done
        async with aclosing(self._store.read_messages(login, mailbox_id, reads)) as responses:
            async for response in responses:
                # A store of the release before answers one by one.
                for chunk in response.chunks or (response.chunk,):
                    number = first + chunk.read
                    if chunk.HasField("url"):
                        async with aclosing(self._fetched(chunk.url)) as octets:
                            async for piece in octets:
                                at.offset += len(piece)
                                yield Piece(number, piece, last=False)
                    elif chunk.octets:
                        at.offset += len(chunk.octets)
                        yield Piece(number, chunk.octets, last=False)
                    if chunk.last:
                        at.index, at.offset = number + 1, 0
                        yield Piece(number, b"", last=True)
        if at.index < len(ranges):
            raise UnavailableError("the stream of octets ended early")

    async def _fetched(self, url: content_pb2.PresignedRead) -> AsyncGenerator[bytes]:
        async with aclosing(self._transfers.get_range(url.url, url.offset, url.length)) as pieces:
            async for piece in pieces:
                yield piece
