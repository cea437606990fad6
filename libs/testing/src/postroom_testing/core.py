"""A real core for the tests of the edge services: directory and mailstore over unix sockets, in this process.

The services are named, not imported: a library knows no service.
"""

import asyncio
import contextlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from pydantic import SecretStr

from postroom.directory.v1 import credential_pb2
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.credential_pb2_grpc import CredentialServiceStub
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.errors import DomainExistsError
from postroom_embedded.instance import open_instance
from postroom_embedded.nats import NatsAddress, running_nats
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_embedded.services import says_ready
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.stack import new_database

ADMIN_TOKEN = "administrator-of-the-tests"  # of tests only
PASSWORD = "correct horse battery"
DOMAIN = "postroom.test"

_SETTLED_SECONDS = 20.0
_POLL_SECONDS = 0.02
_ADD_ACCOUNTS = """
WITH added AS (
    INSERT INTO directory.account (id, tenant_id, address)
    SELECT gen_random_uuid(), d.tenant_id, local_part || '@' || d.name
    FROM directory.domain AS d, unnest($2::text[]) AS local_part WHERE d.name = $1
    RETURNING id, tenant_id, address
), addressed AS (
    INSERT INTO directory.address (domain_id, local_key, tenant_id, account_id)
    SELECT d.id, split_part(added.address, '@', 1), added.tenant_id, added.id
    FROM added, directory.domain AS d WHERE d.name = $1
)
SELECT id, address FROM added
"""
_INBOX = """
SELECT mm.message_id FROM mailstore.mailbox_message AS mm JOIN mailstore.mailbox AS m ON m.id = mm.mailbox_id
WHERE m.name = 'INBOX' AND m.account_id = $1 ORDER BY mm.uid
"""


@dataclass
class Core:
    """A directory and a mail store that run, and what tests ask of them."""

    database: PostgresAddress
    nats: NatsAddress
    sockets: Path
    accounts: dict[str, UUID] = field(default_factory=dict[str, UUID])

    @property
    def directory(self) -> str:
        """The directory's address."""
        return f"unix:{self.sockets / 'directory'}"

    @property
    def mailstore(self) -> str:
        """The mail store's address."""
        return f"unix:{self.sockets / 'mailstore'}"

    @property
    def environment(self) -> dict[str, str]:
        """For an edge service that is a process of its own."""
        return {
            "POSTROOM_NATS_URL": self.nats.url,
            "POSTROOM_DIRECTORY_ADDRESS": self.directory,
            "POSTROOM_MAILSTORE_ADDRESS": self.mailstore,
        }

    @property
    def mailstore_environment(self) -> dict[str, str]:
        """For a mail store that is a process of its own, with the object store away."""
        return {
            **self.environment,
            "POSTROOM_DATABASE_URL": self.database.url("mailstore"),
            "POSTROOM_S3_ENDPOINT": "http://127.0.0.1:9",
            "POSTROOM_S3_REGION": "us-east-1",
            "POSTROOM_S3_ACCESS_KEY": "none",
            "POSTROOM_S3_SECRET_KEY": "none",
            "POSTROOM_MAILSTORE_REQUIRE_DURABLE_DATABASE": "false",
            "POSTROOM_MAILSTORE_GRPC_LISTEN": self.mailstore,
            "POSTROOM_MAILSTORE_LANE_LEASE_SECONDS": "1.0",
        }

    async def fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of the database, as its superuser sees them."""
        connection = await asyncpg.connect(self.database.url())
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    async def inbox(self, address: str) -> list[UUID]:
        """The messages in an account's INBOX, by UID."""
        return [row["message_id"] for row in await self.fetch(_INBOX, self.accounts[address])]

    async def wait_inbox(self, address: str, count: int, seconds: float = 10.0) -> list[UUID]:
        """The messages in an account's INBOX once there are so many; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(found := await self.inbox(address)) < count:
                await asyncio.sleep(_POLL_SECONDS)
        return found

    async def add_accounts_without_login(self, *names: str, domain: str = DOMAIN) -> list[str]:
        """Make many accounts that nobody logs in to; gives their addresses."""
        for row in await self.fetch(_ADD_ACCOUNTS, domain, names):
            self.accounts[row["address"]] = row["id"]
        return [f"{name}@{domain}" for name in names]

    async def add_accounts(self, *names: str, domain: str = DOMAIN) -> list[str]:
        """Make accounts with the password of all tests; gives their addresses."""
        async with channel(self.directory, "webmail-api") as way:
            stub = DirectoryServiceStub(way)
            answer = await stub.AuthenticateAdmin(pb.AuthenticateAdminRequest(token=ADMIN_TOKEN))
            metadata = on_behalf_of(answer.capability)
            with contextlib.suppress(DomainExistsError):
                await stub.CreateDomain(pb.CreateDomainRequest(name=domain), metadata=metadata)
            for name in names:
                request = pb.CreateAccountRequest(address=f"{name}@{domain}", password=PASSWORD)
                account = (await stub.CreateAccount(request, metadata=metadata)).account
                self.accounts[account.address] = UUID(bytes=account.id)
        return [f"{name}@{domain}" for name in names]

    async def delete_account(self, address: str) -> None:
        """As an administrator does; `accounts` knows its id still."""
        async with channel(self.directory, "webmail-api") as way:
            stub = DirectoryServiceStub(way)
            answer = await stub.AuthenticateAdmin(pb.AuthenticateAdminRequest(token=ADMIN_TOKEN))
            request = pb.DeleteAccountRequest(address=address)
            await stub.DeleteAccount(request, metadata=on_behalf_of(answer.capability))

    async def add_credentials(self, address: str, app_password: str, scope: "pb.Scope.ValueType") -> None:
        """Let an account opt in to SCRAM, and give it an app password for one scope."""
        async with channel(self.directory, "webmail-api") as way:
            token = pb.AuthenticateAdminRequest(token=ADMIN_TOKEN)
            answer = await DirectoryServiceStub(way).AuthenticateAdmin(token)
            metadata, stub = on_behalf_of(answer.capability), CredentialServiceStub(way)
            scram = credential_pb2.EnableScramRequest(address=address, password=PASSWORD)
            await stub.EnableScram(scram, metadata=metadata)
            wanted = credential_pb2.CreateAppPasswordRequest(
                address=address, name="a program", scopes=[scope], password=app_password
            )
            await stub.CreateAppPassword(wanted, metadata=metadata)


@contextlib.asynccontextmanager
async def service_process(
    core: Core, service: str, environment: dict[str, str], crash_at: str = ""
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """`python -m <service> serve`, ready within the block, killed after it; it may end itself at a step."""
    health = core.sockets / f"{service}.health"
    health.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "postroom_testing.crash", service, "serve"),
        env={
            **os.environ,
            **environment,
            f"POSTROOM_{service.upper()}_HEALTH_ADDRESS": f"unix:{health}",
            "POSTROOM_CRASH_AT": crash_at,
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_SETTLED_SECONDS):
            while process.returncode is None and not await says_ready(str(health)):
                await asyncio.sleep(_POLL_SECONDS)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def served(
    serve: Callable[[Any, Lifecycle], Awaitable[None]], settings: object
) -> AsyncGenerator[Lifecycle]:
    """A service's `serve`, ready within the block and drained after it."""
    lifecycle = Lifecycle()
    task = asyncio.ensure_future(serve(settings, lifecycle))
    try:
        async with asyncio.timeout(_SETTLED_SECONDS):
            while not lifecycle.ready and not task.done():
                await asyncio.sleep(_POLL_SECONDS / 4)
        if task.done():
            await task
        yield lifecycle
    finally:
        lifecycle.stop()
        await asyncio.wait([task], timeout=_SETTLED_SECONDS)
        task.cancel()
        await asyncio.wait([task])
    await task


async def new_core_database(server: PostgresAddress) -> PostgresAddress:
    """A database with the schemas of directory and mailstore, to be copied."""
    address = await new_database(server)
    await new_core_schemas(address)
    return address


async def new_core_schemas(address: PostgresAddress) -> None:
    """Migrate a database that is not as durable as it would have to be."""
    await module("directory.main").MIGRATIONS.run(address.url("directory"), require_durable=False)
    await module("mailstore.serve").MIGRATIONS.run(address.url("mailstore"), require_durable=False)


@contextlib.contextmanager
def private_directory() -> Generator[Path]:
    """Short enough for unix sockets, open to nobody else."""
    path = Path(tempfile.mkdtemp(prefix="pc-", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.asynccontextmanager
async def running_core(
    database: PostgresAddress, store: S3Address | None = None, **overrides: object
) -> AsyncGenerator[Core]:
    """A core over a migrated database, with the accounts ann and bob.

    `overrides` are settings of the mail store. Without `store` the object store is away.
    """
    async with (
        bare_core(database) as core,
        running_directory(core),
        running_mailstore(core, store, **overrides),
    ):
        await core.add_accounts("ann", "bob")
        yield core


@contextlib.asynccontextmanager
async def bare_core(database: PostgresAddress) -> AsyncGenerator[Core]:
    """A place for a core, with a NATS of its own: two cores on one would hear each other's bells."""
    with private_directory() as place, open_instance(place / "data") as instance:
        async with running_nats(instance) as nats:
            yield Core(database, nats, place)


@contextlib.asynccontextmanager
async def running_directory(core: Core, **overrides: object) -> AsyncGenerator[Lifecycle]:
    """The core's directory."""
    values: dict[str, object] = {
        "nats_url": core.nats.url,
        "database_url": SecretStr(core.database.url("directory")),
        "admin_token": SecretStr(ADMIN_TOKEN),
        "require_durable_database": False,
        "grpc_listen": core.directory,
        "drain_seconds": 1.0,
    }
    settings = module("directory.settings").Settings(**(values | overrides))
    async with served(module("directory.main").serve, settings) as lifecycle:
        yield lifecycle


@contextlib.asynccontextmanager
async def running_mailstore(
    core: Core, store: S3Address | None = None, **overrides: object
) -> AsyncGenerator[Lifecycle]:
    """The core's mail store."""
    values: dict[str, object] = {
        "nats_url": core.nats.url,
        "directory_address": core.directory,
        "database_url": SecretStr(core.database.url("mailstore")),
        "s3_endpoint": "http://127.0.0.1:9" if store is None else store.endpoint,
        "s3_region": "us-east-1" if store is None else store.region,
        "s3_access_key": SecretStr("none" if store is None else store.access_key),
        "s3_secret_key": SecretStr("none" if store is None else store.secret_key),
        "require_durable_database": False,
        "grpc_listen": core.mailstore,
        "hostname": "store.postroom.test",
        "drain_seconds": 1.0,
    }
    settings = module("mailstore.settings").Settings(**(values | overrides))
    async with served(module("mailstore.serve").serve, settings) as lifecycle:
        yield lifecycle


def module(name: str) -> Any:
    """A module of a service."""
    return importlib.import_module(name)
