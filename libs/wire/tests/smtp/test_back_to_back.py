"""The client engine against the server engine, with every cut in both directions."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.smtp import (
    ClientConfig,
    ClientEvent,
    ClientSession,
    Closed,
    ContentEnd,
    Credentials,
    Envelope,
    Greeted,
    Mail,
    Mailbox,
    MessageDone,
    NeedData,
    Rcpt,
    SendContent,
    ServerEvent,
    ServerSession,
    TlsReady,
)

Serve: TypeAlias = Callable[[ServerSession, Iterable[bytes]], tuple[bytes, list[ServerEvent]]]
Cut: TypeAlias = Callable[[bytes, Iterable[int]], list[bytes]]
Messages: TypeAlias = Callable[[list[ServerEvent]], list[bytes]]

names = st.sampled_from(["ann", "bob", "nobody", "later", 'o"dd one', "änne", "a.b"])
mailboxes = st.builds(Mailbox, names, st.sampled_from(["example.com", "[192.0.2.1]"]))
envelopes = st.builds(
    Envelope, st.none() | mailboxes, st.lists(mailboxes, min_size=1, max_size=4).map(tuple[Mailbox, ...])
)
contents = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"a", b"\xe4 b", b"\r\n."])).map(b"".join)
Mails: TypeAlias = list[tuple[Envelope, bytes]]


class Relay:
    """A client's shell that sends its mails one after another and keeps the results."""

    def __init__(self, mails: Mails, cuts: set[int], cut: Cut) -> None:
        self.client = ClientSession(ClientConfig("me.example"))
        self.done: list[MessageDone] = []
        self.closed = False
        self._mails = iter(mails)
        self._content = b""
        self._cuts, self._cut = cuts, cut

    def take(self, octets: bytes) -> bytes:
        """What the server says, to what the client says then."""
        self.client.receive_data(octets)
        while not isinstance(event := self.client.next_event(), NeedData | Closed):
            self._on_event(event)
        self.closed = isinstance(event, Closed)
        return self.client.data_to_send()

    def _on_event(self, event: ClientEvent) -> None:
        match event:
            case Greeted(capabilities) if capabilities.starttls:
                self.client.start_tls()
            case TlsReady():
                self.client.tls_started()
            case Greeted(capabilities) if capabilities.auth:
                self.client.authenticate(Credentials("", "ann", "secret"))
            case SendContent():
                for piece in self._cut(self._content, self._cuts):
                    self.client.write_content(piece)
                self.client.end_content()
            case MessageDone():
                self.done.append(event)
                self._next()
            case _:
                self._next()

    def _next(self) -> None:
        if (mail := next(self._mails, None)) is None:
            self.client.quit()
        else:
            envelope, self._content = mail
            self.client.send(envelope)


@given(
    mails=st.lists(st.tuples(envelopes, contents), max_size=4),
    cuts=st.sets(st.integers(1, 300)),
    listener=st.sampled_from(["mx", "submission"]),
)
def test_what_the_client_sends_is_what_the_server_gets(
    mails: Mails,
    cuts: set[int],
    listener: str,
    server: Callable[..., ServerSession],
    serve: Serve,
    cut: Cut,
    messages: Messages,
) -> None:
    session = server(listener, tls_active=False)
    relay = Relay(mails, cuts, cut)
    events: list[ServerEvent] = []
    to_client = b"220 mx.example.com\r\n"
    while not relay.closed:
        to_server = b"".join(relay.take(piece) for piece in cut(to_client, cuts))
        to_client = b""
        for piece in cut(to_server, cuts):
            said, new = serve(session, [piece])
            events += new
            to_client += said
    assert session.tls_active
    expected = [mail for mail in mails if any(taken(recipient) for recipient in mail[0].recipients)]
    senders = [event.reverse_path for event in events if isinstance(event, Mail)]
    recipients = [event.forward_path for event in events if isinstance(event, Rcpt)]
    assert senders == [envelope.reverse_path for envelope, _ in mails]
    assert recipients == [path for envelope, _ in mails for path in envelope.recipients]
    assert messages(events) == [whole(content) for _, content in expected]
    assert len([event for event in events if isinstance(event, ContentEnd)]) == len(expected)
    for (envelope, _), done in zip(mails, relay.done, strict=True):
        assert [result.recipient for result in done.results] == list(envelope.recipients)
        assert [result.delivered for result in done.results] == [taken(path) for path in envelope.recipients]


def taken(recipient: object) -> bool:
    """Whether the server of these tests takes mail for the recipient."""
    return isinstance(recipient, Mailbox) and recipient.local_part not in ("nobody", "later")


def whole(content: bytes) -> bytes:
    """The content with good line ends and a last one."""
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return (text if not text or text.endswith(b"\n") else text + b"\n").replace(b"\n", b"\r\n")
