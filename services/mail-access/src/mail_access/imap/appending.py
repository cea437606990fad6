"""APPEND (RFC 3501 s6.3.11): a message streams in, and is durable at the OK.

It is whole only at the end of its command. Up to 256 KiB go along with the call, more goes to the object
store by signed URLs. The id is ours, so that an unknown outcome can be asked for again.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import zstandard

from mail_access.imap.context import Context, Done
from mail_access.imap.flagging import split_flags
from mail_access.imap.refusals import MESSAGE_TOO_BIG, TRY_CREATE, CommandRefusedError
from postroom.mailstore.v1 import content_pb2, mailbox_pb2
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_runtime.tcp import PeerGoneError
from postroom_runtime.transfer import StaleUrlError
from postroom_wire.imap import codes
from postroom_wire.imap.commands import Append
from postroom_wire.imap.errors import LocalProtocolError
from postroom_wire.imap.events import (
    AppendContent,
    AppendEnded,
    AppendStarted,
    CommandReceived,
    CommandRefused,
    ContinuationRequest,
    IdleEnded,
    NeedData,
    SaslResponse,
)

INLINE: Final = 256 * 1024
_CONTENT_IDLE_SECONDS: Final = 120.0
_ZSTD_LEVEL: Final = 1


class AppendBrokenOffError(Exception):
    """The engine ended the command with a refusal that is still to be written."""

    def __init__(self, event: CommandRefused) -> None:
        super().__init__()
        self.event = event


@dataclass(frozen=True, slots=True)
class Target:
    """Where the message goes."""

    mailbox_id: bytes
    append: Append


async def prepare(context: Context, append: Append) -> Target:
    """Before the message is taken: its mailbox. Raises `CommandRefusedError`, `PostroomError`."""
    if append.size > context.resources.settings.append_octets:
        raise CommandRefusedError(MESSAGE_TOO_BIG)
    mailbox, _ = await context.find(append.mailbox, TRY_CREATE)
    return Target(mailbox.id, append)


async def append_message(context: Context, target: Target) -> Done:
    """Take the announced message and file it. Raises `AppendBrokenOffError`, `PostroomError`."""
    append = target.append
    context.output.write(context.engine.accept_append())
    await context.output.flush()
    context.connection.set_idle(_CONTENT_IDLE_SECONDS)
    try:
        content = await _take(context, append.size)
    finally:
        context.connection.set_idle(context.resources.settings.idle_seconds)
    flags, keywords = split_flags(append.flags)
    request = mailbox_pb2.AppendMessageRequest(
        id=new_id().bytes, mailbox_id=target.mailbox_id, flags=flags, keywords=keywords, content=content
    )
    request.internal_date.FromDatetime(append.date_time or datetime.now(UTC))
    reached("append.received")
    appended = await context.resources.store.append_message(context.login, request)
    reached("append.stored")
    await context.caught_up(target.mailbox_id, appended.modseq)
    return Done(b"APPEND completed", codes.append_uid(appended.uid_validity, appended.uid))


async def _take(context: Context, size: int) -> content_pb2.Content:
    """The message's octets, with the call or in the object store."""
    async with aclosing(_content(context)) as source:
        if size <= INLINE:
            async with context.resources.budget.hold(size):
                octets = await _gather(source)
                zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(octets)
            return content_pb2.Content(digest=hashlib.sha256(octets).digest(), size=len(octets), zstd=zstd)
        try:
            return await _upload(context, size, source)
        except StaleUrlError:
            raise UnavailableError("the object store refused a signed URL") from None


async def _upload(context: Context, size: int, source: AsyncGenerator[bytes]) -> content_pb2.Content:
    store, login, transfers = context.resources.store, context.login, context.resources.transfers
    upload_id = new_id()
    begun = await store.begin_upload(login, upload_id, size)
    urls = {part.number: part.url for part in begun.parts}
    upload = content_pb2.UploadedContent(upload_id=upload_id.bytes)
    if 0 in urls:
        async with context.resources.budget.hold(size):
            octets = await _gather(source)
            await transfers.put(urls[0], octets)
            digest = await asyncio.to_thread(_digest, octets)
        return content_pb2.Content(digest=digest, size=len(octets), upload=upload)

    async def url_of(number: int) -> str:
        return urls.get(number) or await store.presign_part(login, upload_id, number)

    stored = await transfers.put_parts(url_of, source, part_size=begun.part_size)
    upload.parts.extend(content_pb2.UploadedPart(number=part.number, etag=part.etag) for part in stored.parts)
    return content_pb2.Content(digest=stored.digest, size=stored.size, upload=upload)


async def _content(context: Context) -> AsyncGenerator[bytes]:
    """The message as it comes; ends when its command has ended as it should."""
    engine, connection = context.engine, context.connection
    while True:
        event = engine.next_event()
        match event:
            case NeedData.NEED_DATA:
                await context.output.flush()
                octets = await connection.receive()
                if not octets:
                    raise PeerGoneError("the client left in the middle of a message")
                engine.receive_data(octets)
            case AppendContent(octets):
                yield octets
            case AppendEnded():
                return
            case ContinuationRequest(octets):
                context.output.write(octets)
            case CommandRefused():
                raise AppendBrokenOffError(event)
            case AppendStarted() | CommandReceived() | SaslResponse() | IdleEnded():
                raise LocalProtocolError("not an event of APPEND")


async def _gather(source: AsyncGenerator[bytes]) -> bytes:
    gathered = bytearray()
    async for octets in source:
        gathered += octets
    return bytes(gathered)


def _digest(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()
