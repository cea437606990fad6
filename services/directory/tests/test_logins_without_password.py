"""SCRAM, access tokens and certificates, over more than one replica."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm
from prometheus_client import REGISTRY

from directory.limits import Limits
from postroom.directory.v1 import credential_pb2 as credentials
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1 import login_pb2 as logins
from postroom.directory.v1.login_pb2_grpc import LoginServiceStub
from postroom_contracts.errors import (
    InvalidCredentialsError,
    InvalidRequestError,
    TooManyAttemptsError,
)
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime import tls
from postroom_testing.certificates import CertificateAuthority
from postroom_testing.scram import ScramClient
from postroom_testing.secret_volume import SecretVolume

ANN = "ann@example.com"
PASSWORD = "correct horse battery"
ISSUER = "https://id.example.com"
PEER = "192.0.2.1"


async def scram(
    begin: LoginServiceStub, finish: LoginServiceStub, password: str = PASSWORD, address: str = ANN
) -> logins.FinishScramResponse:
    """A whole login, whose end another replica sees."""
    client = ScramClient(address, password)
    request = logins.BeginScramRequest(client_first=client.first_bare, peer_address=PEER)
    first = (await begin.BeginScram(request)).server_first
    client.answer(first)
    answer = await finish.FinishScram(_finish(client, first))
    assert client.trusts(answer.server_final)
    return answer


def _finish(client: ScramClient, first: bytes) -> logins.FinishScramRequest:
    return logins.FinishScramRequest(
        client_first=client.first_bare,
        server_first=first,
        client_final=client.without_proof,
        proof=client.proof,
        scope=pb.SCOPE_IMAP,
        peer_address=PEER,
    )


@pytest.fixture
async def opted_in(replica: Any, admin: Any) -> LoginServiceStub:
    """Ann has an account, and SCRAM keys."""
    await admin.account(ANN)
    request = credentials.EnableScramRequest(address=ANN, password=PASSWORD, peer_address=PEER)
    await (await replica.credentials()).EnableScram(request, metadata=admin.metadata)
    return await replica.logins()


async def test_any_replica_finishes_a_scram_login(
    opted_in: LoginServiceStub, start: Any, directory_database: PostgresAddress
) -> None:
    other = await (await start(directory_database)).logins()
    assert (await scram(opted_in, other)).login.account.address == ANN
    assert (await scram(other, opted_in)).login.capability


async def _log_in(replica: Any, password: str = PASSWORD) -> str:
    """By PLAIN."""
    request = pb.AuthenticateRequest(address=ANN, password=password, scope=pb.SCOPE_IMAP, peer_address=PEER)
    return (await (await replica.client()).Authenticate(request)).account.address


async def test_a_client_that_tries_scram_before_plain_is_told_of_and_never_shut_out(
    replica: Any, admin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await admin.account(ANN)
    before = _without_keys()
    stub = await replica.logins()
    for _ in range(Limits().failures + 1):
        with pytest.raises(InvalidCredentialsError):
            await scram(stub, stub)
        assert await _log_in(replica) == ANN
    assert _without_keys() - before == Limits().failures + 1
    assert "scram_without_keys" in capsys.readouterr().out
    with pytest.raises(InvalidCredentialsError):
        await scram(stub, stub, address="nobody@example.com")
    assert _without_keys() - before == Limits().failures + 1


def _without_keys() -> float:
    return REGISTRY.get_sample_value("postroom_directory_scram_without_keys_total") or 0.0


async def test_where_all_have_keys_the_first_login_by_password_makes_those_of_an_old_one(
    replica: Any, admin: Any, start: Any, directory_database: PostgresAddress
) -> None:
    await admin.account(ANN)
    other = await start(directory_database, scram_for_all=True)
    stub = await other.logins()
    with pytest.raises(InvalidCredentialsError):
        await _log_in(other, "wrong")
    with pytest.raises(InvalidCredentialsError):
        await scram(stub, stub)
    assert await _log_in(other) == ANN
    assert (await scram(stub, stub)).login.account.address == ANN
    assert await _log_in(other) == ANN


async def test_where_all_have_keys_who_is_new_or_changes_the_password_has_them_at_once(
    replica: Any, admin: Any, start: Any, directory_database: PostgresAddress
) -> None:
    await admin.account("bob@example.com")
    other = await start(directory_database, scram_for_all=True)
    calls, stub = await other.admin(), await other.logins()
    await calls.account(ANN)
    assert (await scram(stub, stub)).login.account.address == ANN
    await calls.set_password("bob@example.com", "another password")
    found = await scram(stub, stub, "another password", "bob@example.com")
    assert found.login.account.address == "bob@example.com"


async def test_who_gets_in_by_an_app_password_has_no_keys_of_it(
    replica: Any, admin: Any, start: Any, directory_database: PostgresAddress
) -> None:
    await admin.account(ANN)
    other = await start(directory_database, scram_for_all=True)
    app_password = "a" * 20
    request = credentials.CreateAppPasswordRequest(
        address=ANN, name="phone", scopes=[pb.SCOPE_IMAP], password=app_password
    )
    await (await replica.credentials()).CreateAppPassword(request, metadata=admin.metadata)
    assert await _log_in(other, app_password) == ANN
    stub = await other.logins()
    for password in (PASSWORD, app_password):
        with pytest.raises(InvalidCredentialsError):
            await scram(stub, stub, password)


async def test_a_wrong_password_proves_nothing_and_is_counted(opted_in: LoginServiceStub) -> None:
    for _ in range(Limits().failures):
        with pytest.raises(InvalidCredentialsError):
            await scram(opted_in, opted_in, "wrong")
    with pytest.raises(TooManyAttemptsError):
        await scram(opted_in, opted_in)


async def test_whoever_did_not_opt_in_has_no_keys_and_looks_like_nobody(replica: Any, admin: Any) -> None:
    await admin.account(ANN)
    stub = await replica.logins()
    for address in (ANN, "nobody@example.com", "no address"):
        said = [await _first(stub, address) for _ in range(2)]
        salts = {first.split(b",")[1] for first in said}
        assert len(salts) == 1
        assert said[0].endswith(b",i=%d" % Limits().scram_iterations)
        with pytest.raises(InvalidCredentialsError):
            await scram(stub, stub, address=address)


async def _first(stub: LoginServiceStub, address: str) -> bytes:
    request = logins.BeginScramRequest(client_first=ScramClient(address, "x").first_bare, peer_address=PEER)
    return (await stub.BeginScram(request)).server_first


async def test_keys_fall_with_their_password_or_go_with_it(
    opted_in: LoginServiceStub, replica: Any, admin: Any
) -> None:
    await admin.set_password(ANN, "another password")
    with pytest.raises(InvalidCredentialsError):
        await scram(opted_in, opted_in)
    await scram(opted_in, opted_in, "another password")
    stub = await replica.credentials()
    enabled = credentials.GetScramRequest(address=ANN)
    assert (await stub.GetScram(enabled, metadata=admin.metadata)).enabled
    await stub.DisableScram(credentials.DisableScramRequest(address=ANN), metadata=admin.metadata)
    assert not (await stub.GetScram(enabled, metadata=admin.metadata)).enabled
    with pytest.raises(InvalidCredentialsError):
        await scram(opted_in, opted_in, "another password")


async def test_keys_are_of_the_password_that_is(opted_in: LoginServiceStub, replica: Any, admin: Any) -> None:
    stub = await replica.credentials()
    request = credentials.EnableScramRequest(address=ANN, password="not it", peer_address=PEER)
    with pytest.raises(InvalidCredentialsError):
        await stub.EnableScram(request, metadata=admin.metadata)


@pytest.mark.parametrize("ours", ["", "A" * 52, "x", "!"])
async def test_a_right_proof_over_a_nonce_that_we_did_not_give_finishes_nothing(
    opted_in: LoginServiceStub, ours: str
) -> None:
    client = ScramClient(ANN, PASSWORD)
    request = logins.BeginScramRequest(client_first=client.first_bare, peer_address=PEER)
    given = (await opted_in.BeginScram(request)).server_first
    own = client.first_bare.partition(b",")[2]
    forged = own + ours.encode() + given[given.index(b",s=") :]
    client.answer(forged)
    with pytest.raises(InvalidCredentialsError):
        await opted_in.FinishScram(_finish(client, forged))
    client.answer(given)
    assert (await opted_in.FinishScram(_finish(client, given))).login.account.address == ANN


async def test_a_nonce_is_for_one_client_s_first_message(opted_in: LoginServiceStub) -> None:
    client, other = ScramClient(ANN, PASSWORD), ScramClient(ANN, PASSWORD)
    request = logins.BeginScramRequest(client_first=client.first_bare, peer_address=PEER)
    given = (await opted_in.BeginScram(request)).server_first
    moved = given.replace(client.first_bare.partition(b",")[2], other.first_bare.partition(b",")[2])
    other.answer(moved)
    with pytest.raises(InvalidCredentialsError):
        await opted_in.FinishScram(_finish(other, moved))


async def test_what_is_no_first_message_is_refused(opted_in: LoginServiceStub) -> None:
    for octets in (b"", b"n,,n=x,r=y", b"n=x"):
        request = logins.BeginScramRequest(client_first=octets, peer_address=PEER)
        with pytest.raises(InvalidRequestError):
            await opted_in.BeginScram(request)


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """The issuer's."""
    return generate_private_key(65537, 2048)


@pytest.fixture
async def bearer(
    start: Any, directory_database: PostgresAddress, key: RSAPrivateKey, tmp_path: Path
) -> LoginServiceStub:
    """A directory that takes one issuer's tokens."""
    jwk = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [{**jwk, "kid": "one", "use": "sig"}]}))
    replica = await start(directory_database, oauth_issuer=ISSUER, oauth_jwks=str(tmp_path / "jwks.json"))
    calls = await replica.admin()
    await calls.domain()
    await calls.account(ANN)
    return await replica.logins()


def _token(key: RSAPrivateKey, **claims: Any) -> str:
    now = datetime.now(UTC)
    said = {"iss": ISSUER, "aud": "postroom", "exp": now + timedelta(minutes=5), "email": ANN, **claims}
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode(said, key, algorithm="RS256", headers={"kid": "one"})


async def _bear(stub: LoginServiceStub, token: str, who: str = "") -> str:
    request = logins.AuthenticateBearerRequest(
        token=token, authorization_id=who, scope=pb.SCOPE_IMAP, peer_address=PEER
    )
    return (await stub.AuthenticateBearer(request)).login.account.address


async def test_a_token_of_the_issuer_lets_in_whom_it_names(
    bearer: LoginServiceStub, key: RSAPrivateKey
) -> None:
    for who in ("", ANN, "Ann@EXAMPLE.com"):
        assert await _bear(bearer, _token(key), who) == ANN
    assert await _bear(bearer, _token(key, aud=["other", "postroom"], email_verified=True)) == ANN


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"},
        {"aud": "other"},
        {"aud": None},
        {"exp": None},
        {"exp": 1_000_000_000},
        {"nbf": 4_000_000_000},
        {"email": None},
        {"email": "nobody@example.com"},
        {"email": 7},
        {"email_verified": False},
    ],
)
async def test_a_token_that_is_for_something_else_lets_nobody_in(
    bearer: LoginServiceStub, key: RSAPrivateKey, claims: dict[str, Any]
) -> None:
    with pytest.raises(InvalidCredentialsError):
        await _bear(bearer, _token(key, **claims))


async def test_a_token_that_the_issuer_did_not_sign_lets_nobody_in(
    bearer: LoginServiceStub, key: RSAPrivateKey
) -> None:
    claims = {"iss": ISSUER, "aud": "postroom", "exp": 4_000_000_000, "email": ANN}
    public = json.dumps(RSAAlgorithm.to_jwk(key.public_key()))
    for token in (
        _token(generate_private_key(65537, 2048)),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, public, algorithm="HS256", headers={"kid": "one"}),
        jwt.encode(claims, key, algorithm="RS256", headers={"kid": "two"}),
        "a.b.c",
        "x" * 9_000,
        "",
    ):
        with pytest.raises(InvalidCredentialsError):
            await _bear(bearer, token, ANN + str(len(token)))


async def test_nobody_acts_as_another_by_a_token(bearer: LoginServiceStub, key: RSAPrivateKey) -> None:
    with pytest.raises(InvalidCredentialsError):
        await _bear(bearer, _token(key), "bob@example.com")


async def test_without_an_issuer_or_an_authority_nobody_gets_in(
    replica: Any, admin: Any, key: RSAPrivateKey, tmp_path: Path
) -> None:
    await admin.account(ANN)
    stub = await replica.logins()
    with pytest.raises(InvalidCredentialsError):
        await _bear(stub, _token(key))
    with pytest.raises(InvalidCredentialsError):
        await _show(stub, _certificate(CertificateAuthority(tmp_path), ANN))


def _certificate(authority: CertificateAuthority, *names: str) -> bytes:
    return PEM_cert_to_DER_cert(authority.issue(*names).cert_file.read_text().split("-----END")[0] + _END)


_END = "-----END CERTIFICATE-----\n"


async def _show(stub: LoginServiceStub, certificate: bytes, who: str = "") -> str:
    request = logins.AuthenticateCertificateRequest(
        certificate=certificate, authorization_id=who, scope=pb.SCOPE_IMAP, peer_address=PEER
    )
    return (await stub.AuthenticateCertificate(request)).login.account.address


async def test_a_certificate_of_the_authority_lets_in_whom_it_names(
    start: Any, directory_database: PostgresAddress, tmp_path: Path
) -> None:
    ours, theirs = CertificateAuthority(tmp_path / "ours"), CertificateAuthority(tmp_path / "theirs")
    replica = await start(directory_database, client_ca_file=ours.ca_file)
    calls = await replica.admin()
    await calls.domain()
    for address in (ANN, "bob@example.com"):
        await calls.account(address)
    stub = await replica.logins()
    both = _certificate(ours, ANN, "bob@example.com")
    assert await _show(stub, both) == ANN
    assert await _show(stub, both, "bob@example.com") == "bob@example.com"
    wrong = [
        (both, "carol@example.com"),
        (_certificate(ours, "nobody@example.com"), ""),
        (_certificate(ours, "example.com"), ""),
        (_certificate(theirs, ANN), ""),
        (_certificate(theirs, ANN), ANN),
        (both[:-1] + bytes([both[-1] ^ 1]), ""),
        (b"not a certificate", ANN),
        (b"", ANN),
    ]
    for certificate, who in wrong:
        with pytest.raises(InvalidCredentialsError):
            await _show(stub, certificate, who)


async def test_renewed_authorities_are_taken_over_and_broken_ones_are_not(
    start: Any, directory_database: PostgresAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "CHECK_SECONDS", 0.0)
    old, new = CertificateAuthority(tmp_path / "old"), CertificateAuthority(tmp_path / "new")
    volume = SecretVolume(tmp_path / "mounted", old.issue(ANN))
    replica = await start(directory_database, client_ca_file=volume.certificate.ca_file)
    calls = await replica.admin()
    await calls.domain()
    await calls.account(ANN)
    stub = await replica.logins()
    assert await _show(stub, _certificate(old, ANN)) == ANN
    broken = new.issue(ANN)
    volume.renew(replace(broken, ca_file=broken.key_file))
    assert await _show(stub, _certificate(old, ANN)) == ANN
    volume.renew(broken)
    assert await _show(stub, _certificate(new, ANN)) == ANN
    with pytest.raises(InvalidCredentialsError):
        await _show(stub, _certificate(old, ANN))
