"""Files of the data directory: private, written whole or not at all, owned by the user that runs it all."""

import contextlib
import os
import secrets
from pathlib import Path

from postroom_embedded.users import User


def write_private(path: Path, content: bytes, user: User | None) -> None:
    """Replace the file at once: readers see the old octets or the new ones, after a power cut too."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if user is not None:
                os.fchown(descriptor, user.uid, user.gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        raise
    sync_directory(path.parent)


def make_private_directory(path: Path, user: User | None) -> None:
    """Make the directory (0700) unless it is there."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    if user is not None:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
