"""Whatever comes: a command, or a refusal that can be sent, and never another exception."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.errors import WRONG_STATE, Condition, RemoteProtocolError
from postroom_wire.imap.events import (
    NEED_DATA,
    AppendEnded,
    AppendStarted,
    CommandReceived,
    CommandRefused,
)
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.session import ServerSession
from postroom_wire.imap.state import TRANSITIONS, State

SEEDS = [
    b"a SELECT x (QRESYNC (7 9 1:3,5 (1:2 3,5)) CONDSTORE)\r\n",
    b"a UID FETCH 1:* (FLAGS MODSEQ) (CHANGEDSINCE 12 VANISHED)\r\n",
    b"a UID STORE 1 (UNCHANGEDSINCE 0) +FLAGS ($x)\r\n",
    b"a LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man\r\n",
    b"a AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=\r\n",
    b'a SELECT "&ZeVnLIqe-/x"\r\n',
    b'a ID ("name" "x" "v" NIL)\r\n',
    b"a STATUS x (UIDNEXT MESSAGES)\r\n",
    b"a UID MOVE 1:*,7 {3+}\r\nfoo\r\n",
    b'a FETCH 1:* (FLAGS BODY[1.2.HEADER.FIELDS (A "b" {1}\r\nc)]<0.1>)\r\n',
    b'a UID SEARCH RETURN (MIN PARTIAL -1:-9 SAVE UPDATE) FUZZY (SUBJECT x $) MODSEQ "/flags/x" all 7\r\n',
    b"a SORT RETURN (COUNT RELEVANCY) (REVERSE DATE RELEVANCY) UTF-8 FUZZY TEXT {1+}\r\nx 1:*,$\r\n",
    b"a UID THREAD REFERENCES US-ASCII OLDER 9 EMAILID M0 SAVEDON 1-Feb-2000\r\n",
    b'a ESEARCH IN (subtree-one (a "b") selected) RETURN () UID 1,$\r\n',
    b'a CANCELUPDATE "a" "b"\r\n',
    b'a NOTIFY SET STATUS (selected (MessageNew (UID) MessageExpunge)) (subtree ("a" b) (MailboxName))\r\n',
    b"a SEARCH CHARSET UTF-8 OR (1:* UID 2) NOT HEADER x {1+}\r\ny SINCE 1-Feb-2000\r\n",
    b'a LIST (SUBSCRIBED RECURSIVEMATCH) "" (% *) RETURN (CHILDREN STATUS (SIZE DELETED))\r\n',
    b"a CREATE x (USE (\\Sent \\Drafts))\r\n",
    b'a SETQUOTA "" (STORAGE 1 MESSAGE 2)\r\n',
    b"a SETACL x {3+}\r\nann -lrscd\r\n",
    b"a GETMETADATA (MAXSIZE 5 DEPTH 1) INBOX (/private /shared/comment)\r\n",
    b"a SETMETADATA x (/private/comment ~{3+}\r\na\0b /shared/x NIL)\r\n",
    b"a STORE 4294967295 -FLAGS.SILENT (\\Seen $x)\r\n",
    b'a APPEND x (\\Seen) "17-Jul-1996 02:44:25 -0700" {3+}\r\nabc\r\n',
    b"a APPEND x {3+}\r\nabc () ~{2+}\r\na\0 UTF8 (~{1+}\r\nb)\r\n",
    b"a APPEND x CATENATE (URL /x/;UID=1 TEXT {2+}\r\nhi URL {3+}\r\n;UI)\r\n",
    b"a UID REPLACE 4 x (\\Draft) CATENATE (TEXT {1+}\r\na UTF8 (~{1+}\r\nb))\r\n",
    b"a FETCH 1 (BINARY.PEEK[1.2]<0.5> BINARY.SIZE[3] PREVIEW (LAZY) EMAILID)\r\n",
]


def spoiled(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    pieces = st.sampled_from(
        [b"(", b")", b"{", b"}", b"+", b'"', b"\\", b"*", b":", b" ", b"\r\n", b"\0", b"\xff", b"NIL"]
    )

    def spoil(seed: bytes, at: int, piece: bytes, gone: int) -> bytes:
        at %= len(seed)
        return seed[:at] + piece + seed[at + gone :]

    small = st.integers(0, 3)
    return st.builds(
        spoil, st.sampled_from(seeds), st.integers(0, 400), pieces | st.binary(max_size=4), small
    )


@pytest.mark.parametrize("state", [State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED])
@given(octets=st.binary(max_size=60) | spoiled(SEEDS), accept=st.booleans())
def test_any_octets_are_commands_or_are_refused(state: State, octets: bytes, accept: bool) -> None:
    session = ServerSession()
    session.state = state
    session.receive_data(octets + b"\r\n")
    for _ in range(len(octets) + 10):
        event = session.next_event()
        match event:
            case CommandReceived(tag, command):
                assert (session.state, type(command)) in TRANSITIONS
                answered = session.answer(Condition.NO, b"no")
                assert answered == tag + b" NO no\r\n"
            case CommandRefused(tag):
                assert event.encode().startswith((tag or b"*") + b" ")
                assert event.encode().endswith(b"\r\n")
            case AppendStarted():
                if accept:
                    session.accept_append()
                else:
                    session.refuse_append(WRONG_STATE)
            case AppendEnded(tag):
                assert session.answer(Condition.OK, b"done") == tag + b" OK done\r\n"
            case _ if event is NEED_DATA:
                return
            case _:
                pass
    pytest.fail("no end")


def tag_of(octets: bytes) -> tuple[bytes | None, bytes]:
    """The tag of the command, or of its refusal, and what is answered."""
    try:
        return parse_command(octets).tag, b""
    except RemoteProtocolError as error:
        return error.tag, error.encode()


AFTER_TAGS = [seed.removesuffix(b"\r\n").partition(b" ")[2] for seed in SEEDS]


@given(octets=st.binary(max_size=80) | spoiled(AFTER_TAGS))
def test_any_octets_after_a_tag_are_a_command_or_refused_by_it(octets: bytes) -> None:
    tag, refusal = tag_of(b"tag1 " + octets)
    assert tag == b"tag1"
    assert not refusal or refusal.startswith((b"tag1 BAD ", b"tag1 NO "))


@given(octets=st.binary(max_size=80))
def test_any_octets_are_a_command_or_refused(octets: bytes) -> None:
    tag, refusal = tag_of(octets)
    assert tag is not None or refusal.startswith(b"* BAD ")
