"""A post room as far as mail access needs one: real Postgres, NATS and mail store, and a small directory.

`imap` connects to one that all tests share, with accounts of each test's own. What stops services has its
own: `own_imap`, `own_store`, `own_directory`, `own_access`.
"""

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import pytest
import zstandard
from pydantic import SecretStr

import mailstore.serve
from mail_access.serve import serving
from mail_access.settings import Settings
from mailstore.settings import Settings as MailstoreSettings
from postroom.mailstore.v1 import content_pb2, delivery_pb2, delivery_pb2_grpc
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_embedded.nats import NatsAddress
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import channel
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Listener
from postroom_runtime.tls import verifying_client_context
from postroom_testing.certificates import Certificate, CertificateAuthority
from postroom_testing.imap_client import Connect, ImapClient
from postroom_testing.mail_twins import Twins
from postroom_testing.restartable import Restartable
from postroom_testing.small_directory_service import Account, SmallDirectory
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread

PASSWORD = "open sesame"
_DOMAIN = "postroom.test"


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresAddress) -> PostgresAddress:
    """A database with the mail store's schema, to be copied."""

    async def make() -> PostgresAddress:
        address = await new_database(postgres_server)
        await mailstore.serve.MIGRATIONS.run(address.url("mailstore"), require_durable=False)
        return address

    return run_in_thread(make)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The listeners' certificate."""
    return CertificateAuthority(tmp_path_factory.mktemp("authority")).issue("localhost")


def _sockets() -> Path:
    """A private directory whose path is short enough for a unix socket."""
    return Path(tempfile.mkdtemp(prefix="pr-"))


def _mailstore_settings(
    database: PostgresAddress, nats: NatsAddress, directory: SmallDirectory, sockets: Path
) -> MailstoreSettings:
    """The object store is away: nothing listens there."""
    return MailstoreSettings(
        grpc_listen=f"unix:{sockets / 'mailstore.sock'}",
        database_url=SecretStr(database.url("mailstore")),
        nats_url=nats.url,
        directory_address=directory.address,
        s3_endpoint="http://127.0.0.1:9",
        s3_region="us-east-1",
        s3_access_key=SecretStr("key"),
        s3_secret_key=SecretStr("secret"),
        drain_seconds=1,
        require_durable_database=False,
    )


def _access_settings(nats: NatsAddress, sockets: Path, certificate: Certificate) -> Settings:
    return Settings(
        nats_url=nats.url,
        directory_address=f"unix:{sockets / 'directory.sock'}",
        mailstore_address=f"unix:{sockets / 'mailstore.sock'}",
        host="127.0.0.1",
        imap_port=0,
        imaps_port=0,
        pop3_port=0,
        pop3s_port=0,
        imap_proxy_port=0,
        imaps_proxy_port=0,
        pop3_proxy_port=0,
        trusted_proxies=(ip_network("127.0.0.1"),),
        max_connections_per_address=1_000,
        tls_cert_file=certificate.cert_file,
        tls_key_file=certificate.key_file,
        drain_seconds=2,
    )


@asynccontextmanager
async def _listening(settings: Settings) -> AsyncGenerator[dict[str, Listener]]:
    """Mail access, running; its listeners by name."""
    async with serving(settings, Lifecycle()) as listeners, AsyncExitStack() as stack:
        for listener in listeners:
            await stack.enter_async_context(listener)
        yield {listener.settings.name: listener for listener in listeners}


@asynccontextmanager
async def _clients(
    directory: SmallDirectory, ports: dict[str, int], certificate: Certificate, known: dict[str, str]
) -> AsyncGenerator[Connect]:
    """Connects clients of accounts that are made when they are new, and hangs up at the end."""
    clients: list[ImapClient] = []

    async def connect(user: str | None = "alice", *, tls: bool = False) -> ImapClient:
        context = verifying_client_context(certificate.ca_file) if tls else None
        client = await ImapClient.connect(
            "localhost" if tls else "127.0.0.1", ports["imaps" if tls else "imap"], context
        )
        clients.append(client)
        if user is not None:
            await client.login(address(user), f'"{PASSWORD}"')
        return client

    def address(user: str) -> str:
        if user not in known:
            known[user] = f"{user}-{secrets.token_hex(4)}@{_DOMAIN}"
            directory.add(known[user], PASSWORD)
        return known[user]

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture(scope="session")
def shared(
    postgres_server: PostgresAddress,
    migrated: PostgresAddress,
    nats_server: NatsAddress,
    certificate: Certificate,
) -> Iterator[tuple[SmallDirectory, dict[str, int]]]:
    """The directory and the ports of the post room that tests share; it has a loop of its own."""
    database = run_in_thread(lambda: new_database(postgres_server, migrated.database))
    sockets = _sockets()

    @asynccontextmanager
    async def house() -> AsyncGenerator[tuple[SmallDirectory, dict[str, int]]]:
        async with SmallDirectory(sockets / "directory.sock") as directory:
            settings = _mailstore_settings(database, nats_server, directory, sockets)
            access = _access_settings(nats_server, sockets, certificate)
            async with (
                Restartable(partial(mailstore.serve.serve, settings)),
                _listening(access) as listeners,
            ):
                yield directory, {name: listener.port for name, listener in listeners.items()}

    with in_thread(house) as opened:
        yield opened
    run_in_thread(lambda: drop_database(database))
    shutil.rmtree(sockets)


@pytest.fixture(scope="session")
def twins(
    postgres_server: PostgresAddress,
    migrated: PostgresAddress,
    nats_server: NatsAddress,
    certificate: Certificate,
) -> Iterator[Twins]:
    """A post room that examples of one test share, each with accounts of its own."""
    database = run_in_thread(lambda: new_database(postgres_server, migrated.database))
    sockets = _sockets()

    @asynccontextmanager
    async def house() -> AsyncGenerator[Twins]:
        async with SmallDirectory(sockets / "directory.sock") as directory:
            settings = _mailstore_settings(database, nats_server, directory, sockets)
            access = _access_settings(nats_server, sockets, certificate)
            async with (
                Restartable(partial(mailstore.serve.serve, settings)),
                _listening(access) as one,
                _listening(access) as other,
            ):
                first, second = ({name: each.port for name, each in some.items()} for some in (one, other))
                yield Twins(directory, (first, second), settings.grpc_listen)

    with in_thread(house) as opened:
        yield opened
    run_in_thread(lambda: drop_database(database))
    shutil.rmtree(sockets)


@pytest.fixture
async def imap(
    shared: tuple[SmallDirectory, dict[str, int]], certificate: Certificate
) -> AsyncIterator[Connect]:
    """Connects to the shared post room."""
    async with _clients(*shared, certificate, {}) as connect:
        yield connect


@pytest.fixture
async def limited_imap(
    shared: tuple[SmallDirectory, dict[str, int]], nats_server: NatsAddress, certificate: Certificate
) -> AsyncIterator[Connect]:
    """Connects to a mail access of the shared post room whose commands work on three messages at most."""
    directory, _ = shared
    sockets = Path(directory.address.removeprefix("unix:")).parent
    limits = {"message_limit": 3, "message_hard_limit": 3}
    settings = _access_settings(nats_server, sockets, certificate).model_copy(update=limits)
    async with _listening(settings) as listeners:
        ports = {name: listener.port for name, listener in listeners.items()}
        async with _clients(directory, ports, certificate, {}) as connect:
            yield connect


@pytest.fixture
def imap_port(shared: tuple[SmallDirectory, dict[str, int]]) -> int:
    """Of the shared post room, without TLS."""
    return shared[1]["imap"]


@pytest.fixture
def ports(shared: tuple[SmallDirectory, dict[str, int]]) -> dict[str, int]:
    """Of the shared post room, by the listeners' names."""
    return shared[1]


@pytest.fixture
def mail_account(shared: tuple[SmallDirectory, dict[str, int]]) -> tuple[str, str]:
    """Address and password of an account of this test's own."""
    address = f"carol-{secrets.token_hex(4)}@{_DOMAIN}"
    shared[0].add(address, PASSWORD)
    return address, PASSWORD


@pytest.fixture
def own_accounts() -> dict[str, str]:
    """The addresses of the users in `own_directory`."""
    return {}


@pytest.fixture
def own_database(postgres_server: PostgresAddress, migrated: PostgresAddress) -> Iterator[PostgresAddress]:
    """A migrated database of this test's own."""
    address = run_in_thread(lambda: new_database(postgres_server, migrated.database))
    yield address
    run_in_thread(lambda: drop_database(address))


@pytest.fixture
def own_sockets() -> Iterator[Path]:
    """Where the services of this test meet."""
    path = _sockets()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def capability_seconds() -> float:
    """How long a capability of `own_directory` lives."""
    return 600.0


@pytest.fixture
async def own_directory(own_sockets: Path, capability_seconds: float) -> AsyncIterator[SmallDirectory]:
    """A directory that can be away."""
    async with SmallDirectory(
        own_sockets / "directory.sock", capability_seconds=capability_seconds
    ) as directory:
        yield directory


@pytest.fixture
def mailstore_settings(
    own_database: PostgresAddress,
    nats_server: NatsAddress,
    own_directory: SmallDirectory,
    own_sockets: Path,
) -> MailstoreSettings:
    """Of `own_store`."""
    return _mailstore_settings(own_database, nats_server, own_directory, own_sockets)


@pytest.fixture
async def own_store(mailstore_settings: MailstoreSettings) -> AsyncIterator[Restartable]:
    """A mail store that can be stopped and started again."""
    async with Restartable(partial(mailstore.serve.serve, mailstore_settings)) as running:
        yield running


@pytest.fixture
def idle_seconds() -> float:
    """How long a session of `own_access` may be idle."""
    return 60.0


@pytest.fixture
def access_settings(
    nats_server: NatsAddress,
    own_directory: SmallDirectory,
    own_sockets: Path,
    certificate: Certificate,
    idle_seconds: float,
) -> Settings:
    """Of `own_access`."""
    settings = _access_settings(nats_server, own_sockets, certificate)
    return settings.model_copy(update={"idle_seconds": idle_seconds})


@pytest.fixture
async def own_access(access_settings: Settings, own_store: Restartable) -> AsyncIterator[dict[str, Listener]]:
    """Mail access of this test's own."""
    async with _listening(access_settings) as listeners:
        yield listeners


@pytest.fixture
async def own_imap(
    own_access: dict[str, Listener],
    own_directory: SmallDirectory,
    own_accounts: dict[str, str],
    certificate: Certificate,
) -> AsyncIterator[Connect]:
    """Connects to `own_access`."""
    ports = {name: listener.port for name, listener in own_access.items()}
    async with _clients(own_directory, ports, certificate, own_accounts) as connect:
        yield connect


@pytest.fixture
async def own_twin(
    access_settings: Settings,
    own_access: dict[str, Listener],
    own_directory: SmallDirectory,
    own_accounts: dict[str, str],
    certificate: Certificate,
) -> AsyncIterator[Connect]:
    """Connects to a second mail access beside `own_access`, with the same accounts."""
    async with _listening(access_settings) as listeners:
        ports = {name: listener.port for name, listener in listeners.items()}
        async with _clients(own_directory, ports, certificate, own_accounts) as connect:
            yield connect


@pytest.fixture
async def deliver(
    own_store: Restartable, own_sockets: Path
) -> AsyncIterator[Callable[[Account, bytes], Awaitable[None]]]:
    """Has the store accept mail for an account, as smtp-inbound does."""
    async with channel(f"unix:{own_sockets / 'mailstore.sock'}", "smtp-inbound") as opened:
        stub = delivery_pb2_grpc.DeliveryServiceStub(opened)

        async def accept(account: Account, octets: bytes) -> None:
            item = delivery_pb2.AcceptItem(
                id=new_id().bytes,
                tenant_id=DEFAULT_TENANT.bytes,
                reverse_path="ann@example.org",
                recipients=[delivery_pb2.Recipient(address=account.address, account_id=account.id.bytes)],
                content=content_pb2.Content(
                    digest=hashlib.sha256(octets).digest(),
                    size=len(octets),
                    zstd=zstandard.ZstdCompressor().compress(octets),
                ),
            )
            item.received_at.GetCurrentTime()

            async def requests() -> AsyncIterator[delivery_pb2.AcceptRequest]:
                yield delivery_pb2.AcceptRequest(items=[item])

            async for response in stub.Accept(requests()):
                outcomes = [result.outcome for result in response.results]
                assert outcomes == [delivery_pb2.AcceptResult.OUTCOME_ACCEPTED]

        yield accept
