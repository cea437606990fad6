"""The server's side of conversations as the RFCs have them, under every chunking.

The client's lines are sent without waiting, so each of them is a pipelined conversation too (RFC 2920).
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.smtp import NeedData, ServerEvent, ServerSession
from postroom_wire.smtp.standard_replies import RECIPIENT_OK, SENDER_OK, START_MAIL_INPUT

Serve: TypeAlias = Callable[[ServerSession, Iterable[bytes]], tuple[bytes, list[ServerEvent]]]
Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]
Messages: TypeAlias = Callable[[list[ServerEvent]], list[bytes]]

EHLO_MX = """
        C: EHLO client.example
        S: 250-mx.example.com
        S: 250-PIPELINING
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-STARTTLS
        S: 250 ENHANCEDSTATUSCODES"""
EHLO_SUBMISSION = """
        C: EHLO client.example
        S: 250-mx.example.com
        S: 250-PIPELINING
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-AUTH PLAIN LOGIN
        S: 250 ENHANCEDSTATUSCODES"""

TRANSCRIPTS = {
    "mx: RFC 5321 sD.1: a typical transaction": EHLO_MX
    + """
        C: MAIL FROM:<Smith@bar.com>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<Jones@foo.com>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<nobody@foo.com>
        S: 550 5.1.1 No such mailbox here
        C: RCPT TO:<Brown@foo.com>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Start mail input; end with <CRLF>.<CRLF>
        C: Blah blah blah...
        C: ..etc. etc. etc.
        C: .
        S: 250 2.0.0 Queued
        C: QUIT
        S: 221 2.0.0 Bye""",
    "mx: RFC 5321 sD.2: an aborted transaction": """
        C: HELO bar.com
        S: 250 mx.example.com
        C: MAIL FROM:<Smith@bar.com>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<Jones@foo.com>
        S: 250 2.1.5 Recipient OK
        C: RSET
        S: 250 2.0.0 OK
        C: DATA
        S: 503 5.5.1 Bad sequence of commands
        C: QUIT
        S: 221 2.0.0 Bye""",
    "mx: RFC 5321 s3.3: several messages, null sender, postmaster without a domain": """
        C: EHLO x
        S: 250-mx.example.com
        S: 250-PIPELINING
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-STARTTLS
        S: 250 ENHANCEDSTATUSCODES
        C: MAIL FROM:<>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<POSTMASTER>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Start mail input; end with <CRLF>.<CRLF>
        C: .
        S: 250 2.0.0 Queued
        C: MAIL FROM:<@a.example,@b.example:ann@c.example>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<"bob \\"the\\" builder"@[192.0.2.1]>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<carl@[IPv6:2001:db8::1]>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Start mail input; end with <CRLF>.<CRLF>
        C: ...
        C: ..
        C: x.
        C: .
        S: 250 2.0.0 Queued""",
    "mx: RFC 5321 s4.1.4: the order of commands": """
        C: MAIL FROM:<ann@example.com>
        S: 503 5.5.1 Bad sequence of commands
        C: STARTTLS
        S: 503 5.5.1 Bad sequence of commands
        C: NOOP
        S: 250 2.0.0 OK
        C: RSET
        S: 250 2.0.0 OK
        C: HELO client.example
        S: 250 mx.example.com
        C: RCPT TO:<ann@example.com>
        S: 503 5.5.1 Bad sequence of commands
        C: DATA
        S: 503 5.5.1 Bad sequence of commands
        C: MAIL FROM:<ann@example.com>
        S: 250 2.1.0 Sender OK
        C: MAIL FROM:<ann@example.com>
        S: 503 5.5.1 Bad sequence of commands
        C: RCPT TO:<nobody@example.com>
        S: 550 5.1.1 No such mailbox here
        C: DATA
        S: 554 5.5.1 No valid recipients
        C: RCPT TO:<later@example.com>
        S: 451 4.3.0 Local error in processing, try again later
        C: RCPT TO:<ann@example.com>
        S: 250 2.1.5 Recipient OK
        C: STARTTLS
        S: 503 5.5.1 Bad sequence of commands
        C: NOOP me
        S: 250 2.0.0 OK
        C: HELO client.example
        S: 250 mx.example.com
        C: DATA
        S: 503 5.5.1 Bad sequence of commands""",
    "mx: RFC 5321 s4.2.4: commands that are unknown, not ours or not well formed": """
        C: FROB x
        S: 500 5.5.1 Command unknown
        C:
        S: 500 5.5.1 Command unknown
        C: EXPN list
        S: 502 5.5.1 Command not implemented
        C: VRFY ann
        S: 252 2.5.0 Cannot verify, but will take mail and try to deliver it
        C: VRFY
        S: 501 5.5.4 Invalid command arguments
        C: HELP
        S: 214 2.0.0 See RFC 5321
        C: LHLO client.example
        S: 500 5.5.1 Command unknown
        C: EHLO
        S: 501 5.5.4 Invalid command arguments
        C: EHLO (comment)
        S: 501 5.5.4 Invalid command arguments
        C: ehlo my_pc.example.
        S: 250-mx.example.com
        S: 250-PIPELINING
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-STARTTLS
        S: 250 ENHANCEDSTATUSCODES
        C: MAIL TO:<ann@example.com>
        S: 501 5.5.4 Invalid command arguments
        C: MAIL FROM:ann@example.com
        S: 501 5.1.7 Bad sender mailbox address syntax
        C: MAIL FROM:<ann@example.com>SIZE=1
        S: 501 5.5.4 Invalid command arguments
        C: MAIL FROM:<ann@example.com> FUTURE=1
        S: 555 5.5.4 Parameter not recognized or not implemented
        C: MAIL FROM:<ann@example.com> SIZE=1 size=2
        S: 501 5.5.4 Invalid command arguments
        C: mail from: <ann@example.com> body=8bitmime size=100
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@@example.com>
        S: 501 5.1.3 Bad destination mailbox address syntax
        C: RCPT TO:<ann@example.com> NOTIFY=NEVER
        S: 555 5.5.4 Parameter not recognized or not implemented
        C: DATA now
        S: 501 5.5.4 Invalid command arguments
        C: QUIT now
        S: 501 5.5.4 Invalid command arguments
        C: quit
        S: 221 2.0.0 Bye""",
    "mx: RFC 1870 s6.1: a size that is too big": EHLO_MX
    + """
        C: MAIL FROM:<ann@example.com> SIZE=52428801
        S: 552 5.3.4 Message size exceeds fixed limit
        C: MAIL FROM:<ann@example.com> SIZE=many
        S: 501 5.5.4 Invalid command arguments
        C: MAIL FROM:<ann@example.com> SIZE=52428800
        S: 250 2.1.0 Sender OK""",
    "mx: RFC 6152 s3: BODY": EHLO_MX
    + """
        C: MAIL FROM:<ann@example.com> BODY=BINARYMIME
        S: 501 5.5.4 Invalid command arguments
        C: MAIL FROM:<ann@example.com> BODY=7BIT
        S: 250 2.1.0 Sender OK""",
    "mx: RFC 6531 s3.4: SMTPUTF8": EHLO_MX
    + """
        C: MAIL FROM:<änne@example.com>
        S: 553 5.6.7 Non-ASCII addresses need SMTPUTF8
        C: MAIL FROM:<ann@example.com> SMTPUTF8=yes
        S: 501 5.5.4 Invalid command arguments
        C: MAIL FROM:<ann@example.com>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<bob@bücher.example>
        S: 553 5.6.7 Non-ASCII addresses need SMTPUTF8
        C: RSET
        S: 250 2.0.0 OK
        C: MAIL FROM:<änne@example.com> SMTPUTF8
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<bob@bücher.example>
        S: 250 2.1.5 Recipient OK""",
    "mx: RFC 4954 s4: AUTH is not offered": EHLO_MX
    + """
        C: AUTH PLAIN
        S: 502 5.5.1 Command not implemented
        C: MAIL FROM:<ann@example.com> AUTH=<>
        S: 250 2.1.0 Sender OK""",
    "submission: RFC 4954 s4: PLAIN with initial response": EHLO_SUBMISSION
    + """
        C: MAIL FROM:<ann@example.com>
        S: 530 5.7.0 Authentication required
        C: AUTH CRAM-MD5
        S: 504 5.5.4 Unrecognized authentication mechanism
        C: AUTH PLAIN AGFubgB3cm9uZw==
        S: 535 5.7.8 Authentication credentials invalid
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 235 2.7.0 Authentication succeeded
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 503 5.5.1 Already authenticated
        C: MAIL FROM:<ann@example.com> AUTH=e+3Dmc2@example.com
        S: 250 2.1.0 Sender OK
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 503 5.5.1 Bad sequence of commands
        C: RCPT TO:<bob@example.com>
        S: 250 2.1.5 Recipient OK""",
    "submission: RFC 4954 s4: exchanges with challenges, cancelled and malformed ones": EHLO_SUBMISSION
    + """
        C: AUTH PLAIN
        S: 334 (nothing)
        C: *
        S: 501 5.7.0 Authentication cancelled
        C: AUTH PLAIN =
        S: 501 5.5.2 Cannot decode response
        C: AUTH PLAIN AG=FubgBzZWNyZXQ=
        S: 501 5.5.2 Cannot decode response
        C: AUTH PLAIN
        S: 334 (nothing)
        C: AGFubgBzZWNyZXQ
        S: 501 5.5.2 Cannot decode response
        C: AUTH PLAIN AGFubg==
        S: 501 5.5.2 Cannot decode response
        C: AUTH PLAIN AABzZWNyZXQ=
        S: 501 5.5.2 Cannot decode response
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: YW5u
        S: 334 UGFzc3dvcmQ6
        C: d3Jvbmc=
        S: 535 5.7.8 Authentication credentials invalid
        C: AUTH LOGIN YW5u
        S: 334 UGFzc3dvcmQ6
        C: *
        S: 501 5.7.0 Authentication cancelled
        C: AUTH LOGIN =
        S: 501 5.5.2 Cannot decode response
        C: auth login YW5u
        S: 334 UGFzc3dvcmQ6
        C: c2VjcmV0
        S: 235 2.7.0 Authentication succeeded""",
    "lmtp: RFC 2033 s4.2: one reply for each recipient": """
        C: EHLO foo.edu
        S: 500 5.5.1 Command unknown
        C: LHLO foo.edu
        S: 250-mx.example.com
        S: 250-PIPELINING
        S: 250-SIZE 52428800
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250 ENHANCEDSTATUSCODES
        C: MAIL FROM:<chris@bar.com>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<pat@foo.edu>
        S: 250 2.1.5 Recipient OK
        C: RCPT TO:<nobody@foo.edu>
        S: 550 5.1.1 No such mailbox here
        C: RCPT TO:<green@foo.edu>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 Start mail input; end with <CRLF>.<CRLF>
        C: Blah blah blah...
        C: .
        S: 250 2.0.0 Queued
        S: 250 2.0.0 Queued
        C: QUIT
        S: 221 2.0.0 Bye""",
}


def side(transcript: str, who: str) -> bytes:
    """The octets that one side sends."""
    lines = (line.strip() for line in transcript.strip().splitlines())
    said = (line[3:].replace("(nothing)", "") for line in lines if line.startswith(who))
    return b"".join(f"{line}\r\n".encode() for line in said)


@pytest.mark.parametrize("name", TRANSCRIPTS)
@given(cuts=st.sets(st.integers(1, 800)))
def test_answers_do_not_depend_on_where_the_network_cuts(
    name: str, cuts: set[int], server: Callable[[str], ServerSession], serve: Serve, cut: Cut
) -> None:
    said, _ = serve(server(name.partition(":")[0]), cut(side(TRANSCRIPTS[name], "C:"), cuts))
    assert said.decode() == side(TRANSCRIPTS[name], "S:").decode()


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_answers_are_the_same_octet_by_octet(
    name: str, server: Callable[[str], ServerSession], serve: Serve
) -> None:
    client = side(TRANSCRIPTS[name], "C:")
    said, _ = serve(server(name.partition(":")[0]), (client[at : at + 1] for at in range(len(client))))
    assert said.decode() == side(TRANSCRIPTS[name], "S:").decode()


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_answers_are_the_same_at_every_single_cut(
    name: str, server: Callable[[str], ServerSession], serve: Serve, cut: Cut
) -> None:
    client, expected = side(TRANSCRIPTS[name], "C:"), side(TRANSCRIPTS[name], "S:")
    for at in range(1, len(client)):
        said, _ = serve(server(name.partition(":")[0]), cut(client, [at]))
        assert said == expected, at


def test_a_pipelined_group_is_answered_in_one_write(server: Callable[[str], ServerSession]) -> None:
    session = server("mx")
    session.receive_data(b"HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n")
    session.next_event()
    for reply in (SENDER_OK, RECIPIENT_OK, START_MAIL_INPUT):
        session.next_event()
        session.reply(reply)
    assert isinstance(session.next_event(), NeedData)
    answers = (b"250 mx.example.com\r\n", SENDER_OK.octets, RECIPIENT_OK.octets, START_MAIL_INPUT.octets)
    assert session.data_to_send() == b"".join(answers)
    assert session.data_to_send() == b""


def test_content_comes_without_its_transparency_dots(
    server: Callable[[str], ServerSession], serve: Serve, messages: Messages
) -> None:
    name = "mx: RFC 5321 s3.3: several messages, null sender, postmaster without a domain"
    _, events = serve(server("mx"), [side(TRANSCRIPTS[name], "C:")])
    assert messages(events) == [b"", b"..\r\n.\r\nx.\r\n"]
