"""The server's side of a control connection, without the connection: RFC 959, RFC 4217."""

from collections import deque
from typing import Final, final

from postroom_wire.ftp import commands
from postroom_wire.ftp.addresses import Address
from postroom_wire.ftp.commands import OWN_COMMANDS, TRANSFERS, AnyCommand, Command, OwnCommand
from postroom_wire.ftp.errors import LocalProtocolError, RemoteProtocolError
from postroom_wire.ftp.events import INTERRUPT, NEED_DATA, Answered, Event, Interrupt, NeedData
from postroom_wire.ftp.limits import Limits
from postroom_wire.ftp.lines import LineReader
from postroom_wire.ftp.own_answers import own_answer, remember, status_reply
from postroom_wire.ftp.parameters import DataChannel, Parameters, Policy
from postroom_wire.ftp.parser import Context, split_line
from postroom_wire.ftp.paths import FtpPath
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.standard_replies import (
    DATA_PORT_FIRST,
    EPSV_ONLY,
    INVALID_RESTART,
    PROT_REQUIRED,
    REIN_UNDER_TLS,
    SIZE_NEEDS_IMAGE,
    TLS_REQUIRED,
    TLS_UNAVAILABLE,
    TOO_MANY_ERRORS,
    TOO_MANY_LOGIN_FAILURES,
)
from postroom_wire.ftp.state import (
    AFTER_FAILURE,
    PROTECTING,
    TRANSITIONS,
    Protection,
    State,
    out_of_order,
)

_CANNOT_OPEN: Final = 425
# Refusals that a peer collects which does not speak FTP, or guesses; others may come by the hundred.
_NOT_UNDERSTOOD: Final = frozenset({500, 501, 502, 503, 504, 530})


@final
class ServerSession:
    """Octets in, commands out, replies in, octets out. The caller owns the sockets.

    `peer` is the client's address (`plain_address` of what the socket tells); `implicit_tls` says that the
    connection was TLS from the start. The package's docstring shows the loop.
    """

    def __init__(
        self,
        peer: Address,
        policy: Policy | None = None,
        limits: Limits | None = None,
        *,
        implicit_tls: bool = False,
    ) -> None:
        self._peer = peer
        self._policy = policy or Policy()
        self._limits = limits or Limits()
        self._state = State.CONNECTED
        self._protection = Protection.SECURED if implicit_tls else Protection.CLEAR
        self._parameters = Parameters()
        self._reader = LineReader(self._limits)
        self._queue: deque[bytes | Reply] = deque()
        self._queued = 0
        self._aborts = 0
        self._out = bytearray()
        self._pending: Command | None = None
        self._verb = ""
        self._transfer = ""
        self._interrupted = False
        self._refusals = 0
        self._login_failures = 0

    @property
    def state(self) -> State:
        """Where the dialogue stands."""
        return self._state

    @property
    def closed(self) -> bool:
        """Whether the control connection is to be closed once `data_to_send` is sent."""
        return self._state is State.CLOSED

    @property
    def secured(self) -> bool:
        """Whether the control connection is under TLS."""
        return self._protection is not Protection.CLEAR

    @property
    def data_private(self) -> bool:
        """Whether data connections are to be under TLS (PROT P)."""
        return self._parameters.private

    @property
    def ascii(self) -> bool:
        """Whether files are to be converted (TYPE A)."""
        return self._parameters.ascii

    @property
    def cwd(self) -> FtpPath:
        """The working directory."""
        return self._parameters.cwd

    @property
    def facts(self) -> tuple[str, ...]:
        """The facts for MLST and MLSD."""
        return self._parameters.facts

    @property
    def verb(self) -> str:
        """The verb of the command that waits for an answer, in capitals: for logs and metrics."""
        return self._verb

    @property
    def wants_data(self) -> bool:
        """Whether the control socket is to be read; false while too much waits, or TLS is to be set up."""
        return self._state not in {State.CLOSED, State.HANDSHAKE} and self._queued < self._limits.max_queued

    def receive_data(self, octets: bytes) -> None:
        """Take what came over the control connection, in any chunks."""
        if self._state is State.HANDSHAKE:
            raise LocalProtocolError("these octets belong to the TLS handshake")
        if self._state is State.CLOSED:
            return
        self._reader.feed(octets)
        while (line := self._reader.next_line()) is not None:
            self._queue.append(line)
            self._queued += _weight(line)
            self._aborts += _is_abort(line)

    def next_event(self) -> Event:
        """What to do next. A command is to be answered by `answer` before anything else is asked for."""
        if self._pending is not None:
            raise LocalProtocolError("the pending command has no answer yet")
        if self._state in {State.CLOSED, State.HANDSHAKE}:
            return NEED_DATA
        if self._state is State.TRANSFER and (event := self._amid_transfer()) is not None:
            return event
        if not self._queue:
            return NEED_DATA
        line = self._queue.popleft()
        self._queued -= _weight(line)
        self._aborts -= _is_abort(line)
        self._verb = ""
        if isinstance(line, Reply):
            return self._refuse(line)
        try:
            command = self._command(line)
        except RemoteProtocolError as error:
            return self._refuse(error.reply)
        self._refusals = 0
        if isinstance(command, OWN_COMMANDS):
            return self._answer_own(command)
        self._pending = command
        return command

    def answer(self, reply: Reply) -> None:
        """Answer the pending command: only a positive reply moves the session on.

        A transfer is answered by 150 (then `finish` tells its end) or refused; others by their final reply.
        After 234 to AUTH, send what there is, do the handshake, and call `tls_established`.
        """
        if (command := self._pending) is None:
            raise LocalProtocolError("no command is pending")
        if reply.positive and reply.preliminary is not isinstance(command, TRANSFERS):
            raise LocalProtocolError("1yz is for transfers, and they begin with it")
        self._pending = None
        if isinstance(command, commands.Pass) and reply.code == 530:
            self._login_failures += 1
            if self._login_failures >= self._limits.max_login_failures:
                reply = TOO_MANY_LOGIN_FAILURES
        self._send(reply)
        if self._state is State.CLOSED:
            return
        if reply.preliminary or reply.code == _CANNOT_OPEN:
            self._parameters.channel = DataChannel.NONE  # each transfer has a new data connection
        if reply.positive:
            self._accept(command)
        else:
            self._state = AFTER_FAILURE.get(self._state, self._state)

    def finish(self, reply: Reply) -> None:
        """Tell how the transfer in progress has ended: 226 when all is durable, 4yz or 5yz."""
        if self._state is not State.TRANSFER or reply.preliminary or 300 <= reply.code < 400:
            raise LocalProtocolError("no transfer is in progress, or this does not end one")
        self._state = State.READY
        self._transfer = ""
        self._send(reply)

    def close(self, reply: Reply) -> None:
        """End the session at any time with a 421 reply: idle, draining."""
        if not reply.closes:
            raise LocalProtocolError("only 221 and 421 end a session")
        self._pending = None
        self._send(reply)

    def tls_established(self) -> None:
        """TLS is there: go on as if the connection had just been opened, RFC 4217 s4.2."""
        if self._state is not State.HANDSHAKE:
            raise LocalProtocolError("no TLS handshake is due")
        self._state = State.CONNECTED

    def data_to_send(self) -> bytes:
        """Take what is to be sent; after each event and each answer, so that a reply leaves in one write."""
        octets = bytes(self._out)
        self._out.clear()
        return octets

    def _send(self, reply: Reply) -> None:
        self._out += reply.octets
        if reply.closes:
            self._state = State.CLOSED
            self._queue.clear()

    def _amid_transfer(self) -> Interrupt | NeedData | None:
        """During a transfer: its interruption, nothing, or None when the next line can be answered now."""
        if self._queue and isinstance(line := self._queue[0], bytes) and _is_question(line):
            return None
        if self._aborts and not self._interrupted:
            self._interrupted = True
            return INTERRUPT
        return NEED_DATA

    def _refuse(self, reply: Reply) -> Answered:
        if reply.code in _NOT_UNDERSTOOD:
            self._refusals += 1
            if self._refusals > self._limits.max_refusals:
                reply = TOO_MANY_ERRORS
        self._send(reply)
        return Answered(self._verb, reply)

    def _command(self, line: bytes) -> AnyCommand:
        """The command in a line; order comes before arguments, and before login none is looked at."""
        verb, argument = split_line(line)
        self._verb = verb.name
        kind = commands.Status if self._state is State.TRANSFER and verb.kind is commands.Stat else verb.kind
        if (wrong := out_of_order(self._state, self._protection, kind)) is not None:
            raise RemoteProtocolError(wrong)
        if (forbidden := self._forbidden(kind)) is not None:
            raise RemoteProtocolError(forbidden)
        command = verb.parse(argument, self._context())
        if isinstance(command, TRANSFERS) and self._parameters.channel is DataChannel.NONE:
            raise RemoteProtocolError(DATA_PORT_FIRST)
        return command

    def _forbidden(self, kind: type[AnyCommand]) -> Reply | None:
        """Why a command that is in order is not possible now."""
        parameters, policy = self._parameters, self._policy
        rules: tuple[tuple[bool, Reply], ...] = (
            (kind is commands.Auth and not policy.tls_offered, TLS_UNAVAILABLE),
            (kind is commands.User and policy.login_needs_tls and not self.secured, TLS_REQUIRED),
            (kind is commands.Rein and self.secured, REIN_UNDER_TLS),
            (kind in {commands.Port, commands.Pasv} and parameters.epsv_all, EPSV_ONLY),
            (kind is commands.Size and parameters.ascii, SIZE_NEEDS_IMAGE),
            (self._needs_private(kind), PROT_REQUIRED),
            (
                kind in {commands.Retr, commands.Stor, commands.Appe}
                and parameters.ascii
                and self._offset > 0,
                INVALID_RESTART,
            ),
        )
        return next((reply for applies, reply in rules if applies), None)

    def _needs_private(self, kind: type[AnyCommand]) -> bool:
        needed = self._policy.data_needs_tls and self.secured and not self._parameters.private
        return needed and kind in TRANSFERS

    @property
    def _offset(self) -> int:
        return self._parameters.offset if self._state is State.RESTARTING else 0

    def _context(self) -> Context:
        parameters = self._parameters
        return Context(
            self._peer, self._limits, parameters.cwd, parameters.user, self._offset, parameters.source
        )

    def _answer_own(self, command: OwnCommand) -> Answered:
        remember(command, self._parameters)
        status = status_reply(self._parameters, self._peer, self.secured, self._transfer)
        reply = own_answer(command, self._parameters, self._policy, status)
        self._send(reply)
        if reply.positive:
            self._advance(command)
        return Answered(self._verb, reply)

    def _accept(self, command: Command) -> None:
        """Note what an accepted command changes."""
        parameters = self._parameters
        match command:
            case commands.Cwd(path):
                parameters.cwd = path
            case commands.Rnfr(path):
                parameters.source = path
            case commands.Port():
                parameters.channel = DataChannel.ACTIVE
            case commands.Pasv() | commands.Epsv():
                parameters.channel = DataChannel.PASSIVE
            case commands.Abor():
                parameters.channel = DataChannel.NONE
            case commands.Rein():
                self._parameters = Parameters()
            case commands.Auth():
                self._start_over()
            case commands.Pass() | commands.Mlst() | commands.Stat() | commands.Size() | commands.Mdtm():
                pass
            case commands.Dele() | commands.Mkd() | commands.Rmd() | commands.Rnto():
                pass
            case _:  # a transfer
                self._transfer, self._interrupted = self._verb, False
        self._advance(command)

    def _advance(self, command: AnyCommand) -> None:
        if self._state is State.CLOSED:
            return
        self._state = TRANSITIONS[self._state, type(command)]
        self._protection = PROTECTING.get((self._protection, type(command)), self._protection)

    def _start_over(self) -> None:
        """Forget all that came in the clear, what is buffered too, so that nobody can have put it there."""
        self._parameters = Parameters()
        self._reader = LineReader(self._limits)
        self._queue.clear()
        self._queued = self._aborts = 0


def _weight(line: bytes | Reply) -> int:
    """What a queued line counts for: an empty one costs memory too."""
    return 2 if isinstance(line, Reply) else len(line) + 2


def _word(line: bytes) -> bytes:
    try:
        verb, argument = split_line(line)
    except RemoteProtocolError:
        return b""
    return verb.name.encode() if not argument else b""


def _is_abort(line: bytes | Reply) -> bool:
    return isinstance(line, bytes) and _word(line) == b"ABOR"


def _is_question(line: bytes) -> bool:
    """Whether a line is STAT or NOOP without an argument, which a transfer does not keep waiting."""
    return _word(line) in {b"STAT", b"NOOP"}
