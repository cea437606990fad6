"""AUTH, UTF8 and LANG (RFC 5034, RFC 6856), whatever the network cuts."""

import base64
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.pop3 import (
    Close,
    Limits,
    Login,
    LoginRefusal,
    Maildrop,
    Message,
    NeedData,
    ServerConfig,
    ServerSession,
    StartTls,
)
from postroom_wire.sasl import Bearer, Channel, Credentials, Mechanism, ScramOpening, ScramProof

BOUND = Channel({"tls-server-end-point": b"\x01" * 32}, certified=True)
GREETING = b"+OK POP3 server ready\r\n"
IN = b"+OK 1 messages (7 octets)\r\n"
WRONG = LoginRefusal.CREDENTIALS.value

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


def session(*, tls: bool = True, limits: Limits | None = None, **config: object) -> ServerSession:
    """With all mechanisms."""
    chosen = {"mechanisms": tuple(Mechanism), **config}
    made = ServerSession(
        ServerConfig(limits=limits or Limits(), **chosen),  # pyright: ignore[reportArgumentType]
        tls_active=tls,
        channel=BOUND if tls else Channel(),
    )
    assert made.data_to_send() == GREETING
    return made


def converse(made: ServerSession, *chunks: bytes) -> bytes:
    """All that is said; Ann's and the RFC's user's proofs are right."""
    said = b""
    for chunk in chunks:
        made.receive_data(chunk)
        while not isinstance(event := made.next_event(), NeedData | Close):
            if isinstance(event, Login):
                answer(made, event)
            elif isinstance(event, StartTls):
                made.tls_started(BOUND)
        said += made.data_to_send()
    return said


def answer(made: ServerSession, event: Login) -> None:
    maildrop = Maildrop([Message(7, "x")])
    match event.attempt:
        case ScramOpening():
            made.challenge(SERVER_FIRST)
        case ScramProof():
            made.accept_login(maildrop, SERVER_FINAL)
        case Credentials("", "ann", "secret") | Bearer(token="right"):
            made.accept_login(maildrop)
        case Bearer(token="later"):
            made.refuse_login(LoginRefusal.TEMPORARY)
        case _:
            made.refuse_login(LoginRefusal.CREDENTIALS)


PLAIN = base64.b64encode(b"\0ann\0secret")


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"AUTH PLAIN " + PLAIN + b"\r\nSTAT\r\n", IN + b"+OK 1 7\r\n"),
        (b"auth plain\r\n" + PLAIN + b"\r\nSTAT\r\n", b"+ \r\n" + IN + b"+OK 1 7\r\n"),
        (b"AUTH LOGIN\r\n" + dressed(b"ann", b"secret"), b"+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n" + IN),
        (b"AUTH PLAIN " + dressed(b"\0ann\0wrong") + b"AUTH PLAIN " + PLAIN + b"\r\n", WRONG + IN),
        (
            b"AUTH SCRAM-SHA-256\r\n" + dressed(FIRST, FINAL, b"") + b"STAT\r\n",
            b"+ \r\n+ " + dressed(SERVER_FIRST) + b"+ " + dressed(SERVER_FINAL) + IN + b"+OK 1 7\r\n",
        ),
        (
            b"AUTH OAUTHBEARER " + dressed(b"n,,\x01auth=Bearer right\x01\x01"),
            IN,
        ),
        (
            b"AUTH XOAUTH2 " + dressed(b"user=ann\x01auth=Bearer later\x01\x01") + b"NOOP\r\n",
            LoginRefusal.TEMPORARY.value + b"-ERR Command not allowed now\r\n",
        ),
        (
            b"AUTH OAUTHBEARER " + dressed(b"n,,\x01auth=Bearer wrong\x01\x01", b"\x01"),
            b"+ " + dressed(b'{"status":"invalid_token"}') + WRONG,
        ),
        (b"AUTH EXTERNAL =\r\n", WRONG),
        (b"AUTH PLAIN\r\n*\r\nCAPX\r\n", b"+ \r\n-ERR Authentication cancelled\r\n-ERR Unknown command\r\n"),
        (b"AUTH PLAIN\r\nno BASE64\r\n", b"+ \r\n-ERR Cannot decode the response\r\n"),
        (b"AUTH PLAIN !\r\n", b"-ERR Cannot decode the response\r\n"),
        (b"AUTH CRAM-MD5\r\n", b"-ERR No such mechanism\r\n"),
        (b"AUTH PLAIN = x\r\n", b"-ERR Wrong arguments\r\n"),
        (
            b"AUTH\r\n",
            (
                b"+OK Mechanisms follow\r\nPLAIN\r\nLOGIN\r\nSCRAM-SHA-256\r\nSCRAM-SHA-256-PLUS\r\n"
                b"OAUTHBEARER\r\nXOAUTH2\r\nEXTERNAL\r\n.\r\n"
            ),
        ),
    ],
)
def test_an_exchange_is_the_same_wherever_the_network_cuts(octets: bytes, said: bytes) -> None:
    assert converse(session(), octets) == said
    for places in ([at] for at in range(1, len(octets))):
        edges = [0, *places, len(octets)]
        assert converse(session(), *(octets[a:b] for a, b in pairwise(edges))) == said
    assert converse(session(), *(octets[at : at + 1] for at in range(len(octets)))) == said


def test_who_does_not_take_our_last_word_is_not_in() -> None:
    made = session()
    octets = b"AUTH SCRAM-SHA-256 " + dressed(FIRST, FINAL) + b"*\r\nSTAT\r\n"
    assert converse(made, octets).endswith(
        b"-ERR Authentication cancelled\r\n-ERR Command not allowed now\r\n"
    )


def test_without_tls_nobody_is_asked_for_anything() -> None:
    made = session(tls=False)
    assert converse(made, b"AUTH PLAIN " + PLAIN + b"\r\n") == b"-ERR Start TLS before you log in\r\n"
    assert b"SASL" not in converse(made, b"CAPA\r\n")
    said = converse(made, b"STLS\r\n", b"CAPA\r\n")
    assert b"SASL PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2 EXTERNAL\r\n" in said


def test_where_passwords_are_not_taken_user_is_not_offered() -> None:
    made = session(mechanisms=(Mechanism.XOAUTH2,))
    said = converse(made, b"CAPA\r\nUSER ann\r\n")
    assert b"\r\nSASL XOAUTH2\r\n" in said
    assert b"\r\nUSER\r\n" not in said
    assert said.endswith(b"-ERR Command not allowed now\r\n")


def test_too_many_refused_exchanges_end_the_session() -> None:
    made = session(limits=Limits(refused_logins=3))
    wrong = b"AUTH PLAIN " + dressed(b"\0ann\0wrong")
    assert converse(made, wrong * 5) == WRONG * 3
    assert isinstance(made.next_event(), Close)


def test_a_response_may_be_longer_than_a_command() -> None:
    token = b"t" * 8_000
    made = session()
    said = converse(made, b"AUTH XOAUTH2 " + dressed(b"user=ann\x01auth=Bearer " + token + b"\x01\x01"))
    assert said.startswith(b"+ ")
    assert converse(made, b"*\r\nNOOP " + b"x" * 1_100 + b"\r\n").endswith(b"-ERR Line too long\r\n")
    assert converse(made, b"AUTH PLAIN\r\n" + b"A" * 13_000 + b"\r\nAUTH PLAIN " + PLAIN + b"\r\n") == (
        b"+ \r\n-ERR Line too long\r\n" + IN
    )


def test_utf8_is_for_before_the_login_and_after_tls() -> None:
    made = session()
    assert converse(made, b"UTF8\r\nSTLS\r\n") == (
        b"+OK UTF-8 from now on\r\n-ERR Command not permitted when TLS active\r\n"
    )
    assert made.utf8
    refused = b"-ERR Command not allowed now\r\n"
    assert converse(made, b"AUTH PLAIN " + PLAIN + b"\r\nUTF8\r\n") == IN + refused
    plain = session(tls=False)
    assert converse(plain, b"UTF8\r\nSTLS\r\n").endswith(b"-ERR TLS comes before UTF8\r\n")


def test_all_that_is_said_is_english() -> None:
    made = session()
    listing = b"+OK Language listing follows\r\nen English\r\n.\r\n"
    changed = b"+OK en Language changed\r\n"
    octets = b"LANG\r\nLANG EN\r\nLANG *\r\nLANG MUL\r\nLANG de ch\r\n"
    refused = b"-ERR No such language\r\n-ERR Wrong arguments\r\n"
    assert converse(made, octets) == listing + changed + changed + refused
    converse(made, b"AUTH PLAIN " + PLAIN + b"\r\n")
    assert converse(made, b"LANG\r\nLANG *\r\n") == listing + changed


@pytest.mark.parametrize("name", [b"\xff", "a\u0007".encode(), "\ufffd".encode(), "\u0627a".encode()])
def test_names_and_passwords_that_saslprep_prohibits_are_refused(name: bytes) -> None:
    made = session()
    assert converse(made, b"USER " + name + b"\r\n") == b"-ERR Wrong arguments\r\n"
    assert converse(made, b"USER ann\r\nPASS " + name + b"\r\n").endswith(b"-ERR Wrong arguments\r\n")


def test_capabilities_are_those_of_both_states() -> None:
    made = session(mechanisms=(Mechanism.PLAIN,))
    said = converse(made, b"CAPA\r\n")
    assert said.splitlines()[1:] == [
        b"TOP",
        b"UIDL",
        b"RESP-CODES",
        b"AUTH-RESP-CODE",
        b"PIPELINING",
        b"EXPIRE NEVER",
        b"UTF8 USER",
        b"LANG",
        b"USER",
        b"SASL PLAIN",
        b"IMPLEMENTATION Postroom",
        b".",
    ]
    assert converse(made, b"AUTH PLAIN " + PLAIN + b"\r\nCAPA\r\n") == IN + said


_LINES = st.sampled_from(
    [
        *(b"AUTH " + mechanism.value.encode() for mechanism in Mechanism),
        b"AUTH PLAIN " + PLAIN,
        b"AUTH",
        b"UTF8",
        b"LANG x",
        b"*",
        b"",
        b"=",
        *dressed(FIRST, FINAL, b"\x01", b"ann").split(b"\r\n"),
        b"\xff\x00",
        b"x" * 13_000,
        b"STAT",
    ]
)


@given(
    lines=st.lists(st.one_of(_LINES, st.binary(max_size=30)), max_size=12), cuts=st.sets(st.integers(0, 200))
)
def test_any_lines_are_answered_the_same_wherever_the_network_cuts(
    lines: list[bytes], cuts: set[int]
) -> None:
    octets = b"".join(line + b"\r\n" for line in lines)
    edges = sorted({0, len(octets)} | {cut for cut in cuts if cut < len(octets)})
    pieces = [octets[a:b] for a, b in pairwise(edges)]
    assert converse(session(), *pieces) == converse(session(), octets)
