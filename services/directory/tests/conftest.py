"""A directory on real Postgres and real gRPC, with a database of each test's own."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from directory.main import MIGRATIONS, add_to_server, build, open_database
from directory.policy import POLICY
from directory.settings import Settings
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.credential_pb2_grpc import CredentialServiceStub
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.directory.v1.login_pb2_grpc import LoginServiceStub
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import Metadata, channel, on_behalf_of
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.stack import drop_database, new_database, run_in_thread

ADMIN_TOKEN = "administrator-of-the-tests"
PASSWORD = "correct horse battery"


class FakePublisher:
    """Notes what would be published."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def publish(self, subject: str, payload: bytes = b"") -> None:
        self.subjects.append(subject)


class Replica:
    """One running directory and clients of it, one per calling service."""

    def __init__(self, stack: AsyncExitStack, address: str, publisher: FakePublisher) -> None:
        self.address = address
        self.publisher = publisher
        self._stack = stack
        self._admin: Metadata = ()

    async def client(self, service: str = "mail-access") -> DirectoryServiceStub:
        """The stub with which this service calls."""
        return DirectoryServiceStub(await self._stack.enter_async_context(channel(self.address, service)))

    async def logins(self) -> LoginServiceStub:
        """What mail-access asks by other means than passwords."""
        return LoginServiceStub(await self._stack.enter_async_context(channel(self.address, "mail-access")))

    async def credentials(self) -> CredentialServiceStub:
        """What webmail-api asks about credentials."""
        return CredentialServiceStub(
            await self._stack.enter_async_context(channel(self.address, "webmail-api"))
        )

    async def admin(self) -> "Admin":
        """The administrator's calls."""
        stub = await self.client("webmail-api")
        answer = await stub.AuthenticateAdmin(pb.AuthenticateAdminRequest(token=ADMIN_TOKEN))
        return Admin(stub, on_behalf_of(answer.capability))


class Admin:
    """Calls with the administrator's capability."""

    def __init__(self, stub: DirectoryServiceStub, metadata: Metadata) -> None:
        self.stub = stub
        self.metadata = metadata

    async def domain(self, name: str = "example.com") -> pb.Domain:
        return (
            await self.stub.CreateDomain(pb.CreateDomainRequest(name=name), metadata=self.metadata)
        ).domain

    async def account(self, address: str, password: str = PASSWORD, name: str = "") -> pb.Account:
        request = pb.CreateAccountRequest(address=address, password=password, display_name=name)
        return (await self.stub.CreateAccount(request, metadata=self.metadata)).account

    async def alias(self, address: str, *targets: str) -> pb.Alias:
        request = pb.CreateAliasRequest(address=address, targets=targets)
        return (await self.stub.CreateAlias(request, metadata=self.metadata)).alias

    async def set_password(self, address: str, password: str) -> None:
        request = pb.SetPasswordRequest(address=address, password=password)
        await self.stub.SetPassword(request, metadata=self.metadata)


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresAddress) -> PostgresAddress:
    """A database with the schema, to be copied."""

    async def make() -> PostgresAddress:
        address = await new_database(postgres_server)
        await MIGRATIONS.run(address.url("directory"), require_durable=False)
        return address

    return run_in_thread(make)


@pytest.fixture
def directory_database(
    postgres_server: PostgresAddress, migrated: PostgresAddress
) -> Iterator[PostgresAddress]:
    """A migrated database of this test's own."""
    address = run_in_thread(lambda: new_database(postgres_server, migrated.database))
    yield address
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A private directory whose path is short enough for a unix socket."""
    path = Path(tempfile.mkdtemp(prefix="pd-"))
    yield path
    shutil.rmtree(path)


class Starter:
    """Starts replicas over one database."""

    def __init__(self, stack: AsyncExitStack, sockets: Path) -> None:
        self._stack = stack
        self._sockets = sockets
        self._count = 0

    async def __call__(self, address: PostgresAddress, postmaster: str | None = None, **more: Any) -> Replica:
        self._count += 1
        socket = f"unix:{self._sockets}/{self._count}.sock"
        settings = Settings(
            nats_url="nats://127.0.0.1:1",
            database_url=SecretStr(address.url("directory")),
            admin_token=SecretStr(ADMIN_TOKEN),
            postmaster=postmaster,
            require_durable_database=False,
            grpc_listen=socket,
            **more,
        )
        publisher = FakePublisher()
        database = await self._stack.enter_async_context(open_database(settings))
        lifecycle = Lifecycle()
        service = build(self._stack, settings, database, publisher, lifecycle.closing)
        server = await serve_grpc(
            socket, partial(add_to_server, service, database), policy=POLICY, tls=None, lifecycle=lifecycle
        )
        await self._stack.enter_async_context(server)
        return Replica(self._stack, socket, publisher)


@pytest.fixture
async def start(sockets: Path) -> AsyncIterator[Starter]:
    """Starts a directory."""
    async with AsyncExitStack() as stack:
        yield Starter(stack, sockets)


@pytest.fixture
async def replica(start: Starter, directory_database: PostgresAddress) -> Replica:
    """One directory over an empty schema."""
    return await start(directory_database)


@pytest.fixture
async def admin(replica: Replica) -> Admin:
    """Its administrator, with one domain."""
    calls = await replica.admin()
    await calls.domain()
    return calls


def outcomes(answer: pb.ResolveRecipientsResponse) -> Sequence[int]:
    """The outcome of each address."""
    return [resolution.outcome for resolution in answer.resolutions]
