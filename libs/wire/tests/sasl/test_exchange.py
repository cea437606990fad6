"""Exchanges of all mechanisms but SCRAM, and any octets in all of them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.sasl import (
    Attempt,
    Bearer,
    Certificate,
    Challenge,
    Channel,
    Credentials,
    LocalProtocolError,
    Mechanism,
    SaslError,
    SaslServer,
    ScramOpening,
    Verdict,
    find,
    offer,
)

ATTEMPTS: dict[str, tuple[Mechanism, bytes, Attempt]] = {
    "RFC 4616 s4": (Mechanism.PLAIN, b"\0tim\0tanstaaftanstaaf", Credentials("", "tim", "tanstaaftanstaaf")),
    "RFC 4616 s4, as another": (
        Mechanism.PLAIN,
        b"Ursel\0Kurt\0xipj3plmq",
        Credentials("Ursel", "Kurt", "xipj3plmq"),
    ),
    "RFC 7628 s4.1": (
        Mechanism.OAUTHBEARER,
        (
            b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
            b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        ),
        Bearer("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="),
    ),
    "a token for whom it says": (
        Mechanism.OAUTHBEARER,
        b"n,,\x01auth=bearer abc\x01\x01",
        Bearer("", "abc"),
    ),
    "XOAUTH2": (
        Mechanism.XOAUTH2,
        b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01",
        Bearer("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"),
    ),
    "RFC 4422 sA": (Mechanism.EXTERNAL, b"", Certificate("")),
    "RFC 4422 sA, as somebody": (Mechanism.EXTERNAL, b"fred@example.com", Certificate("fred@example.com")),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_response_is_an_attempt_with_or_without_a_challenge_before(name: str) -> None:
    mechanism, octets, attempt = ATTEMPTS[name]
    assert SaslServer(mechanism).begin(octets) == attempt
    exchange = SaslServer(mechanism)
    assert exchange.begin(None) == Challenge(b"")
    assert exchange.respond(octets) == attempt
    assert exchange.accept() is Verdict.ACCEPTED


def test_login_asks_for_name_and_password() -> None:
    exchange = SaslServer(Mechanism.LOGIN)
    assert exchange.begin(None) == Challenge(b"Username:")
    assert exchange.respond(b"ann") == Challenge(b"Password:")
    assert exchange.respond(b"secret") == Credentials("", "ann", "secret")
    assert exchange.refuse() is Verdict.REFUSED


@pytest.mark.parametrize("answer", [b"\x01", b""])
@pytest.mark.parametrize("name", ["RFC 7628 s4.1", "XOAUTH2"])
def test_who_comes_with_a_wrong_token_is_told_why_and_answers_first(name: str, answer: bytes) -> None:
    mechanism, octets, _ = ATTEMPTS[name]
    exchange = SaslServer(mechanism)
    exchange.begin(octets)
    reason = exchange.refuse()
    assert isinstance(reason, Challenge)
    assert reason.octets.startswith(b'{"status":"')
    assert exchange.respond(answer) is Verdict.REFUSED


def test_an_answer_to_a_refusal_lets_nobody_in() -> None:
    mechanism, octets, _ = ATTEMPTS["XOAUTH2"]
    exchange = SaslServer(mechanism)
    exchange.begin(octets)
    exchange.refuse()
    with pytest.raises(SaslError):
        exchange.respond(octets)


@pytest.mark.parametrize(
    ("mechanism", "octets"),
    [
        (Mechanism.PLAIN, b""),
        (Mechanism.PLAIN, b"ann\0secret"),
        (Mechanism.PLAIN, b"\0\0secret"),
        (Mechanism.PLAIN, b"\0ann\0"),
        (Mechanism.PLAIN, b"\0ann\0a\0b"),
        (Mechanism.PLAIN, b"\0ann\0\xff"),
        (Mechanism.LOGIN, b""),
        (Mechanism.LOGIN, b"a\0b"),
        (Mechanism.LOGIN, b"\xff"),
        (Mechanism.OAUTHBEARER, b"\x01"),
        (Mechanism.OAUTHBEARER, b"n,,\x01\x01"),
        (Mechanism.OAUTHBEARER, b"n,,\x01auth=Basic abc\x01\x01"),
        (Mechanism.OAUTHBEARER, b"p=tls-unique,,\x01auth=Bearer abc\x01\x01"),
        (Mechanism.OAUTHBEARER, b"n,,\x01auth=Bearer abc\x01"),
        (Mechanism.OAUTHBEARER, b"n,,\x01auth=Bearer a b\x01\x01"),
        (Mechanism.XOAUTH2, b"auth=Bearer abc\x01\x01"),
        (Mechanism.XOAUTH2, b"user=\x01auth=Bearer abc\x01\x01"),
        (Mechanism.XOAUTH2, b"user=\xff\x01auth=Bearer abc\x01\x01"),
        (Mechanism.EXTERNAL, b"\0"),
    ],
)
def test_what_breaks_the_grammar_ends_the_exchange(mechanism: Mechanism, octets: bytes) -> None:
    with pytest.raises(SaslError) as raised:
        SaslServer(mechanism).begin(octets)
    assert raised.value.malformed


def test_what_a_channel_cannot_give_is_not_offered() -> None:
    everything = tuple(Mechanism)
    certified = offer(everything, Channel({"tls-server-end-point": b"x"}, certified=True))
    assert certified == everything
    usual = offer(everything, Channel())
    assert set(everything) - set(usual) == {Mechanism.EXTERNAL, Mechanism.SCRAM_SHA_256_PLUS}
    assert find("scram-sha-256-plus", usual) is None
    assert find("plain", usual) is Mechanism.PLAIN


def test_a_shell_that_breaks_the_order_is_told() -> None:
    exchange = SaslServer(Mechanism.PLAIN)
    with pytest.raises(LocalProtocolError):
        exchange.accept()
    exchange.begin(b"\0ann\0secret")
    with pytest.raises(LocalProtocolError):
        exchange.respond(b"more")
    with pytest.raises(LocalProtocolError):
        exchange.challenge(b"first")


def test_credentials_hide_themselves() -> None:
    for mechanism, octets, _ in ATTEMPTS.values():
        said = repr(SaslServer(mechanism).begin(octets))
        assert not any(secret in said for secret in ("tanstaaf", "xipj3plmq", "vF9dft"))


_ODD = st.sampled_from(
    [b"\0", b"\x01", b"=", b",", b"n,,", b"n=a,r=b", b"user=", b"auth=Bearer ", b"p=x", b"c=biws"]
)
_RESPONSES = st.lists(st.one_of(st.binary(max_size=20), st.lists(_ODD, max_size=6).map(b"".join)), max_size=4)


@given(mechanism=st.sampled_from(Mechanism), responses=_RESPONSES, verdict=st.booleans())
def test_any_octets_get_a_step_or_end_the_exchange(
    mechanism: Mechanism, responses: list[bytes], verdict: bool
) -> None:
    exchange = SaslServer(mechanism, tuple(Mechanism), Channel({"x": b"y"}))
    with suppress(SaslError):
        for octets in responses:
            step = exchange.respond(octets)
            if isinstance(step, ScramOpening):
                step = exchange.challenge(b"r=" + step.nonce.encode() + b"z,s=c2FsdA==,i=4096")
            elif not isinstance(step, Challenge | Verdict):
                step = exchange.accept() if verdict else exchange.refuse()
            if isinstance(step, Verdict):
                break
