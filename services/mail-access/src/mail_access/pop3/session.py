"""A POP3 connection from its greeting to its end (RFC 1939, RFC 2595 s4)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from time import perf_counter
from typing import Final

from mail_access.content import Piece, ReadRange
from mail_access.login import Login, LoginEndedError
from mail_access.pop3.limits import DEFAULT_LIMITS, Limits
from mail_access.pop3.maildrop import MaildropTooBigError, Snapshot, load_snapshot
from mail_access.pop3.refusals import LOGIN_ENDED, content_refusal, login_refusal
from mail_access.resources import Resources
from postroom.directory.v1 import directory_pb2
from postroom_contracts.errors import MessageNotFoundError, PostroomError, UnavailableError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_runtime.sasl import Client, channel_of, client_certificate
from postroom_runtime.spans import span
from postroom_runtime.tcp import Connection, DrainingError, PeerGoneError, PeerTimeoutError
from postroom_wire import pop3
from postroom_wire.pop3 import LoginRefusal, Maildrop, ServerConfig, ServerSession
from postroom_wire.sasl import Attempt, Credentials, ScramOpening

_COMMANDS: Final = metrics.counter("pop3_commands_total", "Commands by outcome.", ["command", "outcome"])
_SECONDS: Final = metrics.histogram(
    "pop3_command_seconds", "Of commands that ask another service.", ["command"]
)


class _CutOffError(Exception):
    """A message was begun that cannot be ended: nothing more may be said."""


async def handle(connection: Connection, resources: Resources) -> None:
    """Serve one connection."""
    await Session(connection, resources, DEFAULT_LIMITS).run()


class Session:
    """One connection's conversation."""

    def __init__(self, connection: Connection, resources: Resources, limits: Limits) -> None:
        self._connection = connection
        self._resources = resources
        self._limits = limits
        config = ServerConfig(
            offers_tls=resources.tls is not None,
            plaintext_login=connection.peer.is_loopback,
            mechanisms=resources.settings.sasl_mechanisms,
            limits=limits.engine,
        )
        self._engine = ServerSession(config, tls_active=connection.tls, channel=channel_of(connection))
        self._received = b""
        self._login: Login | None = None
        self._snapshot: Snapshot | None = None
        self._leaves_at: float | None = None
        self._retrieved = self._removed = 0

    async def run(self) -> None:
        """Until the client, we or the network end it."""
        connection = self._connection
        connection.set_deadline(self._limits.login_seconds)
        connection.set_write_seconds(self._limits.write_seconds)
        connection.set_idle(self._resources.settings.pop3_idle_seconds)
        try:
            await self._converse()
        except LoginEndedError:
            self._engine.end(LOGIN_ENDED)
        except DrainingError:
            self._engine.end()
        except PeerTimeoutError:
            if connection.stuck:
                raise
            return  # without a word, RFC 1939 s3
        except _CutOffError:
            connection.abort()
            return
        finally:
            self._log_out()
        connection.write(self._engine.data_to_send())

    async def _converse(self) -> None:
        while True:
            match self._engine.next_event():
                case pop3.NeedData():
                    if not await self._take_octets():
                        return
                case pop3.SendData():
                    await self._flush()
                case pop3.Answered(command, positive):
                    _count(command, "ok" if positive else "err")
                    if command == "AUTH":  # the client has taken our last word, perhaps
                        self._end_of_deadline()
                case pop3.Close():
                    return
                case event:
                    await self._answer(event)

    async def _answer(self, event: pop3.StartTls | pop3.Login | pop3.Retrieve | pop3.Update) -> None:
        """What the engine leaves to us."""
        match event:
            case pop3.StartTls():
                await self._start_tls()
            case pop3.Login(attempt):
                with span("POP3 login", "server"):
                    await self._log_in(attempt)
            case pop3.Retrieve(number, lines):
                command = "RETR" if lines is None else "TOP"
                with span(f"POP3 {command}", "server"):
                    await self._retrieve(number, command)
            case pop3.Update(numbers):
                with span("POP3 QUIT", "server"):
                    await self._update(numbers)

    async def _take_octets(self) -> bool:
        """Give the engine what came or comes, no more than it holds; False when the client has left."""
        await self._flush()
        if self._received:
            await asyncio.sleep(0)  # who sends very much ahead does not keep the others waiting
        else:
            octets = await self._receive()
            if octets is None:
                self._look()
                return True
            if not octets:
                return False
            self._received = octets
        at_once = self._limits.commands_at_once
        some, self._received = self._received[:at_once], self._received[at_once:]
        self._engine.receive_data(some)
        return True

    async def _receive(self) -> bytes | None:
        """Octets, or None after a wake-up. While the service drains, a login may go on for a while."""
        connection, loop = self._connection, asyncio.get_running_loop()
        if self._leaves_at is None:
            try:
                return await connection.receive_or_wake()
            except DrainingError:
                if self._login is None:
                    raise
                part = self._resources.settings.drain_seconds * self._limits.drain_part
                self._leaves_at = loop.time() + part
        try:
            async with asyncio.timeout_at(self._leaves_at):
                return await connection.receive_or_wake(idle=False)
        except TimeoutError:
            raise DrainingError from None

    def _look(self) -> None:
        """After a wake-up: is there still a login?"""
        if self._login is not None and self._login.ended:
            raise LoginEndedError

    async def _flush(self) -> None:
        """Send what there is to send, no faster than the client reads."""
        octets = self._engine.data_to_send()
        for start in range(0, len(octets), self._limits.piece):
            self._connection.write(octets[start : start + self._limits.piece])
            await self._connection.drain()

    async def _start_tls(self) -> None:
        tls = self._resources.tls
        if tls is None:
            raise pop3.LocalProtocolError("STLS was not offered")
        reply = self._engine.data_to_send()
        self._received = b""  # sent ahead in the clear, RFC 2595 s4
        await self._connection.start_tls(tls.context, reply=reply)
        if not self._connection.tls:
            raise PeerGoneError("no TLS")
        self._engine.tls_started(channel_of(self._connection))
        _count("STLS", "ok")

    async def _log_in(self, attempt: Attempt) -> None:
        started = perf_counter()
        self._log_out()  # who proved to be somebody before, and did not take our last word
        self._snapshot = None
        if isinstance(attempt, ScramOpening):
            await self._begin_scram(attempt)
            return
        found = await self._open_maildrop(attempt)
        if isinstance(found, LoginRefusal):
            self._log_out()
            self._engine.refuse_login(found)
        elif self._snapshot is not None:
            self._engine.accept_login(Maildrop(self._snapshot), found)
            self._end_of_deadline()
        command = "PASS" if isinstance(attempt, Credentials) else "AUTH"
        _count(command, "err" if isinstance(found, LoginRefusal) else "ok", started)

    def _end_of_deadline(self) -> None:
        """From the login on there is none but the idle one."""
        if self._engine.state is pop3.State.TRANSACTION:
            self._connection.set_deadline(None)

    async def _begin_scram(self, opening: ScramOpening) -> None:
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                said = await self._resources.logins.begin_scram(opening, self._client())
        except TimeoutError:
            self._engine.refuse_login(LoginRefusal.TEMPORARY)
        except PostroomError as error:
            if (refusal := login_refusal(error)) is None:
                raise
            self._engine.refuse_login(refusal)
        else:
            self._engine.challenge(said)

    def _client(self) -> Client:
        connection = self._connection
        return Client(directory_pb2.SCOPE_POP3, connection.peer.client, client_certificate(connection))

    async def _open_maildrop(self, attempt: Attempt) -> bytes | LoginRefusal:
        """Check what the client says and take the snapshot: our last word to it, or why not."""
        resources = self._resources
        try:
            async with asyncio.timeout(self._limits.answer_seconds) as patience:
                login, last_word = await resources.logins.log_in(attempt, self._client())
                self._login = login
                login.wake = self._connection.wake
                self._snapshot = await load_snapshot(
                    resources.store, login, self._limits.messages, lambda: patience.reschedule(None)
                )
        except TimeoutError:
            return LoginRefusal.TEMPORARY
        except LoginEndedError:
            return LoginRefusal.CREDENTIALS
        except MaildropTooBigError:
            log.warning("maildrop_too_big")
            return LoginRefusal.TOO_BIG
        except PostroomError as error:
            if (refusal := login_refusal(error)) is None:
                raise
            log.info("login_failed", error=error.name, reason=str(error))
            return refusal
        return last_word

    async def _retrieve(self, number: int, command: str) -> None:
        """RETR and TOP; a message that was begun is sent to its end, or the connection is cut."""
        started = perf_counter()
        login, snapshot = self._opened()
        wanted = ReadRange(snapshot.uid(number), 0, snapshot[number - 1].size)
        reading = self._resources.reader.read(login, snapshot.mailbox_id, [wanted])
        async with aclosing(reading) as pieces:
            try:
                first = await self._first(pieces, wanted)
            except PostroomError as error:
                if (refusal := content_refusal(error)) is None:
                    raise
                log.info("message_refused", error=error.name, reason=str(error))
                self._engine.refuse_content(refusal)
                _count(command, "err", started)
                return
            self._engine.begin_content()
            try:
                await self._send(first, pieces, wanted.length)
            except (PostroomError, LoginEndedError) as error:
                log.warning("message_cut_off", error=repr(error))
                _count(command, "cut_off", started)
                raise _CutOffError from error
        self._engine.end_content()
        self._retrieved += 1
        _count(command, "ok", started)

    async def _first(self, pieces: AsyncIterator[Piece], wanted: ReadRange) -> Piece:
        """The first octets, in time. Raises `MessageNotFoundError` when the message is gone."""
        try:
            async with asyncio.timeout(self._limits.answer_seconds):
                first = await anext(pieces)
        except TimeoutError:
            raise UnavailableError("no octets in time") from None
        if first.last and wanted.length:
            raise MessageNotFoundError("removed meanwhile")
        return first

    async def _send(self, first: Piece, pieces: AsyncIterator[Piece], left: int) -> None:
        """All octets, or as many as are wanted. Raises `MessageNotFoundError` when it ends too early."""
        piece = first
        while not piece.last:
            left -= len(piece.octets)
            if not await self._send_octets(piece.octets):
                return
            piece = await anext(pieces)
        if left:
            raise MessageNotFoundError("removed while it was read")

    async def _send_octets(self, octets: bytes) -> bool:
        for start in range(0, len(octets), self._limits.piece):
            more = self._engine.send_content(octets[start : start + self._limits.piece])
            await self._flush()
            if not more:
                return False
        return True

    async def _update(self, numbers: Sequence[int]) -> None:
        """QUIT: now, and only now, what was marked goes (s6)."""
        started = perf_counter()
        login, snapshot = self._opened()
        uids = snapshot.uids(numbers)
        try:
            for start in range(0, len(uids), self._limits.removed_at_once):
                await self._remove(login, snapshot, uids[start : start + self._limits.removed_at_once])
        except (PostroomError, LoginEndedError, TimeoutError) as error:
            log.warning("update_failed", error=repr(error), removed=self._removed, marked=len(uids))
            self._engine.update_failed()
            _count("QUIT", "err", started)
        else:
            self._engine.updated()
            _count("QUIT", "ok", started)

    async def _remove(self, login: Login, snapshot: Snapshot, uids: Sequence[int]) -> None:
        """Exactly these, whatever their flags; what another session removed already is no failure."""
        async with asyncio.timeout(self._limits.answer_seconds):
            answer = await self._resources.store.expunge_messages(
                login, snapshot.mailbox_id, [(uid, uid) for uid in uids], regardless=True
            )
        self._removed += len(uids)
        self._resources.mailboxes.hint(login.account_id, answer.modseq)

    def _opened(self) -> tuple[Login, Snapshot]:
        if self._login is None or self._snapshot is None:
            raise pop3.LocalProtocolError("no maildrop is open")
        return self._login, self._snapshot

    def _log_out(self) -> None:
        login, self._login = self._login, None
        if login is not None:
            self._resources.logins.log_out(login)
        if login is not None and self._snapshot is not None:
            log.info(
                "pop3_session_ended",
                account_id=str(login.account_id),
                retrieved=self._retrieved,
                removed=self._removed,
            )


def _count(command: str, outcome: str, started: float | None = None) -> None:
    _COMMANDS.labels(command.lower(), outcome).inc()
    if started is not None:
        _SECONDS.labels(command.lower()).observe(perf_counter() - started)
