"""One exchange of SASL, the server's side (RFC 4422): responses in, challenges and attempts out.

The protocol around it has its own dress for octets (BASE64 mostly), for "no initial response" and for a
client that cancels. A shell answers an attempt with `challenge`, `accept` or `refuse`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from postroom_wire.sasl import oauth, scram
from postroom_wire.sasl.attempts import Attempt, Certificate, Credentials
from postroom_wire.sasl.channel import UNBOUND, Channel
from postroom_wire.sasl.errors import LocalProtocolError, SaslError
from postroom_wire.sasl.mechanism import Mechanism
from postroom_wire.sasl.scram import Opening


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send these octets; a response follows."""

    octets: bytes = b""


class Verdict(Enum):
    """The end of an exchange, to be said in the words of the protocol."""

    ACCEPTED = auto()
    REFUSED = auto()


Step: TypeAlias = Challenge | Attempt | Verdict

_EMPTY: Final = Challenge()
_USERNAME: Final = Challenge(b"Username:")
_PASSWORD: Final = Challenge(b"Password:")


class _Stage(Enum):
    RESPONSE = auto()
    ATTEMPT = auto()
    """The shell looks at what the client said."""
    LAST_WORD = auto()
    """Accepted, when the client takes our last message."""
    REFUSAL = auto()
    """Refused, and the client was told why."""


class SaslServer:
    """One exchange; after an error or a `Verdict` it is of no more use.

    `offered` is what the client could choose from.
    """

    def __init__(
        self, mechanism: Mechanism, offered: Collection[Mechanism] = (), channel: Channel = UNBOUND
    ) -> None:
        self.mechanism = mechanism
        self._plus_offered = Mechanism.SCRAM_SHA_256_PLUS in offered
        self._channel = channel
        self._stage = _Stage.RESPONSE
        self._username: str | None = None
        self._opening: Opening | None = None
        self._server_first = b""

    def begin(self, initial: bytes | None) -> Step:
        """The first step, with the initial response if there was one. Raises `SaslError`."""
        if initial is None:
            return _USERNAME if self.mechanism is Mechanism.LOGIN else _EMPTY
        return self.respond(initial)

    def respond(self, octets: bytes) -> Step:
        """The step that answers a response. Raises `SaslError`, which ends the exchange."""
        match self._stage:
            case _Stage.RESPONSE:
                return self._respond(octets)
            case _Stage.LAST_WORD:
                if octets:
                    raise SaslError("a response to our last word")
                return Verdict.ACCEPTED
            case _Stage.REFUSAL:
                if octets not in oauth.ACKNOWLEDGED:
                    raise SaslError("a response to a refusal")
                return Verdict.REFUSED
            case _Stage.ATTEMPT:
                raise LocalProtocolError("the attempt has no answer yet")

    def challenge(self, octets: bytes) -> Challenge:
        """Answer a `ScramOpening` with the server's first message."""
        self._answered()
        if self._opening is None or self._server_first:
            raise LocalProtocolError("no opening waits for an answer")
        self._stage, self._server_first = _Stage.RESPONSE, octets
        return Challenge(octets)

    def accept(self, last_word: bytes = b"") -> Challenge | Verdict:
        """The attempt is good. After a `Challenge` the client's response decides (RFC 5802 s5)."""
        self._answered()
        if not last_word:
            return Verdict.ACCEPTED
        self._stage = _Stage.LAST_WORD
        return Challenge(last_word)

    def refuse(self) -> Challenge | Verdict:
        """It is not. Who came with a token is told why, and has to answer first (RFC 7628 s3.2.3)."""
        self._answered()
        match self.mechanism:
            case Mechanism.OAUTHBEARER:
                self._stage = _Stage.REFUSAL
                return Challenge(oauth.INVALID_TOKEN)
            case Mechanism.XOAUTH2:
                self._stage = _Stage.REFUSAL
                return Challenge(oauth.XOAUTH2_REFUSED)
            case _:
                return Verdict.REFUSED

    def _respond(self, octets: bytes) -> Step:
        match self.mechanism:
            case Mechanism.PLAIN:
                return self._attempt(_plain(octets))
            case Mechanism.LOGIN:
                return self._login(octets)
            case Mechanism.OAUTHBEARER:
                return self._attempt(oauth.parse_oauthbearer(octets))
            case Mechanism.XOAUTH2:
                return self._attempt(oauth.parse_xoauth2(octets))
            case Mechanism.EXTERNAL:
                return self._attempt(Certificate(_text(octets)))
            case Mechanism.SCRAM_SHA_256 | Mechanism.SCRAM_SHA_256_PLUS:
                return self._scram(octets)

    def _login(self, octets: bytes) -> Step:
        text = _text(octets)
        if not text:
            raise SaslError("an empty response")
        if self._username is None:
            self._username = text
            return _PASSWORD
        return self._attempt(Credentials("", self._username, text))

    def _scram(self, octets: bytes) -> Step:
        if self._opening is not None:
            return self._attempt(scram.parse_proof(octets, self._opening, self._server_first))
        plus = self.mechanism is Mechanism.SCRAM_SHA_256_PLUS
        self._opening = scram.parse_opening(octets, self._channel, plus=plus, plus_offered=self._plus_offered)
        return self._attempt(self._opening.message)

    def _attempt(self, attempt: Attempt) -> Attempt:
        self._stage = _Stage.ATTEMPT
        return attempt

    def _answered(self) -> None:
        if self._stage is not _Stage.ATTEMPT:
            raise LocalProtocolError("no attempt waits for an answer")


def _plain(octets: bytes) -> Credentials:
    """message = [authzid] UTF8NUL authcid UTF8NUL passwd, RFC 4616 s2."""
    try:
        parts = octets.decode("utf-8").split("\0")
    except UnicodeDecodeError:
        raise SaslError("not UTF-8") from None
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise SaslError("not a response of PLAIN")
    return Credentials(*parts)


def _text(octets: bytes) -> str:
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("not UTF-8") from None
    if "\0" in text:
        raise SaslError("a NUL")
    return text
