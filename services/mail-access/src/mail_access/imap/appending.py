"""APPEND and REPLACE (RFC 3501 s6.3.11, RFC 3502, RFC 8508): messages stream in, and are durable at the OK.

They are whole only at the end of their command, and then there at once or not at all. The ids are ours, so
that an unknown outcome can be asked for again.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeAlias

from mail_access.imap.catenating import url_octets
from mail_access.imap.context import Context, Done
from mail_access.imap.flagging import split_flags
from mail_access.imap.keeping import Keeper
from mail_access.imap.refusals import (
    EMPTY_MESSAGE,
    EXPUNGED,
    MESSAGE_TOO_BIG,
    NOT_BETWEEN_ACCOUNTS,
    NOT_ENABLED,
    READ_ONLY,
    TRY_CREATE,
    CommandRefusedError,
)
from mail_access.imap.sharing import locate
from mail_access.login import Login
from mail_access.store import ranges_of
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import MailboxNotFoundError
from postroom_contracts.ids import new_id
from postroom_runtime.steps import reached
from postroom_runtime.tcp import PeerGoneError
from postroom_wire.imap import codes, responses
from postroom_wire.imap.acl import Rights
from postroom_wire.imap.commands import Append, Replace
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.errors import Condition, LocalProtocolError
from postroom_wire.imap.events import (
    AppendContent,
    AppendEnded,
    AppendEvent,
    AppendMessageEnded,
    AppendMessageStarted,
    AppendStarted,
    AppendUrl,
    CommandReceived,
    CommandRefused,
    ContinuationRequest,
    IdleEnded,
    NeedData,
    SaslResponse,
)
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.sequence import SequenceSet

_CONTENT_IDLE_SECONDS: Final = 120.0

_Events: TypeAlias = AsyncGenerator[AppendEvent]


class AppendBrokenOffError(Exception):
    """The engine ended the command with a refusal that is still to be written."""

    def __init__(self, event: CommandRefused) -> None:
        super().__init__()
        self.event = event


@dataclass(frozen=True, slots=True)
class Target:
    """Where the messages go, and the UID of the one in the selected mailbox that they take the place of.

    `name`: of the user's own mailbox, which the store looks at: it may be another one's by then.
    """

    mailbox_id: bytes
    login: Login
    replaces: int | None = None
    name: MailboxName | None = None


async def prepare(context: Context, command: Append | Replace) -> Target:
    """Before a message is taken: its mailbox, and what it replaces.

    Raises `CommandRefusedError`, `RemoteProtocolError`, `PostroomError`.
    """
    replaces = _replaced(context, command) if isinstance(command, Replace) else None
    target = await _target(context, command.mailbox)
    if replaces is not None and target.login.account_id != context.reading.account_id:
        raise CommandRefusedError(NOT_BETWEEN_ACCOUNTS)
    return replace(target, replaces=replaces)


async def append_messages(context: Context, target: Target) -> Done:
    """Take the announced messages and file them. Raises `AppendBrokenOffError` and as `prepare`."""
    context.engine.accept_append()
    context.connection.set_idle(_CONTENT_IDLE_SECONDS)
    try:
        requests = await _take(context, target)
    finally:
        context.connection.set_idle(context.resources.settings.idle_seconds)
    reached("append.received")
    try:
        return await _file(context, target, requests)
    except MailboxNotFoundError:
        if target.name is None:
            raise
    # It was renamed or deleted meanwhile; of that name there may be another one.
    mailbox, _ = await context.find(target.name, TRY_CREATE)
    for request in requests:
        request.mailbox_id = mailbox.id
    return await _file(context, replace(target, mailbox_id=mailbox.id), requests)


async def _target(context: Context, name: MailboxName) -> Target:
    """Looked up, unless this session has just done so: whoever appends often does it to the same mailbox."""
    if (mailbox_id := context.found_last(name)) is not None:
        return Target(mailbox_id, context.login, name=name)
    located, _ = await locate(context, name, TRY_CREATE)
    located.require(Rights.INSERT)
    return Target(located.mailbox.id, located.login, name=None if located.is_shared else name)


async def _file(context: Context, target: Target, requests: list[mailbox_pb2.AppendMessageRequest]) -> Done:
    """Have the store keep them."""
    if target.replaces is not None:
        return await _replace(context, target, target.replaces, requests)
    if len(requests) == 1:
        appended = await context.resources.store.append_message(target.login, requests[0])
        uids, uid_validity, modseq = [appended.uid], appended.uid_validity, appended.modseq
    else:
        request = mailbox_pb2.AppendMessagesRequest(messages=requests)
        answer = await context.resources.store.append_messages(target.login, request)
        uids, uid_validity, modseq = _uids(answer), answer.uid_validity, answer.modseq
    reached("append.stored")
    await context.caught_up(target.mailbox_id, modseq, target.login.account_id)
    return Done(b"APPEND completed", codes.append_uid(uid_validity, *uids))


async def _replace(
    context: Context, target: Target, replaced: int, requests: list[mailbox_pb2.AppendMessageRequest]
) -> Done:
    """The new message is told of before the old one's EXPUNGE (RFC 8508 s4.3)."""
    selected = context.require_selected()
    place = mailbox_pb2.ReplacedMessage(mailbox_id=selected.mailbox.id.bytes, uid=replaced)
    request = mailbox_pb2.AppendMessagesRequest(messages=requests, replaces=place)
    answer = await context.resources.store.append_messages(target.login, request)
    reached("append.stored")
    code = codes.append_uid(answer.uid_validity, *_uids(answer))
    context.output.write(responses.untagged(Condition.OK, b"Replacement is there", code))
    await context.caught_up(selected.mailbox.id.bytes, answer.modseq)
    await context.caught_up(target.mailbox_id, answer.modseq, target.login.account_id)
    return Done(b"REPLACE completed", expunged=True)


def _replaced(context: Context, command: Replace) -> int:
    """The UID of the message that is to go."""
    selected = context.require_selected()
    if selected.read_only:
        raise CommandRefusedError(READ_ONLY)
    wanted = SequenceSet(((command.message, command.message),))
    uids, _ = selected.uids(selected.view.select(wanted, by_uid=command.uid))
    if not uids:
        raise CommandRefusedError(EXPUNGED)
    return uids[0]


async def _take(context: Context, target: Target) -> list[mailbox_pb2.AppendMessageRequest]:
    """All messages of the command, with the calls or in the object store."""
    keeper = Keeper(context)
    async with aclosing(_events(context)) as events:
        return [
            await _message(context, target, event, events, keeper)
            async for event in events
            if isinstance(event, AppendMessageStarted)
        ]


async def _message(
    context: Context, target: Target, begun: AppendMessageStarted, events: _Events, keeper: Keeper
) -> mailbox_pb2.AppendMessageRequest:
    if begun.utf8 and Extension.UTF8_ACCEPT not in context.enabled:
        raise CommandRefusedError(NOT_ENABLED)
    if begun.size == 0:
        raise CommandRefusedError(EMPTY_MESSAGE)
    async with aclosing(_content(context, events)) as source:
        content = await keeper.keep(source, begun.size)
    if not content.size:
        raise CommandRefusedError(EMPTY_MESSAGE)
    flags, keywords = split_flags(begun.flags)
    request = mailbox_pb2.AppendMessageRequest(
        id=new_id().bytes,
        mailbox_id=target.mailbox_id,
        mailbox_name="" if target.name is None else target.name.value,
        flags=flags,
        keywords=keywords,
        content=content,
    )
    request.internal_date.FromDatetime(begun.date_time or datetime.now(UTC))
    return request


async def _content(context: Context, events: _Events) -> AsyncGenerator[bytes]:
    """The octets of one message, in their order, from wherever they come."""
    room = context.resources.settings.append_octets
    async for event in events:
        match event:
            case AppendContent(octets):
                room -= len(octets)
                yield octets
            case AppendUrl(url):
                async with aclosing(url_octets(context, url)) as pieces:
                    async for octets in pieces:
                        room -= len(octets)
                        if room < 0:
                            raise CommandRefusedError(MESSAGE_TOO_BIG)
                        yield octets
            case AppendMessageEnded():
                return
            case AppendMessageStarted() | AppendEnded():
                raise LocalProtocolError("a message has not ended")
        if room < 0:
            raise CommandRefusedError(MESSAGE_TOO_BIG)


async def _events(context: Context) -> AsyncGenerator[AppendEvent]:
    """What the client says until its command has ended as it should."""
    engine, connection = context.engine, context.connection
    while True:
        event = engine.next_event()
        match event:
            case NeedData.NEED_DATA:
                await context.output.flush()
                if context.hears_more:
                    context.hear(b"")
                    continue
                octets = await connection.receive()
                if not octets:
                    raise PeerGoneError("the client left in the middle of a message")
                context.hear(octets)
            case AppendEnded():
                return
            case AppendMessageStarted() | AppendUrl() | AppendContent() | AppendMessageEnded():
                yield event
            case ContinuationRequest(octets):
                context.output.write(octets)
            case CommandRefused():
                raise AppendBrokenOffError(event)
            case AppendStarted() | CommandReceived() | SaslResponse() | IdleEnded():
                raise LocalProtocolError("not an event of APPEND")


def _uids(answer: mailbox_pb2.AppendMessagesResponse) -> list[int]:
    return [uid for first, last in ranges_of(answer.uids) for uid in range(first, last + 1)]
