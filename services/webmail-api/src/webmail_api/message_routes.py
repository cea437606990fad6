"""`/messages`: reading, flags, moving, deleting, sending."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.responses import StreamingResponse

from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom_contracts.errors import MessageNotFoundError
from postroom_wire.mime import Decoder, decode_parts, decoder
from webmail_api.access import PROBLEMS, CurrentUser, PathId, Shared
from webmail_api.downloads import download
from webmail_api.flags import names
from webmail_api.house import House
from webmail_api.identifiers import MessageKey, encode, mailbox_id
from webmail_api.mail_models import (
    FlagChange,
    Message,
    MessageFlags,
    Move,
    Moved,
    NewFlags,
    NewMessage,
    Sent,
)
from webmail_api.mail_store import find
from webmail_api.message_view import summary_of
from webmail_api.problems import CONTENT_TOO_LARGE, OVERLOADED, REQUEST_TIMEOUT, ProblemError
from webmail_api.sessions import User

router = APIRouter(prefix="/messages", tags=["messages"], responses=PROBLEMS)

_BASE64_GROWTH: Final = 1.5
_ROOM_FOR_THE_REST: Final = 1024 * 1024
_HELD_TIMES: Final = 4
"""The document, its parts, the message, and what is sent of it."""
_NEW_MESSAGE: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewMessage"}}},
    }
}


@router.post("", operation_id="sendMessage", status_code=201, openapi_extra=_NEW_MESSAGE)
async def send_message(request: Request, user: CurrentUser, house: Shared) -> Sent:
    """Send a message; 201 says that it is durable."""
    # The body is read here and not before: a stranger could fill the memory.
    announced = request.headers.get("content-length", "")
    most = body_octets(house.settings.message_octets)
    size = min(int(announced), most) if announced.isascii() and announced.isdigit() else most
    async with _held(house, size * _HELD_TIMES):
        body = await _body(request, size, house.limits.body_seconds)
        try:
            message = await asyncio.to_thread(NewMessage.model_validate_json, body)
        except ValidationError as error:
            raise RequestValidationError(error.errors(include_input=False)) from None
        return await house.sender.send(user, message)


@router.get("/{id}", operation_id="getMessage")
async def get_message(
    given: PathId,
    user: CurrentUser,
    house: Shared,
    remote_content: Annotated[
        bool, Query(description="Leave the addresses of pictures elsewhere in the HTML.")
    ] = False,
) -> Message:
    """A message to read."""
    key = MessageKey.parse(given)
    listed = await house.store.mailboxes(user)
    find(listed.mailboxes, key.mailbox_id)
    facts = await house.store.facts(user, key, structure=True)
    keywords = {keyword.bit: keyword.name for keyword in listed.keywords}
    summary = summary_of(facts, key.mailbox_id, keywords)
    return await house.viewer.view(user, facts, summary, remote_content=remote_content)


@router.get(
    "/{id}/raw",
    operation_id="getRawMessage",
    response_class=StreamingResponse,
    responses={200: {"content": {"message/rfc822": {}}, "description": "The octets as they are."}},
)
async def get_raw_message(given: PathId, user: CurrentUser, house: Shared) -> StreamingResponse:
    """A message as it is, octet for octet."""
    key = MessageKey.parse(given)
    size = (await house.store.facts(user, key)).size
    return await download(house.reader.read(user, key, 0, size), "message/rfc822", f"{given}.eml", size)


@router.get(
    "/{id}/parts/{section}",
    operation_id="getMessagePart",
    response_class=StreamingResponse,
    responses={200: {"content": {"*/*": {}}, "description": "The part's octets, decoded."}},
)
async def get_message_part(
    given: PathId, section: str, user: CurrentUser, house: Shared
) -> StreamingResponse:
    """A part of a message to keep, such as an attachment."""
    key = MessageKey.parse(given)
    facts = await house.store.facts(user, key, structure=True)
    part = decode_parts(facts.parts).find(section)
    if part is None:
        raise MessageNotFoundError("no such part")
    extent = part.extent
    encoded = house.reader.read(user, key, len(facts.prefix) + extent.body_offset, extent.body_length)
    name = part.name or f"{section}.bin"
    return await download(_decoded(encoded, decoder(part.encoding)), part.media_type, name)


@router.put("/{id}/flags", operation_id="setMessageFlags")
async def set_message_flags(
    given: PathId, wanted: NewFlags, user: CurrentUser, house: Shared
) -> MessageFlags:
    """Give a message these flags and no others."""
    key = MessageKey.parse(given)
    await house.store.store_flags(user, key, pb.StoreFlagsRequest.MODE_REPLACE, wanted.flags)
    return await _flags(user, key, house)


@router.patch("/{id}/flags", operation_id="changeMessageFlags")
async def change_message_flags(
    given: PathId, change: FlagChange, user: CurrentUser, house: Shared
) -> MessageFlags:
    """Set some flags of a message, take others away."""
    key = MessageKey.parse(given)
    if change.add:
        await house.store.store_flags(user, key, pb.StoreFlagsRequest.MODE_ADD, change.add)
    if change.remove:
        await house.store.store_flags(user, key, pb.StoreFlagsRequest.MODE_REMOVE, change.remove)
    return await _flags(user, key, house)


@router.post("/{id}/move", operation_id="moveMessage")
async def move_message(given: PathId, wanted: Move, user: CurrentUser, house: Shared) -> Moved:
    """Move a message to another mailbox, where it has another id."""
    moved = await house.store.move(user, MessageKey.parse(given), mailbox_id(wanted.mailbox_id))
    return Moved(id=str(moved), mailbox_id=encode(moved.mailbox_id))


@router.delete("/{id}", operation_id="deleteMessage", status_code=204, response_class=Response)
async def delete_message(given: PathId, user: CurrentUser, house: Shared) -> None:
    """Move a message to the trash; one that is there already is deleted for good."""
    key = MessageKey.parse(given)
    trash = await house.store.special(user, pb.SPECIAL_USE_TRASH, "Trash")
    if trash.id == key.mailbox_id:
        await house.store.expunge(user, key)
    else:
        await house.store.move(user, key, trash.id)


def body_octets(message_octets: int) -> int:
    """How large the document of a message of this size may be."""
    return int(message_octets * _BASE64_GROWTH) + _ROOM_FOR_THE_REST


@asynccontextmanager
async def _held(house: House, octets: int) -> AsyncGenerator[None]:
    """Memory for a message, unless others have it for too long."""
    try:
        async with asyncio.timeout(house.limits.call_seconds):
            await house.sending.acquire(octets)
    except TimeoutError:
        raise ProblemError(OVERLOADED) from None
    try:
        yield
    finally:
        house.sending.release(octets)


async def _body(request: Request, most: int, seconds: float) -> bytes:
    gathered = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                gathered += piece
                if len(gathered) > most:
                    raise ProblemError(CONTENT_TOO_LARGE)
    except TimeoutError:
        raise ProblemError(REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
    return bytes(gathered)


async def _flags(user: User, key: MessageKey, house: House) -> MessageFlags:
    facts = await house.store.facts(user, key)
    listed = await house.store.mailboxes(user)
    keywords = {keyword.bit: keyword.name for keyword in listed.keywords}
    return MessageFlags(id=str(key), flags=names(facts.flags, facts.keywords, keywords))


async def _decoded(encoded: AsyncGenerator[bytes], decoding: Decoder) -> AsyncGenerator[bytes]:
    async with aclosing(encoded):
        async for piece in encoded:
            if octets := decoding.feed(piece):
                yield octets
    if octets := decoding.finish():
        yield octets
