"""Octets of messages, streamed: a stream that breaks is taken up where it broke."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from postroom.mailstore.v1 import content_pb2, mailbox_pb2
from postroom_contracts.errors import MessageNotFoundError, UnavailableError
from postroom_runtime.transfer import StaleUrlError, Transfers
from webmail_api.identifiers import MessageKey
from webmail_api.mail_store import MailStore
from webmail_api.sessions import User


@dataclass
class _Progress:
    done: int = 0
    ended: bool = False


class ContentReader:
    """Reads ranges of messages; one for each process."""

    def __init__(self, store: MailStore, transfers: Transfers) -> None:
        self._store, self._transfers = store, transfers

    async def read(self, user: User, key: MessageKey, offset: int, length: int) -> AsyncGenerator[bytes]:
        """The range, in pieces; offsets count the copy's prefix.

        Raises `PostroomError`: `UnavailableError` when trying again did not help, `MessageNotFoundError`
        when the message goes before the range was whole.
        """
        at, failures = _Progress(), 0
        while at.done < length and not at.ended:
            before = at.done
            try:
                wanted = mailbox_pb2.MessageRange(
                    uid=key.uid, offset=offset + at.done, length=length - at.done
                )
                async with aclosing(self._read_on(user, key.mailbox_id, wanted, at)) as pieces:
                    async for piece in pieces:
                        yield piece
            except (UnavailableError, StaleUrlError) as error:
                failures = 0 if before != at.done else failures + 1
                if failures + 1 >= self._store.limits.read_attempts:
                    raise UnavailableError("the octets could not be read") from error
                await asyncio.sleep(self._store.limits.read_again_seconds)
        if at.done < length:
            raise MessageNotFoundError("the message is gone")

    async def whole(self, user: User, key: MessageKey, offset: int, length: int) -> bytes:
        """The range at once; the caller bounds it."""
        gathered = bytearray()
        async with aclosing(self.read(user, key, offset, length)) as pieces:
            async for piece in pieces:
                gathered += piece
        return bytes(gathered)

    async def _read_on(
        self, user: User, mailbox_id: bytes, wanted: mailbox_pb2.MessageRange, at: _Progress
    ) -> AsyncGenerator[bytes]:
        """One stream, from where the reading is; moves `at` along."""
        request = mailbox_pb2.ReadMessagesRequest(mailbox_id=mailbox_id, reads=[wanted])
        stream = self._store.stub.ReadMessages(request, **self._store.stream(user))
        async with aclosing(self._store.in_time(stream)) as responses:
            async for response in responses:
                async with aclosing(self._octets(response.chunk)) as octets:
                    async for piece in octets:
                        at.done += len(piece)
                        yield piece
                if response.chunk.last:
                    at.ended = True
                    return
        raise UnavailableError("the stream of octets ended early")

    async def _octets(self, chunk: content_pb2.ContentChunk) -> AsyncGenerator[bytes]:
        if chunk.HasField("url"):
            url = chunk.url
            async with aclosing(self._transfers.get_range(url.url, url.offset, url.length)) as pieces:
                async for piece in pieces:
                    yield piece
        elif chunk.octets:
            yield chunk.octets
