"""Postfix, Dovecot and vsftpd on loopback with throwaway configurations; only root can start them."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.peer_configurations import DOVECOT, POSTFIX_MAIN, POSTFIX_MASTER, VSFTPD
from bench.processes import tree
from bench.sides import FtpSide, MailSide, Subject
from bench.visible_load import Box

_ADVICE: Final = "`make bench-peers`, as root"
_PYMAP: Final = Path(__file__).parents[3] / "build/peers/pymap/bin/pymap"
_BOXES: Final = 10
_START_SECONDS: Final = 15.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


class PeerError(Exception):
    """A peer cannot be measured on this machine."""


@dataclass(frozen=True, slots=True)
class _Ports:
    smtp: int
    imap: int
    lmtp: int
    ftp: int
    pymap: int


@contextmanager
def measured_peers(place: Path) -> Generator[Subject]:
    """The peers that can be had here, in a directory that others may enter; says which cannot, and why."""
    ports = _Ports(*_free_ports(5))
    place.mkdir()
    place.chmod(0o755)
    with ExitStack() as stack:
        postfix = _begin(stack, "postfix", _postfix(place, ports))
        dovecot = _begin(stack, "dovecot", _dovecot(place, ports))
        vsftpd = _begin(stack, "vsftpd", _vsftpd(place, ports))
        accepting = mail = files = small_mail = None
        names = [f"bench{number}" for number in range(_BOXES)]
        if postfix is not None:
            dropped = tuple(Box(f"{name}@bench.test", "", "") for name in names)
            accepting = MailSide("Postfix", (postfix,), ports.smtp, 0, dropped)
            if dovecot is not None:
                kept = tuple(Box(f"{name}@local.test", name, "pw") for name in names)
                mail = MailSide("Postfix+Dovecot", (postfix, dovecot), ports.smtp, ports.imap, kept)
        if vsftpd is not None:
            files = FtpSide("vsftpd", (vsftpd,), ports.ftp, "anonymous", "pw", "up")
        pymap = _begin(stack, "pymap", _pymap(place, ports))
        if pymap is not None:
            kept = tuple(Box("", name, "pw") for name in names)
            small_mail = MailSide("pymap", (pymap,), 0, ports.pymap, kept)
        yield Subject(accepting, mail, files, small_mail)


def _begin(stack: ExitStack, program: str, running: AbstractContextManager[int]) -> int | None:
    try:
        if shutil.which(program, path=f"/usr/sbin:/usr/bin:{_PYMAP.parent}") is None:
            raise PeerError(f"it is not installed: {_ADVICE}")
        if os.geteuid() != 0:
            raise PeerError("only root can start it")
        return stack.enter_context(running)
    except PeerError as error:
        print(f"without {program}: {error}", flush=True)
        return None


@contextmanager
def _postfix(place: Path, ports: _Ports) -> Generator[int]:
    """Mail to bench.test is dropped once it is queued, mail to local.test goes on to Dovecot."""
    home = place / "postfix"
    for name in ("etc", "spool", "data"):
        (home / name).mkdir(parents=True)
    shutil.chown(home / "data", "postfix")
    (home / "etc/main.cf").write_text(POSTFIX_MAIN.format(home=home, lmtp=ports.lmtp))
    (home / "etc/master.cf").write_text(POSTFIX_MASTER.format(smtp=ports.smtp))
    with _running(home, ["postfix", "-c", str(home / "etc"), "start-fg"], ports.smtp) as root:
        yield root


@contextmanager
def _dovecot(place: Path, ports: _Ports) -> Generator[int]:
    """Takes mail by LMTP into Maildirs and shows it by IMAP; every name has the password `pw`."""
    home = place / "dovecot"
    (home / "mail").mkdir(parents=True)
    shutil.chown(home / "mail", "nobody", "nogroup")
    identity = (home / "mail").stat()
    text = DOVECOT.format(
        home=home, imap=ports.imap, lmtp=ports.lmtp, uid=identity.st_uid, gid=identity.st_gid
    )
    (home / "dovecot.conf").write_text(text)
    with _running(home, ["dovecot", "-F", "-c", str(home / "dovecot.conf")], ports.imap) as root:
        yield root


@contextmanager
def _vsftpd(place: Path, ports: _Ports) -> Generator[int]:
    """Anonymous users may write in the folder `up`."""
    home = place / "vsftpd"
    for name in ("empty", "files/up"):
        (home / name).mkdir(parents=True)
    shutil.chown(home / "files/up", "daemon")  # whose home exists, which vsftpd wants
    (home / "vsftpd.conf").write_text(VSFTPD.format(home=home, port=ports.ftp))
    with _running(home, ["vsftpd", str(home / "vsftpd.conf")], ports.ftp) as root:
        yield root


@contextmanager
def _pymap(place: Path, ports: _Ports) -> Generator[int]:
    """Keeps Maildirs; every name has the password `pw`, hashed in one round."""
    home = place / "pymap"
    home.mkdir()
    digest = hashlib.pbkdf2_hmac("sha256", b"pw", b"salt", 1)
    secret = "$pbkdf2-sha256$1$" + "$".join(b64encode(octets).decode() for octets in (b"salt", digest))
    names = [f"bench{number}" for number in range(_BOXES)]
    for file, line in (("passwd", "{0}:x::::{0}:"), ("shadow", "{0}:{1}:")):
        text = "".join(line.format(name, secret) + "\r\n" for name in names)
        (home / f"pymap-etc-{file}").write_text(text)
    options = ["--host", "127.0.0.1", "--port", str(ports.pymap), "--no-tls", "--no-service", "admin"]
    with _running(home, [str(_PYMAP), *options, "maildir", str(home)], ports.pymap) as root:
        yield root


@contextmanager
def _running(home: Path, arguments: Sequence[str], port: int) -> Generator[int]:
    """A server in the foreground, from when it listens until it and its children are gone."""
    log = home / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            start_new_session=True,
        )
    try:
        _wait_for(port, process, log)
        yield process.pid
    finally:
        _end(process)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(_POLL_SECONDS)
    raise PeerError(f"it did not start: {log.read_text(errors='replace').strip()[-500:]}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the whole tree to end, for some servers wait for their sessions; then insist."""
    members = tree([process.pid])
    _signal(members, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    _signal(members if process.poll() is None else [], signal.SIGKILL)
    process.wait()


def _signal(members: Sequence[int], number: signal.Signals) -> None:
    for member in members:
        with suppress(ProcessLookupError):
            os.kill(member, number)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
