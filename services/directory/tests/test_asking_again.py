"""The administrator's changes whose outcome was unknown: asked for again they are made once."""

import asyncio
from typing import Any

import asyncpg
import pytest

from postroom.directory.v1 import directory_pb2 as pb
from postroom_contracts.errors import InvalidCredentialsError, InvalidRequestError, UnavailableError
from postroom_contracts.ids import DEFAULT_TENANT, NOBODY, new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.operations import REMEMBERED_SECONDS, operation_of
from postroom_testing.lost_answers import LostAnswers

PASSWORD = "correct horse battery"
ANOTHER = "another password"
CHANGES: dict[str, Any] = {
    "CreateDomain": pb.CreateDomainRequest(name="new.example"),
    "DeleteDomain": pb.DeleteDomainRequest(name="empty.example"),
    "CreateAccount": pb.CreateAccountRequest(address="new@example.com", password=PASSWORD),
    "SetPassword": pb.SetPasswordRequest(address="ann@example.com", password=ANOTHER),
    "DeleteAccount": pb.DeleteAccountRequest(address="gone@example.com"),
    "SetQuota": pb.SetQuotaRequest(address="ann@example.com", quota=pb.Quota(octets=1_000)),
    "CreateAlias": pb.CreateAliasRequest(address="new-alias@example.com", targets=["ann@example.com"]),
    "DeleteAlias": pb.DeleteAliasRequest(address="alias@example.com"),
}


@pytest.fixture
async def twin(start: Any, directory_database: PostgresAddress) -> Any:
    """The administrator at a second replica."""
    return await (await start(directory_database)).admin()


@pytest.fixture
async def house(admin: Any) -> Any:
    """What the changes need."""
    await admin.domain("empty.example")
    await admin.account("ann@example.com")
    await admin.account("gone@example.com")
    await admin.alias("alias@example.com", "ann@example.com")
    return admin


def request_of(method: str, **changed: object) -> Any:
    """The change with an id of its own."""
    request = type(CHANGES[method])(operation_id=new_id().bytes)
    request.MergeFrom(CHANGES[method])
    for name, value in changed.items():
        setattr(request, name, value)
    return request


async def ask(admin: Any, method: str, request: Any) -> Any:
    return await getattr(admin.stub, method)(request, metadata=admin.metadata)


async def everything(admin: Any) -> list[Any]:
    """All that is listed."""
    return [
        await ask(admin, "ListDomains", pb.ListDomainsRequest()),
        await ask(admin, "ListAccounts", pb.ListAccountsRequest()),
        await ask(admin, "ListAliases", pb.ListAliasesRequest()),
    ]


def test_every_change_is_tested() -> None:
    methods = pb.DESCRIPTOR.services_by_name["DirectoryService"].methods
    assert {method.name for method in methods if "operation_id" in method.input_type.fields_by_name} == {
        *CHANGES
    }
    reading = ("SetOwnQuota", "Find", "List", "Get", "Resolve", "StreamResolve", "Authenticate", "Renew")
    assert {method.name for method in methods if not method.name.startswith(reading)} == {*CHANGES}


async def test_it_is_done_once_however_often_and_wherever_it_is_asked(house: Any, twin: Any) -> None:
    for method in CHANGES:
        request = request_of(method)
        answers = await asyncio.gather(*(ask(admin, method, request) for admin in (house, twin, house, twin)))
        after = await everything(house)
        answers += [await ask(admin, method, request) for admin in (house, twin)]
        assert all(answer == answers[0] for answer in answers)
        assert await everything(twin) == after


async def test_an_answer_that_was_lost_behind_the_commit_is_given_again(
    house: Any, lost: LostAnswers
) -> None:
    answers: dict[str, Any] = {}
    for method in CHANGES:
        request = request_of(method)
        lost(1_000, "administration.after_commit")
        with pytest.raises(UnavailableError):
            await ask(house, method, request)
        lost(0, "administration.after_commit")
        after = await everything(house)
        answers[method] = await ask(house, method, request)
        assert await everything(house) == after
    domains, accounts, aliases = await everything(house)
    assert answers["CreateDomain"].domain in domains.domains
    assert answers["CreateAccount"].account in accounts.accounts
    assert answers["CreateAlias"].alias in aliases.aliases
    assert (len(domains.domains), len(accounts.accounts), len(aliases.aliases)) == (2, 2, 1)


async def test_what_others_did_since_is_not_undone(house: Any) -> None:
    """A new account under the address of a deleted one stays, and so does a newer password."""
    requests = {method: request_of(method) for method in CHANGES}
    for method, request in requests.items():
        await ask(house, method, request)
    await house.account("gone@example.com")
    await house.set_password("ann@example.com", "the newest password")
    await house.alias("alias@example.com", "new@example.com")
    after = await everything(house)
    for method, request in requests.items():
        await ask(house, method, request)
    assert await everything(house) == after
    login = pb.AuthenticateRequest(
        address="ann@example.com", password=ANOTHER, scope=pb.SCOPE_IMAP, peer_address="192.0.2.1"
    )
    with pytest.raises(InvalidCredentialsError):
        await house.stub.Authenticate(login)
    login.password = "the newest password"
    await house.stub.Authenticate(login)


OTHERS: dict[str, list[dict[str, object]]] = {
    "CreateDomain": [{"name": "other.example"}, {"tenant_id": new_id().bytes}],
    "CreateAccount": [{"address": "other@example.com"}, {"display_name": "New"}, {"password": ANOTHER}],
    "SetPassword": [{"password": PASSWORD}, {"address": "new@example.com"}],
    "CreateAlias": [{"address": "other@example.com"}],
    "DeleteAlias": [{"address": "new-alias@example.com"}],
}


async def test_an_id_is_good_for_one_request_only(house: Any) -> None:
    ids: dict[str, bytes] = {}
    for method in CHANGES:
        request = request_of(method)
        ids[method] = request.operation_id
        await ask(house, method, request)
    after = await everything(house)
    for method, operation_id in ids.items():
        wrong = [(method, changed) for changed in OTHERS.get(method, [])]
        for other, changed in [*wrong, *((other, {}) for other in CHANGES if other != method)]:
            with pytest.raises(InvalidRequestError):
                await ask(house, other, request_of(other, **changed, operation_id=operation_id))
    with pytest.raises(InvalidRequestError):
        await ask(house, "CreateDomain", request_of("CreateDomain", operation_id=b"not an id"))
    assert await everything(house) == after


async def test_nothing_is_remembered_that_makes_a_password_easier_to_try(
    house: Any, directory_database: PostgresAddress
) -> None:
    for method in ("CreateAccount", "SetPassword"):
        request = request_of(method)
        await ask(house, method, request)
        quick = operation_of(NOBODY, DEFAULT_TENANT, request.operation_id, request)
        assert quick is not None
        connection = await asyncpg.connect(directory_database.url("directory"))
        try:
            row = await connection.fetchrow("SELECT * FROM operation WHERE id = $1", quick.id)
        finally:
            await connection.close()
        assert row is not None
        assert row["request"] != quick.request
        assert request.password.encode() not in row["answer"]


async def test_operations_are_forgotten_after_a_day_by_those_that_follow(
    house: Any, directory_database: PostgresAddress
) -> None:
    connection = await asyncpg.connect(directory_database.url("directory"))
    try:
        await ask(house, "CreateDomain", request_of("CreateDomain"))
        await connection.execute(
            "UPDATE operation SET asked_at = now() - make_interval(secs => $1)", REMEMBERED_SECONDS + 1
        )
        await ask(house, "DeleteDomain", request_of("DeleteDomain"))
        assert await connection.fetchval("SELECT count(*) FROM operation") == 1
    finally:
        await connection.close()
