"""What a client proves itself with, for whoever knows the accounts. None of it is ever to be logged.

`authorization_id` is empty unless the client wants to act as somebody in particular.
"""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, of PLAIN and LOGIN."""

    authorization_id: str
    authentication_id: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """An access token (RFC 6750), of OAUTHBEARER and XOAUTH2."""

    authorization_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the client showed in the TLS handshake, of EXTERNAL."""

    authorization_id: str


@dataclass(frozen=True, slots=True)
class ScramOpening:
    """The first message of SCRAM: answer it by `SaslServer.challenge` with the server's first message."""

    authorization_id: str
    username: str
    nonce: str
    bare: bytes
    """client-first-message-bare, which the proof covers."""


@dataclass(frozen=True, slots=True)
class ScramProof:
    """The last message of SCRAM; its nonce and channel binding are the right ones."""

    opening: ScramOpening
    server_first: bytes
    without_proof: bytes
    """client-final-message-without-proof."""
    proof: bytes = field(repr=False)

    @property
    def auth_message(self) -> bytes:
        """What the proof covers, RFC 5802 s3."""
        return b",".join((self.opening.bare, self.server_first, self.without_proof))


Attempt: TypeAlias = Credentials | Bearer | Certificate | ScramOpening | ScramProof
