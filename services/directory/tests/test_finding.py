"""Accounts that find each other, to share what is theirs."""

from typing import Any

import pytest

from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import InvalidAddressError, LimitError, NotPermittedError
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import Metadata, on_behalf_of

PASSWORD = "correct horse battery"


async def _login(stub: Any, address: str, scope: pb.Scope.ValueType = pb.SCOPE_IMAP) -> Metadata:
    request = pb.AuthenticateRequest(
        address=address, password=PASSWORD, scope=scope, peer_address="192.0.2.1"
    )
    return on_behalf_of((await stub.Authenticate(request)).capability)


async def test_accounts_are_found_by_id_and_address(replica: Any, admin: Any) -> None:
    ann, bob = await admin.account("Ann@example.com"), await admin.account("bob@example.com")
    await admin.alias("info@example.com", "ann@example.com")
    stub = await replica.client()
    metadata = await _login(stub, bob.address)
    request = pb.FindAccountsRequest(
        ids=[bob.id, new_id().bytes],
        addresses=["ann@EXAMPLE.com", "ann@example.com", "info@example.com", "nobody@example.com"],
    )
    found = (await stub.FindAccounts(request, metadata=metadata)).accounts
    assert [(each.id, each.address) for each in found] == [(bob.id, bob.address), (ann.id, ann.address)]
    assert found[0] == pb.Account(id=bob.id, address=bob.address)


async def test_finding_is_for_users_and_bounded(replica: Any, admin: Any) -> None:
    ann = await admin.account("ann@example.com")
    stub = await replica.client()
    metadata = await _login(stub, ann.address, pb.SCOPE_SUBMISSION)
    with pytest.raises(NotPermittedError):
        await stub.FindAccounts(pb.FindAccountsRequest(), metadata=metadata)
    metadata = await _login(stub, ann.address)
    with pytest.raises(InvalidAddressError):
        await stub.FindAccounts(pb.FindAccountsRequest(addresses=["no address"]), metadata=metadata)
    many = pb.FindAccountsRequest(ids=[new_id().bytes] * 1_001)
    with pytest.raises(LimitError):
        await stub.FindAccounts(many, metadata=metadata)
