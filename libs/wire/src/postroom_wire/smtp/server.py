"""The SMTP server without a socket: octets in, events out, replies in, octets out (RFC 5321).

The engine answers by itself what needs no knowledge of mailboxes, keeps the order of commands and the bounds,
and collects all replies until the shell takes them, so that the answer to a pipelined group leaves in one
write (RFC 2920 s3.2).
"""

from typing import Final

from postroom_wire.sasl import UNBOUND, Channel, Mechanism, find, offer
from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.addresses import ForwardPath
from postroom_wire.smtp.commands import (
    Auth,
    Command,
    Data,
    Ehlo,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    StartTls,
    Vrfy,
    parse_command,
    split_line,
)
from postroom_wire.smtp.content_phase import ContentPhase, RefusalDue
from postroom_wire.smtp.envelope import Envelope
from postroom_wire.smtp.errors import CommandError, LocalProtocolError
from postroom_wire.smtp.events import (
    Answered,
    Authenticate,
    Close,
    ContentChunk,
    ContentEnd,
    ContentRefused,
    NeedData,
    ServerEvent,
)
from postroom_wire.smtp.lines import BareLineFeedError, LineBuffer, LineTooLongError
from postroom_wire.smtp.replies import Reply
from postroom_wire.smtp.sasl import AuthStep, Concluded, Exchange
from postroom_wire.smtp.server_state import (
    ACCEPTANCE,
    LEFT_BY_ANY_ANSWER,
    TRANSITIONS,
    Awaited,
    ServerConfig,
    State,
)
from postroom_wire.smtp.trace import protocol_word

_NEED_DATA: Final = NeedData()


class ServerSession:
    """One connection's session. The constructor has the greeting ready to send.

    `receive_data` what came, take `next_event` until it is `NeedData` or `Close`, `reply` to the events that
    wait for it, and write `data_to_send` once. Raises nothing but `LocalProtocolError`, which is a bug of the
    shell. `plaintext_auth` allows AUTH without TLS, for a loopback peer only. `channel` is what TLS gives.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        tls_active: bool = False,
        plaintext_auth: bool = False,
        channel: Channel = UNBOUND,
    ) -> None:
        self._config = config
        self._channel = channel
        self._limits = config.limits
        self._plaintext_auth = plaintext_auth
        self._buffer = LineBuffer(config.limits.auth_line, config.limits.buffer)
        self._out: list[bytes] = []
        self._pending: Awaited | None = None
        self._next_state = State.CONNECTED
        self._mail: Mail | None = None
        self._recipients: list[ForwardPath] = []
        self._content = ContentPhase(config.limits)
        self._exchange: Exchange | None = None
        self._esmtp = False
        self._errors = 0
        self._commands = 0
        self._last = standard_replies.CLOSING
        self.state = State.CONNECTED
        self.helo = ""
        """The argument of EHLO, LHLO or HELO."""
        self.tls_active = tls_active
        self.authenticated = False
        self._say(config.greeting())

    def receive_data(self, data: bytes) -> None:
        """Take what the network brought. Between an accepted STARTTLS and `tls_started` it is dropped.

        Raises `LocalProtocolError` when more than `Limits.buffer` lies unread: stop reading while an event
        waits for its reply.
        """
        if self.state not in (State.TLS, State.CLOSED):
            self._buffer.receive(data)

    def next_event(self) -> ServerEvent:
        """What happened next; what the engine answers itself is told as `Answered`."""
        if self._pending is not None:
            raise LocalProtocolError("the last event has no reply yet")
        match self.state:
            case State.CLOSED:
                return Close(self._last)
            case State.TLS:
                return _NEED_DATA
            case State.CONTENT:
                return self._next_content()
            case State.AUTH:
                return self._next_auth()
            case State.CONNECTED | State.READY | State.MAIL | State.RCPT:
                return self._next_command()

    def reply(self, *replies: Reply) -> None:
        """Answer the event that waits: one reply, or with LMTP one for each recipient at the content's end.

        Only a positive reply moves the session on. 421 always ends it.
        """
        event = self._answerable(replies)
        self._pending = None
        if isinstance(event, Authenticate) and (reason := self._exchanging().conclude(replies[0])):
            self._say(reason)
            return
        accepted, goodbye = False, None
        for reply in replies:
            self._out.append(reply.octets)
            accepted = accepted or reply.positive
            goodbye = reply if reply.code == 421 else goodbye
        if accepted or self.state in LEFT_BY_ANY_ANSWER:
            self.state = self._next_state
        if accepted:
            self._accepted(event)
        elif not isinstance(event, Rcpt):
            self._count_error(replies[-1])
        if isinstance(event, ContentEnd):
            self._reset()
        if goodbye is not None:
            self._close(goodbye)

    def challenge(self, octets: bytes) -> None:
        """Answer a message of SCRAM with ours. After our last one the client has the word, then is let in."""
        if not isinstance(event := self._pending, Authenticate):
            raise LocalProtocolError("no event waits for a challenge")
        self._pending = None
        self._say(self._exchanging().challenge(event.attempt, octets))

    def data_to_send(self) -> bytes:
        """All that is to be written now, in one write; empty when there is nothing."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def tls_started(self, channel: Channel = UNBOUND) -> None:
        """The handshake is done: nothing that was said in plain text counts (RFC 3207 s4.2)."""
        if self.state is not State.TLS:
            raise LocalProtocolError("nobody asked for TLS")
        self.state, self._channel = State.CONNECTED, channel
        self.tls_active = True

    def close(self, reply: Reply) -> None:
        """End the session from our side (drain, time-out) with `reply`, in any state."""
        if self.state is State.CLOSED:
            return
        if self.state is not State.TLS:  # the peer would take plain text for a broken handshake
            self._say(reply)
        self._pending = None
        self._close(reply)

    @property
    def envelope(self) -> Envelope:
        """The running transaction's envelope: from the reply to MAIL to the reply at the content's end."""
        if (mail := self._mail) is None:
            raise LocalProtocolError("there is no transaction")
        recipients = tuple(self._recipients)
        return Envelope(mail.reverse_path, recipients, mail.size, mail.body, mail.smtputf8, mail.auth)

    @property
    def with_protocol(self) -> str:
        """The word for the `with` clause of `Received:` (RFC 3848, RFC 6531 s4.3)."""
        return protocol_word(
            esmtp=self._esmtp,
            lmtp=self._config.lmtp,
            tls=self.tls_active,
            authenticated=self.authenticated,
            smtputf8=self._mail is not None and self._mail.smtputf8,
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, so that a draining shell may close at once."""
        resting = self.state in (State.CONNECTED, State.READY)
        return resting and self._pending is None and not len(self._buffer)

    def _next_command(self) -> ServerEvent:
        try:
            line = self._buffer.next_line()
        except LineTooLongError:
            return self._answer("UNKNOWN", standard_replies.LINE_TOO_LONG)
        except BareLineFeedError:
            return self._answer("UNKNOWN", standard_replies.BARE_LINE_FEED)
        if line is None:
            return self._need_line()
        verb, argument = split_line(line)
        self._commands += 1
        if self._commands > self._limits.commands:
            return self._answer(verb, standard_replies.TOO_MANY_COMMANDS)
        try:
            self._config.check_line(verb, len(line) + 2)
            return self._begin(verb, parse_command(verb, argument))
        except CommandError as error:
            return self._answer(verb, error.reply)

    def _need_line(self) -> ServerEvent:
        if self._buffer.discarded > self._limits.discarded_line:
            return self._answer("UNKNOWN", standard_replies.TOO_MANY_ERRORS)
        return _NEED_DATA

    def _begin(self, verb: str, command: Command) -> ServerEvent:
        """Answer the command, or hand it to the shell. Raises `CommandError` when it is refused."""
        if (next_state := TRANSITIONS.get((self.state, type(command)))) is None:
            if self.state is State.MAIL and isinstance(command, Data):
                raise CommandError(standard_replies.NO_VALID_RECIPIENTS)
            raise CommandError(standard_replies.BAD_SEQUENCE)
        match command:
            case Mail():
                self._check_mail(command)
                return self._await(command)
            case Rcpt():
                self._check_rcpt(command)
                return self._await(command)
            case Data():
                return self._await(command)
            case StartTls():
                self._config.check_starttls(tls_active=self.tls_active)
                return self._await(StartTls(data_ahead=len(self._buffer) > 0))
            case Auth():
                return self._begin_auth(command)
            case Ehlo() | Helo() | Rset() | Noop() | Vrfy() | Help() | Quit():
                self.state = next_state
                return self._answer(verb, self._own_reply(command))

    def _own_reply(self, command: Ehlo | Helo | Rset | Noop | Vrfy | Help | Quit) -> Reply:
        match command:
            case Ehlo(domain) | Helo(domain):
                self._reset()
                self.helo = domain
                self._esmtp = isinstance(command, Ehlo)
                if not self._esmtp:
                    return self._config.helo_reply()
                return self._config.ehlo_reply(tls_active=self.tls_active, mechanisms=self._offered)
            case Rset():
                self._reset()
                return standard_replies.OK
            case Noop():
                return standard_replies.OK
            case Vrfy():
                return standard_replies.CANNOT_VERIFY  # s7.3: tell nobody who lives here
            case Help():
                return standard_replies.HELP
            case Quit():
                return standard_replies.CLOSING

    @property
    def _offered(self) -> tuple[Mechanism, ...]:
        private = self.tls_active or self._plaintext_auth
        return offer(self._config.mechanisms, self._channel) if private else ()

    def _check_mail(self, command: Mail) -> None:
        if self._config.auth_required and not self.authenticated:
            can_auth = bool(self._offered) or not self._config.starttls
            raise CommandError(standard_replies.AUTH_REQUIRED if can_auth else standard_replies.TLS_REQUIRED)
        if command.size is not None and command.size > self._limits.message:
            raise CommandError(standard_replies.MESSAGE_TOO_BIG)

    def _check_rcpt(self, command: Rcpt) -> None:
        if len(self._recipients) >= self._limits.recipients:
            raise CommandError(standard_replies.TOO_MANY_RECIPIENTS)
        if not command.forward_path.ascii and (self._mail is None or not self._mail.smtputf8):
            raise CommandError(standard_replies.SMTPUTF8_REQUIRED)

    def _begin_auth(self, command: Auth) -> ServerEvent:
        if not self._config.mechanisms:
            raise CommandError(standard_replies.NOT_IMPLEMENTED)
        if not (offered := self._offered):
            raise CommandError(standard_replies.AUTH_NEEDS_TLS)
        if self.authenticated:
            raise CommandError(standard_replies.AUTH_DONE)
        if (mechanism := find(command.mechanism, offered)) is None:
            raise CommandError(standard_replies.AUTH_UNKNOWN)
        self._exchange = Exchange(mechanism, offered, self._channel)
        step = self._exchange.begin(command.initial_response)
        self.state = State.AUTH
        return self._auth_step(step)

    def _next_auth(self) -> ServerEvent:
        if (step := self._exchanging().next_step(self._buffer)) is None:
            return self._need_line()
        return self._auth_step(step)

    def _auth_step(self, step: AuthStep) -> ServerEvent:
        match step:
            case Reply():
                return self._answer("AUTH", step)
            case Concluded(reply, accepted):
                self.state, self.authenticated = TRANSITIONS[self.state, Authenticate], accepted
                return self._answer("AUTH", reply)
            case attempt:
                return self._await(Authenticate(self._exchanging().mechanism, attempt))

    def _exchanging(self) -> Exchange:
        if self._exchange is None:
            raise LocalProtocolError("there is no exchange")
        return self._exchange

    def _next_content(self) -> ServerEvent:
        match step := self._content.next_step(self._buffer):
            case ContentEnd():
                return self._await(step)
            case RefusalDue():
                return self._refuse_content(step)
            case ContentChunk() | ContentRefused() | NeedData():
                return step

    def _refuse_content(self, refusal: RefusalDue) -> ServerEvent:
        for _ in self._recipients[1:] if self._config.lmtp else ():
            self._say(refusal.reply)
        self.state = TRANSITIONS[self.state, ContentEnd]
        self._reset()
        event = self._answer("CONTENT", refusal.reply)
        if refusal.close:
            self._close(refusal.reply)
        return event

    def _await(self, event: Awaited) -> Awaited:
        self._next_state = TRANSITIONS[self.state, type(event)]
        self._pending = event
        return event

    def _answerable(self, replies: tuple[Reply, ...]) -> Awaited:
        """The event that waits, once the replies are known to fit it."""
        if (event := self._pending) is None:
            raise LocalProtocolError("no event waits for a reply")
        each = self._config.lmtp and isinstance(event, ContentEnd)
        if len(replies) != (len(self._recipients) if each else 1):
            raise LocalProtocolError("wrong number of replies")
        for reply in replies:
            if reply.positive and reply.code not in ACCEPTANCE[type(event)]:
                raise LocalProtocolError("this event is not accepted by this reply")
        return event

    def _accepted(self, event: Awaited) -> None:
        match event:
            case Mail():
                self._mail, self._recipients = event, []
            case Rcpt():
                self._recipients.append(event.forward_path)
            case Data():
                self._content = ContentPhase(self._limits)
            case ContentEnd():
                self._errors = self._commands = 0
            case Authenticate():
                self.authenticated = True
            case StartTls():
                self._buffer.clear()
                self._reset()
                self.authenticated, self.helo, self._esmtp = False, "", False

    def _answer(self, command: str, reply: Reply) -> Answered:
        self._say(reply)
        if reply.code in (221, 421):
            self._close(reply)
        elif reply is not standard_replies.NO_VALID_RECIPIENTS:  # the RCPTs were refused already
            self._count_error(reply)
        return Answered(command, reply)

    def _count_error(self, reply: Reply) -> None:
        if reply.permanent:
            self._errors += 1
            if self._errors > self._limits.errors:
                self._say(standard_replies.TOO_MANY_ERRORS)
                self._close(standard_replies.TOO_MANY_ERRORS)

    def _say(self, reply: Reply) -> None:
        self._out.append(reply.octets)

    def _reset(self) -> None:
        self._mail, self._recipients = None, []

    def _close(self, reply: Reply) -> None:
        self.state, self._last = State.CLOSED, reply
        self._buffer.clear()
