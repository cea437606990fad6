"""SASL in the BASE64 dress of RFC 5034 s4."""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from postroom_wire.pop3 import replies
from postroom_wire.pop3.errors import CommandError
from postroom_wire.pop3.replies import LoginRefusal
from postroom_wire.sasl import Attempt, Challenge, Channel, Mechanism, SaslError, SaslServer, Verdict


@dataclass(frozen=True, slots=True)
class Accepted:
    """The client is in."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not."""

    refusal: LoginRefusal


AuthStep: TypeAlias = Challenge | Attempt | Accepted | Refused


class Exchange:
    """One AUTH command: lines in, challenges and attempts out."""

    def __init__(self, mechanism: Mechanism, offered: Collection[Mechanism], channel: Channel) -> None:
        self._sasl = SaslServer(mechanism, offered, channel)

    def begin(self, initial_response: bytes | None) -> AuthStep:
        """The first step. Raises `CommandError` as `respond`."""
        if initial_response is None:
            return self._step(None)
        # "=" stands for an empty response
        return self.respond(b"" if initial_response == b"=" else initial_response)

    def respond(self, line: bytes) -> AuthStep:
        """The step that answers a line. Raises `CommandError` with the reply that ends the exchange."""
        if line == b"*":
            raise CommandError(replies.AUTH_CANCELLED)
        try:
            return self._step(base64.b64decode(line, validate=True))
        except binascii.Error:
            raise CommandError(replies.AUTH_MALFORMED) from None

    def challenge(self, octets: bytes) -> Challenge:
        """Our first message of SCRAM."""
        return self._sasl.challenge(octets)

    def accept(self, last_word: bytes) -> Challenge | Accepted:
        """The attempt is good; after a last word the client has to take it first."""
        answer = self._sasl.accept(last_word)
        return answer if isinstance(answer, Challenge) else Accepted()

    def refuse(self, refusal: LoginRefusal) -> Challenge | Refused:
        """It is not. Only a wrong attempt has a reason that the client is told first."""
        if refusal is LoginRefusal.CREDENTIALS and isinstance(reason := self._sasl.refuse(), Challenge):
            return reason
        return Refused(refusal)

    def _step(self, octets: bytes | None) -> AuthStep:
        try:
            step = self._sasl.begin(None) if octets is None else self._sasl.respond(octets)
        except SaslError as error:
            if error.malformed:
                raise CommandError(replies.AUTH_MALFORMED) from None
            return Refused(LoginRefusal.CREDENTIALS)
        match step:
            case Verdict.ACCEPTED:
                return Accepted()
            case Verdict.REFUSED:
                return Refused(LoginRefusal.CREDENTIALS)
            case other:
                return other
