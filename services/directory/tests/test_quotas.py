"""How much mail an account may keep, and how its capabilities say so."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from directory.accounts import Account
from directory.declaring import Declaring, work
from directory.settings import SetupSettings
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.capability import Capability, CapabilityVerifier, PublicKey, Quota
from postroom_contracts.errors import AccountNotFoundError, InvalidRequestError, NotPermittedError
from postroom_contracts.ids import new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import on_behalf_of

ANN = "ann@example.com"
PASSWORD = "correct horse battery"


async def _login(stub: Any, scope: pb.Scope.ValueType = pb.SCOPE_IMAP) -> str:
    request = pb.AuthenticateRequest(address=ANN, password=PASSWORD, scope=scope, peer_address="192.0.2.1")
    return (await stub.Authenticate(request)).capability


async def _renewed(stub: Any, capability: str) -> Capability:
    async def keys() -> list[PublicKey]:
        answer = await stub.GetCapabilityKeys(pb.GetCapabilityKeysRequest())
        return [PublicKey(key.key_id, key.public_key) for key in answer.keys]

    token = (await stub.RenewCapability(pb.RenewCapabilityRequest(token=capability))).capability
    return await CapabilityVerifier(keys).verify(token)


async def test_a_capability_carries_what_holds(replica: Any, admin: Any) -> None:
    await admin.account(ANN)
    stub = await replica.client()
    capability = await _login(stub)
    assert (await _renewed(stub, capability)).quota == Quota()
    allowed = pb.SetQuotaRequest(address="Ann@Example.com", quota=pb.Quota(octets=1_000, messages=10))
    account = (await admin.stub.SetQuota(allowed, metadata=admin.metadata)).account
    assert (account.quota, account.effective_quota) == (allowed.quota, allowed.quota)
    assert (await _renewed(stub, capability)).quota == Quota(1_000, 10)
    wanted = pb.SetOwnQuotaRequest(quota=pb.Quota(octets=2_000, messages=5))
    account = (await stub.SetOwnQuota(wanted, metadata=on_behalf_of(capability))).account
    assert account.effective_quota == pb.Quota(octets=1_000, messages=5)
    assert (await _renewed(stub, capability)).quota == Quota(1_000, 5)
    none = pb.SetQuotaRequest(address=ANN)
    account = (await admin.stub.SetQuota(none, metadata=admin.metadata)).account
    assert account.effective_quota == pb.Quota(octets=2_000, messages=5)
    listed = await admin.stub.GetAccount(pb.GetAccountRequest(address=ANN), metadata=admin.metadata)
    assert listed.account == account


async def test_who_asks_for_recipients_hears_what_holds_for_each(
    admin: Any, start: Any, directory_database: PostgresAddress
) -> None:
    await admin.account(ANN)
    await admin.account("bob@example.com")
    await admin.alias("all@example.com", ANN, "bob@example.com", "carol@elsewhere.example")
    allowed = pb.SetQuotaRequest(address=ANN, quota=pb.Quota(octets=1_000, messages=10))
    await admin.stub.SetQuota(allowed, metadata=admin.metadata)

    async def quotas(replica: Any) -> list[pb.Quota | None]:
        stub = await replica.client("smtp-inbound")
        request = pb.ResolveRecipientsRequest(addresses=["all@example.com"])
        (found,) = (await stub.ResolveRecipients(request)).resolutions
        return [each.quota if each.HasField("quota") else None for each in found.targets]

    assert await quotas(await start(directory_database)) == [allowed.quota, None, None]
    limited = await start(directory_database, quota_messages=20)
    assert await quotas(limited) == [allowed.quota, pb.Quota(messages=20), None]


async def test_an_account_sets_no_quota_but_its_own(replica: Any, admin: Any) -> None:
    await admin.account(ANN)
    stub = await replica.client()
    request = pb.SetOwnQuotaRequest(quota=pb.Quota(octets=1))
    for metadata in (on_behalf_of(await _login(stub, pb.SCOPE_SUBMISSION)), admin.metadata):
        with pytest.raises(NotPermittedError):
            await stub.SetOwnQuota(request, metadata=metadata)
    wrong = pb.SetOwnQuotaRequest(quota=pb.Quota(messages=-1))
    ann = on_behalf_of(await _login(stub))
    with pytest.raises(InvalidRequestError):
        await stub.SetOwnQuota(wrong, metadata=ann)


async def test_a_quota_that_cannot_be_is_refused(admin: Any) -> None:
    await admin.account(ANN)
    for error, request in [
        (InvalidRequestError, pb.SetQuotaRequest(address=ANN, quota=pb.Quota(octets=-1))),
        (AccountNotFoundError, pb.SetQuotaRequest(address="nobody@example.com")),
    ]:
        with pytest.raises(error):
            await admin.stub.SetQuota(request, metadata=admin.metadata)


async def test_a_quota_can_be_declared(replica: Any, tmp_path: Path) -> None:
    file = tmp_path / "declared.json"
    settings = SetupSettings(
        directory_address=replica.address,
        admin_token=SecretStr("administrator-of-the-tests"),
        declarations=(str(file),),
        wait_seconds=0,
    )

    def declare(**quota: int) -> None:
        account = {"address": ANN, "password": PASSWORD, "quota": quota}
        file.write_text(json.dumps({"domains": ["example.com"], "accounts": [account]}))

    declare(octets=1_000)
    assert (await work(settings, Declaring.make)).drift == []
    admin = await replica.admin()
    found = await admin.stub.GetAccount(pb.GetAccountRequest(address=ANN), metadata=admin.metadata)
    assert found.account.quota == pb.Quota(octets=1_000)
    declare(octets=1_000, messages=5)
    assert (await work(settings, Declaring.compare)).drift == [f"account {ANN} has another quota"]


@pytest.mark.parametrize(
    ("allowed", "wanted", "holds"),
    [
        (Quota(), Quota(), Quota(100, 10)),
        (Quota(500, None), Quota(), Quota(500, 10)),
        (Quota(500, 0), Quota(50, 5), Quota(50, 0)),
    ],
)
def test_the_default_holds_for_whoever_has_no_limit(allowed: Quota, wanted: Quota, holds: Quota) -> None:
    row: Any = {"id": new_id(), "tenant_id": new_id(), "address": ANN, "display_name": "", "created_at": None}
    account = Account(**row, quota=allowed, own_quota=wanted)
    assert account.effective_quota(Quota(100, 10)) == holds
