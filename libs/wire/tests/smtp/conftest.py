"""The shell of a server as small as can be, and what is common to the tests of this folder."""

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest

from postroom_wire.smtp import (
    Answered,
    Authenticate,
    Close,
    ContentChunk,
    ContentEnd,
    ContentRefused,
    Data,
    Mail,
    Mailbox,
    Mechanism,
    NeedData,
    Rcpt,
    Reply,
    ServerConfig,
    ServerEvent,
    ServerSession,
    StartTls,
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
        case Authenticate(_, credentials):
            right = credentials.password == "secret"
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
