"""One IMAP connection without its socket: octets in, commands that the state allows out (RFC 3501 s3).

The caller writes what it is given to write, answers every command once, and only then asks for the next
event.
"""

from typing import Final

from postroom_wire.imap.commands import Append, Authenticate, Command, Idle, Replace, StartTls, Unauthenticate
from postroom_wire.imap.compress import Compress
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import (
    CANCELLED,
    EXPECTED_DONE,
    WRONG_STATE,
    Condition,
    LocalProtocolError,
    Refusal,
    RemoteProtocolError,
    Tag,
)
from postroom_wire.imap.events import (
    AppendContent,
    AppendEnded,
    AppendMessageEnded,
    AppendMessageStarted,
    AppendStarted,
    AppendUrl,
    CommandComplete,
    CommandReceived,
    CommandRefused,
    ContinuationRequest,
    FragmentEvent,
    IdleEnded,
    LineReceived,
    NeedData,
    SaslResponse,
    SessionEvent,
)
from postroom_wire.imap.fragmenter import Fragmenter
from postroom_wire.imap.limits import DEFAULT_LIMITS, Limits
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.responses import challenge, continuation
from postroom_wire.imap.state import AFTER_NO, TRANSITIONS, State

IDLING: Final = continuation(b"idling")


class ServerSession:
    """The server's end. `state` moves only by `answer`."""

    __slots__ = ("_awaits_line", "_fragmenter", "_limits", "_pending", "_streams", "state")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.state = State.NOT_AUTHENTICATED
        self._limits = limits
        self._fragmenter = Fragmenter(limits)
        self._pending: tuple[Tag, Command] | None = None
        self._awaits_line = False
        self._streams = False

    def enable_utf8(self) -> None:
        """From the next command on quoted strings and mailbox names are UTF-8 (RFC 6855 s3)."""
        self._fragmenter.utf8 = True

    def receive_data(self, octets: bytes) -> None:
        """Store what came from the network."""
        self._fragmenter.receive_data(octets)

    def next_event(self) -> SessionEvent | NeedData:
        """The next event, or NEED_DATA. Raises `LocalProtocolError` while a command waits for its answer."""
        if self._pending is not None and not (self._awaits_line or self._streams):
            raise LocalProtocolError("the pending command has no answer yet")
        return self._session_event(self._fragmenter.next_event())

    def answer(self, condition: Condition, text: bytes, code: bytes | None = None) -> bytes:
        """The tagged response that ends the pending command; moves the state along."""
        return self.refuse(Refusal(condition, text, code))

    def refuse(self, refusal: Refusal) -> bytes:
        """The same with a constant reply. It ends a streamed APPEND at any point."""
        if self._pending is None:
            raise LocalProtocolError("no command is pending")
        if self._awaits_line:
            raise LocalProtocolError("the client's line has not come yet")
        tag, command = self._pending
        if self._streams:
            self._fragmenter.abandon_append()
        self._forget_pending()
        self._move(command, refusal.condition)
        return refusal.encode(tag)

    @property
    def pending_tag(self) -> Tag:
        """The tag of the command that waits for its answer."""
        if self._pending is None:
            raise LocalProtocolError("no command is pending")
        return self._pending[0]

    def accept_append(self) -> None:
        """Take the messages that `AppendStarted` announced."""
        self._fragmenter.accept_append()
        self._streams = True

    def refuse_append(self, refusal: Refusal) -> bytes:
        """Do not take it; write what this returns."""
        if self._pending is None:
            raise LocalProtocolError("no command is pending")
        tag, _ = self._pending
        self._fragmenter.refuse_append()
        self._forget_pending()
        return refusal.encode(tag)

    def challenge(self, octets: bytes) -> bytes:
        """A challenge of AUTHENTICATE to write; the next event is its `SaslResponse` or a refusal."""
        tag = self._require(Authenticate)
        self._fragmenter.expect_line(tag)
        self._awaits_line = True
        return challenge(octets)

    def begin_idle(self) -> bytes:
        """The continuation of IDLE to write; the next event is `IdleEnded` or a refusal (RFC 2177 s3)."""
        tag = self._require(Idle)
        self._fragmenter.expect_line(tag)
        self._awaits_line = True
        return IDLING

    def _session_event(self, event: FragmentEvent | NeedData) -> SessionEvent | NeedData:
        match event:
            case CommandComplete(octets):
                return self._command(octets)
            case LineReceived(octets):
                return self._line(octets)
            case AppendStarted(tag, append):
                return self._append(tag, append, event)
            case CommandRefused():
                self._forget_pending()
                return event
            case AppendEnded():
                self._streams = False
                return event
            case (
                ContinuationRequest()
                | AppendMessageStarted()
                | AppendUrl()
                | AppendContent()
                | AppendMessageEnded()
                | NeedData.NEED_DATA
            ):
                return event

    def _command(self, octets: bytes) -> SessionEvent:
        try:
            tagged = parse_command(octets, self._limits, utf8=self._fragmenter.utf8)
        except RemoteProtocolError as error:
            return CommandRefused(error.tag, error.refusal)
        if (self.state, type(tagged.command)) not in TRANSITIONS:
            return CommandRefused(tagged.tag, WRONG_STATE)
        self._pending = (tagged.tag, tagged.command)
        return CommandReceived(tagged.tag, tagged.command)

    def _append(self, tag: Tag, append: Append | Replace, event: AppendStarted) -> SessionEvent:
        if (self.state, type(append)) not in TRANSITIONS:
            self._fragmenter.refuse_append()
            return CommandRefused(tag, WRONG_STATE)
        self._pending = (tag, append)
        return event

    def _line(self, octets: bytes) -> SessionEvent:
        self._awaits_line = False
        if self._pending is None:
            raise LocalProtocolError("no command is pending")
        tag, command = self._pending
        if isinstance(command, Idle):
            if octets.upper() == b"DONE":
                return IdleEnded()
            return self._fail(tag, EXPECTED_DONE)
        if octets == b"*":  # s6.2.2
            return self._fail(tag, CANCELLED)
        try:
            return SaslResponse(Cursor(b"").decode_base64(octets))
        except RemoteProtocolError as error:
            return self._fail(tag, error.refusal)

    def _fail(self, tag: Tag, refusal: Refusal) -> CommandRefused:
        self._forget_pending()
        return CommandRefused(tag, refusal)

    def _forget_pending(self) -> None:
        self._pending = None
        self._awaits_line = self._streams = False

    def _require(self, command: type[Authenticate] | type[Idle]) -> Tag:
        if self._pending is None or not isinstance(self._pending[1], command) or self._awaits_line:
            raise LocalProtocolError(f"no {command.__name__} waits for a continuation")
        return self._pending[0]

    def _move(self, command: Command, condition: Condition) -> None:
        place = (self.state, type(command))
        if condition is Condition.OK:
            self.state = TRANSITIONS[place]
            self._fragmenter.authenticated = self.state in {State.AUTHENTICATED, State.SELECTED}
            if isinstance(command, Unauthenticate):
                self._fragmenter.utf8 = False  # RFC 8437 s4.1: nothing is enabled any more
            if isinstance(command, StartTls | Compress):
                # RFC 3501 s6.2.1, s11.1: what was sent ahead in clear must not run inside TLS.
                # RFC 4978 s3: nothing may be sent ahead of the answer, and it cannot be read afterwards.
                self._fragmenter.drop_buffered()
        elif condition is Condition.NO:
            self.state = AFTER_NO.get(place, self.state)
