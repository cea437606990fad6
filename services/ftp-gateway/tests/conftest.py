"""A gateway on a real filestore, Postgres and object store; clients in threads, as clients are elsewhere."""

import asyncio
import contextlib
import ftplib
import io
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from pydantic import SecretStr

import filestore.serve
import filestore.settings
from ftp_gateway.serve import serve
from ftp_gateway.settings import Settings
from postroom_embedded.ports import free_ports
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime import steps
from postroom_testing.certificates import Certificate, CertificateAuthority
from postroom_testing.core import served
from postroom_testing.small_directory_service import SmallDirectory
from postroom_testing.stack import in_thread, new_database, run_in_thread

T = TypeVar("T")
_numbers = count(1)


@dataclass(frozen=True)
class Behind:
    """What stands behind a gateway."""

    directory: SmallDirectory
    filestore: str
    database: PostgresAddress
    sockets: Path

    def account(self, **_: object) -> str:
        """A fresh account's address; its password is `secret`."""
        return self.directory.add(f"user{next(_numbers)}@example.org").address


def store_settings(
    database: PostgresAddress, store: S3Address, directory: str, listen: str
) -> filestore.settings.Settings:
    """A filestore's."""
    return filestore.settings.Settings(
        directory_address=directory,
        database_url=SecretStr(database.url("filestore")),
        require_durable_database=False,
        s3_endpoint=store.endpoint,
        s3_region=store.region,
        s3_access_key=SecretStr(store.access_key),
        s3_secret_key=SecretStr(store.secret_key),
        grpc_listen=listen,
        drain_seconds=0.5,
    )


@pytest.fixture(scope="session")
def sockets() -> Iterator[Path]:
    """A private directory whose path is short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="pg-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def file_database(postgres_server: PostgresAddress) -> PostgresAddress:
    """A migrated database for the whole run: accounts keep apart."""

    async def make() -> PostgresAddress:
        address = await new_database(postgres_server)
        await filestore.serve.MIGRATIONS.run(address.url("filestore"), require_durable=False)
        return address

    return run_in_thread(make)


@pytest.fixture(scope="session")
def behind(file_database: PostgresAddress, object_store: S3Address, sockets: Path) -> Iterator[Behind]:
    """One directory and one filestore for all tests that do them no harm."""

    @contextlib.asynccontextmanager
    async def running() -> AsyncGenerator[Behind]:
        listen = f"unix:{sockets}/filestore.sock"
        async with SmallDirectory(sockets / "directory.sock") as directory:
            settings = store_settings(file_database, object_store, directory.address, listen)
            async with served(filestore.serve.serve, settings):
                yield Behind(directory, listen, file_database, sockets)

    with in_thread(running) as everything:
        yield everything


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The gateway's."""
    return CertificateAuthority(tmp_path_factory.mktemp("tls")).issue("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs."""

    port: int
    ftps_port: int
    certificate: Certificate
    lifecycle: Any

    def client_context(self) -> ssl.SSLContext:
        """That trusts it."""
        return ssl.create_default_context(cafile=str(self.certificate.ca_file))

    def plain(self, user: str | None = None, password: str = "secret") -> ftplib.FTP:  # noqa: S107
        """A client without TLS, logged in if a user is named."""
        client = ftplib.FTP(timeout=20)
        try:
            client.connect("127.0.0.1", self.port)
            if user is not None:
                client.login(user, password)
        except BaseException:
            client.close()
            raise
        return client

    def secure(self, user: str) -> ftplib.FTP_TLS:
        """A client under TLS, its data connections too."""
        client = ftplib.FTP_TLS(timeout=20, context=self.client_context())
        client.connect("localhost", self.port)
        client.login(user, "secret")
        client.prot_p()
        return client


class Start(Protocol):
    """Starts a gateway."""

    async def __call__(self, **changed: object) -> Gateway:
        """`changed` are settings."""
        ...


@pytest.fixture
async def start(behind: Behind, certificate: Certificate) -> AsyncIterator[Start]:
    """Starts gateways in this process, which end with the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def start_one(**changed: object) -> Gateway:
            port, ftps_port = free_ports(2)
            values: dict[str, object] = {
                "directory_address": behind.directory.address,
                "filestore_address": behind.filestore,
                "tls_cert_file": certificate.cert_file,
                "tls_key_file": certificate.key_file,
                "port": port,
                "ftps_port": ftps_port,
                "passive_ports": "0",
                "drain_seconds": 1.0,
            }
            settings = Settings.model_validate(values | changed)
            lifecycle = await stack.enter_async_context(served(serve, settings))
            return Gateway(port, ftps_port, certificate, lifecycle)

        yield start_one


@pytest.fixture
async def gateway(start: Start) -> Gateway:
    """One with the usual settings."""
    return await start()


InThread = Callable[[Callable[[], T]], Awaitable[T]]


@pytest.fixture
def client() -> Callable[[Callable[[], Any]], Awaitable[Any]]:
    """Runs what a client does in a thread."""
    return asyncio.to_thread


@pytest.fixture
def hook() -> Iterator[Callable[[steps.Hook | None], None]]:
    """Installs a hook for the named steps."""
    yield steps.install
    steps.install(None)


def _store(client: ftplib.FTP, name: str, octets: bytes, command: str = "STOR") -> str:
    return client.storbinary(f"{command} {name}", io.BytesIO(octets))


def _fetch(client: ftplib.FTP, name: str, rest: int | None = None) -> bytes:
    octets = bytearray()
    client.retrbinary(f"RETR {name}", octets.extend, rest=rest)
    return bytes(octets)


def _raw(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


@dataclass(frozen=True)
class Tools:
    """What tests do again and again."""

    store: Callable[..., str] = _store
    fetch: Callable[..., bytes] = _fetch
    raw: Callable[[int], socket.socket] = _raw


@pytest.fixture(scope="session")
def ftp() -> Tools:
    """`store`, `fetch`."""
    return Tools()


@pytest.fixture(scope="session")
def filestore_settings() -> Callable[..., filestore.settings.Settings]:
    """Makes the settings of a filestore of a test's own."""
    return store_settings
