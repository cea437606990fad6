"""The envelope of one message: RFC 5321 s2.3.1 with the parameters of the extensions that we speak."""

from dataclasses import dataclass
from enum import Enum

from postroom_wire.smtp.addresses import ForwardPath, ReversePath


class Body(Enum):
    """The value of the BODY parameter: RFC 6152 s3."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT_MIME = "8BITMIME"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who a message is from and for.

    `size` is the declared (server) or true (client) size in octets, RFC 1870. `smtputf8` says that addresses
    or header need RFC 6531. `auth` is the value of the AUTH parameter as it came, an xtext or `<>`: a server
    may log it and believes it from nobody, a client sends none.
    """

    reverse_path: ReversePath
    recipients: tuple[ForwardPath, ...]
    size: int | None = None
    body: Body | None = None
    smtputf8: bool = False
    auth: str | None = None

    @property
    def needs_smtputf8(self) -> bool:
        """Whether it can be sent to a server with SMTPUTF8 only."""
        if self.smtputf8 or (self.reverse_path is not None and not self.reverse_path.ascii):
            return True
        return not all(recipient.ascii for recipient in self.recipients)
