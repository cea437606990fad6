"""The mechanisms that we speak, and how a list of them becomes an offer."""

from collections.abc import Iterable
from enum import Enum

from postroom_wire.sasl.channel import Channel


class Mechanism(Enum):
    """All need TLS around them, or a loopback peer: of SCRAM too, since mail in the clear is no secret."""

    PLAIN = "PLAIN"
    LOGIN = "LOGIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"
    OAUTHBEARER = "OAUTHBEARER"
    XOAUTH2 = "XOAUTH2"
    EXTERNAL = "EXTERNAL"


def offer(allowed: Iterable[Mechanism], channel: Channel) -> tuple[Mechanism, ...]:
    """Those that can be used over this connection."""
    impossible: set[Mechanism] = set()
    if not channel.bindings:
        impossible.add(Mechanism.SCRAM_SHA_256_PLUS)
    if not channel.certified:
        impossible.add(Mechanism.EXTERNAL)
    return tuple(mechanism for mechanism in allowed if mechanism not in impossible)


def find(name: str, offered: Iterable[Mechanism]) -> Mechanism | None:
    """The one of that name, in any case (RFC 4422 s3.1 has upper case only; clients differ)."""
    wanted = name.upper()
    return next((mechanism for mechanism in offered if mechanism.value == wanted), None)
