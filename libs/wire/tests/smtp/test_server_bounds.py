"""Every bound of the server, and its answer."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

import pytest

from postroom_wire.smtp import (
    Answered,
    Close,
    ContentRefused,
    Limits,
    LocalProtocolError,
    Mail,
    Mechanism,
    Reply,
    ServerConfig,
    ServerEvent,
    ServerSession,
    State,
    standard_replies,
)

Serve: TypeAlias = Callable[[ServerSession, Iterable[bytes]], tuple[bytes, list[ServerEvent]]]

SMALL = Limits(
    discarded_line=20_000,
    text_line=100,
    message=1000,
    discarded_message=500,
    recipients=2,
    errors=3,
    commands=20,
)


def begin(limits: Limits = SMALL) -> ServerSession:
    config = ServerConfig("mx.example.com", mechanisms=(Mechanism.PLAIN,), limits=limits)
    session = ServerSession(config, plaintext_auth=True)
    session.receive_data(b"EHLO c\r\n")
    session.next_event()
    session.data_to_send()
    return session


@pytest.mark.parametrize(
    ("size", "reply"), [(512, standard_replies.OK), (513, standard_replies.LINE_TOO_LONG)]
)
def test_a_command_line_has_512_octets(size: int, reply: Reply, serve: Serve) -> None:
    said, _ = serve(begin(), [b"NOOP " + b"x" * (size - 7) + b"\r\nNOOP\r\n"])
    assert said == reply.octets + standard_replies.OK.octets


def test_mail_has_more_for_its_parameters(serve: Serve) -> None:
    mail = b"MAIL FROM:<ann@example.com> AUTH=" + b"x" * 500
    said, _ = serve(begin(), [mail + b"\r\n"])
    assert said == standard_replies.SENDER_OK.octets
    said, _ = serve(begin(), [mail + b"x" * 600 + b"\r\n"])
    assert said == standard_replies.LINE_TOO_LONG.octets


def test_an_authentication_line_has_12288_octets(serve: Serve) -> None:
    line = b"A" * 12_286
    said, _ = serve(begin(), [b"AUTH PLAIN\r\n" + line + b"\r\nNOOP\r\n"])
    assert said == b"334 \r\n" + standard_replies.AUTH_MALFORMED.octets + standard_replies.OK.octets
    said, _ = serve(begin(), [b"AUTH PLAIN\r\n" + line + b"AAAA\r\nNOOP\r\n"])
    assert said == b"334 \r\n" + standard_replies.AUTH_LINE_TOO_LONG.octets + standard_replies.OK.octets


@pytest.mark.parametrize("step", [1, 1000, 100_000])
def test_after_an_endless_line_the_session_goes_on_with_the_next(step: int, serve: Serve) -> None:
    octets = b"MAIL FROM:<" + b"a" * 19_000 + b">\r\nNOOP\r\n"
    said, _ = serve(begin(), (octets[at : at + step] for at in range(0, len(octets), step)))
    assert said == standard_replies.LINE_TOO_LONG.octets + standard_replies.OK.octets


def test_a_line_that_never_ends_ends_the_session(serve: Serve) -> None:
    said, events = serve(begin(), [b"a" * 13_000, b"a" * 13_000])
    assert said == standard_replies.TOO_MANY_ERRORS.octets
    assert events[-1] == Close(standard_replies.TOO_MANY_ERRORS)


def test_recipients_beyond_the_limit_are_for_another_time(serve: Serve) -> None:
    rcpt = b"RCPT TO:<ann@example.com>\r\n"
    said, _ = serve(begin(), [b"MAIL FROM:<>\r\n", rcpt * 3, b"DATA\r\n.\r\nMAIL FROM:<>\r\n", rcpt])
    assert said.count(standard_replies.RECIPIENT_OK.octets) == 3
    assert said.count(standard_replies.TOO_MANY_RECIPIENTS.octets) == 1
    assert b"250 2.0.0 Queued" in said


def test_an_announced_size_over_the_limit_is_refused_at_once(serve: Serve) -> None:
    said, events = serve(begin(), [b"MAIL FROM:<> SIZE=1001\r\n"])
    assert said == standard_replies.MESSAGE_TOO_BIG.octets
    assert events == [Answered("MAIL", standard_replies.MESSAGE_TOO_BIG)]


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (b"aaaaaaaa\r\n" * 101, standard_replies.MESSAGE_TOO_BIG),
        (b"a" * 99 + b"\r\n", standard_replies.TEXT_LINE_TOO_LONG),
    ],
)
@pytest.mark.parametrize("step", [1, 64, 10_000])
def test_content_over_a_limit_is_refused_and_the_session_goes_on(
    content: bytes, reply: Reply, step: int, serve: Serve
) -> None:
    octets = b"MAIL FROM:<>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n" + content + b".\r\nNOOP\r\n"
    said, events = serve(begin(), (octets[at : at + step] for at in range(0, len(octets), step)))
    assert said.endswith(b"<CRLF>.<CRLF>\r\n" + reply.octets + standard_replies.OK.octets)
    assert events[-2:] == [Answered("CONTENT", reply), Answered("NOOP", standard_replies.OK)]
    assert events.count(ContentRefused()) == 1


def test_content_that_never_ends_ends_the_session(serve: Serve) -> None:
    envelope = b"MAIL FROM:<>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n"
    said, events = serve(begin(), [envelope, *[b"aaaaaaaa\r\n"] * 200])
    assert said.endswith(standard_replies.MESSAGE_TOO_BIG.octets)
    assert events[-1] == Close(standard_replies.MESSAGE_TOO_BIG)


def test_too_many_errors_end_the_session(serve: Serve) -> None:
    said, events = serve(begin(), [b"FROB\r\n" * 10])
    expected = standard_replies.UNKNOWN_COMMAND.octets * 4 + standard_replies.TOO_MANY_ERRORS.octets
    assert said == expected
    assert events[-1] == Close(standard_replies.TOO_MANY_ERRORS)


def test_wrong_passwords_count_as_errors(serve: Serve) -> None:
    said, events = serve(begin(), [b"AUTH PLAIN AGFubgB3cm9uZw==\r\n" * 10])
    assert said.count(b"535 ") == 4
    assert events[-1] == Close(standard_replies.TOO_MANY_ERRORS)


def test_unknown_recipients_do_not_end_the_session(serve: Serve) -> None:
    said, events = serve(begin(), [b"MAIL FROM:<>\r\n" + b"RCPT TO:<nobody@example.com>\r\n" * 10])
    assert said.count(b"550 5.1.1") == 10
    assert not isinstance(events[-1], Close)


def test_too_many_commands_without_a_message_end_the_session(serve: Serve) -> None:
    said, events = serve(begin(), [b"NOOP\r\n" * 30])
    assert said == standard_replies.OK.octets * 19 + standard_replies.TOO_MANY_COMMANDS.octets
    assert events[-1] == Close(standard_replies.TOO_MANY_COMMANDS)


def test_an_accepted_message_clears_the_counts(serve: Serve) -> None:
    message = (
        b"FROB\r\n" * 3
        + b"MAIL FROM:<>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\nx\r\n.\r\n"
        + b"NOOP\r\n" * 10
    )
    _, events = serve(begin(), [message] * 5)
    assert sum(isinstance(event, Mail) for event in events) == 5


def test_a_shell_that_reads_on_while_it_should_answer_is_told_so() -> None:
    session = begin(replace(SMALL, buffer=100))
    session.receive_data(b"MAIL FROM:<>\r\n")
    session.next_event()
    with pytest.raises(LocalProtocolError, match="reading goes on"):
        session.receive_data(b"x" * 101)


def test_the_default_limits_are_those_of_the_standards_or_wider() -> None:
    limits = Limits()
    assert limits.command_line == 512
    assert limits.auth_line >= 12_288
    assert limits.text_line >= 1000
    assert limits.message >= 65_536
    assert limits.recipients >= 100
    assert limits.commands > limits.recipients
    assert limits.idle_seconds >= 300


def test_an_overlong_line_is_not_kept() -> None:
    session = begin()
    for _ in range(18):
        session.receive_data(b"x" * 1000)
        session.next_event()
    assert session.state is State.READY
    assert not session.idle or session.data_to_send() == b""
