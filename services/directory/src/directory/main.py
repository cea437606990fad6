"""How directory is put together, migrated and checked."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import grpc

from directory.addresses import Address, parse_address
from directory.administration import Administration
from directory.authentication import Authenticator
from directory.bearer_tokens import BearerTokens
from directory.client_certificates import ClientCertificates
from directory.credential_service import CredentialService
from directory.doctor_service import DoctorService
from directory.keys import KeyRing
from directory.limits import Limits
from directory.login_service import LoginService
from directory.passwords import Passwords
from directory.policy import POLICY
from directory.recipients import Recipients
from directory.resolving import Resolver
from directory.scram import Scram
from directory.service import DirectoryService, Publisher
from directory.settings import Settings
from postroom.directory.v1.credential_pb2_grpc import add_CredentialServiceServicer_to_server
from postroom.directory.v1.directory_pb2_grpc import add_DirectoryServiceServicer_to_server
from postroom.directory.v1.login_pb2_grpc import add_LoginServiceServicer_to_server
from postroom.doctor.v1.doctor_pb2_grpc import add_DoctorServiceServicer_to_server
from postroom_contracts.capability import Quota
from postroom_contracts.errors import InvalidAddressError, InvalidRequestError, UnavailableError
from postroom_runtime.bus import Bus
from postroom_runtime.durability import tell_protection
from postroom_runtime.errors import ConfigurationError, DependencyError
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.networks import Networks
from postroom_storage import database as storage
from postroom_storage.database import Database
from postroom_storage.errors import StorageConfigurationError
from postroom_storage.migrations import Migrations

SCHEMA: Final = "directory"
MIGRATIONS: Final = Migrations(SCHEMA, Path(__file__).parent / "migrations")


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Serve until told to stop, then let calls under way finish."""
    _postmaster(settings)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings))
        try:
            if not await MIGRATIONS.wait_for_current(database, lifecycle.stopping):
                return
        except StorageConfigurationError as error:
            raise ConfigurationError(str(error)) from None
        await tell_protection(settings, database.is_protected)
        bus = await stack.enter_async_context(await Bus.connect(settings.nats_url))
        services = build(stack, settings, database, bus, lifecycle.closing)
        server = await serve_grpc(
            settings.grpc_listen,
            partial(add_to_server, services, database),
            policy=POLICY,
            tls=settings.grpc_tls,
            lifecycle=lifecycle,
        )
        await stack.enter_async_context(server)
        lifecycle.mark_ready()
        log.info("ready", listen=settings.grpc_listen)
        await server.serve_until_stopped(
            lifecycle, unready_seconds=settings.unready_seconds, drain_seconds=settings.drain_seconds
        )


async def migrate(settings: Settings) -> None:
    """Bring the schema to the newest revision."""
    url = settings.database_url.get_secret_value()
    try:
        await MIGRATIONS.run(url, require_durable=settings.require_durable_database)
    except StorageConfigurationError as error:
        raise ConfigurationError(str(error)) from None
    except UnavailableError as error:
        raise DependencyError(str(error)) from None


async def check(settings: Settings) -> None:
    """Whether Postgres is there and migrated."""
    _postmaster(settings)
    try:
        async with open_database(settings) as database:
            current = await MIGRATIONS.is_current(database)
            await tell_protection(settings, database.is_protected)
    except StorageConfigurationError as error:
        raise ConfigurationError(str(error)) from None
    except UnavailableError as error:
        raise DependencyError(str(error)) from None
    if not current:
        raise DependencyError("the schema directory is not migrated")


@dataclass(frozen=True, slots=True)
class Services:
    """What directory answers with."""

    directory: DirectoryService
    logins: LoginService
    credentials: CredentialService


def build(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    publisher: Publisher,
    closing: asyncio.Event,
) -> Services:
    """The services over their parts; `stack` ends those that need it. Raises `ConfigurationError`."""
    limits = Limits(
        untrusted=Networks(settings.untrusted_addresses),
        quota=Quota(settings.quota_octets, settings.quota_messages),
        scram_for_all=settings.scram_for_all,
    )
    passwords = Passwords(limits)
    stack.callback(passwords.close)
    keys = KeyRing(database, limits)
    token = settings.admin_token.get_secret_value() if settings.admin_token is not None else None
    authenticator = Authenticator(database, keys, passwords, limits, token)
    administration = Administration(database, passwords, limits)
    recipients = Recipients(Resolver(database, limits, _postmaster(settings)), limits, closing)
    return Services(
        DirectoryService(authenticator, keys, recipients, administration, publisher, limits),
        LoginService(
            Scram(authenticator, keys, limits),
            BearerTokens(authenticator, limits, settings.issuer),
            ClientCertificates(authenticator, limits, settings.client_ca_file),
            limits,
        ),
        CredentialService(database, authenticator, administration, limits),
    )


def add_to_server(services: Services, database: Database, server: grpc.aio.Server) -> None:
    """Let the server answer for the services, and for whoever asks how our rows are."""
    add_DirectoryServiceServicer_to_server(services.directory, server)
    add_LoginServiceServicer_to_server(services.logins, server)
    add_CredentialServiceServicer_to_server(services.credentials, server)
    doctor = DoctorService(database, MIGRATIONS, services.directory.verifier)
    add_DoctorServiceServicer_to_server(doctor, server)


def open_database(settings: Settings) -> Database:
    """The way to the schema; not opened yet."""
    return Database(
        settings.database_url.get_secret_value(),
        schema=SCHEMA,
        limits=storage.Limits(connections=settings.database_connections),
        require_durable=settings.require_durable_database,
    )


def _postmaster(settings: Settings) -> Address | None:
    if settings.postmaster is None:
        return None
    try:
        return parse_address(settings.postmaster)
    except (InvalidAddressError, InvalidRequestError):
        raise ConfigurationError("POSTROOM_DIRECTORY_POSTMASTER: not an address") from None
