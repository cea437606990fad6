"""The shells of both engines as small as can be, and what is common to the tests of this folder."""

from collections.abc import Callable, Iterable
from itertools import groupby, pairwise
from typing import Protocol

import pytest

from postroom_wire.smtp import (
    Answered,
    Authenticate,
    Authenticated,
    AuthenticationRefused,
    ClientConfig,
    ClientEvent,
    ClientSession,
    Close,
    Closed,
    ContentChunk,
    ContentEnd,
    ContentRefused,
    Credentials,
    Data,
    Envelope,
    Greeted,
    Mail,
    Mailbox,
    Mechanism,
    MessageDone,
    NeedData,
    Rcpt,
    Reply,
    SendContent,
    ServerConfig,
    ServerEvent,
    ServerSession,
    StartTls,
    TlsReady,
    TlsRefused,
    standard_replies,
)

_CONFIGS = {
    "mx": ServerConfig("mx.example.com", starttls=True),
    "submission": ServerConfig(
        "mx.example.com", starttls=True, mechanisms=(Mechanism.PLAIN, Mechanism.LOGIN), auth_required=True
    ),
    "lmtp": ServerConfig("mx.example.com", lmtp=True),
}


@pytest.fixture(scope="session")
def server() -> Callable[..., ServerSession]:
    """Makes a session of the listener named, with TLS where AUTH is to be had, its greeting said."""
    return _server


@pytest.fixture(scope="session")
def serve() -> Callable[[ServerSession, Iterable[bytes]], tuple[bytes, list[ServerEvent]]]:
    """Feeds the chunks and answers the events: all that the server says, and the events but `NeedData`."""
    return _serve


@pytest.fixture(scope="session")
def cut() -> Callable[[bytes, Iterable[int]], list[bytes]]:
    """Cuts octets in pieces at the given places, those beyond the end left out."""
    return _cut


@pytest.fixture(scope="session")
def play() -> Callable[..., None]:
    """Plays a case with the server's replies in pieces, and compares what the client says and finds."""
    return _play


@pytest.fixture(scope="session")
def messages() -> Callable[[list[ServerEvent]], list[bytes]]:
    """The contents that came whole, joined from their chunks."""
    return _messages


def _server(listener: str = "mx", *, tls_active: bool | None = None) -> ServerSession:
    tls = listener == "submission" if tls_active is None else tls_active
    session = ServerSession(_CONFIGS[listener], tls_active=tls)
    session.data_to_send()
    return session


def _serve(session: ServerSession, chunks: Iterable[bytes]) -> tuple[bytes, list[ServerEvent]]:
    said, events = b"", list[ServerEvent]()
    for chunk in chunks:
        session.receive_data(chunk)
        while not isinstance(event := session.next_event(), NeedData):
            events.append(event)
            if isinstance(event, Close):
                return said + session.data_to_send(), events
            _answer(session, event)
        said += session.data_to_send()
    return said, events


def _answer(session: ServerSession, event: ServerEvent) -> None:
    match event:
        case Mail():
            session.reply(standard_replies.SENDER_OK)
        case Rcpt(Mailbox("nobody")):
            session.reply(standard_replies.NO_SUCH_MAILBOX)
        case Rcpt(Mailbox("later")):
            session.reply(standard_replies.LOCAL_ERROR)
        case Rcpt():
            session.reply(standard_replies.RECIPIENT_OK)
        case Data():
            session.reply(standard_replies.START_MAIL_INPUT)
        case ContentEnd():
            several = session.state.name == "CONTENT" and session.with_protocol.startswith("LMTP")
            count = len(session.envelope.recipients) if several else 1
            session.reply(*([Reply(250, "2.0.0", "Queued")] * count))
        case Authenticate(_, attempt):
            right = isinstance(attempt, Credentials) and attempt.password == "secret"
            session.reply(standard_replies.AUTH_OK if right else standard_replies.AUTH_FAILED)
        case StartTls():
            session.reply(standard_replies.READY_TO_START_TLS)
            session.tls_started()
        case Answered() | ContentChunk() | ContentRefused() | Close() | NeedData():
            pass


def _cut(octets: bytes, places: Iterable[int]) -> list[bytes]:
    edges = sorted({0, len(octets)} | {place for place in places if place < len(octets)})
    return [octets[start:end] for start, end in pairwise(edges)]


def _messages(events: list[ServerEvent]) -> list[bytes]:
    whole, chunks = list[bytes](), list[bytes]()
    for event in events:
        match event:
            case Data():
                chunks = []
            case ContentChunk(octets):
                chunks.append(octets)
            case ContentEnd(size):
                whole.append(b"".join(chunks))
                assert len(whole[-1]) == size
            case _:
                pass
    return whole


class _Case(Protocol):
    """A transcript of a client's, what its shell has to send, and the stage and code of each recipient."""

    transcript: str
    envelopes: list[Envelope]
    results: list[list[str]]
    credentials: Credentials | None
    tls_active: bool
    content: bytes


class _Shell:
    """Does what a case asks for."""

    def __init__(self, case: _Case) -> None:
        self.client = ClientSession(ClientConfig("me.example"), tls_active=case.tls_active)
        self.said = b""
        self.results: list[list[str]] = []
        self.closed = False
        self._case = case
        self._envelopes = iter(case.envelopes)

    def receive(self, octets: bytes) -> None:
        """Octets of the server's."""
        self.client.receive_data(octets)
        while not isinstance(event := self.client.next_event(), NeedData | Closed):
            self._on_event(event)
        self.closed = self.closed or isinstance(event, Closed)
        self.said += self.client.data_to_send()

    def _on_event(self, event: ClientEvent) -> None:
        match event:
            case Greeted(capabilities) if capabilities.starttls:
                self.client.start_tls()
            case Greeted() if self._case.credentials is not None:
                self.client.authenticate(self._case.credentials)
            case TlsReady():
                self.said += self.client.data_to_send()
                self.client.tls_started()
            case SendContent():
                self.client.write_content(self._case.content)
                self.client.end_content()
            case MessageDone(results):
                self.results.append([f"{result.stage.value} {result.reply.code}" for result in results])
                if self.client.state.name == "READY":
                    self._next()
            case Greeted() | TlsRefused() | Authenticated() | AuthenticationRefused():
                self._next()
            case NeedData() | Closed():
                pass

    def _next(self) -> None:
        if (envelope := next(self._envelopes, None)) is not None:
            self.client.send(envelope)
        else:
            self.client.quit()


def _blocks(transcript: str) -> list[tuple[bool, bytes]]:
    """What is said in turn, and whether it is the server who says it."""
    lines = [line.strip() for line in transcript.strip().splitlines()]
    return [
        (server, b"".join(f"{line[3:]}\r\n".encode() for line in said))
        for server, said in groupby(lines, lambda line: line.startswith("S:"))
    ]


def _play(case: _Case, pieces: Callable[[bytes], list[bytes]]) -> None:
    """Play the case and compare."""
    shell = _Shell(case)
    for server, octets in _blocks(case.transcript):
        if server:
            for piece in pieces(octets):
                shell.receive(piece)
        else:
            assert shell.said.decode() == octets.decode()
            shell.said = b""
    assert shell.said == b""
    assert shell.results == case.results
    assert shell.closed
