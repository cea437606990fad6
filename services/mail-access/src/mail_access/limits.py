"""Every bound of mail access that is not in a session's protocol engine or in the settings."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds, sizes in octets."""

    call_seconds: float = 4.0
    """Of one call of a core service, so that a client has its answer within 5 s."""
    search_seconds: float = 30.0
    """Of one call that looks into the text of messages."""
    large_append_seconds: float = 60.0
    """The store assembles and scans a large message."""
    renew_before: float = 90.0
    """A capability is renewed so long before its end, or when a third of its life is left."""
    renew_sweep_seconds: float = 5.0
    renew_again_seconds: float = 5.0
    """After the directory was away."""
    check_seconds: float = 30.0
    """All open mailboxes are compared with the store so often, with jitter."""
    refresh_again_seconds: float = 1.0
    refreshes_at_once: int = 8
    accounts_in_one_check: int = 2_000
    changes_in_one_answer: int = 5_000
    """Messages; a mailbox that has changed more is followed in pages."""
    read_attempts: int = 3
    """Of a message's octets without any progress."""
    read_again_seconds: float = 0.2


DEFAULT_LIMITS: Final = Limits()
