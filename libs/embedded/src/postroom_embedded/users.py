"""Which unprivileged user owns the data and runs everything, when root starts Postroom."""

import importlib.metadata
import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from postroom_embedded import launch
from postroom_embedded.errors import DirectoryNotWritableError, UnreadableCodeError

# Nobody's number: Debian hands none of it out by itself, and systemd documents 60578 to 61183 as unused.
POSTROOM_UID = 61025
_ACCOUNT = "postroom"


@dataclass(frozen=True, slots=True)
class User:
    """Whom the children run as."""

    uid: int
    gid: int


def choose_user(owner: User | None) -> User:
    """The user for a data directory with this owner (None: there is none yet); call it as root.

    The owner, when that is not root; else the account `postroom` where the machine has one; else the number
    61025, which needs no account. Where root may make no mount name space (in a container) a number without
    an account cannot create a Postgres cluster, so there it is `nobody`.
    """
    if owner is not None and owner.uid != 0:
        return owner
    name = _ACCOUNT if can_mount() else "nobody"
    for candidate in (_ACCOUNT, name):
        try:
            account = pwd.getpwnam(candidate)
        except KeyError:
            continue
        return User(account.pw_uid, account.pw_gid)
    return User(POSTROOM_UID, POSTROOM_UID)


def can_mount() -> bool:
    """Whether this process has CAP_SYS_ADMIN."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & 1 << 21)
    return False


def code_paths() -> tuple[str, ...]:
    """The interpreter, its library and every place that modules are imported from."""
    places = [sys.executable, sys.prefix, sys.base_prefix, *sys.path]
    return tuple(dict.fromkeys(place for place in places if place and Path(place).exists()))


def check_readable(user: User, data: Path, paths: tuple[str, ...]) -> None:
    """Raise an EmbeddedError when the user cannot be given what it needs: our code and its data."""
    closed = launch.closed_directories([str(data)], user.uid, user.gid)
    if closed and not can_mount():
        raise DirectoryNotWritableError(data, f"{closed[0]} is closed to user {user.uid}, who is to own it")
    closed = launch.closed_directories(paths, user.uid, user.gid)
    if closed and not can_mount():
        raise UnreadableCodeError(Path(closed[0]), user.uid, "the directory is closed to others")
    for path in paths:
        status = Path(path).stat()
        wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(status.st_mode) else 0)
        owned = status.st_uid == user.uid or status.st_gid == user.gid
        if not owned and status.st_mode & wanted != wanted:
            raise UnreadableCodeError(Path(path), user.uid, "it is closed to others")


def is_root() -> bool:
    """Whether this process could become another user."""
    return os.geteuid() == 0


def program(name: str) -> Path | None:
    """A program that a wheel put beside the interpreter (or where that wheel says)."""
    beside = Path(sys.prefix) / "bin" / name
    return beside if os.access(beside, os.X_OK) else None


def package_file(package: str, *inside: str) -> Path | None:
    """A file that an installed distribution brings."""
    try:
        root = importlib.metadata.distribution(package).locate_file("")
    except importlib.metadata.PackageNotFoundError:
        return None
    found = Path(str(root)).joinpath(*inside)
    return found if found.exists() else None
