"""The bounds of POP3 that are neither in the protocol engine nor in the settings."""

from dataclasses import dataclass
from typing import Final

from postroom_wire.pop3 import Limits as EngineLimits

_ENGINE: Final = EngineLimits(refused_logins=3)


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds, sizes in octets."""

    login_seconds: float = 120.0
    """From the greeting to the end of the login. DEVIATION: RFC 1939 s3: only those who are logged in may be
    idle for 10 minutes."""
    write_seconds: float = 120.0
    """A client that takes nothing for so long is cut."""
    answer_seconds: float = 4.5
    """Until a client is told that something is away."""
    messages: int = 100_000
    """In one maildrop; each takes 12 octets of memory in each session."""
    removed_at_once: int = 1_000
    """Messages in one call of the store."""
    piece: int = 65_536
    """Of a message, written at once."""
    commands_at_once: int = 16_384
    """Octets that the engine is given at once: less than it holds, by more than a line."""
    drain_part: float = 0.5
    """Sessions may go on for so much of the drain time, so that those under way reach their QUIT."""
    engine: EngineLimits = _ENGINE


DEFAULT_LIMITS: Final = Limits()
