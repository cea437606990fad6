"""The SASL mechanisms PLAIN (RFC 4616) and LOGIN, both sides, in the BASE64 dress of RFC 4954 s4."""

import base64
import binascii
from dataclasses import dataclass, field
from enum import Enum

from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.errors import CommandError
from postroom_wire.smtp.replies import Reply


class Mechanism(Enum):
    """The mechanisms that we speak; both need TLS around them, or a loopback peer."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client proves itself with. `authorization_id` is empty unless it wants to act as another."""

    authorization_id: str
    authentication_id: str
    password: str = field(repr=False)


USERNAME_CHALLENGE = Reply(334, None, base64.b64encode(b"Username:").decode())
PASSWORD_CHALLENGE = Reply(334, None, base64.b64encode(b"Password:").decode())
EMPTY_CHALLENGE = Reply(334, None, "")


class SaslServer:
    """One exchange: responses in, the next challenge or the credentials out."""

    def __init__(self, mechanism: Mechanism) -> None:
        self.mechanism = mechanism
        self._username: str | None = None

    def begin(self, initial_response: bytes | None) -> Reply | Credentials:
        """The first step, with the initial response of the AUTH command if there was one."""
        if initial_response is None:
            return EMPTY_CHALLENGE if self.mechanism is Mechanism.PLAIN else USERNAME_CHALLENGE
        # "=" stands for an empty response, RFC 4954 s4
        return self.respond(b"" if initial_response == b"=" else initial_response)

    def respond(self, line: bytes) -> Reply | Credentials:
        """The step that answers a line. Raises `CommandError` with the reply that ends the exchange."""
        if line == b"*":
            raise CommandError(standard_replies.AUTH_CANCELLED)
        text = _decoded(line)
        if self.mechanism is Mechanism.PLAIN:
            return _plain(text)
        if self._username is None:
            if not text or "\0" in text:
                raise _malformed()
            self._username = text
            return PASSWORD_CHALLENGE
        if not text or "\0" in text:
            raise _malformed()
        return Credentials("", self._username, text)


def plain_response(credentials: Credentials) -> str:
    """The client's one response of PLAIN, in BASE64."""
    parts = (credentials.authorization_id, credentials.authentication_id, credentials.password)
    return encoded("\0".join(parts))


def encoded(text: str) -> str:
    """A response in BASE64."""
    return base64.b64encode(text.encode()).decode()


def _plain(message: str) -> Credentials:
    """message = [authzid] UTF8NUL authcid UTF8NUL passwd, RFC 4616 s2."""
    parts = message.split("\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise _malformed()
    return Credentials(*parts)


def _decoded(line: bytes) -> str:
    try:
        return base64.b64decode(line, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _malformed() from error


def _malformed() -> CommandError:
    return CommandError(standard_replies.AUTH_MALFORMED)
