"""`postroom doctor` at directory: who cannot be reached or log in is told."""

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

import pytest
from pydantic import SecretStr

from directory.main import MIGRATIONS, open_database
from directory.settings import Settings
from postroom.directory.v1 import directory_pb2 as pb
from postroom.doctor.v1 import doctor_pb2
from postroom.doctor.v1.doctor_pb2_grpc import DoctorServiceStub
from postroom_contracts.errors import InvalidCredentialsError
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import Metadata, channel, on_behalf_of
from postroom_storage.database import Database

Kind = doctor_pb2.Finding


class Admin(Protocol):
    metadata: Metadata

    def domain(self, name: str = "example.com") -> Awaitable[pb.Domain]: ...
    def account(self, address: str) -> Awaitable[pb.Account]: ...
    def alias(self, address: str, *targets: str) -> Awaitable[pb.Alias]: ...


class Replica(Protocol):
    address: str

    def admin(self) -> Awaitable[Admin]: ...


@pytest.fixture
async def database(directory_database: PostgresAddress) -> AsyncIterator[Database]:
    settings = Settings(
        nats_url="nats://127.0.0.1:1",
        database_url=SecretStr(directory_database.url("directory")),
        require_durable_database=False,
    )
    async with open_database(settings) as database:
        yield database


async def test_who_cannot_be_reached_or_log_in_is_told(replica: Replica, database: Database) -> None:
    admin = await replica.admin()
    await admin.domain()
    ann, bob = await admin.account("ann@example.com"), await admin.account("bob@example.com")
    team = await admin.alias("team@example.com", "ann@example.com")

    async def examine() -> doctor_pb2.ExamineResponse:
        async with channel(replica.address, "webmail-api") as joined:
            request = doctor_pb2.ExamineRequest()
            return await DoctorServiceStub(joined).Examine(request, metadata=admin.metadata)

    fine = await examine()
    assert not fine.findings
    assert dict(fine.examined) == {"known accounts": 2, "aliases": 1}
    async with database.connection() as connection:
        await connection.execute("DELETE FROM directory.address WHERE local_key = 'ann'")
        await connection.execute("DELETE FROM directory.credential")
        await connection.execute("DELETE FROM directory.alias_target")
        await connection.execute("UPDATE directory.alembic_version SET version_num = '9999'")
    said = f"it is at revision 9999, this release's is {MIGRATIONS.head}"
    ids = [each.id.hex() for each in (ann, bob, team)]
    found = [(each.kind, each.subject.replace("-", ""), each.detail) for each in (await examine()).findings]
    assert found == [
        (Kind.KIND_OTHER_SCHEMA, "schema directory", said),
        (Kind.KIND_ROW_MISSING, f"account {ids[0]}", "no address leads to it; it has no password"),
        (Kind.KIND_ROW_MISSING, f"account {ids[1]}", "it has no password"),
        (Kind.KIND_ROW_MISSING, f"alias {ids[2]}", "it leads nowhere"),
    ]


async def test_only_an_administrator_asks(replica: Replica) -> None:
    async with channel(replica.address, "webmail-api") as joined:
        with pytest.raises(InvalidCredentialsError):
            await DoctorServiceStub(joined).Examine(doctor_pb2.ExamineRequest(), metadata=on_behalf_of(""))
