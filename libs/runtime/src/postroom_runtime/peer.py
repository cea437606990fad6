"""Who is on the other side of a connection, and how it may fail us."""

from dataclasses import dataclass
from typing import Final, cast

LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})
"""The rest of 127.0.0.0/8 is not trusted: the sidecars of service meshes hand on strangers from 127.0.0.6."""


class PeerGoneError(Exception):
    """The peer reset the connection, vanished, or failed to speak TLS."""


class PeerTimeoutError(Exception):
    """The peer sent nothing, or read nothing, for too long."""


class DrainingError(Exception):
    """The service stops and this session is between two commands: say goodbye."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """An IP address (an IPv4 one in its own form, also over a dual-stack socket) and a port.

    `direct` is False when the kernel does not vouch for it: a balancer told us, or the address stands for
    many clients, and then `shared` is True.
    """

    host: str
    port: int
    direct: bool = True
    shared: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether the peer is on this machine; never on somebody else's word."""
        return self.direct and self.host in LOOPBACK

    @property
    def client(self) -> str:
        """The address by which the client may be counted and blocked; empty where it stands for many."""
        return "" if self.shared else self.host


@dataclass(frozen=True, slots=True)
class TlsDetails:
    """What a `Received:` field says of the TLS layer."""

    version: str
    cipher: str


def address_of(name: object) -> PeerAddress:
    """The address of a socket name, `(host, port, ...)`."""
    if not isinstance(name, tuple):
        return PeerAddress("", 0)
    host, port = cast(tuple[str, int], name[:2])
    return PeerAddress(host.removeprefix("::ffff:") if "." in host else host, port)
