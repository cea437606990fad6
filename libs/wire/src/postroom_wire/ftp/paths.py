"""Virtual paths: what a client may name, and never anything outside its root. RFC 3659 s6, RFC 2640 s3."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from postroom_wire.ftp.errors import RemoteProtocolError
from postroom_wire.ftp.limits import Limits
from postroom_wire.ftp.standard_replies import ILLEGAL_OCTET, NOT_UTF8, PATH_TOO_LONG

_DEFAULT_LIMITS = Limits()


def check_name(name: str) -> None:
    """Raise `ValueError` unless `name` can be one segment of a path.

    It is not empty, `.` or `..`, holds no slash, NUL, CR or LF, and can be said in UTF-8. Lengths are not
    looked at. RFC 3659 s2.2: a name with a line end cannot be listed.
    """
    if name in {"", ".", ".."} or any(character in name for character in "/\0\r\n"):
        raise ValueError("not a name of a file or directory")
    name.encode()  # a surrogate raises UnicodeEncodeError, which is a ValueError


@dataclass(frozen=True, slots=True)
class FtpPath:
    """An absolute, normalised path: the names from the root down; none of them is `.` or `..`.

    Names are kept as the client sent them: no case folding, no Unicode normalisation.
    """

    segments: tuple[str, ...] = ()

    ROOT: ClassVar["FtpPath"]

    def __post_init__(self) -> None:
        for name in self.segments:
            check_name(name)

    @classmethod
    def resolve(cls, argument: bytes, cwd: "FtpPath", limits: Limits = _DEFAULT_LIMITS) -> "FtpPath":
        """The path that a command's argument names, seen from `cwd`.

        `..` in the root stays in the root; empty segments and `.` mean nothing. Raises `RemoteProtocolError`
        with 501 for NUL, CR and LF, for what is not UTF-8, and beyond the limits of length and depth.
        """
        if any(octet in argument for octet in b"\0\r\n"):
            raise RemoteProtocolError(ILLEGAL_OCTET)
        try:
            text = argument.decode("utf-8")
        except UnicodeDecodeError:
            raise RemoteProtocolError(NOT_UTF8) from None
        segments = [] if text.startswith("/") else list(cwd.segments)
        for name in text.split("/"):
            if name == "..":
                del segments[-1:]
            elif name not in {"", "."}:
                segments.append(name)
        _check_lengths(segments, limits)
        return cls(tuple(segments))

    @property
    def is_root(self) -> bool:
        """Whether this is the root, which has no name."""
        return not self.segments

    @property
    def name(self) -> str:
        """The last segment; empty for the root."""
        return self.segments[-1] if self.segments else ""

    @property
    def parent(self) -> "FtpPath":
        """The directory that holds it; the root's is the root."""
        return FtpPath(self.segments[:-1])

    def child(self, name: str) -> "FtpPath":
        """The entry `name` of this directory. Raises `ValueError` for what cannot be a name."""
        return FtpPath((*self.segments, name))

    @property
    def quoted(self) -> str:
        """In double quotes, those within doubled, as 257 replies have it (RFC 959, on directory commands)."""
        return '"' + str(self).replace('"', '""') + '"'

    def __str__(self) -> str:
        return "/" + "/".join(self.segments)


FtpPath.ROOT = FtpPath()


def _check_lengths(segments: Sequence[str], limits: Limits) -> None:
    sizes = [len(name.encode()) for name in segments]
    if (
        len(sizes) > limits.max_depth
        or sum(sizes) + len(sizes) > limits.max_path
        or max(sizes, default=0) > limits.max_name
    ):
        raise RemoteProtocolError(PATH_TOO_LONG)
