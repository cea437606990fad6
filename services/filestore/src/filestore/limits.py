"""Bounds of the file store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """All bounds in one place; octets where nothing else is said. Each is refused by name."""

    name: int = 255
    """Of one name, in UTF-8; beyond, `InvalidNameError`."""
    path: int = 4_096
    depth: int = 100
    """Names of a path."""
    page: int = 1_000
    default_page: int = 100

    nodes: int = 1_000_000
    """Files and directories of one account; beyond, `LimitError`."""
    octets: int = 1 << 40
    """Of all files of one account; beyond, `OverQuotaError`."""
    file: int = 40 << 30
    """Of one file; beyond, `LimitError`."""

    single_put: int = 5 << 20
    part_size: int = 5 << 20
    """The smallest that S3 takes, but for the last one."""
    copied_part: int = 64 << 20
    """What is copied inside the store by one request."""
    parts: int = 10_000
    """Of one multipart upload: S3's own bound."""
    parts_at_once: int = 16
    """Presigned by one call."""

    open_uploads: int = 1_000
    """Of one account; beyond, `LimitError`."""
    upload_seconds: float = 86_400.0
    """Then an open upload is given up; for so long, too, asking again answers the same."""
    garbage_seconds: float = 2 * 3_600.0
    """From the last node of an object to its deletion: longer than any URL to it is good."""
    swept_at_once: int = 100


DEFAULT_LIMITS = Limits()
