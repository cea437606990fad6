"""Domains, accounts and aliases, through gRPC."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from directory.policy import POLICY
from postroom.directory.v1 import credential_pb2, login_pb2
from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import (
    AccountExistsError,
    AccountNotFoundError,
    AliasExistsError,
    AliasNotFoundError,
    DomainExistsError,
    DomainInUseError,
    DomainNotFoundError,
    InvalidAddressError,
    InvalidCredentialsError,
    InvalidRequestError,
    LimitError,
    NotPermittedError,
    PostroomError,
    TenantNotFoundError,
)
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import on_behalf_of

PASSWORD = "correct horse battery"

ADMIN_CALLS: dict[str, Any] = {
    "ListTenants": pb.ListTenantsRequest(),
    "CreateDomain": pb.CreateDomainRequest(name="new.example"),
    "ListDomains": pb.ListDomainsRequest(),
    "DeleteDomain": pb.DeleteDomainRequest(name="example.com"),
    "CreateAccount": pb.CreateAccountRequest(address="new@example.com", password=PASSWORD),
    "GetAccount": pb.GetAccountRequest(address="ann@example.com"),
    "ListAccounts": pb.ListAccountsRequest(),
    "SetPassword": pb.SetPasswordRequest(address="ann@example.com", password=PASSWORD),
    "DeleteAccount": pb.DeleteAccountRequest(address="ann@example.com"),
    "SetQuota": pb.SetQuotaRequest(address="ann@example.com"),
    "CreateAlias": pb.CreateAliasRequest(address="new@example.com", targets=["ann@example.com"]),
    "ListAliases": pb.ListAliasesRequest(),
    "DeleteAlias": pb.DeleteAliasRequest(address="alias@example.com"),
}


async def test_what_is_created_is_listed_in_its_order(replica: Any, admin: Any) -> None:
    stub, metadata = admin.stub, admin.metadata
    await admin.domain("Bücher.example")
    ann = await admin.account("Ann@Example.com", name="Ann Ärger 🎉")
    await admin.account("bob@example.com")
    alias = await admin.alias(
        "sales@example.com", "z@elsewhere.example", "ann@example.com", "z@elsewhere.example"
    )
    domains = (await stub.ListDomains(pb.ListDomainsRequest(), metadata=metadata)).domains
    assert [domain.name for domain in domains] == ["example.com", "xn--bcher-kva.example"]
    assert {domain.tenant_id for domain in domains} == {DEFAULT_TENANT.bytes}
    accounts = (await stub.ListAccounts(pb.ListAccountsRequest(), metadata=metadata)).accounts
    assert [account.address for account in accounts] == ["Ann@example.com", "bob@example.com"]
    assert accounts[0] == ann
    assert ann.display_name == "Ann Ärger 🎉"
    (listed,) = (await stub.ListAliases(pb.ListAliasesRequest(), metadata=metadata)).aliases
    assert listed == alias
    assert list(alias.targets) == ["z@elsewhere.example", "ann@example.com"]
    (tenant,) = (await stub.ListTenants(pb.ListTenantsRequest(), metadata=metadata)).tenants
    assert (tenant.id, tenant.name) == (DEFAULT_TENANT.bytes, "default")
    found = await stub.GetAccount(pb.GetAccountRequest(address="ANN@EXAMPLE.COM"), metadata=metadata)
    assert found.account == ann


async def test_a_listing_goes_on_where_its_page_ended(admin: Any) -> None:
    for number in range(5):
        await admin.domain(f"d{number}.example")
    names: list[str] = []
    cursor, pages = "", 0
    while True:
        request = pb.ListDomainsRequest(cursor=cursor, limit=2)
        answer = await admin.stub.ListDomains(request, metadata=admin.metadata)
        names += [domain.name for domain in answer.domains]
        pages += 1
        if not (cursor := answer.next_cursor):
            break
    assert names == ["example.com", *(f"d{number}.example" for number in range(5))]
    assert pages == 4  # a last full page cannot know that it is the last


async def test_a_cursor_or_limit_that_we_did_not_give_is_refused(admin: Any) -> None:
    for cursor, limit in (("x", 1), ("\x00", 1), ("", -1)):
        request = pb.ListDomainsRequest(cursor=cursor, limit=limit)
        with pytest.raises(InvalidRequestError):
            await admin.stub.ListDomains(request, metadata=admin.metadata)


async def test_an_address_belongs_to_one_account_or_one_alias(admin: Any) -> None:
    await admin.account("ann@example.com")
    await admin.alias("sales@example.com", "ann@example.com")
    with pytest.raises(AccountExistsError):
        await admin.account("ANN@example.com")
    with pytest.raises(AccountExistsError):
        await admin.alias("ann@example.com", "x@elsewhere.example")
    with pytest.raises(AliasExistsError):
        await admin.account("sales@example.com")
    with pytest.raises(AliasExistsError):
        await admin.alias("Sales@example.com", "ann@example.com")
    with pytest.raises(DomainExistsError):
        await admin.domain("EXAMPLE.com")


async def test_of_many_who_create_the_same_at_once_one_succeeds(
    admin: Any, start: Any, directory_database: PostgresAddress
) -> None:
    other = await (await start(directory_database)).admin()
    calls = [
        *(replica.account("ann@example.com") for replica in (admin, other) for _ in range(3)),
        *(replica.alias("ann@example.com", "x@elsewhere.example") for replica in (admin, other)),
    ]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(errors) == len(calls) - 1
    assert {type(error) for error in errors} <= {AccountExistsError, AliasExistsError}
    answers = await asyncio.gather(
        *(replica.domain("new.example") for replica in (admin, other) for _ in range(3)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, DomainExistsError) for answer in answers) == 5


async def test_a_domain_is_deleted_when_nobody_lives_in_it(admin: Any) -> None:
    stub, metadata = admin.stub, admin.metadata
    await admin.account("ann@example.com")
    await admin.alias("sales@example.com", "ann@example.com")
    request = pb.DeleteDomainRequest(name="Example.COM")
    with pytest.raises(DomainInUseError):
        await stub.DeleteDomain(request, metadata=metadata)
    await stub.DeleteAccount(pb.DeleteAccountRequest(address="ann@example.com"), metadata=metadata)
    with pytest.raises(DomainInUseError):
        await stub.DeleteDomain(request, metadata=metadata)
    await stub.DeleteAlias(pb.DeleteAliasRequest(address="sales@example.com"), metadata=metadata)
    await stub.DeleteDomain(request, metadata=metadata)
    with pytest.raises(DomainNotFoundError):
        await stub.DeleteDomain(request, metadata=metadata)
    with pytest.raises(DomainNotFoundError):
        await admin.account("ann@example.com")


async def test_what_is_not_there_is_not_found(admin: Any) -> None:
    stub, metadata = admin.stub, admin.metadata
    await admin.account("ann@example.com")
    await admin.alias("sales@example.com", "ann@example.com")
    for address in ("sales@example.com", "x@example.com", "ann@elsewhere.example"):
        with pytest.raises(AccountNotFoundError):
            await stub.GetAccount(pb.GetAccountRequest(address=address), metadata=metadata)
        with pytest.raises(AccountNotFoundError):
            await admin.set_password(address, PASSWORD)
        with pytest.raises(AccountNotFoundError):
            await stub.DeleteAccount(pb.DeleteAccountRequest(address=address), metadata=metadata)
    for address in ("ann@example.com", "x@example.com"):
        with pytest.raises(AliasNotFoundError):
            await stub.DeleteAlias(pb.DeleteAliasRequest(address=address), metadata=metadata)
    with pytest.raises(TenantNotFoundError):
        await stub.CreateDomain(
            pb.CreateDomainRequest(name="new.example", tenant_id=new_id().bytes), metadata=metadata
        )


WRONG_VALUES: list[tuple[Callable[[Any], Awaitable[object]], type[PostroomError]]] = [
    (lambda admin: admin.domain("not a domain"), InvalidAddressError),
    (lambda admin: admin.domain(""), InvalidAddressError),
    (lambda admin: admin.account("ann"), InvalidAddressError),
    (lambda admin: admin.account("ann@example.com", password="short"), InvalidRequestError),
    (lambda admin: admin.account("ann@example.com", password="x" * 2_000), InvalidRequestError),
    (lambda admin: admin.account("ann@example.com", name="x" * 300), InvalidRequestError),
    (lambda admin: admin.account("ann@elsewhere.example"), DomainNotFoundError),
    (lambda admin: admin.alias("a@elsewhere.example", "x@example.com"), DomainNotFoundError),
    (lambda admin: admin.alias("a@example.com"), InvalidRequestError),
    (lambda admin: admin.alias("a@example.com", "x"), InvalidAddressError),
    (
        lambda admin: admin.alias("a@example.com", *(f"x{n}@example.com" for n in range(201))),
        LimitError,
    ),
]


async def test_wrong_values_are_refused_by_name(admin: Any) -> None:
    for call, error in WRONG_VALUES:
        with pytest.raises(error):
            await call(admin)


async def test_changes_are_published_after_they_are_made_and_refusals_are_not(
    replica: Any, admin: Any
) -> None:
    await admin.account("ann@example.com")
    await admin.set_password("ann@example.com", "another password")
    await admin.alias("sales@example.com", "ann@example.com")
    with pytest.raises(AccountExistsError):
        await admin.account("ann@example.com")
    kinds = [subject.removeprefix("postroom.directory.changed.") for subject in replica.publisher.subjects]
    assert kinds == ["domain", "account", "credential", "alias"]


async def test_administration_needs_the_administrator_s_capability(replica: Any, admin: Any) -> None:
    await admin.account("ann@example.com")
    login = pb.AuthenticateRequest(
        address="ann@example.com",
        password=PASSWORD,
        scope=pb.SCOPE_API,
        peer_address="192.0.2.1",
        session=True,
    )
    ann = await (await replica.client()).Authenticate(login)
    for method, request in ADMIN_CALLS.items():
        call = getattr(admin.stub, method)
        with pytest.raises(InvalidCredentialsError):
            await call(request)
        for token in (ann.capability, ann.session_token):
            with pytest.raises(NotPermittedError):
                await call(request, metadata=on_behalf_of(token))
    assert not (await admin.stub.ListAliases(pb.ListAliasesRequest(), metadata=admin.metadata)).aliases


def test_every_method_has_its_callers_and_every_admin_call_is_tested() -> None:
    service = pb.DESCRIPTOR.services_by_name["DirectoryService"]
    methods = {f"/{service.full_name}/{method.name}" for method in service.methods}
    for other in (login_pb2.DESCRIPTOR, credential_pb2.DESCRIPTOR):
        for each in other.services_by_name.values():
            methods |= {f"/{each.full_name}/{method.name}" for method in each.methods}
    assert methods == {*POLICY} - {"/postroom.doctor.v1.DoctorService/Examine"}
    others = {
        "Authenticate",
        "AuthenticateAdmin",
        "RenewCapability",
        "GetCapabilityKeys",
        "ResolveRecipients",
        "StreamResolveRecipients",
        "SetOwnQuota",
        "FindAccounts",
        "FindDeletedAccounts",
    }
    assert {method.name for method in service.methods} == {*ADMIN_CALLS, *others}
    assert not any("smtp-outbound" in POLICY[f"/{service.full_name}/{name}"] for name in ADMIN_CALLS)


async def test_a_service_that_is_not_named_for_a_method_may_not_call_it(replica: Any) -> None:
    for service in ("mailstore", "smtp-outbound", "somebody", ""):
        stub = await replica.client(service)
        with pytest.raises(NotPermittedError):
            await stub.AuthenticateAdmin(pb.AuthenticateAdminRequest(token="administrator-of-the-tests"))


async def test_the_stores_are_told_which_accounts_were_deleted(replica: Any, admin: Any) -> None:
    ann, bob = await admin.account("ann@example.com"), await admin.account("bob@example.com")
    unknown = new_id().bytes
    stub = await replica.client("mailstore")
    asked = pb.FindDeletedAccountsRequest(ids=[ann.id, bob.id, unknown])
    assert not (await stub.FindDeletedAccounts(asked)).accounts
    await admin.stub.DeleteAccount(
        pb.DeleteAccountRequest(address="ann@example.com"), metadata=admin.metadata
    )
    (found,) = (await stub.FindDeletedAccounts(asked)).accounts
    assert found.id == ann.id
    assert abs(found.deleted_at.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    again = await admin.account("ann@example.com")
    assert not (await stub.FindDeletedAccounts(pb.FindDeletedAccountsRequest(ids=[again.id]))).accounts
    with pytest.raises(LimitError):
        await stub.FindDeletedAccounts(pb.FindDeletedAccountsRequest(ids=[unknown] * 1_001))
    with pytest.raises(NotPermittedError):
        await (await replica.client("mail-access")).FindDeletedAccounts(asked)
