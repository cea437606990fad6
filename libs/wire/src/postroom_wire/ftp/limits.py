"""The bounds of an FTP session; each has an answer of its own."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in octets unless the name says otherwise."""

    max_line: int = 8192
    """One command line with its CRLF; beyond, 500 and the rest of the line is skipped."""
    max_skipped: int = 65_536
    """What is skipped of one line; beyond, 421."""
    max_queued: int = 65_536
    """Whole lines that wait for their turn; beyond, `wants_data` is false."""
    max_path: int = 4096
    """A normalised path in UTF-8; beyond, 501."""
    max_name: int = 255
    """One segment of a path in UTF-8; beyond, 501."""
    max_depth: int = 100
    """Segments of a path; beyond, 501."""
    max_user: int = 320
    """A user name; beyond, 501."""
    max_password: int = 1024
    """A password; beyond, 501."""
    max_refusals: int = 20
    """Commands in a row that were not understood or out of order; beyond, 421."""
    max_login_failures: int = 3
    """Wrong passwords in one session; the last of them is answered with 421."""
