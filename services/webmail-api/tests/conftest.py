"""REST over a real core with file store and object store, and a client for each account."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx
import pytest
import zstandard
from pydantic import SecretStr

import filestore.serve
from filestore.settings import Settings as FilestoreSettings
from postroom.directory.v1 import directory_pb2
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.mailstore.v1 import content_pb2, mailbox_pb2
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom_contracts.ids import new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.core import ADMIN_TOKEN, PASSWORD, Core, running_core, served
from postroom_testing.rest_client import API, Append, Connect, RestClient, Serve
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread
from webmail_api.identifiers import MessageKey
from webmail_api.serve import serving
from webmail_api.settings import Settings


@dataclass(frozen=True)
class House:
    """A core, and the port of REST in front of it."""

    core: Core
    port: int


def settings_of(core: Core, **changed: Any) -> Settings:
    """Of a service in front of this core."""
    values: dict[str, Any] = {
        "directory_address": core.directory,
        "mailstore_address": core.mailstore,
        "filestore_address": f"unix:{core.sockets / 'filestore'}",
        "host": "127.0.0.1",
        "http_port": 0,
        "https_port": 0,
        "drain_seconds": 2.0,
    }
    return Settings(**(values | changed))


def filestore_settings(core: Core, store: S3Address) -> FilestoreSettings:
    """Of a file store beside this core."""
    return FilestoreSettings(
        directory_address=core.directory,
        database_url=SecretStr(core.database.url("filestore")),
        require_durable_database=False,
        s3_endpoint=store.endpoint,
        s3_region=store.region,
        s3_access_key=SecretStr(store.access_key),
        s3_secret_key=SecretStr(store.secret_key),
        grpc_listen=f"unix:{core.sockets / 'filestore'}",
        drain_seconds=1.0,
    )


@pytest.fixture(scope="session")
def house_template(postgres_server: PostgresAddress, core_template: PostgresAddress) -> PostgresAddress:
    """A database with the schemas of the whole core, to be copied."""

    async def make() -> PostgresAddress:
        address = await new_database(postgres_server, core_template.database)
        await filestore.serve.MIGRATIONS.run(address.url("filestore"), require_durable=False)
        return address

    return run_in_thread(make)


@pytest.fixture(scope="session")
def house(
    postgres_server: PostgresAddress, house_template: PostgresAddress, object_store: S3Address
) -> Iterator[House]:
    """REST in front of a core that all tests share, with accounts of each test's own."""
    address = run_in_thread(lambda: new_database(postgres_server, house_template.database))

    @asynccontextmanager
    async def opened() -> AsyncGenerator[House]:
        async with AsyncExitStack() as stack:
            core = await stack.enter_async_context(running_core(address, object_store, retry_seconds=0.3))
            await stack.enter_async_context(
                served(filestore.serve.serve, filestore_settings(core, object_store))
            )
            ports = await stack.enter_async_context(serving(settings_of(core), Lifecycle()))
            yield House(core, ports["http"])

    with in_thread(opened) as running:
        yield running
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
async def anonymous(house: House) -> AsyncIterator[RestClient]:
    """Somebody who is not logged in."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.port}", trust_env=False) as http:
        yield RestClient(http)


@pytest.fixture
async def connect(house: House, anonymous: RestClient) -> AsyncIterator[Connect]:
    """Makes accounts and logs them in."""
    async with AsyncExitStack() as stack:

        async def make(name: str = "carol") -> RestClient:
            [address] = await house.core.add_accounts(f"{name}-{secrets.token_hex(4)}")
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=str(anonymous.http.base_url), trust_env=False, timeout=20)
            )
            client = RestClient(http)
            await client.log_in(address, PASSWORD)
            return client

        yield make


@pytest.fixture
async def append(house: House) -> AsyncIterator[Append]:
    """Files any octets in somebody's inbox; gives the message's id."""
    core = house.core
    async with (
        channel(core.directory, "webmail-api") as directory,
        channel(core.mailstore, "webmail-api") as mailstore,
    ):
        logins, mailboxes = DirectoryServiceStub(directory), MailboxServiceStub(mailstore)

        async def file(client: RestClient, octets: bytes) -> str:
            request = directory_pb2.AuthenticateRequest(
                address=client.address, password=PASSWORD, scope=directory_pb2.SCOPE_API
            )
            metadata = on_behalf_of((await logins.Authenticate(request)).capability)
            listed = await mailboxes.ListMailboxes(mailbox_pb2.ListMailboxesRequest(), metadata=metadata)
            inbox = next(mailbox for mailbox in listed.mailboxes if mailbox.name == "INBOX")
            content = content_pb2.Content(
                digest=sha256(octets).digest(), size=len(octets), zstd=zstandard.compress(octets)
            )
            wanted = mailbox_pb2.AppendMessageRequest(id=new_id().bytes, mailbox_id=inbox.id, content=content)
            wanted.internal_date.GetCurrentTime()
            answer = await mailboxes.AppendMessage(wanted, metadata=metadata)
            return str(MessageKey(inbox.id, answer.uid))

        yield file


@pytest.fixture
async def carol(connect: Connect) -> RestClient:
    """An account of this test's own."""
    return await connect()


@pytest.fixture
async def serve(house: House) -> AsyncIterator[Serve]:
    """Starts REST services in front of the house's core, or of what the settings name instead."""
    async with AsyncExitStack() as stack:

        async def start(**changed: object) -> dict[str, int]:
            return await stack.enter_async_context(serving(settings_of(house.core, **changed), Lifecycle()))

        yield start


@pytest.fixture
def house_environment(house: House) -> dict[str, str]:
    """For a REST service that is a process of its own."""
    filestore_address = f"unix:{house.core.sockets / 'filestore'}"
    return house.core.environment | {"POSTROOM_FILESTORE_ADDRESS": filestore_address}


@pytest.fixture(scope="session")
def guest_token(house: House) -> str:
    """A session of an account that all tests share, for what changes nothing."""
    credentials = {"address": "ann@postroom.test", "password": PASSWORD}
    response = httpx.post(
        f"http://127.0.0.1:{house.port}{API}/session", json=credentials, trust_env=False, timeout=20
    )
    return response.json()["token"]


@pytest.fixture
async def guest(anonymous: RestClient, guest_token: str) -> AsyncIterator[RestClient]:
    """Somebody who is logged in."""
    anonymous.address = "ann@postroom.test"
    anonymous.http.headers["Authorization"] = f"Bearer {guest_token}"
    yield anonymous
    del anonymous.http.headers["Authorization"]


@pytest.fixture
async def admin(anonymous: RestClient) -> AsyncIterator[RestClient]:
    """The administrator."""
    anonymous.http.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
    yield anonymous
    del anonymous.http.headers["Authorization"]
