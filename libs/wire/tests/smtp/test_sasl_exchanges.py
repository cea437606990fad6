"""AUTH with mechanisms of more than one step, whatever the network cuts (RFC 4954 s4)."""

import base64
from collections.abc import Callable

import pytest

from postroom_wire.sasl import Bearer, Channel, ScramOpening, ScramProof
from postroom_wire.smtp import Answered, Authenticate, Close, Mechanism, NeedData, ServerConfig, ServerSession
from postroom_wire.smtp import standard_replies as replies

Cut = Callable[..., list[bytes]]

CONFIG = ServerConfig("mx.example.com", mechanisms=tuple(Mechanism), auth_required=True)
BOUND = Channel({"tls-server-end-point": b"\x01" * 32}, certified=True)

# RFC 7677 s3.
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def dressed(*responses: bytes) -> bytes:
    """Lines of BASE64."""
    return b"".join(base64.b64encode(response) + b"\r\n" for response in responses)


def converse(chunks: list[bytes], *, right: bool = True) -> tuple[bytes, ServerSession]:
    """All that is said after EHLO, by a shell that knows RFC 7677's user and one token."""
    session = ServerSession(CONFIG, tls_active=True, channel=BOUND)
    session.receive_data(b"EHLO c\r\n")
    while not isinstance(session.next_event(), NeedData):
        pass
    session.data_to_send()
    for chunk in chunks:
        session.receive_data(chunk)
        while not isinstance(event := session.next_event(), NeedData | Close):
            if isinstance(event, Authenticate):
                answer(session, event, right=right)
            else:
                assert isinstance(event, Answered)
    return session.data_to_send(), session


def answer(session: ServerSession, event: Authenticate, *, right: bool) -> None:
    match event.attempt:
        case ScramOpening():
            session.challenge(SERVER_FIRST)
        case ScramProof() if right:
            session.challenge(SERVER_FINAL)
        case Bearer(token="right"):
            session.reply(replies.AUTH_OK)
        case Bearer(token="later"):
            session.reply(replies.AUTH_UNAVAILABLE)
        case _:
            session.reply(replies.AUTH_FAILED)


def test_all_that_fits_the_channel_is_offered() -> None:
    for channel, offered in (
        (BOUND, b"PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2 EXTERNAL"),
        (Channel(), b"PLAIN LOGIN SCRAM-SHA-256 OAUTHBEARER XOAUTH2"),
    ):
        session = ServerSession(CONFIG, tls_active=True, channel=channel)
        session.receive_data(b"EHLO c\r\n")
        session.next_event()
        assert b"250-AUTH " + offered + b"\r\n" in session.data_to_send()


@pytest.mark.parametrize("at", range(0, 260, 7))
def test_scram_ends_with_our_word_and_an_empty_response(cut: Cut, at: int) -> None:
    octets = b"AUTH SCRAM-SHA-256\r\n" + dressed(FIRST, FINAL, b"") + b"NOOP\r\n"
    said, session = converse(cut(octets, {at, at + 3}))
    assert said == (
        b"334 \r\n"
        b"334 "
        + dressed(SERVER_FIRST)
        + b"334 "
        + dressed(SERVER_FINAL)
        + replies.AUTH_OK.octets
        + replies.OK.octets
    )
    assert session.authenticated


@pytest.mark.parametrize("last", [b"*\r\n", dressed(b"more"), b"not BASE64\r\n"])
def test_a_client_that_does_not_take_our_last_word_is_not_in(last: bytes) -> None:
    first = base64.b64encode(FIRST)
    said, session = converse([b"AUTH SCRAM-SHA-256 " + first + b"\r\n" + dressed(FINAL) + last])
    assert said.endswith((replies.AUTH_CANCELLED.octets, replies.AUTH_MALFORMED.octets))
    assert not session.authenticated


def test_a_wrong_proof_is_refused() -> None:
    said, session = converse([b"AUTH SCRAM-SHA-256\r\n" + dressed(FIRST, FINAL)], right=False)
    assert said.endswith(replies.AUTH_FAILED.octets)
    assert not session.authenticated


def test_a_proof_for_another_nonce_never_reaches_the_shell() -> None:
    said, _ = converse([b"AUTH SCRAM-SHA-256\r\n" + dressed(FIRST, FINAL.replace(b"%hv", b"%hx"))])
    assert said.endswith(replies.AUTH_FAILED.octets)


@pytest.mark.parametrize("mechanism", [b"OAUTHBEARER", b"XOAUTH2"])
@pytest.mark.parametrize(
    ("token", "answer", "ends"),
    [
        (b"right", b"", replies.AUTH_OK.octets + replies.OK.octets),
        (b"later", b"", replies.AUTH_UNAVAILABLE.octets + replies.OK.octets),
        (b"wrong", dressed(b"\x01"), replies.AUTH_FAILED.octets + replies.OK.octets),
        (b"wrong", b"*\r\n", replies.AUTH_CANCELLED.octets + replies.OK.octets),
    ],
)
def test_tokens(mechanism: bytes, token: bytes, answer: bytes, ends: bytes) -> None:
    auth = b"\x01auth=Bearer " + token + b"\x01\x01"
    whom = b"n,a=ann@example.com," if mechanism == b"OAUTHBEARER" else b"user=ann@example.com"
    octets = b"AUTH " + mechanism + b" " + dressed(whom + auth) + answer + b"NOOP\r\n"
    said, session = converse([octets])

    assert said.endswith(ends)
    assert said.startswith(b"334 eyJzdGF0dXMi") is (token == b"wrong")
    assert session.authenticated is (token == b"right")


def test_external_says_who_or_nothing() -> None:
    said, _ = converse([b"AUTH EXTERNAL =\r\nAUTH EXTERNAL\r\n\r\n"])
    assert said == replies.AUTH_FAILED.octets + b"334 \r\n" + replies.AUTH_FAILED.octets
