"""Every bound of the SMTP engines; sizes are octets, durations seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a server session, each with the answer that it gives."""

    command_line: int = 512
    """With its CRLF, RFC 5321 s4.5.3.1.4; beyond 500 5.5.2."""
    mail_line: int = 1065
    """MAIL with SIZE (26), BODY (17), SMTPUTF8 (10) and AUTH (500) on top of 512; beyond 500 5.5.2."""
    auth_line: int = 12_288
    """AUTH and its responses, RFC 4954 s4; beyond 500 5.5.6. No line is kept beyond it."""
    discarded_line: int = 1_048_576
    """How much of an overlong line is read to find its end; beyond 421."""
    text_line: int = 65_536
    """A line of content with its CRLF. RFC 5321 s4.5.3.1.6 asks for 1,000; real mail has more, and what we
    took leaves as it came. Beyond 500 5.6.0."""
    message: int = 52_428_800
    """Content without dot-stuffing, announced as SIZE; beyond 552 5.3.4."""
    discarded_message: int = 67_108_864
    """How much of a refused content is read on to find its end; beyond the refusal and an end."""
    recipients: int = 1000
    """Accepted ones of one message, at least 100 by RFC 5321 s4.5.3.1.8; beyond 452 4.5.3."""
    errors: int = 20
    """Commands refused for good since the last accepted message, RCPT by the service apart; beyond 421."""
    commands: int = 2500
    """Commands since the last accepted message; beyond 421."""
    buffer: int = 1_048_576
    """Octets received and not yet looked at. A shell that reads on regardless gets a LocalProtocolError."""
    idle_seconds: float = 300.0
    """RFC 5321 s4.5.3.2.7; kept by the shell."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The bounds of a client session; beyond them a RemoteProtocolError ends it."""

    reply_line: int = 2048
    """With its CRLF. RFC 5321 s4.5.3.1.5 allows 512, some servers say more."""
    reply_lines: int = 100
    """Lines of one reply."""
    buffer: int = 1_048_576
    """Octets received and not yet looked at: far more than the replies to any one group of commands."""


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """How long to wait for the peer, the least that RFC 5321 s4.5.3.2 allows; kept by the shell."""

    greeting_seconds: float = 300.0
    command_seconds: float = 300.0
    data_seconds: float = 120.0
    """For the 354 after DATA."""
    block_seconds: float = 180.0
    """For each block of content to leave."""
    end_seconds: float = 600.0
    """For the reply to the content's end."""
