"""An IMAP connection from its greeting to its end."""

import asyncio
from contextlib import closing, nullcontext
from dataclasses import replace
from random import uniform
from time import perf_counter
from typing import Final

from mail_access.imap import appending, authenticating
from mail_access.imap.commands import perform
from mail_access.imap.compressing import DeflateError, Inflater
from mail_access.imap.context import Context, Done, SessionEndError
from mail_access.imap.limiting import tell_limited
from mail_access.imap.notifying import tell_at_once, tell_elsewhere
from mail_access.imap.progressing import Watch
from mail_access.imap.refusals import COMPRESSION_ACTIVE, CommandRefusedError, refusal_of, server_bug
from mail_access.imap.unasked import tell_updates
from mail_access.imap.updates import take_highest_modseq
from mail_access.login import LoginEndedError
from mail_access.resources import Resources
from postroom_contracts.errors import PostroomError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_runtime.spans import span
from postroom_runtime.tcp import Connection, DrainingError, PeerGoneError, PeerTimeoutError
from postroom_wire.imap import responses
from postroom_wire.imap.commands import (
    Append,
    Authenticate,
    Command,
    Idle,
    Logout,
    Replace,
    StartTls,
    Unauthenticate,
)
from postroom_wire.imap.compress import Compress
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.errors import Condition, LocalProtocolError, Refusal, RemoteProtocolError
from postroom_wire.imap.events import (
    AppendContent,
    AppendEnded,
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
    SessionEvent,
)
from postroom_wire.imap.state import may_tell_expunges

_COMMANDS: Final = metrics.counter("imap_commands_total", "Commands by outcome.", ["command", "outcome"])
_SECONDS: Final = metrics.histogram(
    "imap_command_seconds", "From the command to its tagged response.", ["command"]
)

_LOGIN_SECONDS: Final = 120.0
_WRITE_SECONDS: Final = 120.0
_MAX_REFUSED: Final = 50
"""Commands one after another that make no sense."""
_DRAIN_PART: Final = 0.75
"""Goodbyes are spread over so much of the drain time."""

_BYE_LOGOUT: Final = responses.bye(b"Goodbye")
_BYE_DRAIN: Final = responses.bye(b"Restarting, connect again", b"UNAVAILABLE")
_BYE_IDLE: Final = responses.bye(b"Idle for too long")
_BYE_LOGIN: Final = responses.bye(b"Your login has ended, log in again")
_BYE_DELETED: Final = responses.bye(b"The selected mailbox was deleted")
_BYE_RENEWED: Final = responses.bye(b"The selected mailbox has a new UIDVALIDITY, connect again")
_BYE_NONSENSE: Final = responses.bye(b"Too many commands that make no sense")
_BYE_STREAM: Final = responses.bye(b"Cannot follow you any more")

_ENDS: Final = (
    DeflateError,
    PeerGoneError,
    PeerTimeoutError,
    DrainingError,
    SessionEndError,
    LoginEndedError,
)


async def handle(connection: Connection, resources: Resources) -> None:
    """Serve one connection."""
    session = Session(Context(connection, resources))
    await session.run()


class Session:
    """One connection's conversation."""

    __slots__ = ("_context", "_leaves_at", "_refused")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._leaves_at: float | None = None
        self._refused = 0

    async def run(self) -> None:
        """Until the client, we or the network end it."""
        context = self._context
        context.connection.set_deadline(_LOGIN_SECONDS)
        context.connection.set_write_seconds(_WRITE_SECONDS)
        context.connection.set_idle(context.resources.settings.idle_seconds)
        context.output.write(responses.greeting(b"Postroom ready", authenticating.capability_list(context)))
        try:
            await self._converse()
        except SessionEndError as end:
            self._last_words(end.bye)
        except LoginEndedError:
            self._last_words(_BYE_LOGIN)
        except DeflateError:
            self._last_words(_BYE_STREAM)
        except DrainingError:
            self._last_words(_BYE_DRAIN)
        except PeerTimeoutError:
            if context.connection.stuck:
                raise
            self._last_words(_BYE_IDLE)
        finally:
            await context.end()

    async def _converse(self) -> None:
        while True:
            event = self._context.engine.next_event()
            if not isinstance(event, NeedData):
                await self._answer(event)
                continue
            if self._context.notification is not None:
                await tell_at_once(self._context)
            if not await self._take_octets():
                return

    async def _answer(self, event: SessionEvent) -> None:
        match event:
            case CommandReceived(_, command):
                self._refused = 0
                await self._command(command)
            case AppendStarted(_, command):
                with span(f"IMAP {type(command).__name__.upper()}", "server"):
                    await self._append(command)
            case ContinuationRequest(octets):
                self._context.output.write(octets)
            case CommandRefused():
                _COMMANDS.labels("none", event.refusal.condition.name.lower()).inc()
                self._tell_refused(event)
            case (
                AppendMessageStarted()
                | AppendUrl()
                | AppendContent()
                | AppendMessageEnded()
                | AppendEnded()
                | SaslResponse()
                | IdleEnded()
            ):
                raise LocalProtocolError("an event outside of its command")

    def _tell_refused(self, event: CommandRefused) -> None:
        self._context.output.write(event.encode())
        self._refused += 1
        if event.fatal:
            raise SessionEndError(_BYE_STREAM)
        if self._refused >= _MAX_REFUSED:
            raise SessionEndError(_BYE_NONSENSE)

    async def _command(self, command: Command) -> None:
        context, started = self._context, perf_counter()
        name = type(command).__name__.lower()
        done: Done | None = None
        reply: Refusal | None
        try:
            # An IDLE takes as long as its client likes, which says nothing.
            traced = nullcontext() if isinstance(command, Idle) else span(f"IMAP {name.upper()}", "server")
            with traced, Watch(context, command):
                reply = _ok(done := await self._perform(command))
        except Exception as error:  # noqa: BLE001  # the boundary of a command
            reply = self._refusal(error, name)
        if reply is not None:
            await self._end(command, done, reply)
        if isinstance(command, Logout):
            raise SessionEndError
        await context.output.flow()
        await asyncio.sleep(0)  # commands that came together take turns with other sessions
        outcome = "answered" if reply is None else reply.condition.name.lower()
        _COMMANDS.labels(name, outcome).inc()
        _SECONDS.labels(name).observe(perf_counter() - started)

    async def _end(self, command: Command, done: Done | None, reply: Refusal) -> None:
        """What is new, and then the tagged response."""
        context = self._context
        own = done is not None and done.expunged
        expunged = own and Extension.CONDSTORE in context.enabled
        await tell_updates(
            context, expunges=may_tell_expunges(command), highest=not expunged, own_expunges=own
        )
        await tell_elsewhere(context)
        if expunged and context.selected is not None:
            reply = replace(reply, code=take_highest_modseq(context.selected))
        if done is not None and done.limited is not None:
            if reply.code is None:
                reply = replace(reply, code=done.limited)
            else:
                tell_limited(context, done.limited)
        context.output.write(context.engine.refuse(reply))

    async def _perform(self, command: Command) -> Done | None:
        """The result, or None when all was said already."""
        context = self._context
        match command:
            case Logout():
                context.output.write(_BYE_LOGOUT)
                return Done(b"LOGOUT completed")
            case StartTls():
                await authenticating.start_tls(context)
                return None
            case Compress():
                await self._compress()
                return None
            case Unauthenticate():
                await self._unauthenticate()
                return None
            case Authenticate():
                return await self._logged_in(await self._authenticate(command))
            case Idle():
                return await self._idle()
            case Append() | Replace():
                raise LocalProtocolError("APPEND is announced by an event of its own")
            case _:
                return await self._logged_in(await perform(context, command))

    async def _logged_in(self, done: Done | None) -> Done | None:
        """From the login on there is no deadline but the idle one."""
        if self._context.logged_in:
            self._context.connection.set_deadline(None)
        return done

    async def _authenticate(self, command: Authenticate) -> Done | None:
        context = self._context
        with closing(authenticating.Authentication(context, command)) as authentication:
            step = await authentication.begin(command.initial_response)
            while not isinstance(step, Done):
                context.output.write(context.engine.challenge(step.octets))
                event = await self._next_event()
                if not isinstance(event, SaslResponse):
                    await self._answer(event)
                    return None
                step = await authentication.respond(event.octets)
            return step

    async def _compress(self) -> None:
        """COMPRESS: its OK is the last word as it is (RFC 4978 s3)."""
        context = self._context
        if context.inflater is not None:
            raise CommandRefusedError(COMPRESSION_ACTIVE)
        context.output.write(context.engine.answer(Condition.OK, b"DEFLATE active"))
        await context.output.flush()
        context.output.compresses, context.inflater = True, Inflater()

    async def _unauthenticate(self) -> None:
        """Back to before the login: a NO is not permitted, and compression ends with it (RFC 8437 s3)."""
        context = self._context
        try:
            await context.log_out()
        except PostroomError as error:
            raise SessionEndError(_BYE_LOGIN) from error
        context.connection.set_deadline(_LOGIN_SECONDS)
        context.output.write(context.engine.answer(Condition.OK, b"UNAUTHENTICATE completed"))
        await context.output.flush()
        inflater, context.inflater = context.inflater, None
        context.output.compresses = False
        if inflater is not None:
            context.engine.receive_data(inflater.rest)

    async def _idle(self) -> Done | None:
        context = self._context
        context.output.write(context.engine.begin_idle())
        while True:
            await tell_updates(context, expunges=True, at_once=True)
            await tell_elsewhere(context)
            event = context.engine.next_event()
            if isinstance(event, IdleEnded):
                return Done(b"IDLE completed")
            if not isinstance(event, NeedData):
                await self._answer(event)
                return None
            if not await self._take_octets():
                raise PeerGoneError("left while idle")

    async def _append(self, command: Append | Replace) -> None:
        context, started, name = self._context, perf_counter(), type(command).__name__.lower()
        try:
            context.check_numbers(command)
            target = await appending.prepare(context, command)
        except Exception as error:  # noqa: BLE001  # the boundary of a command
            context.output.write(context.engine.refuse_append(self._refusal(error, name)))
            _COMMANDS.labels(name, "no").inc()
            return
        done: Done | None = None
        try:
            done = await appending.append_messages(context, target)
            reply = Refusal(Condition.OK, done.text, done.code)
        except appending.AppendBrokenOffError as broken:
            self._tell_refused(broken.event)
            _COMMANDS.labels(name, "broken_off").inc()
            return
        except Exception as error:  # noqa: BLE001  # the boundary of a command
            reply = self._refusal(error, name)
        await self._end(command, done, reply)
        _COMMANDS.labels(name, reply.condition.name.lower()).inc()
        _SECONDS.labels(name).observe(perf_counter() - started)

    def _refusal(self, error: Exception, command: str) -> Refusal:
        """What the client reads; raises what ends the session."""
        if isinstance(error, _ENDS):
            raise error
        if self._context.output.broken:
            log.warning("response_broken_off", command=command, error=repr(error))
            raise SessionEndError from error
        if isinstance(error, CommandRefusedError | RemoteProtocolError):
            return error.refusal
        if isinstance(error, PostroomError) and (found := refusal_of(error)) is not None:
            log.info("command_refused", command=command, error=error.name, reason=str(error))
            return found
        log.error("command_failed", command=command, exc_info=error)
        return server_bug(self._context.connection.session_id)

    async def _next_event(self) -> SessionEvent:
        while isinstance(event := self._context.engine.next_event(), NeedData):
            if not await self._take_octets():
                raise PeerGoneError("left in the middle of a command")
        return event

    async def _take_octets(self) -> bool:
        """Wait for octets, or for something to look at; False when the client has left."""
        context = self._context
        await context.output.flush()
        if context.hears_more:
            context.hear(b"")
            await asyncio.sleep(0)
            return True
        octets = await self._receive()
        if octets is None:
            self._look()
            return True
        context.hear(octets)
        return bool(octets)

    async def _receive(self) -> bytes | None:
        """Octets, or None after a wake-up.

        While the service drains, each session leaves at a time of its own; until then it is told of news.
        """
        connection, loop = self._context.connection, asyncio.get_running_loop()
        if self._leaves_at is None:
            try:
                return await connection.receive_or_wake()
            except DrainingError:
                spread = self._context.resources.settings.drain_seconds * _DRAIN_PART
                self._leaves_at = loop.time() + uniform(0, spread)
        try:
            async with asyncio.timeout_at(self._leaves_at):
                return await connection.receive_or_wake(idle=False)
        except TimeoutError:
            raise SessionEndError(_BYE_DRAIN) from None

    def _look(self) -> None:
        """After a wake-up: is there still a login, and a mailbox?"""
        context = self._context
        if context.logged_in and context.login.ended:
            raise LoginEndedError
        selected = context.selected
        if selected is not None and selected.mailbox.gone and not selected.deleted_here:
            raise SessionEndError(_BYE_RENEWED if selected.mailbox.renewed else _BYE_DELETED)

    def _last_words(self, bye: bytes) -> None:
        if self._context.output.broken:
            self._context.connection.abort()
            return
        self._context.output.write(bye)
        self._context.output.send()


def _ok(done: Done | None) -> Refusal | None:
    """The tagged OK, which has the form of a refusal."""
    return None if done is None else Refusal(Condition.OK, done.text, done.code)
