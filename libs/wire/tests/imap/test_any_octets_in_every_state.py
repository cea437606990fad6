"""Whatever comes in whatever state, and cut wherever: the session goes on, or says that it cannot."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.commands import Append, Authenticate, Idle, Replace
from postroom_wire.imap.errors import WRONG_STATE, Condition
from postroom_wire.imap.events import (
    NEED_DATA,
    AppendContent,
    AppendEnded,
    AppendStarted,
    CommandReceived,
    CommandRefused,
    ContinuationRequest,
    IdleEnded,
    NeedData,
    SaslResponse,
    SessionEvent,
)
from postroom_wire.imap.session import ServerSession
from postroom_wire.imap.state import TRANSITIONS, State

BEGINNINGS = {
    "before login": b"",
    "in AUTHENTICATE": b"a AUTHENTICATE PLAIN\r\n",
    "logged in": b"a LOGIN x y\r\n",
    "selected": b"a LOGIN x y\r\nb SELECT x\r\n",
    "examined": b"a LOGIN x y\r\nb EXAMINE x (CONDSTORE)\r\n",
    "idle": b"a LOGIN x y\r\nb IDLE\r\n",
    "idle and selected": b"a LOGIN x y\r\nb SELECT x\r\nc IDLE\r\n",
    "in APPEND": b"a LOGIN x y\r\nb APPEND x {10}\r\n",
    "in the second message of APPEND": b"a LOGIN x y\r\nb APPEND x {1+}\r\nx {10+}\r\n",
    "in CATENATE": b"a LOGIN x y\r\nb APPEND x CATENATE (TEXT {10+}\r\n",
    "in the line of a literal": b"a LOGIN {4}\r\n",
    "with extensions": b"a LOGIN x y\r\nb ENABLE IMAP4rev2 QRESYNC UIDONLY\r\nc SELECT x\r\n",
    "with UTF-8": b"a LOGIN x y\r\nb ENABLE UTF8=ACCEPT\r\nc SELECT x\r\n",
    "logged out again": b"a LOGIN x y\r\nb UNAUTHENTICATE\r\n",
}
LINES = [
    b"DONE\r\n",
    b"*\r\n",
    b"dGVzdAB0ZXN0AHRlc3Q=\r\n",
    b"=\r\n",
    b"a IDLE\r\n",
    b"a AUTHENTICATE PLAIN =\r\n",
    b"a AUTHENTICATE SCRAM-SHA-256\r\n",
    b"a APPEND x (\\Seen) {3+}\r\nabc {2+}\r\nde\r\n",
    b'a APPEND x CATENATE (URL "/x/;UID=1" TEXT {3}\r\nabc)\r\n',
    b"a APPEND x UTF8 (~{3+}\r\nabc)\r\n",
    b"a REPLACE 1 x {3+}\r\nabc\r\n",
    b"a UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)\r\n",
    b"a FETCH 1 BINARY.PEEK[1]<0.5>\r\n",
    b'a SELECT "\xc3\xa9" (QRESYNC (1 2))\r\n',
    b"a STATUS {3+}\r\nx&y (MESSAGES)\r\n",
    b"a UID SEARCH RETURN (SAVE COUNT) CHARSET X-UNKNOWN TEXT {2+}\r\n\xc3\xa9\r\n",
    b"a ENABLE UTF8=ACCEPT IMAP4rev2\r\n",
    b"a UNSELECT\r\n",
    b"a UNAUTHENTICATE\r\n",
    b"a LOGOUT\r\n",
    b"a STARTTLS\r\n",
    b"\r\n",
    b"a NOOP {99}\r\n",
    b"a NOOP {99999999999+}\r\n",
]


def spoil(line: bytes, at: int, piece: bytes, gone: int) -> bytes:
    """Something else in the middle of a line."""
    at %= len(line)
    return line[:at] + piece + line[at + gone :]


spoiled = st.builds(
    spoil,
    st.sampled_from(LINES),
    st.integers(0, 80),
    st.sampled_from([b"(", b")", b"{", b'"', b"\\", b"*", b" ", b"\r\n", b"\0", b"\xff", b"~{1+}\r\n"])
    | st.binary(max_size=3),
    st.integers(0, 3),
)
OCTETS = st.lists(st.sampled_from(LINES) | spoiled | st.binary(max_size=20), max_size=6).map(b"".join)


class Server:
    """Does what the service does with a session; answers OK or NO as it is told."""

    def __init__(self, wills: list[bool]) -> None:
        self.session = ServerSession()
        self._wills = wills
        self._pending = False
        self.fatal = False
        self.turns = 0

    def take(self, octets: bytes) -> None:
        """Everything that follows from these octets."""
        self.session.receive_data(octets)
        while (event := self.session.next_event()) is not NEED_DATA:
            self.turns += 1
            assert not self.fatal, "something came after the stream could not be followed"
            self._answer(event)
            if self.session.state is State.LOGOUT:
                return

    def _will(self) -> Condition:
        return Condition.OK if not self._wills or self._wills.pop(0) else Condition.NO

    def _answer(self, event: SessionEvent | NeedData) -> None:
        session = self.session
        match event:
            case CommandReceived(_, Idle()):
                assert session.begin_idle().startswith(b"+ ")
            case CommandReceived(_, Authenticate()):
                assert session.challenge(b"") == b"+ \r\n"
            case CommandReceived(tag, command):
                assert not isinstance(command, Append | Replace)
                assert (session.state, type(command)) in TRANSITIONS
                condition = self._will()
                text = session.answer(condition, b"done")
                assert text == tag + b" " + condition.value + b" done\r\n"
            case IdleEnded() | SaslResponse() | AppendEnded():
                session.answer(self._will(), b"done")
            case AppendStarted():
                if self._will() is Condition.OK:
                    session.accept_append()
                else:
                    session.refuse_append(WRONG_STATE)
            case CommandRefused():
                self.fatal = event.fatal
                assert event.encode().endswith(b"\r\n")
            case AppendContent(octets):
                assert octets
            case ContinuationRequest(octets):
                assert octets.startswith(b"+ ")
            case _:
                pass


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=list(BEGINNINGS))
@given(
    octets=OCTETS, cuts=st.lists(st.integers(0, 200), max_size=4), wills=st.lists(st.booleans(), max_size=8)
)
def test_any_octets_in_any_state_are_answered(
    beginning: bytes, octets: bytes, cuts: list[int], wills: list[bool]
) -> None:
    server = Server([])
    server.take(beginning)
    assert not server.fatal
    server = Server([True] * server.turns + wills)
    server.take(beginning)
    places = sorted({0, len(octets), *(min(cut, len(octets)) for cut in cuts)})
    for start, end in pairwise(places):
        if not server.fatal and server.session.state is not State.LOGOUT:
            server.take(octets[start:end])
    assert server.turns <= 10 * (len(beginning + octets) + 1)


@pytest.mark.parametrize("state", [State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED])
@given(octets=OCTETS)
def test_cutting_octets_anywhere_changes_nothing(state: State, octets: bytes) -> None:
    whole, single = Server([]), Server([])
    for server in (whole, single):
        server.session.state = state
    whole.take(octets)
    for at in range(len(octets)):
        if not single.fatal and single.session.state is not State.LOGOUT:
            single.take(octets[at : at + 1])
    assert (single.session.state, single.fatal) == (whole.session.state, whole.fatal)
