"""The SMTP client without a socket: what to send in, octets out, octets in, results out (RFC 5321).

It says EHLO by itself and falls back to HELO; every later step is the shell's choice, because whether TLS is
needed and which message comes next is policy. Commands are pipelined where the server offers it (RFC 2920).
"""

from collections import deque
from typing import Final

from postroom_wire.sasl import Credentials
from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.capabilities import Capabilities
from postroom_wire.smtp.client_state import CALLS, Call, ClientConfig, ClientState
from postroom_wire.smtp.content import ContentWriter
from postroom_wire.smtp.envelope import Envelope
from postroom_wire.smtp.errors import LocalProtocolError, RemoteProtocolError
from postroom_wire.smtp.events import (
    Authenticated,
    AuthenticationRefused,
    ClientEvent,
    Closed,
    Greeted,
    MessageDone,
    NeedData,
    RecipientResult,
    SendContent,
    Stage,
    TlsReady,
    TlsRefused,
)
from postroom_wire.smtp.replies import Reply
from postroom_wire.smtp.reply_reader import ReplyReader
from postroom_wire.smtp.sasl import encoded, plain_response
from postroom_wire.smtp.transaction import Step, Transaction

_NEED_DATA: Final = NeedData()
_COMMAND_LINE: Final = 512  # RFC 5321 s4.5.3.1.4


class ClientSession:
    """One connection to a server, for any number of messages one after another.

    `receive_data` what came (empty at its end), take `next_event` until it is `NeedData` or `Closed`, do what
    the event asks for, write `data_to_send`. The calls raise `LocalProtocolError` out of order; `next_event`
    and `tls_started` raise `RemoteProtocolError` when the server breaks the protocol: close the connection
    then, and keep what `results` tells.
    """

    def __init__(self, config: ClientConfig, *, tls_active: bool = False) -> None:
        self._config = config
        self._replies = ReplyReader(config.limits)
        self._out: list[bytes] = []
        self._local: ClientEvent | None = None
        self._last: Reply | None = None
        self._hung_up = False
        self._ehlo = True
        self._responses: deque[str] = deque()
        self._cancelled = False
        self._transaction: Transaction | None = None
        self._unsent: deque[tuple[Step, bytes]] = deque()
        self._awaited: deque[Step] = deque()
        self._needs_reset = False
        self._writer = ContentWriter()
        self.state = ClientState.GREETING
        self.capabilities = Capabilities()
        self.tls_active = tls_active
        self.authenticated = False

    def receive_data(self, data: bytes) -> None:
        """Take what the network brought; nothing at all means that the server has hung up."""
        if data:
            self._replies.receive(data)
        else:
            self._hung_up = True

    def next_event(self) -> ClientEvent:
        """What happened next. Raises `RemoteProtocolError`."""
        if self._local is not None:
            event, self._local = self._local, None
            return event
        while self.state is not ClientState.CLOSED:
            if self.state is ClientState.TLS and not self._replies.empty:
                raise RemoteProtocolError("octets ahead of the TLS handshake")
            if (reply := self._replies.next_reply()) is None:
                if not self._hung_up:
                    return _NEED_DATA
                if self.state is not ClientState.QUIT:
                    raise RemoteProtocolError("the server has hung up")
                return self._closed(None)
            if (event := self._on_reply(reply)) is not None:
                return event
        return Closed(self._last)

    def data_to_send(self) -> bytes:
        """All that is to be written now; empty when there is nothing."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    @property
    def timeout_seconds(self) -> float:
        """How long to wait for what is due now: for the network to take content, or for the next reply.

        The clock starts anew with everything that comes, RFC 5321 s4.5.3.2.
        """
        timeouts = self._config.timeouts
        match self.state:
            case ClientState.GREETING:
                return timeouts.greeting_seconds
            case ClientState.CONTENT:
                return timeouts.block_seconds
            case ClientState.END:
                return timeouts.end_seconds
            case ClientState.MESSAGE if self._awaited and self._awaited[0] is Step.DATA:
                return timeouts.data_seconds
            case _:
                return timeouts.command_seconds

    @property
    def results(self) -> tuple[RecipientResult, ...]:
        """What is decided of the running message, for a shell that must give the connection up."""
        return self._transaction.results if self._transaction is not None else ()

    def start_tls(self) -> None:
        """Ask for TLS; `TlsReady` or `TlsRefused` follows."""
        self._call(Call.START_TLS)
        self._say("STARTTLS")

    def tls_started(self) -> None:
        """The handshake is done: forget what was said in plain text and say EHLO again (RFC 3207 s4.2)."""
        if not self._replies.empty:
            raise RemoteProtocolError("octets ahead of the TLS handshake")
        self._call(Call.TLS_STARTED)
        self.tls_active = True
        self._hello(ehlo=True)

    def authenticate(self, credentials: Credentials) -> None:
        """Log in with PLAIN, else LOGIN; `Authenticated` or `AuthenticationRefused` follows."""
        if not self.tls_active and not self._config.plaintext_auth:
            raise LocalProtocolError("credentials are not sent in plain text")
        if "\0" in credentials.authentication_id + credentials.authorization_id + credentials.password:
            raise LocalProtocolError("credentials hold no NUL")
        self._call(Call.AUTHENTICATE)
        self._cancelled = False
        if "PLAIN" in self.capabilities.auth:
            self._auth_plain(plain_response(credentials))
        elif "LOGIN" in self.capabilities.auth:
            self._responses = deque((encoded(credentials.authentication_id), encoded(credentials.password)))
            self._say("AUTH LOGIN")
        else:
            self.state = ClientState.READY
            self._local = AuthenticationRefused(standard_replies.AUTH_UNKNOWN)

    def send(self, envelope: Envelope) -> None:
        """Begin a message. `SendContent` may follow, `MessageDone` does unless the connection breaks."""
        if not envelope.recipients:
            raise LocalProtocolError("a message needs a recipient")
        self._call(Call.SEND)
        self._transaction = transaction = Transaction(envelope)
        if (reply := self._unsendable(envelope)) is not None:
            transaction.settle(Stage.LOCAL, reply)
            self._local = self._done()
            return
        if self._needs_reset:
            self._unsent.append((Step.RSET, b"RSET\r\n"))
        self._unsent.extend(transaction.commands(self.capabilities, authenticated=self.authenticated))
        self._needs_reset = True
        self._send_next()

    def write_content(self, octets: bytes) -> None:
        """The next octets of the content, in any cut; line ends and dots are seen to."""
        self._call(Call.WRITE_CONTENT)
        self._out.append(self._writer.write(octets))

    def end_content(self) -> None:
        """The content is whole. Check the lease before: what is sent now may be delivered."""
        self._call(Call.END_CONTENT)
        self._out.append(self._writer.finish())

    def quit(self) -> None:
        """Take leave; `Closed` follows."""
        self._call(Call.QUIT)
        self._say("QUIT")

    def _on_reply(self, reply: Reply) -> ClientEvent | None:
        if reply.code == 421:
            return self._abandon(reply)
        match self.state:
            case ClientState.GREETING:
                return self._on_greeting(reply)
            case ClientState.HELLO:
                return self._on_hello(reply)
            case ClientState.STARTTLS:
                return self._on_starttls(reply)
            case ClientState.AUTH:
                return self._on_auth(reply)
            case ClientState.MESSAGE:
                return self._on_step(reply)
            case ClientState.CONTENT | ClientState.END:
                return self._on_end(reply)
            case ClientState.QUIT:
                return self._closed(reply)
            case ClientState.READY | ClientState.TLS | ClientState.CLOSED:
                raise RemoteProtocolError("a reply to nothing", reply)

    def _on_greeting(self, reply: Reply) -> ClientEvent | None:
        if reply.code != 220:
            return self._leave(reply)  # s3.1
        self._hello(ehlo=True)
        return None

    def _on_hello(self, reply: Reply) -> ClientEvent | None:
        if reply.code == 250:
            if self._ehlo:
                self.capabilities = Capabilities.of(reply)
            self.state = ClientState.READY
            return Greeted(self.capabilities)
        if self._ehlo and reply.permanent:
            self._hello(ehlo=False)  # s3.2
            return None
        return self._leave(reply)

    def _on_starttls(self, reply: Reply) -> ClientEvent:
        if reply.code == 220:
            if not self._replies.empty:
                raise RemoteProtocolError("octets ahead of the TLS handshake", reply)
            self.state = ClientState.TLS
            return TlsReady()
        if reply.positive:
            raise RemoteProtocolError("wrong reply to STARTTLS", reply)
        self.state = ClientState.READY
        return TlsRefused(reply)

    def _on_auth(self, reply: Reply) -> ClientEvent | None:
        if reply.code == 334:
            if self._cancelled:
                raise RemoteProtocolError("the exchange goes on after it was cancelled", reply)
            self._cancelled = not self._responses
            self._say("*" if self._cancelled else self._responses.popleft())
            return None
        self._responses.clear()
        self.state = ClientState.READY
        if not reply.positive:
            return AuthenticationRefused(reply)
        if reply.code != 235:
            raise RemoteProtocolError("wrong reply to AUTH", reply)
        self.authenticated = True
        return Authenticated(reply)

    def _on_step(self, reply: Reply) -> ClientEvent | None:
        transaction = self._running()
        match self._awaited.popleft():
            case Step.RSET:
                if reply.code != 250:
                    raise RemoteProtocolError("wrong reply to RSET", reply)
            case Step.MAIL:
                transaction.on_mail(reply)
            case Step.RCPT:
                transaction.on_rcpt(reply)
            case Step.DATA:
                return self._on_data(transaction, reply)
        if not self._awaited:
            self._send_next()
        return None if self._awaited else self._done()

    def _on_data(self, transaction: Transaction, reply: Reply) -> ClientEvent | None:
        if not transaction.on_data(reply):
            return self._done()
        self._writer = ContentWriter()
        self.state = ClientState.CONTENT
        if transaction.anyone_taken:
            return SendContent()
        self.end_content()  # RFC 2920 s3.1: nobody is to get it, so end it at once
        return None

    def _on_end(self, reply: Reply) -> ClientEvent:
        early = self.state is ClientState.CONTENT
        if early and reply.positive:
            raise RemoteProtocolError("an answer to content that has no end yet", reply)
        self._running().on_end(reply)
        self._needs_reset = False
        event = self._done()
        if early:  # the server and we do not agree where the content ends
            self._closed(reply)
        return event

    def _send_next(self) -> None:
        """Send all commands, or one without PIPELINING, and none that has become pointless."""
        transaction = self._running()
        while self._unsent:
            step, octets = self._unsent.popleft()
            if transaction.mail_refused or (step is Step.DATA and not self._all_at_once(transaction)):
                self._unsent.clear()
                return
            self._out.append(octets)
            self._awaited.append(step)
            if not self.capabilities.pipelining:
                return

    def _all_at_once(self, transaction: Transaction) -> bool:
        return self.capabilities.pipelining or transaction.anyone_taken

    def _auth_plain(self, response: str) -> None:
        command = f"AUTH PLAIN {response}"
        if len(command) + 2 > _COMMAND_LINE:  # RFC 4954 s4: then without initial response
            self._responses.append(response)
            command = "AUTH PLAIN"
        self._say(command)

    def _unsendable(self, envelope: Envelope) -> Reply | None:
        if envelope.needs_smtputf8 and not self.capabilities.smtputf8:
            return standard_replies.SMTPUTF8_NOT_OFFERED
        # A size of 0 is no limit, RFC 1870 s4
        if self.capabilities.size and (envelope.size or 0) > self.capabilities.size:
            return standard_replies.TOO_BIG_FOR_PEER
        return None

    def _abandon(self, reply: Reply) -> ClientEvent:
        """421: what is undecided of the message shares its fate."""
        if (transaction := self._transaction) is None:
            return self._closed(reply)
        stage = Stage.CONTENT
        if self._awaited:
            stage = {Step.RCPT: Stage.RCPT, Step.DATA: Stage.DATA}.get(self._awaited[0], Stage.MAIL)
        transaction.settle(stage, reply)
        event = self._done()
        self._closed(reply)
        return event

    def _done(self) -> MessageDone:
        results = self._running().results
        self._transaction = None
        self._unsent.clear()
        self._awaited.clear()
        self.state = ClientState.READY
        return MessageDone(results)

    def _running(self) -> Transaction:
        if self._transaction is None:
            raise LocalProtocolError("no message is under way")
        return self._transaction

    def _leave(self, reply: Reply) -> Closed:
        """The server wants no mail from us: take leave without waiting for its answer."""
        if reply.positive:
            raise RemoteProtocolError("wrong reply to a greeting", reply)
        self._say("QUIT")
        return self._closed(reply)

    def _closed(self, reply: Reply | None) -> Closed:
        self.state, self._last = ClientState.CLOSED, reply
        return Closed(reply)

    def _hello(self, *, ehlo: bool) -> None:
        self._ehlo = ehlo
        self.capabilities = Capabilities()
        self.state = ClientState.HELLO
        self._say(f"{'EHLO' if ehlo else 'HELO'} {self._config.helo_name}")

    def _call(self, call: Call) -> None:
        if (state := CALLS.get((self.state, call))) is None:
            raise LocalProtocolError(f"{call.name} does not fit {self.state.name}")
        self.state = state

    def _say(self, command: str) -> None:
        self._out.append(f"{command}\r\n".encode())
