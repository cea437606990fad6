"""One client: the control connection's events answered, with directory and filestore behind."""

import ssl
from ipaddress import IPv4Address
from typing import Final

from ftp_gateway.answers import answer_about_files
from ftp_gateway.beginning import Beginning
from ftp_gateway.data import DataChannel
from ftp_gateway.errors import TransferError
from ftp_gateway.files import Files
from ftp_gateway.house import House
from ftp_gateway.logins import Login
from ftp_gateway.replies import login_reply_to, reply_to
from ftp_gateway.seats import NoSeatError
from ftp_gateway.transfer import RunningTransfer
from postroom_contracts.errors import CapabilityExpiredError, InvalidCredentialsError, PostroomError
from postroom_runtime import metrics
from postroom_runtime.logs import log
from postroom_runtime.spans import begin_span, span
from postroom_runtime.tcp import Connection, DrainingError, PeerGoneError, PeerTimeoutError
from postroom_runtime.traces import bind_trace
from postroom_wire.ftp import (
    Answered,
    Command,
    Interrupt,
    NeedData,
    Policy,
    Reply,
    ServerSession,
    Transfer,
    commands,
    extended_passive,
    passive,
    plain_address,
)
from postroom_wire.ftp import standard_replies as replies

_COMMANDS: Final = metrics.counter("ftp_commands_total", "Commands by reply.", ["command", "code"])

# The data connection has a time-out of its own, and the control connection is silent meanwhile.
_AMID_TRANSFER_SECONDS: Final = 86_400.0


class Session:
    """One control connection, from the greeting to the end."""

    def __init__(self, connection: Connection, house: House) -> None:
        self._connection, self._house = connection, house
        policy = Policy(
            tls_offered=house.contexts is not None,
            login_needs_tls=not connection.peer.is_loopback,
        )
        peer = plain_address(connection.peer.host)
        self._engine = ServerSession(peer, policy, implicit_tls=connection.tls)
        self._context: ssl.SSLContext | None = None
        if (layer := connection.ssl_object) is not None:
            self._adopt(layer.context)
        self._channel = DataChannel(connection, house.passive_ports, house.data, self._data_context)
        self._login: Login | None = None
        self._files: Files | None = None
        self._transfer: RunningTransfer | None = None

    async def run(self) -> None:
        """Serve until one side ends it."""
        connection, house = self._connection, self._house
        connection.set_idle(house.idle_seconds)
        connection.set_deadline(house.login_seconds)
        session = begin_span("FTP session", None, "server")
        try:
            with house.seats.seat(connection.peer.host), bind_trace(session.traceparent):
                await self._converse()
        except NoSeatError:
            self._say_and_close(replies.TOO_MANY_SESSIONS)
        except PeerTimeoutError:
            self._say_and_close(replies.IDLE_TIMEOUT)
        except DrainingError:
            self._say_and_close(replies.SHUTTING_DOWN)
        except PeerGoneError:
            log.info("peer_gone")
        finally:
            if self._transfer is not None:
                await self._transfer.interrupt()
                house.running.discard(self._transfer)
            self._channel.drop()
            self._log_out()
            session.end()

    async def _converse(self) -> None:
        self._connection.write(replies.GREETING.octets)
        while not self._engine.closed:
            match self._engine.next_event():
                case NeedData():
                    self._send()
                    await self._connection.drain()
                    if not await self._wait():
                        return
                case Answered(verb, reply):
                    _note(verb, reply)
                case Interrupt():
                    if self._transfer is not None:
                        await self._transfer.interrupt()
                        self._finish(self._transfer)
                case command:
                    with span(f"FTP {type(command).__name__}"):
                        await self._answer(command)
        self._send()

    async def _wait(self) -> bool:
        """For more commands, or for the end of the transfer; False when the client has left."""
        transfer = self._transfer
        octets: bytes | None = None
        if transfer is None:
            octets = await self._connection.receive(idle=True)
        elif self._engine.wants_data:
            octets = await self._connection.receive_or_wake(idle=False)
        else:
            await transfer.wait()
        if octets:
            self._engine.receive_data(octets)
        if transfer is not None and transfer.done:
            self._finish(transfer)
        return octets is None or bool(octets)

    def _finish(self, transfer: RunningTransfer) -> None:
        self._transfer = None
        self._house.running.discard(transfer)
        self._connection.set_idle(self._house.idle_seconds)
        self._engine.finish(transfer.reply)

    def _send(self) -> None:
        """Everything that is to be said, in one write."""
        if octets := self._engine.data_to_send():
            self._connection.write(octets)

    def _say_and_close(self, reply: Reply) -> None:
        if not self._engine.closed:
            self._engine.close(reply)
        self._send()

    async def _answer(self, command: Command) -> None:
        verb = self._engine.verb
        match command:
            case commands.Auth():
                await self._start_tls()
                return
            case commands.Pass(user, password):
                reply = await self._log_in(user, password)
            case commands.Rein():
                self._log_out()
                self._channel.drop()
                reply = replies.REINITIALISED
            case commands.Port(port):
                self._channel.aim(port)
                reply = replies.PORT_SET
            case commands.Pasv() | commands.Epsv():
                reply = self._listen(extended=isinstance(command, commands.Epsv))
            case commands.Abor():
                self._channel.drop()
                reply = replies.ABORTED
            case _:
                reply = await self._answer_with_files(command)
        self._engine.answer(reply)
        _note(verb, reply)

    async def _answer_with_files(self, command: Command) -> Reply:
        files, login = self._files, self._login
        if files is None or login is None:
            return replies.NOT_LOGGED_IN
        try:
            match command:
                case commands.Retr() | commands.Stor() | commands.Appe():
                    return await self._begin(command, files, login)
                case commands.List() | commands.Nlst() | commands.Mlsd():
                    return await self._begin(command, files, login)
                case commands.Auth() | commands.Pass() | commands.Rein() | commands.Abor():
                    return replies.BAD_SEQUENCE
                case commands.Port() | commands.Pasv() | commands.Epsv():
                    return replies.BAD_SEQUENCE
                case question:
                    return await answer_about_files(files, question, self._engine.facts)
        except (CapabilityExpiredError, InvalidCredentialsError):
            log.info("login_lost", account_id=str(login.account_id))
            return replies.LOGIN_UNAVAILABLE
        except TransferError as error:
            return error.reply
        except PostroomError as error:
            log.info("refused", command=self._engine.verb, error=error.name, cause=str(error))
            return reply_to(error)

    async def _begin(self, command: Transfer, files: Files, login: Login) -> Reply:
        beginning = Beginning(files, self._house.transfers, login.account_id)
        work = await beginning.prepare(command, self._engine)
        self._transfer = RunningTransfer(self._channel, work, self._connection.wake)
        self._house.running.add(self._transfer)
        self._connection.set_idle(_AMID_TRANSFER_SECONDS)
        return replies.OPENING_DATA

    def _listen(self, *, extended: bool) -> Reply:
        try:
            port = self._channel.listen()
        except TransferError as error:
            return error.reply
        if extended:
            return extended_passive(port)
        # Who comes from this machine comes back by the address that it has used.
        outside = None if self._connection.peer.is_loopback else self._house.passive_address
        return passive(outside or IPv4Address(self._connection.reached.host), port)

    async def _log_in(self, user: str, password: str) -> Reply:
        house = self._house
        try:
            login = await house.logins.log_in(user, password, self._connection.peer.client)
            house.seats.take_account(login.account_id)
        except NoSeatError:
            return replies.TOO_MANY_SESSIONS
        except PostroomError as error:
            log.info("login_refused", error=error.name)
            return login_reply_to(error)
        self._login, self._files = login, Files(house.files, house.logins, login)
        self._connection.set_deadline(None)
        log.info("login", account_id=str(login.account_id))
        return replies.LOGGED_IN

    def _log_out(self) -> None:
        if self._login is not None:
            self._house.seats.give_account(self._login.account_id)
        self._login = self._files = None

    async def _start_tls(self) -> None:
        """RFC 4217 s4: whatever was learned in the clear is forgotten."""
        if self._house.contexts is None:
            self._engine.answer(replies.TLS_UNAVAILABLE)
            return
        context = self._house.contexts()
        self._log_out()
        self._channel.drop()
        self._engine.answer(replies.TLS_GO_AHEAD)
        await self._connection.start_tls(context, reply=self._engine.data_to_send())
        self._adopt(context)
        self._engine.tls_established()

    def _adopt(self, context: ssl.SSLContext) -> None:
        """Keep the context for data connections, and let it give no tickets there: a client that closes an
        upload with tickets unread resets what it has sent.
        """
        context.num_tickets = 0
        self._context = context

    def _data_context(self) -> ssl.SSLContext | None:
        return self._context if self._engine.data_private else None


def _note(verb: str, reply: Reply) -> None:
    _COMMANDS.labels(verb, reply.code).inc()
