"""A connection's commands in their states (RFC 3501 s3, s6) as transcripts, under any chunking."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap import codes, responses
from postroom_wire.imap.commands import (
    Authenticate,
    Command,
    Idle,
    Login,
    Logout,
    Noop,
    Select,
    StartTls,
)
from postroom_wire.imap.errors import Condition, LocalProtocolError, Refusal, Tag
from postroom_wire.imap.events import (
    NEED_DATA,
    AppendContent,
    AppendEnded,
    AppendMessageStarted,
    AppendStarted,
    AppendUrl,
    CommandReceived,
    CommandRefused,
    ContinuationRequest,
    IdleEnded,
    SaslResponse,
    SessionEvent,
)
from postroom_wire.imap.session import ServerSession
from postroom_wire.imap.state import State

NOT_FOUND = Refusal(Condition.NO, b"No such mailbox", codes.NONEXISTENT)
TRANSCRIPTS = {
    "RFC 3501 s8: a sample": """
        C: a001 login mrc secret
        S: a001 OK done
        C: a002 select inbox
        S: a002 OK done
        C: a003 fetch 12 full
        S: a003 OK done
        C: a004 fetch 12 body[header]
        S: a004 OK done
        C: a005 store 12 +flags \\deleted
        S: a005 OK done
        C: a006 logout
        S: * BYE bye
        S: a006 OK done""",
    "RFC 3501 s3: commands out of their state are refused and change nothing": """
        C: a SELECT INBOX
        S: a BAD Command not allowed in this state
        C: b IDLE
        S: b BAD Command not allowed in this state
        C: c LOGIN x y
        S: c OK done
        C: d LOGIN x y
        S: d BAD Command not allowed in this state
        C: e STARTTLS
        S: e BAD Command not allowed in this state
        C: f FETCH 1 FLAGS
        S: f BAD Command not allowed in this state
        C: g CLOSE
        S: g BAD Command not allowed in this state
        C: h SELECT INBOX
        S: h OK done
        C: i FETCH 1 FLAGS
        S: i OK done
        C: j CLOSE
        S: j OK done
        C: k CHECK
        S: k BAD Command not allowed in this state""",
    "RFC 3501 s6.3.1: a failed SELECT leaves the mailbox": """
        C: a LOGIN x y
        S: a OK done
        C: b SELECT INBOX
        S: b OK done
        C: c SELECT none
        S: c NO [NONEXISTENT] No such mailbox
        C: d CHECK
        S: d BAD Command not allowed in this state
        C: e SELECT INBOX
        S: e OK done
        C: f SELECT
        S: f BAD Syntax error in arguments
        C: g CHECK
        S: g OK done""",
    "RFC 4959 s4: with and without an initial response": """
        C: A00 AUTHENTICATE PLAIN
        S: +_
        C: *
        S: A00 BAD Authentication cancelled
        C: A01 AUTHENTICATE PLAIN
        S: +_
        C: dGVzdAB0ZXN0AHRlc3Q
        S: A01 BAD Not base64
        C: A02 AUTHENTICATE PLAIN
        S: +_
        C: dGVzdAB0ZXN0AHRlc3Q=
        S: A02 OK done
        C: A03 SELECT INBOX
        S: A03 OK done""",
    "RFC 4959 s4: the initial response spares a round trip": """
        C: A01 AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=
        S: A01 OK done""",
    "RFC 2177 s3: IDLE ends by DONE": """
        C: a LOGIN x y
        S: a OK done
        C: b IDLE
        S: + idling
        C: done
        S: b OK done
        C: c IDLE
        S: + idling
        C: d NOOP
        S: c BAD Expected DONE
        C: e NOOP
        S: e OK done""",
    "RFC 4315 s3: APPEND": """
        C: a LOGIN x y
        S: a OK done
        C: b APPEND saved (\\Seen) {4}
        S: + Ready for literal
        C: ab
        C:_
        S: b OK [APPENDUID 38505 3955] ab__
        C: c APPEND none {4}
        S: c NO [TRYCREATE] No such mailbox
        C: d APPEND none {4+}
        C: ab
        C:_
        S: d NO [TRYCREATE] No such mailbox
        C: e APPEND saved {1+}
        C: abc
        S: e BAD Syntax error in arguments
        C: f NOOP
        S: f OK done""",
    "RFC 3501 s6.3.11: APPEND before login": """
        C: a APPEND x {4}
        S: a BAD Command not allowed in this state
        C: b APPEND x {4+}
        C: ab
        C:_
        S: b BAD Command not allowed in this state
        C: c NOOP
        S: c OK done""",
    "RFC 7888 s5: before login LITERAL- is offered": """
        C: a LOGIN {5000}
        S: + Ready for literal
        C: {5000} b
        S: a OK done""",
    "wrong commands": """
        C: a
        S: * BAD A command begins with a tag and a space
        C:_
        S: * BAD A command begins with a tag and a space
        C: a FROB
        S: a BAD Command unknown
        C: b LOGIN x
        S: b BAD Syntax error in arguments
        C: c LOGIN {9000}
        S: c BAD [TOOBIG] Literal too big
        C: d NOOP
        S: d OK done""",
}


def lines(transcript: str, who: str) -> bytes:
    """One side: `_` is a space at the end of a line, `__` CRLF inside, {5000} so many octets."""
    sent = b""
    for line in transcript.strip().splitlines():
        line = line.strip()
        if not line.startswith(who):
            continue
        text = line[2:].removeprefix(" ")
        text = "" if text == "_" else text
        text = "x" * 5_000 + text[6:] if text.startswith("{5000} ") else text
        text = text.replace("__", "\r\n") if "__" in text else text.replace("+_", "+ ")
        sent += text.encode() + b"\r\n"
    return sent


class Service:
    """Says OK to everything, but for mailboxes called `none`; files messages in memory."""

    def __init__(self) -> None:
        self.session = ServerSession()
        self.message = b""

    def said(self, octets: bytes) -> Iterator[bytes]:
        self.session.receive_data(octets)
        while (event := self.session.next_event()) is not NEED_DATA:
            yield self.answer(event)

    def answer(self, event: SessionEvent) -> bytes:
        match event:
            case CommandReceived(_, command):
                return self.obey(command)
            case SaslResponse(octets):
                assert octets == b"test\0test\0test"
                return self.done()
            case IdleEnded():
                return self.done()
            case ContinuationRequest(octets):
                return octets
            case CommandRefused():
                return event.encode()
            case _:
                return self.append(event)

    def append(self, event: SessionEvent) -> bytes:
        match event:
            case AppendStarted(_, append):
                self.message = b""
                if append.mailbox.value == "none":
                    return self.session.refuse_append(Refusal(Condition.NO, NOT_FOUND.text, codes.TRYCREATE))
                self.session.accept_append()
            case AppendContent(octets) | AppendUrl(octets):
                self.message += octets
            case AppendEnded():
                ended = self.session.answer(Condition.OK, b"#", codes.append_uid(38505, 3955))
                return ended.replace(b"#", self.message)
            case _:
                pass
        return b""

    def obey(self, command: Command) -> bytes:
        match command:
            case Select(mailbox) if mailbox.value == "none":
                return self.session.refuse(NOT_FOUND)
            case Authenticate(initial_response=None):
                return self.session.challenge(b"")
            case Idle():
                return self.session.begin_idle()
            case Logout():
                return responses.bye(b"bye") + self.done()
            case _:
                return self.done()

    def done(self) -> bytes:
        return self.session.answer(Condition.OK, b"done")


def converse(chunks: Iterable[bytes]) -> bytes:
    service = Service()
    return b"".join(said for chunk in chunks for said in service.said(chunk))


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_transcript_is_answered_as_written(name: str) -> None:
    client = lines(TRANSCRIPTS[name], "C:")
    assert converse([client]) == lines(TRANSCRIPTS[name], "S:")
    assert converse(client[at : at + 1] for at in range(len(client))) == lines(TRANSCRIPTS[name], "S:")


@pytest.mark.parametrize("name", TRANSCRIPTS)
@given(cuts=st.sets(st.integers(0, 400)))
def test_answers_do_not_depend_on_where_the_network_cuts(name: str, cuts: set[int]) -> None:
    client = lines(TRANSCRIPTS[name], "C:")
    edges = sorted({0, len(client)} | {cut for cut in cuts if cut < len(client)})
    chunks = [client[start:end] for start, end in pairwise(edges)]
    assert converse(chunks) == lines(TRANSCRIPTS[name], "S:")


def test_nothing_sent_ahead_of_tls_is_obeyed() -> None:
    session = ServerSession()
    session.receive_data(b"a STARTTLS\r\nb LOGIN evil twin\r\n")
    assert session.next_event() == CommandReceived(Tag(b"a"), StartTls())
    assert session.answer(Condition.OK, b"begin TLS") == b"a OK begin TLS\r\n"
    assert session.next_event() is NEED_DATA
    session.receive_data(b"c NOOP\r\n")
    assert session.next_event() == CommandReceived(Tag(b"c"), Noop())


def test_a_refused_starttls_drops_nothing() -> None:
    session = ServerSession()
    session.receive_data(b"a STARTTLS\r\nb NOOP\r\n")
    session.next_event()
    session.refuse(Refusal(Condition.BAD, b"TLS is not here"))
    assert session.next_event() == CommandReceived(Tag(b"b"), Noop())


def test_a_command_waits_until_the_one_before_is_answered() -> None:
    session = ServerSession()
    session.receive_data(b"a NOOP\r\nb NOOP\r\n")
    session.next_event()
    with pytest.raises(LocalProtocolError):
        session.next_event()
    session.answer(Condition.OK, b"done")
    assert session.next_event() == CommandReceived(Tag(b"b"), Noop())


def test_an_answer_needs_a_command() -> None:
    session = ServerSession()
    with pytest.raises(LocalProtocolError):
        session.answer(Condition.OK, b"done")
    with pytest.raises(LocalProtocolError):
        session.begin_idle()
    with pytest.raises(LocalProtocolError):
        session.challenge(b"")
    with pytest.raises(LocalProtocolError):
        session.refuse_append(NOT_FOUND)


def test_an_idle_command_is_not_answered_before_its_done() -> None:
    session = logged_in()
    session.receive_data(b"a IDLE\r\n")
    session.next_event()
    session.begin_idle()
    assert session.next_event() is NEED_DATA
    with pytest.raises(LocalProtocolError):
        session.answer(Condition.OK, b"done")
    with pytest.raises(LocalProtocolError):
        session.begin_idle()


def logged_in() -> ServerSession:
    session = ServerSession()
    session.receive_data(b"x LOGIN a b\r\n")
    assert session.next_event() == CommandReceived(Tag(b"x"), Login(b"a", b"b"))
    session.answer(Condition.OK, b"done")
    return session


def test_a_failed_login_changes_no_limit() -> None:
    session = ServerSession()
    session.receive_data(b"x LOGIN a b\r\ny LOGIN {5000+}\r\n")
    session.next_event()
    session.answer(Condition.NO, b"no", codes.AUTHENTICATIONFAILED)
    assert session.state is State.NOT_AUTHENTICATED
    assert isinstance(event := session.next_event(), CommandRefused)
    assert event.encode() == b"y BAD [TOOBIG] Literal too big\r\n"


def test_a_message_can_be_refused_while_it_comes() -> None:
    session = logged_in()
    session.receive_data(b"a APPEND x {10}\r\n")
    assert isinstance(session.next_event(), AppendStarted)
    session.accept_append()
    session.receive_data(b"01234")
    assert session.next_event() == AppendMessageStarted((), None, 10)
    assert session.next_event() == ContinuationRequest()
    assert session.next_event() == AppendContent(b"01234")
    assert session.refuse(Refusal(Condition.NO, b"Full", codes.OVERQUOTA)) == b"a NO [OVERQUOTA] Full\r\n"
    session.receive_data(b"56789\r\nb NOOP\r\n")
    assert session.next_event() == CommandReceived(Tag(b"b"), Noop())


@pytest.mark.parametrize("text", [b"", b"a\r\nb OK", b"[ALERT] x", "ä".encode(), b"a\0"])
def test_a_text_that_could_be_misread_is_our_own_bug(text: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        Refusal(Condition.OK, text)
    with pytest.raises(LocalProtocolError):
        responses.bye(text)
    with pytest.raises(LocalProtocolError):
        responses.continuation(text)
