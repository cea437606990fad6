"""What LIST and NLST send: RFC 959 s4.1.3; and the times that SIZE's neighbours tell: RFC 3659 s2.3."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from postroom_wire.ftp.paths import FtpPath, check_name
from postroom_wire.ftp.replies import Reply

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RECENT: Final = timedelta(days=180)
# token = 1*RCHAR, RFC 3659 s2.1
_TOKEN: Final = re.compile(r"""[A-Za-z0-9,.:!@#$%^&()\-_+?/\\'"]+""")
# perm-fact = "Perm" "=" *pvals, RFC 3659 s7.5.5
_PERM: Final = re.compile(r"[acdeflmprw]*")

FILE_PERM: Final = "adfrw"
"""What the owner of a file may do with it, as a `perm` fact."""
DIRECTORY_PERM: Final = "cdeflmp"
"""What the owner of a directory may do with it, as a `perm` fact."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory as listings show it.

    `name` is one segment, or empty for the root; `perm` and `unique` are the values of those facts
    (RFC 3659 s7.5.2, s7.5.5); times are aware. Raises `ValueError` for anything that would break a listing.
    """

    name: str
    is_directory: bool
    size: int
    modified: datetime
    unique: str
    perm: str
    created: datetime | None = None

    def __post_init__(self) -> None:
        if self.name:
            check_name(self.name)
        if self.size < 0 or not _TOKEN.fullmatch(self.unique) or not _PERM.fullmatch(self.perm):
            raise ValueError("not an entry of a listing")
        if self.modified.tzinfo is None or (self.created is not None and self.created.tzinfo is None):
            raise ValueError("times of a listing are aware")


def list_line(entry: Entry, now: datetime, owner: str = "ftp") -> bytes:
    """One line of LIST in the form of `ls -l`, with its CRLF.

    The time of day is told for the 180 days before `now`, the year for all others; both in UTC.
    """
    modified = entry.modified.astimezone(UTC)
    if timedelta(0) <= now - modified < _RECENT:
        last = f"{modified:%H:%M}"
    else:
        last = f" {modified.year:04d}"
    date = f"{_MONTHS[modified.month - 1]} {modified.day:2d} {last}"
    line = f"{_mode(entry)}   1 {owner:<8} {owner:<8} {entry.size:>12} {date} {entry.name}\r\n"
    return line.encode()


def name_line(name: str) -> bytes:
    """One line of NLST with its CRLF; `name` comes from `Target`: `inside`, `beside`, or a file's `text`."""
    return f"{name}\r\n".encode()


def time_value(instant: datetime) -> str:
    """`time-val` of RFC 3659 s2.3: whole seconds in UTC, fractions cut off."""
    utc = instant.astimezone(UTC)
    return f"{utc.year:04d}{utc:%m%d%H%M%S}"


def modification_time(instant: datetime) -> Reply:
    """The answer to MDTM: RFC 3659 s3.1."""
    return Reply(213, time_value(instant))


def file_size(size: int) -> Reply:
    """The answer to SIZE: RFC 3659 s4.1."""
    return Reply(213, str(size))


def directory_created(path: FtpPath) -> Reply:
    """The answer to MKD."""
    return Reply(257, f"{path.quoted} created")


def status_listing(path: FtpPath, lines: Iterable[bytes], *, directory: bool) -> Reply:
    """The answer to STAT with a path, of `list_line`s: 212 for a directory, 213 for a file."""
    listed = (line.decode("utf-8").removesuffix("\r\n") for line in lines)
    return Reply(212 if directory else 213, "\n".join((f"Status of {path}:", *listed, "End of status")))


def _mode(entry: Entry) -> str:
    """File mode letters; one user's view, so that group and others get what the user has, without writing."""
    if entry.is_directory:
        write = "w" if "c" in entry.perm else "-"
        read, enter = ("r" if "l" in entry.perm else "-"), ("x" if "e" in entry.perm else "-")
        return f"d{read}{write}{enter}" + 2 * f"{read}-{enter}"
    write, read = ("w" if "w" in entry.perm else "-"), ("r" if "r" in entry.perm else "-")
    return f"-{read}{write}-" + 2 * f"{read}--"
