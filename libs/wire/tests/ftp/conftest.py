"""Sessions in the states that tests begin with, and the service that transcripts talk to."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from postroom_wire.ftp import (
    Answered,
    Command,
    Entry,
    Interrupt,
    Limits,
    NeedData,
    Policy,
    Reply,
    ServerSession,
    commands,
    directory_created,
    extended_passive,
    file_size,
    mlst_reply,
    modification_time,
    passive,
    plain_address,
    status_listing,
)
from postroom_wire.ftp import standard_replies as replies
from postroom_wire.ftp.commands import TRANSFERS


@pytest.fixture(scope="session")
def fresh() -> Callable[..., ServerSession]:
    """Makes sessions of a client that has said nothing yet and may log in without TLS."""
    return _fresh


@pytest.fixture(scope="session")
def logged_in() -> Callable[..., ServerSession]:
    """Makes sessions of a client that is logged in, without TLS."""
    return _logged_in


@pytest.fixture(scope="session")
def transferring() -> Callable[[], ServerSession]:
    """Makes sessions with a RETR in progress."""
    return _transferring


@pytest.fixture(scope="session")
def said() -> Callable[[ServerSession, bytes], Reply]:
    """Tells the engine's own answer to one line."""
    return _said


@pytest.fixture(scope="session")
def asked() -> Callable[[ServerSession, bytes, Reply], object]:
    """Tells the command that the service gets for one line, and answers it."""
    return _asked


@pytest.fixture(scope="session")
def converse() -> Callable[[str, Iterable[int]], tuple[bytes, bytes]]:
    """Plays a transcript, the client's octets cut at these places, and tells what was said and expected."""
    return _converse


def _fresh(
    peer: str = "192.0.2.1", limits: Limits | None = None, policy: Policy | None = None
) -> ServerSession:
    return ServerSession(plain_address(peer), policy or Policy(login_needs_tls=False), limits)


def _logged_in(peer: str = "192.0.2.1", limits: Limits | None = None) -> ServerSession:
    session = _fresh(peer, limits)
    session.receive_data(b"USER ann\r\nPASS x\r\n")
    session.next_event()
    session.next_event()
    session.answer(replies.LOGGED_IN)
    session.data_to_send()
    return session


def _transferring() -> ServerSession:
    session = _logged_in()
    session.receive_data(b"EPSV\r\nRETR a\r\n")
    session.next_event()
    session.answer(extended_passive(30_000))
    session.next_event()
    session.answer(replies.OPENING_DATA)
    session.data_to_send()
    return session


def _said(session: ServerSession, line: bytes) -> Reply:
    """The engine's own answer to one line."""
    session.receive_data(line + b"\r\n")
    event = session.next_event()
    assert isinstance(event, Answered)
    assert session.data_to_send().endswith(event.reply.octets)
    return event.reply


def _asked(session: ServerSession, line: bytes, answer: Reply) -> object:
    """The command that the service gets for one line, which it answers."""
    session.receive_data(line + b"\r\n")
    event = session.next_event()
    session.answer(answer)
    return event


def flights(transcript: str, who: str) -> list[bytes]:
    """The octets that one side sends, from one TLS handshake to the next."""
    sent = [b""]
    for line in transcript.splitlines():
        line = line.lstrip()
        if line.startswith("--"):
            sent.append(b"")
        elif line.startswith(who):
            sent[-1] += f"{line[3:]}\r\n".encode()
    return sent


class Service:
    """Answers commands out of an imagined store in which nothing is called `missing`."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session

    def pump(self, octets: bytes) -> bytes:
        """What the server says to these octets."""
        self._session.receive_data(octets)
        while not isinstance(event := self._session.next_event(), NeedData):
            match event:
                case Answered():
                    pass
                case Interrupt():
                    self._session.finish(replies.TRANSFER_ABORTED)
                case command:
                    self._serve(command)
        return self._session.data_to_send()

    def _serve(self, command: Command) -> None:
        self._session.answer(self._reply(command))
        if isinstance(command, commands.Auth):
            self._session.tls_established()
        if isinstance(command, TRANSFERS) and "slow" not in repr(command):
            self._session.finish(replies.TRANSFER_COMPLETE)

    def _reply(self, command: Command) -> Reply:
        entry = Entry("x", False, 5, datetime(1999, 9, 30, 15, 22, 25, tzinfo=UTC), "keVO1+YZ5", "r")
        match command:
            case commands.Pass(password=password):
                return replies.LOGGED_IN if password == "secret" else replies.LOGIN_FAILED
            case commands.Rnto(path=path) if "missing" in path.segments:
                return replies.NAME_NOT_ALLOWED
            case commands.Cwd(path) | commands.Rnfr(path) | commands.Mdtm(path) if path.name == "missing":
                return replies.NO_SUCH_FILE
            case commands.Mlst(path):
                return mlst_reply(path, entry, self._session.facts)
            case commands.Mdtm():
                return modification_time(entry.modified)
            case commands.Mkd(path):
                return directory_created(path)
            case commands.Stat(target):
                return status_listing(target.path, [b"-rw-r--r--\r\n"], directory=False)
            case _ if isinstance(command, TRANSFERS):
                return replies.OPENING_DATA
            case _:
                return _USUAL[type(command)]


_USUAL: dict[type[Command], Reply] = {
    commands.Auth: replies.TLS_GO_AHEAD,
    commands.Rein: replies.REINITIALISED,
    commands.Cwd: replies.DIRECTORY_CHANGED,
    commands.Port: replies.PORT_SET,
    commands.Pasv: passive(IPv4Address("198.51.100.7"), 30_000),
    commands.Epsv: extended_passive(30_000),
    commands.Dele: replies.DONE,
    commands.Rmd: replies.DONE,
    commands.Rnfr: replies.RENAME_PENDING,
    commands.Rnto: replies.DONE,
    commands.Size: file_size(1830),
    commands.Abor: replies.ABORTED,
}


def _converse(transcript: str, cuts: Iterable[int]) -> tuple[bytes, bytes]:
    chunks = list[bytes]()
    for flight in flights(transcript, "C:"):
        edges = sorted({0, len(flight)} | {cut for cut in cuts if cut < len(flight)})
        chunks += [flight[a:b] for a, b in pairwise(edges)]
    session = ServerSession(plain_address("192.0.2.1"), Policy(login_needs_tls="-- TLS" in transcript))
    service = Service(session)
    said = b"".join([service.pump(chunk) for chunk in chunks])
    return said, b"".join(flights(transcript, "S:"))
