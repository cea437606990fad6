"""Whatever comes, from the network or from a fuzzer: replies, and no errors but the declared ones."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.smtp import (
    ClientConfig,
    ClientSession,
    Closed,
    Credentials,
    Envelope,
    Greeted,
    Mail,
    Mailbox,
    MessageDone,
    NeedData,
    RemoteProtocolError,
    SendContent,
    ServerEvent,
    ServerSession,
    TlsReady,
)

Serve: TypeAlias = Callable[[ServerSession, Iterable[bytes]], tuple[bytes, list[ServerEvent]]]
Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]

# The way into each state.
STATES = {
    "mx: connected": b"",
    "mx: ready": b"EHLO c\r\n",
    "mx: mail": b"EHLO c\r\nMAIL FROM:<a@b.example> SMTPUTF8\r\n",
    "mx: rcpt": b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n",
    "mx: content": b"EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n",
    "submission: ready": b"EHLO c\r\n",
    "submission: PLAIN": b"EHLO c\r\nAUTH PLAIN\r\n",
    "submission: LOGIN": b"EHLO c\r\nAUTH LOGIN\r\nYW5u\r\n",
    "lmtp: content": b"LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@f.example>\r\nDATA\r\n",
}
WORDS = [
    b"EHLO",
    b"MAIL",
    b"RCPT",
    b"DATA",
    b"RSET",
    b"AUTH",
    b"STARTTLS",
    b"QUIT",
    b"FROM:",
    b"TO:",
    b"<",
    b">",
    b"@",
    b"a",
    b'"',
    b"\\",
    b" ",
    b"\r\n",
    b"\r",
    b"\n",
    b".",
    b"\0",
    b"\xff",
    "ü".encode(),
    b"SIZE=",
    b"9" * 30,
    b"=",
    b"PLAIN",
    b"*",
    b"[",
    b"]",
    b"IPv6:",
    b":",
    b",",
    b"\r\n.\r\n",
]
octets = st.binary(max_size=300) | st.lists(st.sampled_from(WORDS), max_size=40).map(b"".join)


@pytest.mark.parametrize("state", STATES)
@given(octets=octets, cuts=st.sets(st.integers(1, 100)))
def test_a_server_answers_any_octets_wherever_they_are_cut(
    state: str, octets: bytes, cuts: set[int], server: Callable[[str], ServerSession], serve: Serve, cut: Cut
) -> None:
    whole, pieces = server(state.partition(":")[0]), server(state.partition(":")[0])
    serve(whole, [STATES[state]])
    serve(pieces, [STATES[state]])
    octets = octets.replace(b"STARTTLS", b"NOOP")  # it drops what is ahead, so there cuts do matter
    said, events = serve(whole, [octets + b"\r\n"])
    assert serve(pieces, cut(octets + b"\r\n", cuts))[0] == said
    assert said == b"" or said.endswith(b"\r\n")
    assert len(events) <= len(octets) + 2


@given(octets=octets)
def test_a_server_answers_any_octets_around_starttls(
    octets: bytes, server: Callable[[str], ServerSession], serve: Serve
) -> None:
    serve(server("mx"), [b"EHLO c\r\n" + octets, b"STARTTLS\r\n" + octets, octets])


@given(argument=st.binary(max_size=80).filter(lambda octets: b"\n" not in octets))
def test_a_sender_that_is_taken_can_be_written_again(
    argument: bytes, server: Callable[[str], ServerSession], serve: Serve
) -> None:
    _, events = serve(server("mx"), [b"HELO c\r\nMAIL FROM:<" + argument + b">\r\n"])
    for event in events:
        if isinstance(event, Mail) and event.reverse_path is not None:
            assert Mailbox.parse(str(event.reverse_path)) == event.reverse_path


REPLIES = [
    b"220 x\r\n",
    b"250 x\r\n",
    b"250-x\r\n",
    b"250-PIPELINING\r\n",
    b"250-AUTH PLAIN LOGIN\r\n",
    b"250 STARTTLS\r\n",
    b"250-SIZE\r\n",
    b"250-SMTPUTF8\r\n",
    b"334 \r\n",
    b"235 x\r\n",
    b"354 x\r\n",
    b"421 x\r\n",
    b"450 4.2.0 x\r\n",
    b"550 5.1.1 x\r\n",
    b"552 x\r\n",
    b"221 x\r\n",
    b"\r\n",
    b"\n",
    b"999 x\r\n",
    b"250",
    b"-",
    b"\xff\0",
]


@given(
    replies=st.lists(st.sampled_from(REPLIES) | st.binary(max_size=20), max_size=30).map(b"".join),
    cuts=st.sets(st.integers(1, 100)),
    greeting=st.sampled_from(
        [b"", b"220 x\r\n250 x\r\n", b"220 x\r\n250-x\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"]
    ),
)
def test_a_client_takes_any_octets_or_raises_the_declared_error(
    replies: bytes, cuts: set[int], greeting: bytes, cut: Cut
) -> None:
    client = ClientSession(ClientConfig("client.example", plaintext_auth=True))
    done = 0
    try:
        for chunk in [*cut(greeting, ()), *cut(replies, cuts), b""]:
            client.receive_data(chunk)
            while not isinstance(event := client.next_event(), NeedData):
                done += isinstance(event, MessageDone)
                if isinstance(event, Closed):
                    return
                go_on(client, event, done)
            client.data_to_send()
    except RemoteProtocolError:
        assert len(client.results) <= 2


def go_on(client: ClientSession, event: object, done: int) -> None:
    """The shell's next step, another one for each message."""
    envelope = Envelope(Mailbox("a", "b.example"), (Mailbox("c", "d.example"), Mailbox("e", "f.example")))
    match event:
        case TlsReady():
            client.tls_started()
        case SendContent():
            client.write_content(b"x")
            client.end_content()
        case Greeted(capabilities) if capabilities.starttls and not client.tls_active:
            client.start_tls()
        case Greeted(capabilities) if capabilities.auth:
            client.authenticate(Credentials("", "ann", "secret"))
        case MessageDone(results):
            assert [result.recipient for result in results] == list(envelope.recipients)
            assert all(result.delivered + result.transient + result.permanent == 1 for result in results)
            if client.state.name == "READY":
                if done < 3:
                    client.send(envelope)
                else:
                    client.quit()
        case _:
            if client.state.name == "READY":
                client.send(envelope)
