"""The POP3 server without a socket: octets in, events out, answers in, octets out (RFC 1939).

The engine keeps the order of commands, the bounds and the session's snapshot of the maildrop, and answers
what it can by itself. It collects its answers until the shell takes them, so that pipelined commands (RFC
2449 s6.6) are answered in one write.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, TypeVar

from postroom_wire.pop3 import replies
from postroom_wire.pop3.commands import (
    Auth,
    Capa,
    Command,
    Dele,
    Lang,
    List,
    Pass,
    Quit,
    Retr,
    Rset,
    Stat,
    Stls,
    Top,
    Uidl,
    User,
    Utf8,
    parse_command,
)
from postroom_wire.pop3.errors import CommandError, LocalProtocolError
from postroom_wire.pop3.events import (
    Answered,
    Close,
    Login,
    NeedData,
    Retrieve,
    SendData,
    ServerEvent,
    StartTls,
    Update,
)
from postroom_wire.pop3.lines import BareLineFeedError, LineBuffer, LineTooLongError
from postroom_wire.pop3.login_phase import LoginPhase, ServerConfig
from postroom_wire.pop3.maildrop import Maildrop
from postroom_wire.pop3.replies import ContentRefusal, LoginRefusal
from postroom_wire.pop3.sasl import Accepted, AuthStep, Refused
from postroom_wire.pop3.state import AFTER_REFUSAL, TRANSITIONS, State
from postroom_wire.pop3.surrogate import ContentEncoder
from postroom_wire.sasl import UNBOUND, Challenge, Channel, Credentials

_LINES_AT_ONCE: Final = 512
_UNKNOWN: Final = "UNKNOWN"

_Waiting = TypeVar("_Waiting", Login, StartTls, Retrieve, Update)


class ServerSession:
    """One connection's session. The constructor has the greeting ready to send.

    `receive_data` what came, take `next_event` until it is `NeedData` or `Close`, answer those that say so,
    and write `data_to_send` once. Raises nothing but `LocalProtocolError`, which is a bug of the shell. A
    session that ends without QUIT removes nothing (s6).
    """

    def __init__(self, config: ServerConfig, *, tls_active: bool = False, channel: Channel = UNBOUND) -> None:
        self.state = State.AUTHORIZATION
        self.utf8 = False
        """Whether the client takes messages that are not ASCII as they are (RFC 6856 s2.1)."""
        self._logins = LoginPhase(config, channel, tls_active=tls_active)
        self._config = config
        self._limits = config.limits
        self._buffer = LineBuffer(config.limits.auth_line, config.limits.buffer)
        self._out = bytearray(replies.GREETING)
        self._waiting: Login | StartTls | Retrieve | Update | None = None
        self._maildrop = Maildrop(())
        self._listing: tuple[str, Iterator[bytes]] | None = None
        self._content: ContentEncoder | None = None
        self._bad_commands = 0
        self._refused_logins = 0

    def receive_data(self, data: bytes) -> None:
        """Take what the network brought; between an accepted STLS and `tls_started` it is dropped.

        Raises LocalProtocolError when more than `Limits.buffer` lies unread: do not read while an event
        waits.
        """
        if self.state not in {State.TLS, State.CLOSED}:
            self._buffer.receive(data)

    def data_to_send(self) -> bytes:
        """All that is to be written now, in one write; empty when there is nothing."""
        octets = bytes(self._out)
        self._out.clear()
        return octets

    def next_event(self) -> ServerEvent:
        """What happened next; what the engine answers itself is told as `Answered`."""
        if self._waiting is not None:
            raise LocalProtocolError("the last event has no answer yet")
        if self.state is State.CLOSED:
            return Close()
        if self._is_full():
            return SendData()
        if self._listing is not None:
            return self._continue_listing(*self._listing)
        return self._next_response() if self.state is State.SASL else self._next_command()

    def accept_login(self, maildrop: Maildrop, last_word: bytes = b"") -> None:
        """The client is right and the maildrop is open: the session enters TRANSACTION.

        With a last word (SCRAM's), once the client has taken it.
        """
        self._take_waiting(Login)
        self._maildrop = maildrop
        self._out += (first := self._logins.accept(last_word))
        if not first:
            self._let_in()

    def refuse_login(self, refusal: LoginRefusal) -> None:
        """The login fails; after too many of them the session ends."""
        self._take_waiting(Login)
        self._out += (first := self._logins.refuse(refusal))
        if not first:
            self._keep_out(refusal)

    def challenge(self, octets: bytes) -> None:
        """Answer the first message of SCRAM with ours."""
        self._take_waiting(Login)
        self._out += self._logins.challenge(octets)

    def tls_started(self, channel: Channel = UNBOUND) -> None:
        """TLS is negotiated; what the client sent before it is gone (RFC 2595 s4)."""
        self._take_waiting(StartTls)
        self._logins.secure(channel)
        self.state = State.AUTHORIZATION

    def begin_content(self) -> None:
        """The message is at hand."""
        retrieve = self._take_waiting(Retrieve)
        message = self._maildrop.get(retrieve.number)
        size = 0 if message is None else message.size
        self._out += replies.octets_follow(size) if retrieve.lines is None else replies.TOP_FOLLOWS
        self._waiting = retrieve
        self._content = ContentEncoder(retrieve.lines, utf8=self.utf8)

    def send_content(self, chunk: bytes) -> bool:
        """The next octets of the message; false when no more are wanted."""
        if self._content is None:
            raise LocalProtocolError("no content was begun")
        self._out += self._content.feed(chunk)
        return not self._content.finished

    def end_content(self) -> None:
        """The message is over. Where it ends too early, close the connection instead."""
        if self._content is None:
            raise LocalProtocolError("no content was begun")
        self._out += self._content.finish()
        self._content = self._waiting = None

    def refuse_content(self, refusal: ContentRefusal) -> None:
        """The message cannot be read; not after `begin_content`."""
        if self._content is not None:
            raise LocalProtocolError("the content was begun")
        self._take_waiting(Retrieve)
        self._out += refusal.value

    def updated(self) -> None:
        """All marked messages are removed."""
        self._take_waiting(Update)
        self._close(replies.GOODBYE)

    def update_failed(self) -> None:
        """Not all of them are."""
        self._take_waiting(Update)
        self._close(replies.NOT_REMOVED)

    def end(self, reply: bytes = replies.SHUTTING_DOWN) -> None:
        """End the session from our side; within a message's lines nothing can be said."""
        self._waiting = self._listing = None
        if self._content is None:
            self._out += reply
        self.state = State.CLOSED

    def _next_command(self) -> ServerEvent:
        try:
            if (line := self._buffer.next_line()) is None:
                return NeedData()
            if len(line) + 2 > self._limits.line and line[:5].upper() != b"AUTH ":
                raise LineTooLongError
            command = parse_command(line)
        except LineTooLongError:
            return self._refuse(_UNKNOWN, replies.LINE_TOO_LONG)
        except BareLineFeedError:
            return self._refuse(_UNKNOWN, replies.BARE_LINE_FEED)
        except CommandError as error:
            return self._refuse(_UNKNOWN, error.reply)
        if (following := TRANSITIONS.get((self.state, type(command)))) is None:
            return self._refuse(_keyword(command), replies.WRONG_STATE)
        if isinstance(command, Lang):
            return self._change_language(command)
        if self.state is State.TRANSACTION:
            return self._transact(command, following)
        return self._authorize(command, following)

    def _authorize(self, command: Command, following: State) -> ServerEvent:
        """USER, PASS, STLS, CAPA and QUIT before the login."""
        match command:
            case User(name):
                return self._take_user(name, following)
            case Pass(password):
                self._waiting = Login(Credentials("", self._logins.user, password))
                return self._waiting
            case Auth():
                return self._begin_auth(command, following)
            case Utf8():
                self.utf8 = True
                return self._answer("UTF8", replies.UTF8_ENABLED)
            case Stls():
                return self._start_tls(following)
            case Capa():
                return self._tell_capabilities(command)
            case _:
                self._close(replies.GOODBYE)
                return Answered(_keyword(command), positive=True)

    def _take_user(self, name: str, following: State) -> ServerEvent:
        if not self._logins.takes_passwords:
            return self._refuse("USER", replies.WRONG_STATE if self._logins.private else replies.TLS_FIRST)
        if len(name) > self._limits.user:
            return self._refuse("USER", replies.BAD_ARGUMENTS)
        self._logins.user, self.state = name, following
        return self._answer("USER", replies.SEND_PASSWORD)

    def _start_tls(self, following: State) -> ServerEvent:
        if (refusal := self._logins.why_no_tls(utf8=self.utf8)) is not None:
            return self._refuse("STLS", refusal)
        self._buffer.clear()  # what came in plain text must not be taken for what comes in TLS
        self._out += replies.BEGIN_TLS
        self.state = following
        self._waiting = StartTls()
        return self._waiting

    def _transact(self, command: Command, following: State) -> ServerEvent:
        maildrop = self._maildrop
        match command:
            case Stat():
                return self._answer("STAT", b"+OK %d %d\r\n" % maildrop.totals())
            case List(None):
                first = b"+OK %d messages (%d octets)\r\n" % maildrop.totals()
                return self._list(command, first, maildrop.scan_listing())
            case Uidl(None):
                return self._list(command, replies.OK, maildrop.unique_id_listing())
            case Capa():
                return self._tell_capabilities(command)
            case Rset():
                maildrop.unmark_all()
                return self._answer("RSET", replies.OK)
            case Quit():
                return self._quit(following)
            case List(int(number)) | Uidl(int(number)) | Top(number) | Retr(number) | Dele(number):
                return self._transact_message(command, number)
            case _:
                return self._answer("NOOP", replies.OK)

    def _transact_message(self, command: Command, number: int) -> ServerEvent:
        """The commands about one message."""
        if (message := self._maildrop.get(number)) is None:
            return self._refuse(_keyword(command), replies.NO_SUCH_MESSAGE, bad=False)
        match command:
            case Uidl():
                return self._answer("UIDL", b"+OK %d %b\r\n" % (number, message.unique_id.encode()))
            case Dele():
                self._maildrop.mark(number)
                return self._answer("DELE", replies.deleted(number))
            case Top(_, lines):
                self._waiting = Retrieve(number, lines)
                return self._waiting
            case Retr():
                self._waiting = Retrieve(number, None)
                return self._waiting
            case _:
                return self._answer("LIST", b"+OK %d %d\r\n" % (number, message.size))

    def _quit(self, following: State) -> ServerEvent:
        if not (numbers := self._maildrop.marked):
            self._close(replies.GOODBYE)
            return Answered("QUIT", positive=True)
        self.state = following
        self._waiting = Update(numbers)
        return self._waiting

    def _tell_capabilities(self, command: Capa) -> ServerEvent:
        lines = self._logins.capabilities(logged_in=self.state is State.TRANSACTION)
        return self._list(command, replies.CAPABILITIES_FOLLOW, iter(lines))

    def _begin_auth(self, command: Auth, following: State) -> ServerEvent:
        if not self._logins.private:
            return self._refuse("AUTH", replies.TLS_FIRST)
        if command.mechanism is None:
            names = [mechanism.value.encode() + b"\r\n" for mechanism in self._logins.offered]
            return self._list(command, replies.MECHANISMS_FOLLOW, iter(names))
        try:
            step = self._logins.begin(command)
        except CommandError as error:
            return self._refuse("AUTH", error.reply)
        self.state = following
        return self._take_step(step)

    def _next_response(self) -> ServerEvent:
        try:
            step = self._logins.next_step(self._buffer)
        except CommandError as error:
            self._leave_auth()
            return self._refuse("AUTH", error.reply)
        return NeedData() if step is None else self._take_step(step)

    def _take_step(self, step: AuthStep) -> ServerEvent:
        match step:
            case Challenge(octets):
                return self._answer("AUTH", replies.continuation(octets))
            case Accepted():
                self._let_in()
                return Answered("AUTH", positive=True)
            case Refused(refusal):
                self._keep_out(refusal)
                return Answered("AUTH", positive=False)
            case attempt:
                self._waiting = Login(attempt)
                return self._waiting

    def _let_in(self) -> None:
        self.state = TRANSITIONS[self.state, self._logins.command]
        self._logins.end()
        self._out += b"+OK %d messages (%d octets)\r\n" % self._maildrop.totals()

    def _keep_out(self, refusal: LoginRefusal) -> None:
        self._leave_auth()
        self._out += refusal.value
        self._refused_logins += 1
        if self._refused_logins >= self._limits.refused_logins:
            self.state = State.CLOSED

    def _leave_auth(self) -> None:
        self.state = AFTER_REFUSAL[self.state, self._logins.command]
        self._logins.end()

    def _change_language(self, command: Lang) -> ServerEvent:
        """RFC 6856 s3.2: all that we say is English."""
        if command.language_range is None:
            return self._list(command, replies.LANGUAGES_FOLLOW, iter(replies.LANGUAGES))
        if command.language_range.lower() in {"*", "en"}:
            return self._answer("LANG", replies.LANGUAGE_CHANGED)
        return self._refuse("LANG", replies.NO_SUCH_LANGUAGE, bad=False)

    def _list(self, command: Command, first: bytes, lines: Iterator[bytes]) -> ServerEvent:
        self._out += first
        self._listing = _keyword(command), lines
        return self._continue_listing(*self._listing)

    def _continue_listing(self, keyword: str, lines: Iterator[bytes]) -> ServerEvent:
        """Some lines of a multi-line response, and its end when there are no more."""
        while some := b"".join(islice(lines, _LINES_AT_ONCE)):
            self._out += some
            if self._is_full():
                return SendData()
        self._listing = None
        return self._answer(keyword, b".\r\n")

    def _is_full(self) -> bool:
        return len(self._out) >= self._limits.output

    def _answer(self, keyword: str, reply: bytes) -> Answered:
        self._out += reply
        self._bad_commands = 0
        return Answered(keyword, positive=True)

    def _refuse(self, keyword: str, reply: bytes, *, bad: bool = True) -> Answered:
        """A negative answer; too many bad commands in a row end the session."""
        self._out += reply
        self._bad_commands += bad
        if self._bad_commands >= self._limits.bad_commands:
            self._close(replies.TOO_MANY_ERRORS)
        return Answered(keyword, positive=False)

    def _close(self, reply: bytes) -> None:
        self._out += reply
        self.state = State.CLOSED

    def _take_waiting(self, kind: type[_Waiting]) -> _Waiting:
        if not isinstance(self._waiting, kind):
            raise LocalProtocolError("no such event waits")
        waiting, self._waiting = self._waiting, None
        return waiting


def _keyword(command: Command) -> str:
    return type(command).__name__.upper()
