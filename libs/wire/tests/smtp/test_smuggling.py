"""The smuggling set, kept forever: only CRLF.CRLF ends content, and bare line ends refuse it whole."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import pytest

from postroom_wire.smtp import (
    Answered,
    Close,
    ContentRefused,
    Mail,
    ServerEvent,
    ServerSession,
    StartTls,
    standard_replies,
)

Serve: TypeAlias = Callable[[ServerSession, Iterable[bytes]], tuple[bytes, list[ServerEvent]]]
Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]
Messages: TypeAlias = Callable[[list[ServerEvent]], list[bytes]]

ENVELOPE = b"MAIL FROM:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"
SMUGGLED = b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSmuggled\r\n.\r\n"

# What lax servers take for the content's end (CVE-2023-51764, -51765, -51766, CVE-2024-27305).
FALSE_ENDS = {
    "LF.LF": b"\n.\n",
    "LF.CRLF": b"\n.\r\n",
    "CRLF.LF": b"\r\n.\n",
    "CR.CR": b"\r.\r",
    "CR.CRLF": b"\r.\r\n",
    "CRLF.CR": b"\r\n.\r",
    "LF.CR": b"\n.\r",
    "CR.LF": b"\r.\n",
    "CRLF.CRCRLF": b"\r\n.\r\r\n",
    "CRCRLF.CRLF": b"\r\r\n.\r\r\n",
    "CRLF.NUL CRLF": b"\r\n.\x00\r\n",
    "CRLF NUL.CRLF": b"\r\n\x00.\r\n",
    "CR NUL LF.CRLF": b"\r\x00\n.\r\n",
    "bare LF": b"a\nb",
    "bare CR": b"a\rb",
    "NUL": b"a\x00b",
    "LFCR": b"\n\r",
    "LF first": b"",
}
WRONG = {name: b"Subject: x\r\n\r\nText" + end for name, end in FALSE_ENDS.items()} | {
    "LF first": b"\nText",
    "dot LF first": b".\nText",
    "dot CR first": b".\rText",
    "CR last": b"Text\r\n\r",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_message_with_a_false_end_is_refused_whole_at_its_true_end(
    name: str, server: Callable[[], ServerSession], serve: Serve, cut: Cut, messages: Messages
) -> None:
    conversation = b"HELO c\r\n" + ENVELOPE + WRONG[name] + SMUGGLED
    expected = b"".join(
        (
            b"250 mx.example.com\r\n",
            standard_replies.SENDER_OK.octets,
            standard_replies.RECIPIENT_OK.octets,
            standard_replies.START_MAIL_INPUT.octets,
            standard_replies.BARE_CR_OR_LF.octets,
        )
    )
    for chunks in (
        *(cut(conversation, [at]) for at in range(len(conversation))),
        cut(conversation, range(999)),
    ):
        said, events = serve(server(), chunks)
        assert said == expected
        assert messages(events) == []
        assert sum(isinstance(event, Mail) for event in events) == 1
        assert sum(isinstance(event, ContentRefused) for event in events) == 1
        assert events[-2:] == [
            Answered("CONTENT", standard_replies.BARE_CR_OR_LF),
            Close(standard_replies.BARE_CR_OR_LF),
        ]


def test_what_follows_a_refused_content_is_never_looked_at(
    server: Callable[[], ServerSession], serve: Serve
) -> None:
    session = server()
    said, _ = serve(session, [b"HELO c\r\n" + ENVELOPE + b"a\nb\r\n.\r\n" + ENVELOPE, SMUGGLED, b"QUIT\r\n"])
    assert said.endswith(standard_replies.BARE_CR_OR_LF.octets)
    assert session.data_to_send() == b""


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r\n"])
def test_a_command_with_a_bare_line_end_is_refused_and_not_obeyed(
    end: bytes, server: Callable[[], ServerSession], serve: Serve
) -> None:
    said, events = serve(server(), [b"HELO c\r\nNOOP x" + end + b"MAIL FROM:<a@b.example>\r\nNOOP\r\n"])
    lines = said.split(b"\r\n")
    assert lines[1].startswith(b"500 5.5.2")
    if end == b"\r":  # one line with a control character
        assert not any(isinstance(event, Mail) for event in events)
    assert lines[-2] == b"250 2.0.0 OK"


def test_octets_ahead_of_tls_are_dropped(server: Callable[..., ServerSession], serve: Serve) -> None:
    session = server()
    said, events = serve(session, [b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<evil@example.com>\r\nRSET\r\nRCP", b""])
    assert said.endswith(b"220 2.0.0 Ready to start TLS\r\n")
    assert StartTls(data_ahead=True) in events
    assert not any(isinstance(event, Mail) for event in events)
    assert session.tls_active
    assert session.helo == ""
    said, _ = serve(session, [b"RCPT TO:<a@b.example>\r\nMAIL FROM:<a@b.example>\r\nEHLO c\r\n"])
    assert said.startswith(standard_replies.BAD_SEQUENCE.octets * 2)
    assert b"STARTTLS" not in said


def test_octets_between_the_reply_and_the_handshake_are_dropped(server: Callable[..., ServerSession]) -> None:
    session = server()
    session.receive_data(b"EHLO c\r\nSTARTTLS\r\n")
    session.next_event()
    assert session.next_event() == StartTls(data_ahead=False)
    session.reply(standard_replies.READY_TO_START_TLS)
    session.data_to_send()
    session.receive_data(b"NOOP\r\n")
    session.tls_started()
    session.next_event()
    assert session.data_to_send() == b""


def test_tls_forgets_who_logged_in_before_it(server: Callable[..., ServerSession], serve: Serve) -> None:
    session = server("submission", tls_active=False)
    said, _ = serve(session, [b"EHLO c\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<>\r\n"])
    assert b"538 5.7.11" in said
    assert b"AUTH" not in said
    assert said.endswith(standard_replies.TLS_REQUIRED.octets)
    serve(session, [b"STARTTLS\r\n"])
    said, _ = serve(session, [b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<>\r\n"])
    assert standard_replies.TLS_ACTIVE.octets + standard_replies.AUTH_REQUIRED.octets in said
    assert b"250-AUTH PLAIN LOGIN\r\n" in said


def test_a_web_request_is_hung_up_on(server: Callable[[], ServerSession], serve: Serve) -> None:
    said, events = serve(server(), [b"POST / HTTP/1.1\r\nHost: x\r\n\r\nHELO c\r\n" + SMUGGLED])
    assert said == standard_replies.NOT_SMTP.octets
    assert events == [Answered("POST", standard_replies.NOT_SMTP), Close(standard_replies.NOT_SMTP)]
