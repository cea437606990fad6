"""What the shell of a server may rely on, and what it must not do."""

from collections.abc import Callable

import pytest

from postroom_wire.smtp import (
    AddressError,
    Authenticate,
    Body,
    Close,
    ContentEnd,
    Credentials,
    Data,
    Envelope,
    LocalProtocolError,
    Mail,
    Mailbox,
    Mechanism,
    NeedData,
    Rcpt,
    Reply,
    ServerConfig,
    ServerEvent,
    ServerSession,
    State,
    standard_replies,
)

SENDER = Mailbox("ann", "example.com")
RECIPIENT = Mailbox("bob", "example.com")


def advance(session: ServerSession, octets: bytes) -> ServerEvent:
    """The next event that waits for a reply, or the last before `NeedData`."""
    session.receive_data(octets)
    last: ServerEvent = NeedData()
    while not isinstance(event := session.next_event(), NeedData):
        last = event
        if isinstance(event, Mail | Rcpt | Data | ContentEnd | Authenticate | Close):
            return event
    return last


def in_transaction(session: ServerSession) -> ServerSession:
    """A session with an accepted recipient."""
    advance(session, b"EHLO c\r\n")
    advance(session, b"MAIL FROM:<ann@example.com> SIZE=9 BODY=8BITMIME AUTH=<>\r\n")
    session.reply(standard_replies.SENDER_OK)
    advance(session, b"RCPT TO:<bob@example.com>\r\n")
    session.reply(standard_replies.RECIPIENT_OK)
    return session


def test_a_session_begins_with_its_greeting() -> None:
    assert ServerSession(ServerConfig("mx.example.com")).data_to_send() == b"220 mx.example.com ESMTP\r\n"
    assert ServerSession(ServerConfig("h", lmtp=True)).data_to_send() == b"220 h LMTP\r\n"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("192.0.2.7", b"[192.0.2.7]"),
        ("2001:db8::7", b"[IPv6:2001:db8::7]"),
        ("fe80::7%eth0", b"[IPv6:fe80::7]"),
    ],
)
def test_a_client_is_told_which_address_it_comes_from(address: str, words: bytes) -> None:
    session = ServerSession(ServerConfig("mx.example.com", peer_address=address))
    session.receive_data(b"EHLO c\r\n")
    session.next_event()
    assert b"\r\n250-mx.example.com sees " + words + b"\r\n250-PIPELINING\r\n" in session.data_to_send()


def test_a_host_name_that_is_none_is_refused() -> None:
    with pytest.raises(AddressError):
        ServerConfig("mx example")


def test_the_envelope_is_kept_until_the_content_is_answered(server: Callable[[], ServerSession]) -> None:
    session = in_transaction(server())
    expected = Envelope(SENDER, (RECIPIENT,), size=9, body=Body.EIGHT_BIT_MIME, auth="<>")
    assert session.envelope == expected
    advance(session, b"DATA\r\n")
    session.reply(standard_replies.START_MAIL_INPUT)
    assert advance(session, b"x\r\n.\r\n") == ContentEnd(3)
    assert session.envelope == expected
    session.reply(standard_replies.OK)
    with pytest.raises(LocalProtocolError):
        _ = session.envelope


@pytest.mark.parametrize("command", [b"RSET\r\n", b"EHLO d\r\n", b"HELO d\r\n"])
def test_a_reset_drops_the_envelope(command: bytes, server: Callable[[], ServerSession]) -> None:
    session = in_transaction(server())
    advance(session, command)
    assert session.state is State.READY
    with pytest.raises(LocalProtocolError):
        _ = session.envelope


def test_a_refused_command_changes_nothing(server: Callable[[], ServerSession]) -> None:
    session = server()
    advance(session, b"EHLO c\r\n")
    advance(session, b"MAIL FROM:<ann@example.com>\r\n")
    session.reply(standard_replies.LOCAL_ERROR)
    assert session.state is State.READY
    session = in_transaction(session)
    advance(session, b"RCPT TO:<nobody@example.com>\r\n")
    session.reply(standard_replies.NO_SUCH_MAILBOX)
    advance(session, b"DATA\r\n")
    session.reply(standard_replies.INSUFFICIENT_STORAGE)
    assert session.state is State.RCPT
    assert session.envelope.recipients == (RECIPIENT,)


@pytest.mark.parametrize(
    "reply", [standard_replies.OK, standard_replies.LOCAL_ERROR, standard_replies.RELAY_DENIED]
)
def test_any_answer_to_the_content_ends_the_transaction(
    reply: Reply, server: Callable[[], ServerSession]
) -> None:
    session = in_transaction(server())
    advance(session, b"DATA\r\n")
    session.reply(standard_replies.START_MAIL_INPUT)
    advance(session, b".\r\n")
    session.data_to_send()
    session.reply(reply)
    assert session.data_to_send() == reply.octets
    assert session.state is State.READY


def test_a_421_of_the_shell_closes(server: Callable[[], ServerSession]) -> None:
    session = server()
    advance(session, b"EHLO c\r\n")
    advance(session, b"MAIL FROM:<>\r\nNOOP\r\n")
    session.data_to_send()
    session.reply(standard_replies.SHUTTING_DOWN)
    assert session.next_event() == Close(standard_replies.SHUTTING_DOWN)
    assert session.data_to_send() == standard_replies.SHUTTING_DOWN.octets


@pytest.mark.parametrize("octets", [b"", b"EHLO c\r\nMAIL FROM:<>\r\n", b"EHLO c\r\nSTARTTLS\r\n"])
def test_the_shell_can_close_in_any_state(octets: bytes, server: Callable[[], ServerSession]) -> None:
    session = server()
    session.receive_data(octets)
    for _ in range(octets.count(b"\n")):
        session.next_event()
    session.data_to_send()
    session.close(standard_replies.IDLE_TIMEOUT)
    session.close(standard_replies.SHUTTING_DOWN)
    assert session.next_event() == Close(standard_replies.IDLE_TIMEOUT)
    assert session.data_to_send() == standard_replies.IDLE_TIMEOUT.octets


def test_nothing_in_plain_text_is_said_into_a_handshake(server: Callable[[], ServerSession]) -> None:
    session = server()
    session.receive_data(b"EHLO c\r\nSTARTTLS\r\n")
    session.next_event()
    session.next_event()
    session.reply(standard_replies.READY_TO_START_TLS)
    session.data_to_send()
    session.close(standard_replies.IDLE_TIMEOUT)
    assert session.data_to_send() == b""


def test_a_refused_starttls_goes_on_in_plain_text(server: Callable[[], ServerSession]) -> None:
    session = server()
    session.receive_data(b"EHLO c\r\nSTARTTLS\r\n")
    session.next_event()
    session.next_event()
    session.reply(standard_replies.TLS_NOT_AVAILABLE)
    assert session.state is State.READY
    with pytest.raises(LocalProtocolError):
        session.tls_started()


def test_the_shell_must_answer_before_it_goes_on(server: Callable[[], ServerSession]) -> None:
    session = server()
    with pytest.raises(LocalProtocolError, match="no event waits"):
        session.reply(standard_replies.OK)
    advance(session, b"EHLO c\r\n")
    advance(session, b"MAIL FROM:<>\r\n")
    with pytest.raises(LocalProtocolError, match="no reply yet"):
        session.next_event()
    with pytest.raises(LocalProtocolError, match="wrong number"):
        session.reply(standard_replies.OK, standard_replies.OK)
    with pytest.raises(LocalProtocolError, match="not accepted by"):
        session.reply(standard_replies.START_MAIL_INPUT)
    session.reply(standard_replies.SENDER_OK)
    assert session.state is State.MAIL


def test_lmtp_wants_one_reply_for_each_recipient(server: Callable[[str], ServerSession]) -> None:
    session = server("lmtp")
    advance(session, b"LHLO c\r\n")
    advance(session, b"MAIL FROM:<>\r\n")
    session.reply(standard_replies.SENDER_OK)
    for _ in range(2):
        advance(session, b"RCPT TO:<bob@example.com>\r\n")
        session.reply(standard_replies.RECIPIENT_OK)
    advance(session, b"DATA\r\n")
    session.reply(standard_replies.START_MAIL_INPUT)
    advance(session, b".\r\n")
    session.data_to_send()
    with pytest.raises(LocalProtocolError):
        session.reply(standard_replies.OK)
    session.reply(standard_replies.OK, standard_replies.LOCAL_ERROR)
    assert session.data_to_send() == standard_replies.OK.octets + standard_replies.LOCAL_ERROR.octets


def test_lmtp_refuses_a_content_once_for_each_recipient(server: Callable[[str], ServerSession]) -> None:
    session = server("lmtp")
    advance(session, b"LHLO c\r\n")
    advance(session, b"MAIL FROM:<>\r\n")
    session.reply(standard_replies.SENDER_OK)
    for _ in range(2):
        advance(session, b"RCPT TO:<bob@example.com>\r\n")
        session.reply(standard_replies.RECIPIENT_OK)
    advance(session, b"DATA\r\n")
    session.reply(standard_replies.START_MAIL_INPUT)
    session.data_to_send()
    assert isinstance(advance(session, b"\n\r\n.\r\n"), Close)
    assert session.data_to_send() == standard_replies.BARE_CR_OR_LF.octets * 2


def test_credentials_come_decoded_and_are_not_shown(server: Callable[[str], ServerSession]) -> None:
    session = server("submission")
    advance(session, b"EHLO c\r\n")
    event = advance(session, b"AUTH PLAIN Ym9iAGFubgBzZWNyZXQ=\r\n")
    assert event == Authenticate(Mechanism.PLAIN, Credentials("bob", "ann", "secret"))
    assert "secret" not in repr(event)


@pytest.mark.parametrize(
    ("listener", "conversation", "protocol"),
    [
        ("mx", b"HELO c\r\n", "SMTP"),
        ("mx", b"EHLO c\r\n", "ESMTP"),
        ("submission", b"EHLO c\r\n", "ESMTPS"),
        ("submission", b"EHLO c\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\n", "ESMTPSA"),
        ("mx", b"EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n", "UTF8SMTP"),
        ("lmtp", b"LHLO c\r\n", "LMTP"),
        ("lmtp", b"LHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n", "UTF8LMTP"),
    ],
)
def test_the_word_for_the_received_line(
    listener: str,
    conversation: bytes,
    protocol: str,
    server: Callable[[str], ServerSession],
    serve: Callable[[ServerSession, list[bytes]], object],
) -> None:
    session = server(listener)
    serve(session, [conversation])
    assert session.with_protocol == protocol


def test_idle_is_between_transactions_with_nothing_under_way(server: Callable[[], ServerSession]) -> None:
    session = server()
    assert session.idle
    session.receive_data(b"EHL")
    assert not session.idle
    advance(session, b"O c\r\n")
    assert session.idle
    advance(session, b"MAIL FROM:<>\r\n")
    assert not session.idle
    session.reply(standard_replies.SENDER_OK)
    assert not session.idle


def test_a_closed_session_ignores_what_comes(server: Callable[[], ServerSession]) -> None:
    session = server()
    advance(session, b"QUIT\r\nNOOP\r\n")
    session.receive_data(b"NOOP\r\n")
    session.data_to_send()
    assert session.next_event() == Close(standard_replies.CLOSING)
    assert session.data_to_send() == b""
