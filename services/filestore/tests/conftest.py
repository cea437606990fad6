"""A file store on real Postgres and a real object store: a database of its own for each test."""

import asyncio
import io
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
from pydantic import SecretStr

from filestore.serve import MIGRATIONS, serve
from filestore.settings import Settings
from postroom.filestore.v1 import file_pb2 as pb
from postroom.filestore.v1.file_pb2_grpc import FileServiceStub
from postroom_contracts.capability import Scope
from postroom_contracts.ids import new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.grpc_client import Metadata, channel, on_behalf_of
from postroom_runtime.lifecycle import Lifecycle
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore, StoreAddress
from postroom_testing.small_directory_service import Account, SmallDirectory
from postroom_testing.stack import drop_database, new_database, run_in_thread
from postroom_testing.waiting import until


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresAddress) -> PostgresAddress:
    """A database with the schema, to be copied."""

    async def make() -> PostgresAddress:
        address = await new_database(postgres_server)
        await MIGRATIONS.run(address.url("filestore"), require_durable=False)
        return address

    return run_in_thread(make)


@pytest.fixture
def file_database(postgres_server: PostgresAddress, migrated: PostgresAddress) -> Iterator[PostgresAddress]:
    """A migrated database of this test's own."""
    address = run_in_thread(lambda: new_database(postgres_server, migrated.database))
    yield address
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
async def database(file_database: PostgresAddress) -> AsyncIterator[Database]:
    """The store's way to its database."""
    url = file_database.url("filestore")
    async with Database(url, schema="filestore", require_durable=False) as database:
        yield database


@pytest.fixture
def objects(object_store: S3Address) -> Iterator[ObjectStore]:
    """The store's way to its bucket."""
    store = ObjectStore(
        StoreAddress(
            object_store.endpoint,
            object_store.region,
            "postroom-files",
            object_store.access_key,
            object_store.secret_key,
        )
    )
    yield store
    store.close()


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A private directory whose path is short enough for a unix socket."""
    path = Path(tempfile.mkdtemp(prefix="pf-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def directory(sockets: Path) -> AsyncIterator[SmallDirectory]:
    """Who may log in."""
    async with SmallDirectory(sockets / "directory.sock") as directory:
        yield directory


class Start(Protocol):
    """Starts a replica and gives its address."""

    async def __call__(self, **changed: object) -> str:
        """`changed` are settings."""
        ...


@pytest.fixture
async def start(
    file_database: PostgresAddress, object_store: S3Address, directory: SmallDirectory, sockets: Path
) -> AsyncIterator[Start]:
    """Starts real replicas in this process."""
    running: list[tuple[Lifecycle, asyncio.Task[None]]] = []

    async def start_one(**changed: object) -> str:
        lifecycle = Lifecycle()
        address = f"unix:{sockets}/filestore-{len(running)}.sock"
        settings = Settings.model_validate(
            {
                "directory_address": directory.address,
                "database_url": SecretStr(file_database.url("filestore")),
                "require_durable_database": False,
                "s3_endpoint": object_store.endpoint,
                "s3_region": object_store.region,
                "s3_access_key": SecretStr(object_store.access_key),
                "s3_secret_key": SecretStr(object_store.secret_key),
                "grpc_listen": address,
                "drain_seconds": 1.0,
                **changed,
            }
        )
        task = asyncio.create_task(serve(settings, lifecycle))
        running.append((lifecycle, task))
        await until(lambda: lifecycle.started or task.done())
        if task.done():
            await task
        return address

    yield start_one
    for lifecycle, task in running:
        lifecycle.stop()
        await task


@dataclass
class Client:
    """An account's calls."""

    stub: FileServiceStub
    metadata: Metadata

    async def get(self, path: str) -> pb.Node:
        request = pb.GetNodeRequest(path=path)
        return (await self.stub.GetNode(request, metadata=self.metadata)).node

    async def make(self, path: str) -> pb.Node:
        request = pb.CreateDirectoryRequest(path=path)
        return (await self.stub.CreateDirectory(request, metadata=self.metadata)).node

    async def move(self, path: str, new_path: str) -> pb.Node:
        request = pb.MoveNodeRequest(path=path, new_path=new_path)
        return (await self.stub.MoveNode(request, metadata=self.metadata)).node

    async def delete(self, path: str, kind: pb.NodeKind.ValueType = pb.NODE_KIND_UNSPECIFIED) -> None:
        await self.stub.DeleteNode(pb.DeleteNodeRequest(path=path, kind=kind), metadata=self.metadata)

    async def names(self, path: str, limit: int = 1000) -> list[str]:
        request = pb.ListNodesRequest(path=path, limit=limit)
        return [node.name for node in (await self.stub.ListNodes(request, metadata=self.metadata)).nodes]

    async def begin(
        self, path: str, *, upload_id: bytes = b"", size_hint: int = 0, keep: int = 0, append: bool = False
    ) -> tuple[bytes, pb.BeginUploadResponse]:
        upload_id = upload_id or new_id().bytes
        request = pb.BeginUploadRequest(
            upload_id=upload_id, path=path, size_hint=size_hint, keep=keep, append=append
        )
        return upload_id, await self.stub.BeginUpload(request, metadata=self.metadata)

    async def publish(
        self, upload_id: bytes, size: int, parts: list[pb.UploadedPart] | None = None, **options: object
    ) -> pb.Node:
        request = pb.PublishUploadRequest(upload_id=upload_id, size=size, parts=parts or [])
        for name, value in options.items():
            setattr(request, name, value)
        return (await self.stub.PublishUpload(request, metadata=self.metadata)).node

    async def write(self, path: str, octets: bytes) -> pb.Node:
        """Put a small file."""
        upload_id, begun = await self.begin(path, size_hint=len(octets))
        if octets:
            await put(begun.parts[0].url, octets)
        return await self.publish(upload_id, len(octets))

    async def read(self, path: str) -> bytes:
        """The octets of a file."""
        opened = await self.stub.OpenFile(pb.OpenFileRequest(path=path), metadata=self.metadata)
        return await get(opened.url) if opened.url else b""


async def put(url: str, octets: bytes) -> str:
    """Put an object or a part; gives its ETag."""
    async with aiohttp.ClientSession() as session, session.put(url, data=io.BytesIO(octets)) as response:
        response.raise_for_status()
        return response.headers["ETag"].strip('"')


async def get(url: str) -> bytes:
    """Get an object."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        response.raise_for_status()
        return await response.read()


Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
async def connect(directory: SmallDirectory) -> AsyncIterator[Connect]:
    """Makes a client of a replica for an account."""
    async with AsyncExitStack() as stack:

        async def make(address: str, account: Account, scope: Scope = Scope.FTP) -> Client:
            joined = await stack.enter_async_context(channel(address, "ftp-gateway"))
            return Client(FileServiceStub(joined), on_behalf_of(directory.capability(account, scope)))

        yield make


@pytest.fixture
async def ann(start: Start, connect: Connect, directory: SmallDirectory) -> Client:
    """One account at one replica."""
    return await connect(await start(), directory.add("ann@example.org"))


@pytest.fixture
def put_octets() -> Callable[[str, bytes], Awaitable[str]]:
    """Puts an object or a part by its URL."""
    return put


@pytest.fixture
def get_octets() -> Callable[[str], Awaitable[bytes]]:
    """Gets an object by its URL."""
    return get
