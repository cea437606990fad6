"""What the POP3 engine bounds."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes are octets with the CRLF."""

    line: int = 1_024
    """RFC 2449 s4 asks for 255 at least; passwords may be tokens."""
    auth_line: int = 12_288
    """AUTH and its responses, RFC 5034 s4."""
    buffer: int = 64 * 1024
    """Received and not yet looked at: pipelined commands."""
    output: int = 64 * 1024
    """Collected before it must be sent."""
    bad_commands: int = 20
    """In a row; then the session ends."""
    refused_logins: int = 5
    """In a session; then it ends."""
    user: int = 320


DEFAULT_LIMITS: Final = Limits()
