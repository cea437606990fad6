"""SASL in the BASE64 dress of RFC 4954 s4, both sides."""

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from postroom_wire.sasl import (
    Attempt,
    Challenge,
    Channel,
    Credentials,
    Mechanism,
    SaslError,
    SaslServer,
    ScramOpening,
    Step,
    Verdict,
)
from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.errors import CommandError, LocalProtocolError
from postroom_wire.smtp.lines import BareLineFeedError, LineBuffer, LineTooLongError
from postroom_wire.smtp.replies import Reply


@dataclass(frozen=True, slots=True)
class Concluded:
    """The exchange is over, and this is what is said."""

    reply: Reply
    accepted: bool = False


AuthStep: TypeAlias = Reply | Attempt | Concluded


class Exchange:
    """One AUTH command: lines in, replies and attempts out."""

    def __init__(self, mechanism: Mechanism, offered: Collection[Mechanism], channel: Channel) -> None:
        self.mechanism = mechanism
        self._sasl = SaslServer(mechanism, offered, channel)
        self._refusal = standard_replies.AUTH_FAILED

    def begin(self, initial_response: bytes | None) -> AuthStep:
        """The first step, with the initial response of the AUTH command if there was one.

        Raises `CommandError` for one that cannot be: then the exchange has not begun.
        """
        if initial_response is None:
            return self._step(self._sasl.begin(None))
        # "=" stands for an empty response, s4
        return self._respond(b"" if initial_response == b"=" else initial_response)

    def next_step(self, buffer: LineBuffer) -> AuthStep | None:
        """The step that answers the next line, None until there is one."""
        try:
            line = buffer.next_line()
            return None if line is None else self._respond(line)
        except LineTooLongError:
            return Concluded(standard_replies.AUTH_LINE_TOO_LONG)
        except BareLineFeedError:
            return Concluded(standard_replies.AUTH_MALFORMED)
        except CommandError as error:
            return Concluded(error.reply)

    def challenge(self, attempt: Attempt, octets: bytes) -> Reply:
        """Our first or our last message of SCRAM."""
        if isinstance(attempt, ScramOpening):
            return _challenge(self._sasl.challenge(octets))
        match self._sasl.accept(octets):
            case Challenge() as last_word:
                return _challenge(last_word)
            case Verdict():
                raise LocalProtocolError("an empty message")

    def conclude(self, reply: Reply) -> Reply | None:
        """The verdict on an attempt: what has to be said before it, if anything."""
        if reply.positive:
            self._sasl.accept()
            return None
        if not reply.permanent:
            return None
        match self._sasl.refuse():
            case Challenge() as reason:
                self._refusal = reply
                return _challenge(reason)
            case Verdict():
                return None

    def _respond(self, line: bytes) -> AuthStep:
        if line == b"*":
            raise CommandError(standard_replies.AUTH_CANCELLED)
        try:
            return self._step(self._sasl.respond(base64.b64decode(line, validate=True)))
        except binascii.Error:
            raise CommandError(standard_replies.AUTH_MALFORMED) from None
        except SaslError as error:
            reply = standard_replies.AUTH_MALFORMED if error.malformed else standard_replies.AUTH_FAILED
            raise CommandError(reply) from None

    def _step(self, step: Step) -> AuthStep:
        match step:
            case Challenge():
                return _challenge(step)
            case Verdict.ACCEPTED:
                return Concluded(standard_replies.AUTH_OK, accepted=True)
            case Verdict.REFUSED:
                return Concluded(self._refusal)
            case attempt:
                return attempt


def plain_response(credentials: Credentials) -> str:
    """The client's one response of PLAIN, in BASE64."""
    parts = (credentials.authorization_id, credentials.authentication_id, credentials.password)
    return encoded("\0".join(parts))


def encoded(text: str) -> str:
    """A response in BASE64."""
    return base64.b64encode(text.encode()).decode()


def _challenge(challenge: Challenge) -> Reply:
    return Reply(334, None, base64.b64encode(challenge.octets).decode())
