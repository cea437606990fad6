"""Becomes another program: own session, bound to its parent's life, as one user, seeing what it needs.

Run by path (`python -I -S launch.py SPECIFICATION PROGRAM ARGUMENT...`), so it imports the standard
library only. The environment is the program's; nothing secret stands in the arguments, which
every user of the machine can read.

As root, the program gets another user, who often may not reach the interpreter and the packages (a
clone below /root, an interpreter below a 0700 home). Rejected: CAP_DAC_READ_SEARCH, with which a hole in
a service would read every file of the machine; opening the home to all users; a copy of 400 MB. Instead
the program gets a mount name space in which each closed directory on the way is an empty one that holds
only the paths it needs. That wants CAP_SYS_ADMIN, which root has outside of a container.
"""

import ctypes
import json
import os
import pwd
import resource
import signal
import stat
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_REC, _MS_BIND, _MS_SLAVE = 16384, 4096, 1 << 19
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_MAX_OPEN_FILES = 65_536
_MAX_LINKS = 40

EXIT_CANNOT_EXECUTE = 126


@dataclass(frozen=True, slots=True)
class Specification:
    """How a program is started: `visible` are the paths that it needs, `passwd` replaces /etc/passwd.

    It dies with `parent`; with None it stays, even if nobody is there any more when it starts.
    """

    parent: int | None
    death_signal: int = signal.SIGKILL
    uid: int | None = None
    gid: int | None = None
    visible: tuple[str, ...] = ()
    passwd: str | None = None
    directory: str = "/"

    def encode(self) -> str:
        """As the one argument of the script."""
        return json.dumps(asdict(self))

    @staticmethod
    def decode(text: str) -> "Specification":
        """The inverse of `encode`."""
        fields = json.loads(text)
        fields["visible"] = tuple(fields["visible"])
        return Specification(**fields)


def become_user(uid: int, gid: int, visible: Iterable[str], passwd: str | None = None) -> None:
    """Give up root for good, after making `visible` reachable to that user.

    For a process with one thread or at its very start. Raises OSError where a path stays closed.
    """
    paths = list(visible)
    closed = closed_directories(paths, uid, gid)
    if closed or passwd is not None:
        _enter_own_mounts()
        for directory in closed:
            _replace_directory(directory, paths)
        if passwd is not None:
            _mount(passwd, "/etc/passwd", None, _MS_BIND, None)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)  # with the last root id go all capabilities
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def closed_directories(paths: Iterable[str], uid: int, gid: int) -> list[str]:
    """The topmost directories on the way to the paths that this user may not search."""
    found: set[str] = set()
    for path in paths:
        for hop in _hops(path):
            for parent in reversed(Path(hop).parents):
                if not _may_search(parent, uid, gid):
                    found.add(str(parent))
                    break
    return sorted(found)


def has_account(uid: int) -> bool:
    """Whether the user has a line in the account database (initdb insists on one)."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def write_passwd(directory: Path, uid: int, gid: int) -> str | None:
    """The account database with a line for a user that has none (initdb wants one); None: it has one."""
    if has_account(uid):
        return None
    file = directory / "passwd"
    line = f"postroom:x:{uid}:{gid}:Postroom:{directory}:/usr/sbin/nologin\n"
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w") as output:
        os.fchown(descriptor, uid, gid)
        output.write(Path("/etc/passwd").read_text().rstrip("\n") + "\n" + line)
    return str(file)


def _may_search(directory: Path, uid: int, gid: int) -> bool:
    status = directory.stat()
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _hops(path: str) -> list[str]:
    """The path, each target of the chain of links that it begins, and where it really lies."""
    hops, hop = [path], path
    for _ in range(_MAX_LINKS):
        if not os.path.islink(hop):  # noqa: PTH114 - `Path` would resolve or normalise on the way
            break
        target = os.readlink(hop)  # noqa: PTH115
        hop = os.path.normpath(os.path.join(os.path.dirname(hop), target))  # noqa: PTH118, PTH120
        hops.append(hop)
    return [*hops, os.path.realpath(path)]


def _enter_own_mounts() -> None:
    if _libc.unshare(_CLONE_NEWNS) != 0:
        _raise("a mount name space")
    _mount("none", "/", None, _MS_REC | _MS_SLAVE, None)  # what the machine unmounts goes away here too


def _replace_directory(directory: str, paths: list[str]) -> None:
    """Put an empty directory in its place, and in it the paths that lie below it."""
    wanted = {hop for path in paths for hop in _hops(path) if Path(hop).is_relative_to(directory)}
    tops = [
        path for path in sorted(wanted) if not any(other in Path(path).parents for other in map(Path, wanted))
    ]
    links = {path: os.readlink(path) for path in tops if os.path.islink(path)}  # noqa: PTH114, PTH115
    opened = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in tops if path not in links}
    _mount("tmpfs", directory, "tmpfs", 0, "mode=0755,size=1m")
    umask = os.umask(0o022)  # the directories on the way are for the user to pass through
    for path, target in links.items():
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        Path(path).symlink_to(target)
    for path, descriptor in opened.items():
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            Path(path).mkdir(mode=0o755)
        else:
            Path(path).touch()
        _mount(f"/proc/self/fd/{descriptor}", path, None, _MS_BIND | _MS_REC, None)
        os.close(descriptor)
    os.umask(umask)


_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None) -> None:
    def octets(text: str | None) -> bytes | None:
        return None if text is None else os.fsencode(text)

    if _libc.mount(octets(source), octets(target), octets(kind), ctypes.c_ulong(flags), octets(data)) != 0:
        _raise(target)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        _raise("prctl")


def _raise(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), what)


def bind_to_parent(parent: int, death_signal: int) -> None:
    """Die when the parent's thread that started us dies; exit at once when it is dead already."""
    _prctl(_PR_SET_PDEATHSIG, death_signal)  # a change of user clears it, so it comes after that
    if os.getppid() != parent:
        os._exit(EXIT_CANNOT_EXECUTE)


def main(arguments: list[str]) -> None:
    """Become the program that the arguments say, or exit with 126 and one line."""
    specification, command = Specification.decode(arguments[0]), arguments[1:]
    os.setsid()
    os.umask(0o077)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them, which would be inherited
        signal.signal(number, signal.SIG_DFL)
    try:
        if specification.uid is not None and specification.gid is not None:
            become_user(specification.uid, specification.gid, specification.visible, specification.passwd)
        if specification.parent is not None:
            bind_to_parent(specification.parent, specification.death_signal)
        os.chdir(specification.directory)
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"launch: cannot start {command[0]}: {error}\n")
        sys.exit(EXIT_CANNOT_EXECUTE)


if __name__ == "__main__":
    main(sys.argv[1:])
