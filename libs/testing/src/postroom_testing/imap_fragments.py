"""Hears what the fragmenter of IMAP commands says, for tests."""

from collections.abc import Iterable

from postroom_wire.imap.errors import (
    Refusal,
    Tag,
)
from postroom_wire.imap.events import (
    NEED_DATA,
    AppendContent,
    AppendEnded,
    AppendEvent,
    AppendMessageEnded,
    AppendMessageStarted,
    AppendStarted,
    AppendUrl,
    CommandComplete,
    CommandRefused,
    ContinuationRequest,
    LineReceived,
)
from postroom_wire.imap.fragmenter import Fragmenter
from postroom_wire.imap.limits import Limits

SMALL = Limits(
    max_line=40,
    max_command=80,
    max_literals=3,
    max_literal=30,
    max_literal_before_login=20,
    max_non_synchronizing_before_login=10,
    append_limit=50,
    append_total=120,
    max_append_messages=3,
    max_append_parts=5,
    max_append_chunk=7,
    max_skipped=200,
)

Told = tuple[str, bytes] | tuple[str, Tag | None, Refusal, bool]


class Listener:
    """Notes what is said, a message in one piece however it came."""

    def __init__(self, limits: Limits, *, authenticated: bool, accept: bool) -> None:
        self.fragmenter = Fragmenter(limits)
        self.fragmenter.authenticated = authenticated
        self.told: list[Told] = []
        self._limits = limits
        self._accept = accept
        self._content = b""
        self._tag = Tag(b"")

    def hear(self, octets: bytes) -> None:
        """Octets of the client."""
        self.fragmenter.receive_data(octets)
        while (event := self.fragmenter.next_event()) is not NEED_DATA:
            match event:
                case CommandComplete(octets):
                    self.told.append(("command", octets))
                case ContinuationRequest(octets):
                    self.told.append(("continue", octets))
                case CommandRefused(tag, refusal, fatal):
                    self.told.append(("refused", tag, refusal, fatal))
                case LineReceived():
                    raise AssertionError("no line is expected")
                case AppendStarted(tag):
                    self._tag = tag
                    if self._accept:
                        self.fragmenter.accept_append()
                    else:
                        self.told.append(("append", tag))
                        self.fragmenter.refuse_append()
                case _:
                    self._hear_append(event)

    def _hear_append(self, event: AppendEvent) -> None:
        match event:
            case AppendMessageStarted(size=size):
                self._content = b""
                self.told.append(("append", self._tag + (b" ?" if size is None else b" %d" % size)))
            case AppendUrl(url):
                self._content += b"<" + url + b">"
            case AppendContent(octets):
                assert 0 < len(octets) <= self._limits.max_append_chunk
                self._content += octets
            case AppendMessageEnded():
                self.told.append(("message", self._content))
            case AppendEnded(tag):
                self.told.append(("appended", tag))


def fed(chunks: Iterable[bytes], *, authenticated: bool = True, accept: bool = True) -> list[Told]:
    """All that is said of these chunks."""
    listener = Listener(SMALL, authenticated=authenticated, accept=accept)
    for chunk in chunks:
        listener.hear(chunk)
    return listener.told


def refused(tag: bytes | None, refusal: Refusal, *, fatal: bool = False) -> Told:
    """What is noted of a refusal."""
    return ("refused", None if tag is None else Tag(tag), refusal, fatal)


CONTINUE: Told = ("continue", b"+ Ready for literal\r\n")

NOOP: Told = ("command", b"z NOOP")
