"""The client's side of conversations, with the server's replies cut everywhere."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.smtp import Body, Credentials, Envelope, Mailbox

Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]
Play: TypeAlias = Callable[["Case", Callable[[bytes], list[bytes]]], None]

ANN, BOB, CARL = (Mailbox(name, "example.com") for name in ("ann", "bob", "carl"))
ONE = Envelope(ANN, (BOB,))
TWO = Envelope(ANN, (BOB, CARL))


@dataclass
class Case:
    """A transcript, what the shell has to send, and what becomes of it: stage and code for each recipient."""

    transcript: str
    envelopes: list[Envelope] = field(default_factory=list[Envelope])
    results: list[list[str]] = field(default_factory=list[list[str]])
    credentials: Credentials | None = None
    tls_active: bool = False
    content: bytes = b"Subject: x\n\n.dot"


CONTENT = """
        C: Subject: x
        C:
        C: ..dot
        C: ."""
HELLO = """
        S: 220 mx.example.com ESMTP
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250 PIPELINING"""
BYE = """
        C: QUIT
        S: 221 2.0.0 Bye"""

CASES = {
    "RFC 2920 s3.1: a group, and the next message over the same connection": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: RCPT TO:<carl@example.com>
        C: DATA
        S: 250 2.1.0 OK
        S: 250 2.1.5 OK
        S: 550 5.1.1 No such user
        S: 354 Go on"""
        + CONTENT
        + """
        S: 250 2.0.0 Queued
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: DATA
        S: 250 2.1.0 OK
        S: 250 2.1.5 OK
        S: 354 Go on"""
        + CONTENT
        + """
        S: 451 4.3.0 Later"""
        + BYE,
        [TWO, ONE],
        [["content 250", "RCPT 550"], ["content 451"]],
    ),
    "RFC 2920 s3.1: nobody is taken and DATA is": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: DATA
        S: 250 2.1.0 OK
        S: 450-4.2.0 Greylisted,
        S: 450 4.2.0 come back
        S: 354 Go on
        C: .
        S: 554 5.5.1 No valid recipients"""
        + BYE,
        [ONE],
        [["RCPT 450"]],
    ),
    "RFC 2920 s3.1: nobody is taken, nor is DATA, and RSET before the next": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: DATA
        S: 250 2.1.0 OK
        S: 550 5.1.1 No such user
        S: 554 5.5.1 No valid recipients
        C: RSET
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: DATA
        S: 250 2.0.0 OK
        S: 250 2.1.0 OK
        S: 250 2.1.5 OK
        S: 354 Go on"""
        + CONTENT
        + """
        S: 250 2.0.0 Queued"""
        + BYE,
        [ONE, ONE],
        [["RCPT 550"], ["content 250"]],
    ),
    "RFC 2920 s3.1: MAIL is refused within a group": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: RCPT TO:<carl@example.com>
        C: DATA
        S: 451 4.7.1 Too fast
        S: 503 5.5.1 Bad sequence
        S: 503 5.5.1 Bad sequence
        S: 503 5.5.1 Bad sequence"""
        + BYE,
        [TWO],
        [["MAIL 451", "MAIL 451"]],
    ),
    "RFC 5321 s3.3: DATA is refused": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: RCPT TO:<carl@example.com>
        C: DATA
        S: 250 OK
        S: 550 5.1.1 No such user
        S: 251 Will forward
        S: 452 4.3.1 Full"""
        + BYE,
        [TWO],
        [["RCPT 550", "DATA 452"]],
    ),
    "RFC 5321 s3.2: HELO, and one command after another": Case(
        """
        S: 220-mx.example.com
        S: 220 old
        C: EHLO me.example
        S: 500 What?
        C: HELO me.example
        S: 250 mx.example.com
        C: MAIL FROM:<ann@example.com>
        S: 250
        C: RCPT TO:<bob@example.com>
        S: 550 No
        C: RCPT TO:<carl@example.com>
        S: 250 OK
        C: DATA
        S: 354 Go on"""
        + CONTENT
        + """
        S: 250 OK
        C: MAIL FROM:<ann@example.com>
        S: 550 5.7.1 Not you
        C: RSET
        S: 250 OK
        C: MAIL FROM:<ann@example.com>
        S: 250 OK
        C: RCPT TO:<bob@example.com>
        S: 552 Too many
        C: QUIT
        S: 221 Bye""",
        [TWO, TWO, ONE],
        [["RCPT 550", "content 250"], ["MAIL 550", "MAIL 550"], ["RCPT 552"]],
    ),
    "RFC 5321 s3.1: the greeting refuses": Case(
        """
        S: 554 No mail here
        C: QUIT""",
    ),
    "RFC 5321 s4.1.4: EHLO is refused for now": Case(
        """
        S: 220 x
        C: EHLO me.example
        S: 450 4.7.1 Greylisted
        C: QUIT""",
    ),
    "RFC 5321 s3.8: 421 as greeting": Case("S: 421 4.3.2 Busy"),
    "RFC 5321 s3.8: 421 within a group": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: RCPT TO:<carl@example.com>
        C: DATA
        S: 250 OK
        S: 550 5.1.1 No such user
        S: 421 4.3.2 Shutting down""",
        [TWO],
        [["RCPT 550", "RCPT 421"]],
    ),
    "RFC 5321 s3.8: 421 after the content": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: DATA
        S: 250 OK
        S: 250 OK
        S: 354 Go on"""
        + CONTENT
        + """
        S: 421 4.3.2 Shutting down""",
        [ONE],
        [["content 421"]],
    ),
    "RFC 3207 s4.2: STARTTLS and EHLO again": Case(
        """
        S: 220 mx.example.com
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250-AUTH PLAIN
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 2.0.0 Ready
        C: EHLO me.example
        S: 250 mx.example.com
        C: MAIL FROM:<ann@example.com>
        S: 250 OK
        C: RCPT TO:<bob@example.com>
        S: 250 OK
        C: DATA
        S: 354 Go on"""
        + CONTENT
        + """
        S: 250 OK"""
        + BYE,
        [ONE],
        [["content 250"]],
    ),
    "RFC 3207 s4.1: STARTTLS is refused": Case(
        """
        S: 220 mx.example.com
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250 STARTTLS
        C: STARTTLS
        S: 454 4.7.0 TLS not available"""
        + BYE,
    ),
    "RFC 4954 s4: PLAIN with initial response, and AUTH=<> on MAIL": Case(
        """
        S: 220 mx.example.com
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250 AUTH=LOGIN PLAIN
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 235 2.7.0 OK
        C: MAIL FROM:<ann@example.com> AUTH=<>
        S: 250 OK
        C: RCPT TO:<bob@example.com>
        S: 250 OK
        C: DATA
        S: 354 Go on"""
        + CONTENT
        + """
        S: 250 OK"""
        + BYE,
        [ONE],
        [["content 250"]],
        credentials=Credentials("", "ann", "secret"),
        tls_active=True,
    ),
    "RFC 4954 s4: LOGIN, and a wrong password": Case(
        """
        S: 220 mx.example.com
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250 AUTH LOGIN
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: YW5u
        S: 334 UGFzc3dvcmQ6
        C: c2VjcmV0
        S: 535 5.7.8 No"""
        + BYE,
        credentials=Credentials("", "ann", "secret"),
        tls_active=True,
    ),
    "RFC 4954 s4: a third challenge is cancelled": Case(
        """
        S: 220 mx.example.com
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250 AUTH LOGIN
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: YW5u
        S: 334 UGFzc3dvcmQ6
        C: c2VjcmV0
        S: 334 T3RwOg==
        C: *
        S: 501 5.7.0 Cancelled"""
        + BYE,
        credentials=Credentials("", "ann", "secret"),
        tls_active=True,
    ),
    "RFC 4954 s4: no mechanism that we know": Case(
        """
        S: 220 mx.example.com
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250 AUTH GSSAPI"""
        + BYE,
        credentials=Credentials("", "ann", "secret"),
        tls_active=True,
    ),
    "RFC 1870 s5, RFC 6152 s3, RFC 6531 s3.4: parameters": Case(
        """
        S: 220 mx.example.com
        C: EHLO me.example
        S: 250-mx.example.com
        S: 250-SIZE 1000
        S: 250-8bitmime
        S: 250 SMTPUTF8
        C: MAIL FROM:<> SIZE=1000 BODY=8BITMIME SMTPUTF8
        S: 250 OK
        C: RCPT TO:<änne@example.com>
        S: 250 OK
        C: DATA
        S: 354 Go on"""
        + CONTENT
        + """
        S: 250 OK"""
        + BYE,
        [
            Envelope(None, (Mailbox("änne", "example.com"),), size=1000, body=Body.EIGHT_BIT_MIME),
            Envelope(ANN, (BOB,), size=1001),
        ],
        [["content 250"], ["local 552"]],
    ),
    "RFC 6531 s3.5: no SMTPUTF8 and no 8BITMIME": Case(
        HELLO
        + """
        C: MAIL FROM:<ann@example.com>
        C: RCPT TO:<bob@example.com>
        C: DATA
        S: 250 OK
        S: 250 OK
        S: 354 Go on"""
        + CONTENT
        + """
        S: 250 OK"""
        + BYE,
        [
            Envelope(ANN, (BOB, Mailbox("änne", "example.com"))),
            Envelope(ANN, (BOB,), smtputf8=True),
            Envelope(ANN, (BOB,), size=1001, body=Body.EIGHT_BIT_MIME),
        ],
        [["local 553", "local 553"], ["local 553"], ["content 250"]],
    ),
}


@pytest.mark.parametrize("name", CASES)
@given(cuts=st.sets(st.integers(1, 150)))
def test_a_client_says_the_same_wherever_replies_are_cut(
    name: str, cuts: set[int], cut: Cut, play: Play
) -> None:
    play(CASES[name], lambda octets: cut(octets, cuts))


@pytest.mark.parametrize("name", CASES)
def test_a_client_says_the_same_octet_by_octet(name: str, play: Play) -> None:
    play(CASES[name], lambda octets: [octets[at : at + 1] for at in range(len(octets))])


@pytest.mark.parametrize("name", CASES)
def test_a_client_says_the_same_to_whole_replies(name: str, play: Play) -> None:
    play(CASES[name], lambda octets: [octets])
