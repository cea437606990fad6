"""What the shell of a client may rely on, what it must not do, and servers that break the protocol."""

from dataclasses import replace

import pytest

from postroom_wire.smtp import (
    AddressError,
    Capabilities,
    ClientConfig,
    ClientEvent,
    ClientLimits,
    ClientSession,
    ClientState,
    ClientTimeouts,
    Closed,
    Credentials,
    Envelope,
    Greeted,
    LocalProtocolError,
    Mailbox,
    MessageDone,
    NeedData,
    RecipientResult,
    RemoteProtocolError,
    Reply,
    SendContent,
    Stage,
    TlsReady,
)

CONFIG = ClientConfig("me.example")
BOB, CARL = Mailbox("bob", "example.com"), Mailbox("carl", "example.com")
ENVELOPE = Envelope(Mailbox("ann", "example.com"), (BOB, CARL))
READY = b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"


def after(octets: bytes, client: ClientSession) -> ClientEvent:
    """The event that is last when these octets have come."""
    client.receive_data(octets)
    event = client.next_event()
    while not isinstance(following := client.next_event(), NeedData):
        event = following
        if isinstance(event, Closed):
            break
    return event


def ready(config: ClientConfig = CONFIG) -> ClientSession:
    """A client that has been greeted."""
    client = ClientSession(config)
    assert isinstance(after(READY, client), Greeted)
    client.data_to_send()
    return client


def sending(content: bytes = b"") -> ClientSession:
    """A client that is to send the content and has begun to."""
    client = ready()
    client.send(ENVELOPE)
    assert isinstance(after(b"250 OK\r\n250 OK\r\n250 OK\r\n354 Go\r\n", client), SendContent)
    client.data_to_send()
    client.write_content(content)
    return client


def test_capabilities_are_read_from_the_reply() -> None:
    reply = Reply(
        250, None, "mx.example.com at your service\nSize\nauth plain LOGIN\nAUTH=LOGIN\nX-Odd = 1\n\nHELP"
    )
    expected = Capabilities("mx.example.com", esmtp=True, size=0, auth=frozenset({"PLAIN", "LOGIN"}))
    expected = replace(expected, domain="MX.EXAMPLE.COM".lower())
    assert Capabilities.of(reply) == expected
    assert Capabilities.of(Reply(250, None, "x\nSIZE 35882577")).size == 35_882_577
    assert Capabilities.of(Reply(250, None, "x\nSIZE lots")).size == 0
    assert Capabilities.of(Reply(250, None, "x")).size is None


@pytest.mark.parametrize("name", ["", "a b", "x\r\nMAIL", "ä b"])
def test_our_own_name_is_a_domain(name: str) -> None:
    with pytest.raises(AddressError):
        ClientConfig(name)


@pytest.mark.parametrize("cut_at", range(1, 8))
def test_content_may_come_in_any_cut(cut_at: int) -> None:
    content = b".a\n\r\n.\r\rb"
    client = sending(content[:cut_at])
    client.write_content(content[cut_at:])
    client.end_content()
    assert client.data_to_send() == b"..a\r\n\r\n..\r\n\r\nb\r\n.\r\n"


def test_what_is_decided_is_known_when_the_connection_breaks() -> None:
    client = ready()
    client.send(ENVELOPE)
    client.receive_data(b"250 OK\r\n550 5.1.1 No\r\n25")
    assert client.next_event() == NeedData()
    client.receive_data(b"")
    with pytest.raises(RemoteProtocolError, match="hung up"):
        client.next_event()
    assert client.results == (RecipientResult(BOB, Stage.RCPT, Reply(550, "5.1.1", "No")),)


def test_nothing_is_decided_while_the_reply_to_the_content_is_due() -> None:
    client = sending(b"x")
    client.end_content()
    client.receive_data(b"")
    with pytest.raises(RemoteProtocolError):
        client.next_event()
    assert client.results == ()


def test_an_early_refusal_of_the_content_ends_the_session() -> None:
    client = sending(b"x")
    client.receive_data(b"552 5.3.4 Too big\r\n")
    event = client.next_event()
    assert isinstance(event, MessageDone)
    assert [result.permanent for result in event.results] == [True, True]
    assert client.next_event() == Closed(Reply(552, "5.3.4", "Too big"))


def test_replies_that_arrive_before_the_hang_up_count() -> None:
    client = sending(b"x")
    client.end_content()
    client.receive_data(b"250 2.0.0 OK\r\n")
    client.receive_data(b"")
    event = client.next_event()
    assert isinstance(event, MessageDone)
    assert all(result.delivered for result in event.results)
    assert client.results == ()
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_a_hang_up_after_quit_is_as_good_as_a_reply() -> None:
    client = ready()
    client.quit()
    client.receive_data(b"")
    assert client.next_event() == Closed(None)
    assert client.next_event() == Closed(None)


def test_a_421_between_messages_closes() -> None:
    client = ready()
    assert after(b"421 4.4.2 Idle\r\n", client) == Closed(Reply(421, "4.4.2", "Idle"))


def test_a_421_after_a_message_changes_nothing_about_it() -> None:
    client = sending(b"x")
    client.end_content()
    assert isinstance(after(b"250 OK\r\n", client), MessageDone)
    client.receive_data(b"421 4.4.2 Idle\r\n")
    assert client.next_event() == Closed(Reply(421, "4.4.2", "Idle"))


def test_a_bare_552_to_rcpt_means_too_many_and_is_temporary() -> None:
    bare, coded = Reply(552, None, "x"), Reply(552, "5.2.2", "Mailbox full")
    assert RecipientResult(BOB, Stage.RCPT, bare).transient
    assert not RecipientResult(BOB, Stage.RCPT, bare).permanent
    assert RecipientResult(BOB, Stage.RCPT, Reply(552, "5.5.3", "x")).transient
    assert RecipientResult(BOB, Stage.RCPT, coded).permanent
    assert RecipientResult(BOB, Stage.CONTENT, bare).permanent


BROKEN = {
    "no reply": b"hello\r\n",
    "no code": b"25 x\r\n",
    "a code that none is": b"199 x\r\n",
    "a bare line feed": b"220 x\n",
    "a code that changes": b"250-x\r\n220 x\r\n",
    "a line too long": b"220 " + b"x" * 3000,
    "a line too long with its end": b"220 " + b"x" * 2100 + b"\r\n",
    "a reply too long": b"220-x\r\n" * 101,
    "a reply to nothing": READY + b"250 OK\r\n",
    "a greeting that is none": b"250 x\r\n",
    "an EHLO that is none": b"220 x\r\n220 x\r\n",
    "an octet after the reply separator": b"220_x\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_server_that_breaks_the_protocol_is_given_up(name: str) -> None:
    client = ClientSession(CONFIG)
    with pytest.raises(RemoteProtocolError) as raised:
        after(BROKEN[name], client)
    assert "hung up" not in str(raised.value)


@pytest.mark.parametrize(
    "replies",
    [
        b"354 x\r\n",
        b"250 x\r\n334 x\r\n",
        b"250 x\r\n250 x\r\n250 x\r\n250 x\r\n",
        b"550 x\r\n250 x\r\n250 x\r\n354 x\r\n",  # an empty message would be delivered
    ],
)
def test_wrong_replies_to_a_transaction_are_told(replies: bytes) -> None:
    client = ready()
    client.send(ENVELOPE)
    client.receive_data(replies)
    with pytest.raises(RemoteProtocolError) as raised:
        client.next_event()
    assert raised.value.reply is not None


@pytest.mark.parametrize("replies", [b"354 x\r\n", b"250 x\r\n"])
def test_an_answer_to_content_that_has_no_end_is_told(replies: bytes) -> None:
    client = sending(b"x")
    client.receive_data(replies)
    with pytest.raises(RemoteProtocolError):
        client.next_event()


@pytest.mark.parametrize("ahead", [b"2", b"250-x\r\n", b"250 injected\r\n"])
def test_octets_ahead_of_tls_are_an_attack(ahead: bytes) -> None:
    client = ready()
    client.start_tls()
    client.receive_data(b"220 Go\r\n" + ahead)
    with pytest.raises(RemoteProtocolError, match="ahead"):
        client.next_event()
    client = ready()
    client.start_tls()
    client.receive_data(b"220 Go\r\n")
    assert client.next_event() == TlsReady()
    client.receive_data(ahead)
    with pytest.raises(RemoteProtocolError, match="ahead"):
        client.tls_started()
    with pytest.raises(RemoteProtocolError, match="ahead"):
        client.next_event()


def test_tls_forgets_what_was_offered_before() -> None:
    client = ready()
    assert client.capabilities.auth
    client.start_tls()
    after(b"220 Go\r\n", client)
    client.tls_started()
    assert client.tls_active
    assert after(b"250 mx\r\n", client) == Greeted(Capabilities("mx", esmtp=True))


def test_a_server_that_knows_no_ehlo_after_tls_offers_nothing() -> None:
    client = ready()
    client.start_tls()
    after(b"220 Go\r\n", client)
    client.tls_started()
    assert after(b"500 What?\r\n250 mx\r\n", client) == Greeted(Capabilities())


def test_credentials_need_tls_or_a_word_of_the_shell() -> None:
    credentials = Credentials("", "ann", "secret")
    with pytest.raises(LocalProtocolError):
        ready().authenticate(credentials)
    client = ready(ClientConfig("me.example", plaintext_auth=True))
    with pytest.raises(LocalProtocolError):
        client.authenticate(Credentials("", "ann\0", "secret"))
    client.authenticate(credentials)
    assert client.data_to_send() == b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n"


def test_a_long_response_is_no_initial_response() -> None:
    client = ready(ClientConfig("me.example", plaintext_auth=True))
    client.authenticate(Credentials("", "ann", "s" * 400))
    assert client.data_to_send() == b"AUTH PLAIN\r\n"
    client.receive_data(b"334 \r\n")
    client.next_event()
    assert len(client.data_to_send()) == 542


def test_a_server_that_goes_on_after_a_cancel_is_given_up() -> None:
    client = ready(ClientConfig("me.example", plaintext_auth=True))
    client.authenticate(Credentials("", "ann", "secret"))
    client.receive_data(b"334 \r\n334 \r\n")
    with pytest.raises(RemoteProtocolError):
        client.next_event()


def test_calls_out_of_order_are_bugs() -> None:
    client = ClientSession(CONFIG)
    for call in (client.start_tls, client.tls_started, client.end_content, client.quit):
        with pytest.raises(LocalProtocolError):
            call()
    with pytest.raises(LocalProtocolError):
        client.send(ENVELOPE)
    with pytest.raises(LocalProtocolError):
        client.write_content(b"")
    with pytest.raises(LocalProtocolError):
        ready().send(Envelope(None, ()))


def test_what_is_due_says_how_long_to_wait() -> None:
    times = ClientTimeouts(1.0, 2.0, 3.0, 4.0, 5.0)
    client = ClientSession(ClientConfig("me.example", timeouts=times))
    assert client.timeout_seconds == 1.0
    after(READY, client)
    client.send(ENVELOPE)
    assert client.timeout_seconds == 2.0
    client.receive_data(b"250 OK\r\n250 OK\r\n250 OK\r\n")
    client.next_event()
    assert client.timeout_seconds == 3.0
    client.receive_data(b"354 Go\r\n")
    client.next_event()
    assert client.timeout_seconds == 4.0
    client.end_content()
    assert client.timeout_seconds == 5.0
    client.receive_data(b"250 OK\r\n")
    client.next_event()
    client.quit()
    assert client.timeout_seconds == 2.0


def test_the_default_time_outs_are_those_of_the_standard() -> None:
    assert ClientTimeouts() == ClientTimeouts(300, 300, 120, 180, 600)  # RFC 5321 s4.5.3.2


def test_replies_are_read_with_their_enhanced_codes_and_made_printable() -> None:
    client = ready()
    client.send(ENVELOPE)
    client.receive_data(b"550-5.7.1 a\x07\r\n550-b\r\n550 5.7.1 \xff\r\n")
    client.next_event()
    assert client.results[0].reply == Reply(550, "5.7.1", "a?\nb\n\ufffd")
    client = ready()
    client.send(ENVELOPE)
    client.receive_data(b"450 5.7.1 odd class\r\n")
    client.next_event()
    assert client.results[0].reply == Reply(450, None, "5.7.1 odd class")


def test_a_flood_of_replies_is_bounded() -> None:
    client = ClientSession(ClientConfig("me.example", limits=ClientLimits(buffer=100)))
    with pytest.raises(LocalProtocolError):
        client.receive_data(b"x" * 101)
    assert client.state is ClientState.GREETING
