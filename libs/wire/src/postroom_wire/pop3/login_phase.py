"""The part of AUTHORIZATION that lets clients in: what may be tried, and how far an AUTH is (RFC 5034)."""

from dataclasses import dataclass

from postroom_wire.pop3 import replies
from postroom_wire.pop3.commands import Auth, Pass
from postroom_wire.pop3.errors import CommandError, LocalProtocolError
from postroom_wire.pop3.limits import DEFAULT_LIMITS, Limits
from postroom_wire.pop3.lines import BareLineFeedError, LineBuffer, LineTooLongError
from postroom_wire.pop3.replies import LoginRefusal
from postroom_wire.pop3.sasl import AuthStep, Exchange
from postroom_wire.sasl import Challenge, Channel, Mechanism, find, offer


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`offers_tls`: STLS is possible. `plaintext_login`: a login needs no TLS, for a loopback peer only.

    USER and PASS are there where PLAIN is.
    """

    offers_tls: bool = True
    plaintext_login: bool = False
    mechanisms: tuple[Mechanism, ...] = (Mechanism.PLAIN,)
    limits: Limits = DEFAULT_LIMITS


class LoginPhase:
    """`channel` is what TLS gives."""

    def __init__(self, config: ServerConfig, channel: Channel, *, tls_active: bool) -> None:
        self.tls_active = tls_active
        self.user = ""
        """Of USER."""
        self._config = config
        self._channel = channel
        self._exchange: Exchange | None = None

    def secure(self, channel: Channel) -> None:
        """TLS is there: nothing that was said in the clear counts."""
        self.tls_active, self._channel, self.user = True, channel, ""

    @property
    def private(self) -> bool:
        """Whether somebody may log in over this connection."""
        return self.tls_active or self._config.plaintext_login

    @property
    def takes_passwords(self) -> bool:
        """Whether USER and PASS would work."""
        return self.private and Mechanism.PLAIN in self._config.mechanisms

    @property
    def offered(self) -> tuple[Mechanism, ...]:
        """What AUTH takes now."""
        return offer(self._config.mechanisms, self._channel) if self.private else ()

    @property
    def command(self) -> type[Auth] | type[Pass]:
        """The command that the client is logging in by."""
        return Pass if self._exchange is None else Auth

    def capabilities(self, *, logged_in: bool) -> list[bytes]:
        """RFC 2449 s6: what is announced before the login is announced after it too, but for STLS."""
        found = [b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"EXPIRE NEVER"]
        found += [b"UTF8 USER", b"LANG"]
        if self.takes_passwords:
            found.append(b"USER")
        if offered := self.offered:
            found.append(b" ".join((b"SASL", *(mechanism.value.encode() for mechanism in offered))))
        if self._config.offers_tls and not logged_in and not self.tls_active:
            found.append(b"STLS")
        return [capability + b"\r\n" for capability in (*found, b"IMPLEMENTATION Postroom")]

    def why_no_tls(self, *, utf8: bool) -> bytes | None:
        """The refusal of STLS, if it is to be refused."""
        if self.tls_active:
            return replies.TLS_ACTIVE
        if utf8:  # RFC 6856 s2.1
            return replies.NO_TLS_AFTER_UTF8
        return None if self._config.offers_tls else replies.TLS_NOT_OFFERED

    def begin(self, command: Auth) -> AuthStep:
        """AUTH with a mechanism. Raises `CommandError`; then no exchange has begun."""
        offered = self.offered
        if (mechanism := find(command.mechanism or "", offered)) is None:
            raise CommandError(replies.NO_SUCH_MECHANISM)
        exchange = Exchange(mechanism, offered, self._channel)
        step = exchange.begin(command.initial_response)
        self._exchange = exchange
        return step

    def next_step(self, buffer: LineBuffer) -> AuthStep | None:
        """The step that answers the next line, None until there is one. Raises `CommandError`."""
        try:
            line = buffer.next_line()
            return None if line is None else self._exchanging().respond(line)
        except LineTooLongError:
            raise CommandError(replies.LINE_TOO_LONG) from None
        except BareLineFeedError:
            raise CommandError(replies.BARE_LINE_FEED) from None

    def challenge(self, octets: bytes) -> bytes:
        """Our first message of SCRAM, as it is said."""
        return replies.continuation(self._exchanging().challenge(octets).octets)

    def accept(self, last_word: bytes) -> bytes:
        """What the client has to answer before it is in; empty for nothing."""
        return b"" if self._exchange is None else _said(self._exchange.accept(last_word))

    def refuse(self, refusal: LoginRefusal) -> bytes:
        """What the client has to answer before it is refused; empty for nothing."""
        return b"" if self._exchange is None else _said(self._exchange.refuse(refusal))

    def end(self) -> None:
        """The exchange, if there was one, is over."""
        self._exchange = None

    def _exchanging(self) -> Exchange:
        if self._exchange is None:
            raise LocalProtocolError("there is no exchange")
        return self._exchange


def _said(step: AuthStep) -> bytes:
    return replies.continuation(step.octets) if isinstance(step, Challenge) else b""
