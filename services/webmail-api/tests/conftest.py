"""REST over a real core: directory, mail store, file store and object store, with a client for each account."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import pytest
from pydantic import SecretStr

import filestore.serve
from filestore.settings import Settings as FilestoreSettings
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.core import ADMIN_TOKEN, PASSWORD, Core, running_core, served
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread
from webmail_api.serve import serving
from webmail_api.settings import Settings

API = "/api/v1"


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


@dataclass
class Client:
    """An account that is logged in; paths are below the API's base."""

    http: httpx.AsyncClient
    address: str = ""

    async def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The document of an answer with this status."""
        response = await self.http.request(method, API + path, **options)
        assert response.status_code == status, f"{response.status_code} {response.text}"
        return response.json() if response.content else None

    async def octets(self, path: str, status: int = 200, **options: Any) -> httpx.Response:
        """An answer that is no document."""
        response = await self.http.get(API + path, **options)
        assert response.status_code == status, f"{response.status_code} {response.text}"
        return response

    async def problem(self, method: str, path: str, status: int, **options: Any) -> str:
        """The name of the problem that is answered with this status."""
        response = await self.http.request(method, API + path, **options)
        assert response.status_code == status, f"{response.status_code} {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        document = response.json()
        assert document["status"] == status
        assert document["title"]
        return document["type"].removeprefix("urn:postroom:problem:")

    async def mailbox(self, special_use: str) -> str:
        """The id of the mailbox for this use."""
        found = await self.ask("GET", "/mailboxes")
        return next(each["id"] for each in found["items"] if each["special_use"] == special_use)

    async def messages(self, special_use: str = "inbox", count: int = 1) -> list[Any]:
        """What is in a mailbox once there are so many."""
        mailbox_id = await self.mailbox(special_use)
        async with asyncio.timeout(10):
            while True:
                found = (await self.ask("GET", f"/mailboxes/{mailbox_id}/messages"))["items"]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    async def send(self, *recipients: str, **fields: Any) -> Any:
        """Send a message."""
        message = {"to": [{"address": each} for each in recipients], "subject": "Hello", "text": "Hi\n"}
        return await self.ask("POST", "/messages", 201, json=message | fields)


class Connect(Protocol):
    """Makes a client for a fresh account."""

    async def __call__(self, name: str = "carol") -> Client:
        """`name` is how its address begins."""
        ...


@pytest.fixture
async def anonymous(house: House) -> AsyncIterator[Client]:
    """Somebody who is not logged in."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{house.port}", trust_env=False) as http:
        yield Client(http)


@pytest.fixture
async def connect(house: House, anonymous: Client) -> AsyncIterator[Connect]:
    """Makes accounts and logs them in."""
    async with AsyncExitStack() as stack:

        async def make(name: str = "carol") -> Client:
            [address] = await house.core.add_accounts(f"{name}-{secrets.token_hex(4)}")
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=str(anonymous.http.base_url), trust_env=False, timeout=20)
            )
            client = Client(http, address)
            session = await client.ask(
                "POST", "/session", 201, json={"address": address, "password": PASSWORD}
            )
            http.headers["Authorization"] = f"Bearer {session['token']}"
            return client

        yield make


@pytest.fixture
async def carol(connect: Connect) -> Client:
    """An account of this test's own."""
    return await connect()


@pytest.fixture
async def admin(anonymous: Client) -> AsyncIterator[Client]:
    """The administrator."""
    anonymous.http.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
    yield anonymous
    del anonymous.http.headers["Authorization"]
