"""SCRAM-SHA-256: the example of RFC 7677, and what is refused."""

import base64

import pytest

from postroom_wire.sasl import (
    Channel,
    Mechanism,
    SaslError,
    SaslServer,
    ScramOpening,
    ScramProof,
    Verdict,
    scram,
)
from postroom_wire.sasl.exchange import Challenge

# RFC 7677 s3: user "user", password "pencil".
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
WITHOUT_PROOF = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FINAL = WITHOUT_PROOF + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEYS = scram.derive_keys("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)

PLUS = (Mechanism.SCRAM_SHA_256_PLUS, Mechanism.SCRAM_SHA_256)
BOUND = Channel({"tls-server-end-point": b"\x01" * 32})


def opening_of(octets: bytes, mechanism: Mechanism = Mechanism.SCRAM_SHA_256) -> ScramOpening:
    """What the shell is told of a first message."""
    found = SaslServer(mechanism, PLUS, BOUND).begin(octets)
    assert isinstance(found, ScramOpening)
    return found


def test_the_example_of_rfc_7677_is_understood() -> None:
    exchange = SaslServer(Mechanism.SCRAM_SHA_256)
    opening = exchange.begin(FIRST)
    assert opening == ScramOpening("", "user", "rOprNGfwEbeRWgbNEkqO", FIRST[3:])
    assert exchange.challenge(SERVER_FIRST) == Challenge(SERVER_FIRST)
    proof = exchange.respond(FINAL)
    assert isinstance(proof, ScramProof)
    assert scram.is_proven(proof, KEYS)
    last_word = scram.server_final(scram.server_signature(proof, KEYS))
    assert last_word == SERVER_FINAL
    assert exchange.accept(last_word) == Challenge(SERVER_FINAL)
    assert exchange.respond(b"") is Verdict.ACCEPTED


def test_another_password_proves_nothing() -> None:
    exchange = SaslServer(Mechanism.SCRAM_SHA_256)
    exchange.begin(FIRST)
    exchange.challenge(SERVER_FIRST)
    proof = exchange.respond(FINAL)
    assert isinstance(proof, ScramProof)
    assert not scram.is_proven(proof, scram.derive_keys("pencils", KEYS.salt, KEYS.iterations))
    assert exchange.refuse() is Verdict.REFUSED


def test_our_nonce_is_what_follows_the_clients() -> None:
    opening = opening_of(FIRST)
    said = scram.server_first(opening, "abc", b"salt", 4096)
    assert said == b"r=rOprNGfwEbeRWgbNEkqOabc,s=c2FsdA==,i=4096"
    assert scram.server_nonce(opening, said) == "abc"


@pytest.mark.parametrize("said", [b"r=rOprNGfwEbeRWgbNEkqO,s=c2E=,i=1", b"r=other,s=c2E=,i=1", b"v=nothing"])
def test_a_first_message_of_somebody_else_has_no_nonce_of_ours(said: bytes) -> None:
    with pytest.raises(SaslError):
        scram.server_nonce(opening_of(FIRST), said)


@pytest.mark.parametrize(
    ("octets", "name", "acting_as"),
    [
        (b"n,,n=a=2Cb=3Dc,r=x", "a,b=c", ""),
        (b"y,,n=ann,r=x", "ann", ""),
        (b"n,a=bob,n=ann,r=x,x=y", "ann", "bob"),
        ("n,,n=ännchen,r=x".encode(), "ännchen", ""),
    ],
)
def test_names_lose_their_dress(octets: bytes, name: str, acting_as: str) -> None:
    exchange = SaslServer(Mechanism.SCRAM_SHA_256)
    opening = exchange.begin(octets)
    assert isinstance(opening, ScramOpening)
    assert (opening.username, opening.authorization_id) == (name, acting_as)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"n,,",
        b"n,,n=user",
        b"n,,n=,r=x",
        b"n,,n=us=er,r=x",
        b"n,,n=us=2cer,r=x",  # saslname's hexadecimal digits are in upper case
        b"n,,m=ext,n=user,r=x",  # a mandatory extension
        b"n,,n=user,r=a,b",
        b"n,,n=\xff,r=x",
        b"n,,n=us\0er,r=x",
        b"x,,n=user,r=x",
        b"n,n=user,r=x",
    ],
)
def test_what_is_no_first_message_ends_the_exchange(octets: bytes) -> None:
    with pytest.raises(SaslError) as raised:
        SaslServer(Mechanism.SCRAM_SHA_256).begin(octets)
    assert raised.value.malformed


@pytest.mark.parametrize(
    ("octets", "malformed"),
    [
        (b"", True),
        (WITHOUT_PROOF, True),
        (FINAL.replace(b"p=dHzb", b"p=d!zb"), True),
        (WITHOUT_PROOF + b",p=AAAA", True),
        (FINAL.replace(b"c=biws", b"c=eSws"), False),  # "y,,"
        (FINAL.replace(b"%hvY", b"%hvZ"), False),
    ],
)
def test_a_last_message_of_another_exchange_is_refused(octets: bytes, malformed: bool) -> None:
    exchange = SaslServer(Mechanism.SCRAM_SHA_256)
    exchange.begin(FIRST)
    exchange.challenge(SERVER_FIRST)
    with pytest.raises(SaslError) as raised:
        exchange.respond(octets)
    assert raised.value.malformed is malformed


def test_plus_binds_the_exchange_to_the_channel() -> None:
    first = b"p=tls-server-end-point,,n=user,r=x"
    for data, fits in ((b"\x01" * 32, True), (b"\x02" * 32, False)):
        exchange = SaslServer(Mechanism.SCRAM_SHA_256_PLUS, PLUS, BOUND)
        exchange.begin(first)
        exchange.challenge(b"r=xyz,s=c2FsdA==,i=4096")
        binding = base64.b64encode(b"p=tls-server-end-point,," + data)
        final = b"c=" + binding + b",r=xyz,p=" + base64.b64encode(b"\x00" * 32)
        if fits:
            assert isinstance(exchange.respond(final), ScramProof)
        else:
            with pytest.raises(SaslError, match="another channel"):
                exchange.respond(final)


@pytest.mark.parametrize(
    ("mechanism", "octets"),
    [
        (Mechanism.SCRAM_SHA_256_PLUS, b"n,,n=user,r=x"),
        (Mechanism.SCRAM_SHA_256_PLUS, b"y,,n=user,r=x"),
        (Mechanism.SCRAM_SHA_256_PLUS, b"p=tls-unique,,n=user,r=x"),
        (Mechanism.SCRAM_SHA_256, b"p=tls-server-end-point,,n=user,r=x"),
        (Mechanism.SCRAM_SHA_256, b"y,,n=user,r=x"),  # it did not see the -PLUS that we offered
    ],
)
def test_a_binding_that_cannot_be_is_refused(mechanism: Mechanism, octets: bytes) -> None:
    with pytest.raises(SaslError) as raised:
        SaslServer(mechanism, PLUS, BOUND).begin(octets)
    assert not raised.value.malformed
