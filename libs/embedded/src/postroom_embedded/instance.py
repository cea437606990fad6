"""One data directory in use: its lock, its owner, its secrets, its runtime directory for sockets.

<data>/                 0700, owned by the user that runs everything
  lock                  held (flock) while a supervisor runs
  secrets.json          generated passwords and keys, 0600
  admin.token           the first admin's token, 0600
  tls/                  ca.pem, ca.key, server.pem, server.key
  log/<name>.log        output of each process, bounded; <name>.log.1 is the part before
  postgres/ nats/ seaweedfs/   what the three keep
  tmp/                  temporary files of the children
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from postroom_embedded import launch
from postroom_embedded.errors import (
    CorruptConfigurationError,
    DirectoryInUseError,
    DirectoryNotWritableError,
    DiskFullError,
)
from postroom_embedded.files import make_private_directory, write_private
from postroom_embedded.reclaim import Claim, reclaim
from postroom_embedded.users import User, check_readable, choose_user, code_paths, is_root

SCHEMAS = ("directory", "mailstore", "filestore")
MARKER = "POSTROOM_INSTANCE"
MIN_FREE = 512 << 20  # octets: two WAL segments, the first volumes and some mail
_SHORTEST_SECRET = 20
_MAX_SOCKET_PATH = 107
_LONGEST_SOCKET_NAME = "/webmail-api-health.sock"


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What one data directory generated for itself at its first start."""

    marker: str
    postgres: Mapping[str, str]
    nats: str
    s3_access_key: str
    s3_secret_key: str
    jwt: tuple[str, str, str, str]

    @classmethod
    def generate(cls) -> "Secrets":
        """Fresh ones, 128 bits or more each."""
        return cls(
            marker=secrets.token_hex(16),
            postgres={role: secrets.token_hex(16) for role in ("postgres", *SCHEMAS)},
            nats=secrets.token_hex(16),
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=secrets.token_hex(20),
            jwt=(secrets.token_hex(32), secrets.token_hex(32), secrets.token_hex(32), secrets.token_hex(32)),
        )

    @classmethod
    def decode(cls, octets: bytes) -> "Secrets":
        """Read them back from JSON; raises ValueError when one is missing or too short to be a secret."""
        fields: dict[str, object] = json.loads(octets)
        try:
            postgres = cast("dict[str, object]", fields["postgres"])  # checked below, text by text
            jwt = cast("list[object]", fields["jwt"])
            first, second, third, fourth = map(_secret, jwt)
            return cls(
                marker=_secret(fields["marker"]),
                postgres={role: _secret(postgres[role]) for role in ("postgres", *SCHEMAS)},
                nats=_secret(fields["nats"]),
                s3_access_key=_secret(fields["s3_access_key"]),
                s3_secret_key=_secret(fields["s3_secret_key"]),
                jwt=(first, second, third, fourth),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("a secret is missing") from error


class Instance:
    """A data directory that this process holds, and what its children need of it."""

    def __init__(self, directory: Path, user: User | None, lock: int) -> None:
        self.directory, self.user, self._lock = directory, user, lock
        self.secrets = self._load_secrets()
        # We hold the lock, so what carries our marker belongs to a supervisor that is gone.
        self.claim = Claim(self.secrets.marker, str(directory / "postgres"))
        self.run_marker = f"{self.secrets.marker}.{secrets.token_hex(8)}"
        self.reclaimed = reclaim(self.claim)
        for name in ("log", "tmp", "tls"):
            make_private_directory(directory / name, user)
        self.runtime = self._make_runtime()
        self.visible = (*code_paths(), str(directory), str(self.runtime)) if user is not None else ()
        self.passwd = launch.write_passwd(directory, user.uid, user.gid) if user is not None else None

    @classmethod
    def open(cls, data: Path) -> "Instance":
        """Take the data directory, making it when it is not there.

        Raises an EmbeddedError: in use, not usable, disk full, secrets unreadable. Blocks on the disk.
        """
        directory, user = prepare_directory(data)
        lock = _take_lock(directory, user)
        try:
            free = shutil.disk_usage(directory).free
            if free < MIN_FREE:
                raise DiskFullError(directory, free, MIN_FREE)
            if user is not None:
                check_readable(user, directory, code_paths())
            return cls(directory, user, lock)
        except OSError as error:
            os.close(lock)
            raise DirectoryNotWritableError(directory, _reason(error)) from error
        except BaseException:
            os.close(lock)
            raise

    def close(self) -> None:
        """Let go of the directory. Sockets go away with the runtime directory."""
        shutil.rmtree(self.runtime, ignore_errors=True)
        os.close(self._lock)

    def environment(self) -> dict[str, str]:
        """What every child gets; the marker proves to a later start that a process is ours."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),
            "TMPDIR": str(self.directory / "tmp"),
            "GRPC_VERBOSITY": "NONE",  # lines that are not JSON; read when it is imported
            MARKER: self.run_marker,
        }

    def log_file(self, name: str) -> Path:
        """Where a process of that name writes."""
        return self.directory / "log" / f"{name}.log"

    def make_directory(self, name: str) -> Path:
        """A private directory of one part; made at its first use."""
        path = self.directory / name
        make_private_directory(path, self.user)
        return path

    def write(self, path: Path, content: str) -> None:
        """Replace a private file that the children may read."""
        write_private(path, content.encode(), self.user)

    def _load_secrets(self) -> Secrets:
        file = self.directory / "secrets.json"
        try:
            return Secrets.decode(file.read_bytes())
        except FileNotFoundError:
            if (self.directory / "postgres").exists():
                raise CorruptConfigurationError(file, "it is missing") from None
        except ValueError as error:
            raise CorruptConfigurationError(file, "it is not what Postroom wrote") from error
        fresh = Secrets.generate()
        self.write(file, json.dumps(dataclasses.asdict(fresh), indent=1))
        return fresh

    def _make_runtime(self) -> Path:
        """A short private directory whose name nobody else can foretell, so nobody can take it first."""
        owner = self.user.uid if self.user is not None else os.geteuid()
        tag = hashlib.sha256(self.secrets.marker.encode()).hexdigest()[:12]
        path = _runtime_base() / f"postroom-{owner}-{tag}"
        if len(f"{path}{_LONGEST_SOCKET_NAME}") > _MAX_SOCKET_PATH:
            raise DirectoryNotWritableError(path, f"a socket path holds {_MAX_SOCKET_PATH} octets")
        make_private_directory(path, self.user)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner:
            raise DirectoryNotWritableError(path, "another user has made it")
        path.chmod(0o700)
        for entry in path.iterdir():  # sockets and lock files of a supervisor that was killed
            entry.unlink()
        return path


@contextlib.contextmanager
def open_instance(data: Path) -> Generator[Instance]:
    """Hold a data directory for a while."""
    instance = Instance.open(data)
    try:
        yield instance
    finally:
        instance.close()


def _secret(value: object) -> str:
    if not isinstance(value, str) or len(value) < _SHORTEST_SECRET:
        raise ValueError("not a secret")
    return value


def prepare_directory(data: Path) -> tuple[Path, User | None]:
    """The directory itself, there and private, and the user to run as (None: we are that user)."""
    data = Path(os.path.abspath(data))  # noqa: PTH100 - links are resolved below
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        directory = data.resolve()
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        status = directory.stat()
        strange = not (directory / "lock").exists() and any(directory.iterdir())
    except OSError as error:
        raise DirectoryNotWritableError(data, _reason(error)) from error
    if strange:
        raise DirectoryNotWritableError(data, "it holds something else than Postroom's data")
    user = choose_user(User(status.st_uid, status.st_gid)) if is_root() else None
    if user is None and status.st_uid != os.geteuid():
        raise DirectoryNotWritableError(data, "it belongs to another user")
    try:
        if user is not None:
            os.chown(directory, user.uid, user.gid)
        directory.chmod(0o700)
        os.close(_open_lock(directory, user))  # from now on it is known as ours
    except OSError as error:
        raise DirectoryNotWritableError(data, _reason(error)) from error
    return directory, user


def _take_lock(directory: Path, user: User | None) -> int:
    try:
        lock = _open_lock(directory, user)
    except OSError as error:
        raise DirectoryNotWritableError(directory, _reason(error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20)
        os.close(lock)
        raise DirectoryInUseError(directory, int(holder) if holder.isdigit() else None) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except OSError as error:
        os.close(lock)
        raise DirectoryNotWritableError(directory, _reason(error)) from error
    return lock


def _open_lock(directory: Path, user: User | None) -> int:
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if user is not None:
        os.fchown(lock, user.uid, user.gid)
    return lock


def _runtime_base() -> Path:
    """The user's own runtime directory where it is short and private, else /tmp."""
    named = os.environ.get("XDG_RUNTIME_DIR")  # the user's session, not a setting of ours
    if named and not is_root() and len(named) < 60:
        with contextlib.suppress(OSError):
            status = Path(named).stat()
            if status.st_uid == os.geteuid() and not status.st_mode & 0o077 and os.access(named, os.W_OK):
                return Path(named)
    return Path("/tmp")  # noqa: S108 - the directory made in it is private, and its name cannot be foretold


def _reason(error: OSError) -> str:
    return (error.strerror or "it cannot be used").lower()
