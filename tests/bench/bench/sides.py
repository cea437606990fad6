"""What is measured: where it listens, who has a mailbox there, and which processes serve."""

from dataclasses import dataclass

from bench.visible_load import Box


@dataclass(frozen=True, slots=True)
class MailSide:
    """A server of mail. `boxes` can be written to at `smtp_port` and read at `imap_port`, or at `imaps_port`
    within TLS.
    """

    name: str
    roots: tuple[int, ...]
    smtp_port: int
    imap_port: int
    boxes: tuple[Box, ...]
    imaps_port: int | None = None


@dataclass(frozen=True, slots=True)
class FtpSide:
    """A server of files; `folder` is where one may write, "" the first."""

    name: str
    roots: tuple[int, ...]
    port: int
    user: str
    password: str
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """One side of all comparisons; what a machine cannot offer is None."""

    accepting: MailSide | None
    mail: MailSide | None
    files: FtpSide | None
    small_mail: MailSide | None = None
    """A server of mailboxes that are read only, and small."""
