"""Every bound of the REST service that is not in its settings."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds, sizes in octets."""

    answer_seconds: float = 4.7
    """From the end of a request to the beginning of its answer, transfers apart."""
    call_seconds: float = 4.0
    """Of one call of a core service."""
    large_seconds: float = 60.0
    """Of a call for which the store assembles what was uploaded."""
    abort_seconds: float = 1.0
    receive_seconds: float = 60.0
    """A client that sends nothing for so long in the middle of a request is given up."""
    body_seconds: float = 300.0
    """Of a whole message to send: it holds memory as long as it takes."""
    send_seconds: float = 60.0
    """A client that reads nothing for so long is given up."""
    head_seconds: float = 20.0
    """From a connection's beginning, or its last answer, to the end of the next request's head."""

    body: int = 1024 * 1024
    """Of a JSON document; messages to send are bounded by the settings."""
    head: int = 32 * 1024

    cached_sessions: int = 10_000
    cached_seconds: float = 120.0
    """A token is not asked about again for so long: so late does a new password end old sessions."""
    renew_before: float = 60.0
    """A capability with less life than this is renewed before it is used."""
    ended_sessions: int = 100_000
    token: int = 4_096
    """Characters."""

    page: int = 200
    default_page: int = 50
    recipients: int = 500
    """Of one message that is sent."""
    attachments: int = 200
    shown: int = 1024 * 1024
    """Encoded octets of a message's text and HTML that are shown."""
    shown_parts: int = 50
    html: int = 512 * 1024
    """Characters of HTML that are cleaned; longer ones are shown as text."""
    html_depth: int = 400
    html_tags: int = 15_000
    html_work: int = 600_000
    """Tags times those of them that format: how many elements a parser makes of them at most."""
    inline: int = 256 * 1024
    """Octets of a message that go along with a call; more goes to the object store."""
    read_attempts: int = 3
    read_again_seconds: float = 0.2


DEFAULT_LIMITS: Final = Limits()
