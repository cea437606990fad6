"""App passwords: made once, good for their scopes, gone at once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from directory.app_passwords import digest_of
from directory.limits import Limits
from postroom.directory.v1 import credential_pb2 as credentials
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.credential_pb2_grpc import CredentialServiceStub
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.errors import (
    AccountNotFoundError,
    AppPasswordNotFoundError,
    CapabilityExpiredError,
    InvalidCredentialsError,
    InvalidRequestError,
    LimitError,
    NotPermittedError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import Metadata, on_behalf_of

ANN = "ann@example.com"
PASSWORD = "correct horse battery"
SECRET = "abcdefghij234567klmn"
MAIL = (pb.SCOPE_IMAP, pb.SCOPE_SUBMISSION)


class Ann:
    """Ann, at the programs and the web page that she uses."""

    def __init__(self, directory: DirectoryServiceStub, stub: CredentialServiceStub) -> None:
        self.directory = directory
        self.stub = stub

    async def log_in(
        self, password: str = SECRET, scope: "pb.Scope.ValueType" = pb.SCOPE_IMAP
    ) -> pb.AuthenticateResponse:
        request = pb.AuthenticateRequest(
            address=ANN, password=password, scope=scope, peer_address="192.0.2.1", session=True
        )
        return await self.directory.Authenticate(request)

    async def at_the_page(self) -> Metadata:
        return on_behalf_of((await self.log_in(PASSWORD, pb.SCOPE_API)).capability)

    async def make(self, password: str = SECRET, scopes: Any = MAIL, **more: Any) -> credentials.AppPassword:
        request = credentials.CreateAppPasswordRequest(
            name="laptop", scopes=scopes, password=password, **more
        )
        answer = await self.stub.CreateAppPassword(request, metadata=await self.at_the_page())
        return answer.app_password

    async def list(self) -> list[credentials.AppPassword]:
        request = credentials.ListAppPasswordsRequest()
        answer = await self.stub.ListAppPasswords(request, metadata=await self.at_the_page())
        return list(answer.app_passwords)


@pytest.fixture
async def ann(replica: Any, admin: Any) -> Ann:
    """Somebody with an account."""
    await admin.account(ANN)
    return Ann(await replica.client(), await replica.credentials())


async def test_an_app_password_is_good_for_its_scopes_only(ann: Ann) -> None:
    made = await ann.make()
    assert (made.name, tuple(made.scopes)) == ("laptop", MAIL)
    for scope in MAIL:
        assert (await ann.log_in(scope=scope)).account.address == ANN
    for scope in (pb.SCOPE_POP3, pb.SCOPE_FTP, pb.SCOPE_API):
        with pytest.raises(InvalidCredentialsError):
            await ann.log_in(scope=scope)
    assert (await ann.log_in(PASSWORD, pb.SCOPE_POP3)).account.address == ANN


async def test_it_may_be_copied_in_groups_and_capitals(ann: Ann) -> None:
    await ann.make("abcde-fghij-23456-7klmn")
    for spelling in ("ABCDEFGHIJ234567KLMN", "abcde fghij 23456 7klmn"):
        await ann.log_in(spelling)


async def test_a_deleted_one_ends_its_logins_and_no_others(ann: Ann) -> None:
    made = await ann.make()
    await ann.make("zzzzzzzzzzzzzzzzzzzz")
    login, other = await ann.log_in(), await ann.log_in("zzzzzzzzzzzzzzzzzzzz")
    for token in (login.capability, login.session_token, other.capability):
        await ann.directory.RenewCapability(pb.RenewCapabilityRequest(token=token))
    request = credentials.DeleteAppPasswordRequest(id=made.id)
    await ann.stub.DeleteAppPassword(request, metadata=await ann.at_the_page())
    with pytest.raises(InvalidCredentialsError):
        await ann.log_in()
    for token in (login.capability, login.session_token):
        with pytest.raises(CapabilityExpiredError):
            await ann.directory.RenewCapability(pb.RenewCapabilityRequest(token=token))
    await ann.directory.RenewCapability(pb.RenewCapabilityRequest(token=other.capability))
    with pytest.raises(AppPasswordNotFoundError):
        await ann.stub.DeleteAppPassword(request, metadata=await ann.at_the_page())


async def test_it_outlives_a_change_of_the_password(ann: Ann, admin: Any) -> None:
    await ann.make()
    login = await ann.log_in()
    await admin.set_password(ANN, "another password")
    await ann.directory.RenewCapability(pb.RenewCapabilityRequest(token=login.capability))
    await ann.log_in()


async def test_it_ends_when_it_was_to_end(ann: Ann) -> None:
    past, future = Timestamp(), Timestamp()
    past.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    future.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    await ann.make(expires_at=past)
    with pytest.raises(InvalidCredentialsError):
        await ann.log_in()
    await ann.make("zzzzzzzzzzzzzzzzzzzz", expires_at=future)
    await ann.log_in("zzzzzzzzzzzzzzzzzzzz")


async def test_who_came_by_one_makes_no_other(ann: Ann) -> None:
    made = await ann.make(scopes=[pb.SCOPE_API])
    metadata = on_behalf_of((await ann.log_in(scope=pb.SCOPE_API)).capability)
    create = credentials.CreateAppPasswordRequest(name="x", scopes=MAIL, password="z" * 20)
    delete = credentials.DeleteAppPasswordRequest(id=made.id)
    scram = credentials.EnableScramRequest(password=PASSWORD, peer_address="192.0.2.1")
    for call in (
        ann.stub.CreateAppPassword(create, metadata=metadata),
        ann.stub.ListAppPasswords(credentials.ListAppPasswordsRequest(), metadata=metadata),
        ann.stub.DeleteAppPassword(delete, metadata=metadata),
        ann.stub.EnableScram(scram, metadata=metadata),
        ann.stub.DisableScram(credentials.DisableScramRequest(), metadata=metadata),
    ):
        with pytest.raises(NotPermittedError):
            await call


async def test_a_capability_for_mail_makes_none(ann: Ann) -> None:
    metadata = on_behalf_of((await ann.log_in(PASSWORD)).capability)
    with pytest.raises(NotPermittedError):
        await ann.stub.ListAppPasswords(credentials.ListAppPasswordsRequest(), metadata=metadata)


async def test_administrators_name_the_account_and_nobody_else_does(ann: Ann, admin: Any) -> None:
    create = credentials.CreateAppPasswordRequest(address=ANN, name="x", scopes=MAIL, password=SECRET)
    with pytest.raises(NotPermittedError):
        await ann.stub.CreateAppPassword(create, metadata=await ann.at_the_page())
    await ann.stub.CreateAppPassword(create, metadata=admin.metadata)
    await ann.log_in()
    assert [each.name for each in await ann.list()] == ["x"]
    unknown = credentials.ListAppPasswordsRequest(address="bob@example.com")
    with pytest.raises(AccountNotFoundError):
        await ann.stub.ListAppPasswords(unknown, metadata=admin.metadata)


async def test_asked_again_it_is_made_once(ann: Ann) -> None:
    first = await ann.make(operation_id=(operation_id := new_id().bytes))
    assert await ann.make(operation_id=operation_id) == first
    assert [each.id for each in await ann.list()] == [first.id]


async def test_when_it_was_used_is_known_to_the_hour(ann: Ann) -> None:
    made = await ann.make()
    assert not made.HasField("used_at")
    await ann.log_in()
    used = (await ann.list())[0].used_at
    await ann.log_in()
    assert (await ann.list())[0].used_at == used
    assert abs(used.ToDatetime(UTC) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 101},
        {"name": "a\0b"},
        {"scopes": []},
        {"scopes": [pb.SCOPE_ADMIN]},
        {"scopes": [pb.SCOPE_UNSPECIFIED]},
        {"password": "too short"},
        {"password": "a" * 21},
        {"password": "a" * 19 + "1"},
    ],
)
async def test_what_cannot_be_one_is_refused(ann: Ann, wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"name": "laptop", "scopes": MAIL, "password": SECRET, **wrong}
    request = credentials.CreateAppPasswordRequest(**fields)
    with pytest.raises(InvalidRequestError):
        await ann.stub.CreateAppPassword(request, metadata=await ann.at_the_page())


async def test_an_account_has_so_many_and_no_more(ann: Ann) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    metadata = await ann.at_the_page()
    for number in range(Limits().app_passwords):
        password = (alphabet[number % 32] + alphabet[number // 32]) * 10
        request = credentials.CreateAppPasswordRequest(name="x", scopes=MAIL, password=password)
        await ann.stub.CreateAppPassword(request, metadata=metadata)
    with pytest.raises(LimitError):
        await ann.make()


def test_only_what_looks_like_one_is_looked_up() -> None:
    assert digest_of(PASSWORD) is None
    assert digest_of("a" * 20) == digest_of("AAAA-AAAA-AAAA-AAAA-AAAA")
    assert digest_of("ä" * 20) is None
