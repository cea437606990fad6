"""Logins, capabilities and what ends them, through gRPC."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from directory.limits import Limits
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.capability import CapabilityVerifier, Kind, PublicKey, Scope
from postroom_contracts.errors import (
    CapabilityExpiredError,
    InvalidCredentialsError,
    InvalidRequestError,
    NotPermittedError,
    TooManyAttemptsError,
)
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import on_behalf_of

ANN = "ann@example.com"
PASSWORD = "correct horse battery"


def _login(
    address: str = ANN,
    password: str = PASSWORD,
    *,
    scope: "pb.Scope.ValueType" = pb.SCOPE_IMAP,
    peer_address: str = "192.0.2.1",
    session: bool = False,
) -> pb.AuthenticateRequest:
    return pb.AuthenticateRequest(
        address=address, password=password, scope=scope, peer_address=peer_address, session=session
    )


def _verifier(stub: DirectoryServiceStub) -> CapabilityVerifier:
    async def fetch() -> list[PublicKey]:
        answer = await stub.GetCapabilityKeys(pb.GetCapabilityKeysRequest())
        return [PublicKey(key.key_id, key.public_key) for key in answer.keys]

    return CapabilityVerifier(fetch)


@pytest.fixture
async def ann(admin: Any) -> pb.Account:
    """An account."""
    return await admin.account(ANN, name="Ann")


@pytest.fixture
async def stub(replica: Any, ann: pb.Account) -> DirectoryServiceStub:
    """What mail-access calls with, when there is an account."""
    return await replica.client()


async def test_a_login_gives_a_capability_that_every_store_can_verify(
    stub: DirectoryServiceStub, ann: pb.Account
) -> None:
    answer = await stub.Authenticate(_login("ANN@Example.COM"))
    assert answer.account == ann
    capability = await _verifier(stub).verify(answer.capability, scopes=[Scope.IMAP])
    assert capability.account_id.bytes == ann.id
    assert capability.tenant_id.bytes == ann.tenant_id
    assert capability.address == ANN
    assert capability.expires_at == answer.capability_expires_at.ToDatetime(UTC)
    seconds = (capability.expires_at - datetime.now(UTC)).total_seconds()
    assert 0 < seconds <= Limits().capability_seconds
    assert answer.session_token == ""


async def test_a_session_token_is_good_for_a_fresh_capability_only(
    stub: DirectoryServiceStub, ann: pb.Account
) -> None:
    answer = await stub.Authenticate(_login(scope=pb.SCOPE_API, session=True))
    seconds = answer.session_expires_at.ToDatetime(UTC) - datetime.now(UTC)
    assert 11 < seconds.total_seconds() / 3_600 <= 12
    verifier = _verifier(stub)
    with pytest.raises(NotPermittedError):
        await verifier.verify(answer.session_token)
    renewed = await stub.RenewCapability(pb.RenewCapabilityRequest(token=answer.session_token))
    capability = await verifier.verify(renewed.capability, scopes=[Scope.API])
    assert capability.kind is Kind.CAPABILITY
    assert renewed.account == ann


WRONG_PAIRS = [
    (ANN, "wrong horse battery"),
    (ANN, ""),
    (ANN, PASSWORD + " "),
    (ANN, PASSWORD.upper()),
    ("nobody@example.com", PASSWORD),
    ("ann@elsewhere.example", PASSWORD),
    ("ann+detail@example.com", PASSWORD),
    ("ann", PASSWORD),
    ("", ""),
    ("ann @example.com", PASSWORD),
]


async def test_a_wrong_pair_is_refused_whatever_is_wrong_with_it(stub: DirectoryServiceStub) -> None:
    for address, password in WRONG_PAIRS:
        with pytest.raises(InvalidCredentialsError) as caught:
            await stub.Authenticate(_login(address, password))
        assert str(caught.value) == "invalid-credentials"


async def test_after_too_many_failures_the_right_password_is_refused_from_there_only(
    stub: DirectoryServiceStub, start: Any, directory_database: PostgresAddress
) -> None:
    other = await (await start(directory_database)).client()
    for number in range(Limits().failures):
        with pytest.raises(InvalidCredentialsError):
            await (stub, other)[number % 2].Authenticate(_login(password="wrong"))
    for replica in (stub, other):
        with pytest.raises(TooManyAttemptsError):
            await replica.Authenticate(_login(peer_address="192.0.2.200"))
    await other.Authenticate(_login(peer_address="198.51.100.1"))
    with pytest.raises(InvalidCredentialsError):
        await stub.Authenticate(_login("nobody@example.com"))


async def test_unknown_addresses_are_counted_alike(stub: DirectoryServiceStub) -> None:
    for _ in range(Limits().failures):
        with pytest.raises(InvalidCredentialsError):
            await stub.Authenticate(_login("nobody@example.com"))
    with pytest.raises(TooManyAttemptsError):
        await stub.Authenticate(_login("Nobody@example.com"))


async def test_a_login_that_succeeds_forgets_the_failures_before(stub: DirectoryServiceStub) -> None:
    for _ in range(2):
        for _ in range(Limits().failures - 1):
            with pytest.raises(InvalidCredentialsError):
                await stub.Authenticate(_login(password="wrong"))
        await stub.Authenticate(_login())


async def test_a_changed_password_bites_at_once_on_every_replica(
    stub: DirectoryServiceStub, admin: Any, start: Any, directory_database: PostgresAddress
) -> None:
    replicas = [stub, await (await start(directory_database)).client()]
    tokens = [(await replica.Authenticate(_login(session=True))).session_token for replica in replicas]
    await admin.set_password(ANN, "another password")
    for replica in replicas:
        with pytest.raises(InvalidCredentialsError):
            await replica.Authenticate(_login())
        await replica.Authenticate(_login(password="another password"))
        for token in tokens:
            with pytest.raises(CapabilityExpiredError):
                await replica.RenewCapability(pb.RenewCapabilityRequest(token=token))


async def test_a_deleted_account_cannot_log_in_nor_renew_nor_come_back_by_its_address(
    stub: DirectoryServiceStub, admin: Any
) -> None:
    token = (await stub.Authenticate(_login(session=True))).session_token
    await admin.stub.DeleteAccount(pb.DeleteAccountRequest(address=ANN), metadata=admin.metadata)
    with pytest.raises(InvalidCredentialsError):
        await stub.Authenticate(_login())
    await admin.account(ANN)
    with pytest.raises(CapabilityExpiredError):
        await stub.RenewCapability(pb.RenewCapabilityRequest(token=token))
    await stub.Authenticate(_login())


async def test_replicas_sign_with_one_key_and_renew_each_other_s_tokens(
    stub: DirectoryServiceStub, start: Any, directory_database: PostgresAddress
) -> None:
    other = await (await start(directory_database)).client()
    token = (await stub.Authenticate(_login())).capability
    await other.RenewCapability(pb.RenewCapabilityRequest(token=token))
    keys = [await replica.GetCapabilityKeys(pb.GetCapabilityKeysRequest()) for replica in (stub, other)]
    assert keys[0] == keys[1]
    assert len(keys[0].keys) == 1


async def test_what_is_no_token_of_ours_is_not_renewed(stub: DirectoryServiceStub) -> None:
    good = (await stub.Authenticate(_login())).capability
    for token in ("", "x", good[:-6] + "AAAAAA"):
        with pytest.raises(InvalidCredentialsError):
            await stub.RenewCapability(pb.RenewCapabilityRequest(token=token))


async def test_an_administrator_s_capability_is_renewed_too(replica: Any, admin: Any) -> None:
    ((_, capability),) = admin.metadata
    renewed = await admin.stub.RenewCapability(pb.RenewCapabilityRequest(token=capability))
    await admin.stub.ListDomains(pb.ListDomainsRequest(), metadata=on_behalf_of(renewed.capability))
    assert not renewed.HasField("account")


async def test_only_the_administrator_s_token_gives_the_administrator_s_capability(replica: Any) -> None:
    stub = await replica.client("webmail-api")
    for token in ("", "wrong", "administrator-of-the-testS", "ä"):
        with pytest.raises(InvalidCredentialsError):
            await stub.AuthenticateAdmin(pb.AuthenticateAdminRequest(token=token))


async def test_no_password_makes_an_administrator(stub: DirectoryServiceStub) -> None:
    with pytest.raises(NotPermittedError):
        await stub.Authenticate(_login(scope=pb.SCOPE_ADMIN))


CHANGES: list[Callable[[pb.AuthenticateRequest], None]] = [
    lambda request: request.ClearField("scope"),
    lambda request: setattr(request, "scope", 99),
    lambda request: setattr(request, "peer_address", "not an address"),
    lambda request: setattr(request, "password", "x" * 2_000),
]


async def test_a_request_that_no_edge_means_is_refused(stub: DirectoryServiceStub) -> None:
    for change in CHANGES:
        request = _login()
        change(request)
        with pytest.raises(InvalidRequestError):
            await stub.Authenticate(request)
