"""What a file store process is made of, and how it starts and ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path

import grpc

from filestore.doctor_service import DoctorService
from filestore.file_service import FileService
from filestore.garbage import Sweeper
from filestore.limits import Limits
from filestore.policy import POLICY
from filestore.settings import Settings
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc
from postroom.doctor.v1 import doctor_pb2_grpc
from postroom.filestore.v1 import file_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, PublicKey
from postroom_runtime.durability import tell_protection
from postroom_runtime.errors import ConfigurationError, DependencyError
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_storage.database import Database
from postroom_storage.errors import StorageConfigurationError
from postroom_storage.migrations import Migrations
from postroom_storage.objects import ObjectStore, StoreAddress

MIGRATIONS = Migrations("filestore", Path(__file__).parent / "migrations")


async def migrate(settings: Settings) -> None:
    """Bring the schema to this code's revision."""
    url = settings.database_url.get_secret_value()
    try:
        await MIGRATIONS.run(url, require_durable=settings.require_durable_database)
    except StorageConfigurationError as error:
        raise ConfigurationError(str(error)) from None


async def check(settings: Settings) -> None:
    """Whether Postgres is there and migrated, and the object store answers."""
    try:
        async with _database(settings) as database:
            current = await MIGRATIONS.is_current(database)
            await tell_protection(settings, database.is_protected)
    except StorageConfigurationError as error:
        raise ConfigurationError(str(error)) from None
    if not current:
        raise DependencyError("the schema filestore is not migrated")
    with closing(_objects(settings)) as objects:
        await objects.probe()


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(settings))
        objects = stack.enter_context(closing(_objects(settings)))
        directory = await stack.enter_async_context(
            channel(settings.directory_address, "filestore", settings.grpc_tls, server="directory")
        )
        try:
            if not await MIGRATIONS.wait_for_current(database, lifecycle.stopping):
                return
        except StorageConfigurationError as error:
            raise ConfigurationError(str(error)) from None
        await tell_protection(settings, database.is_protected)
        limits = Limits(
            nodes=settings.account_nodes,
            octets=settings.account_octets,
            file=settings.file_octets,
            upload_seconds=settings.upload_seconds,
            garbage_seconds=settings.deleted_octets_seconds,
        )
        verifier = CapabilityVerifier(_key_source(directory))
        service = FileService(database, objects, verifier, limits)
        doctor = DoctorService(database, objects, MIGRATIONS, verifier)

        def add(server: grpc.aio.Server) -> None:
            file_pb2_grpc.add_FileServiceServicer_to_server(service, server)
            doctor_pb2_grpc.add_DoctorServiceServicer_to_server(doctor, server)

        server = await serve_grpc(
            settings.grpc_listen, add, policy=POLICY, tls=settings.grpc_tls, lifecycle=lifecycle
        )
        sweeper = Sweeper(database, objects, limits, settings.sweep_seconds)
        async with server, asyncio.TaskGroup() as group:
            sweeping = group.create_task(sweeper.run())
            lifecycle.mark_ready()
            await server.serve_until_stopped(
                lifecycle,
                unready_seconds=settings.unready_seconds,
                drain_seconds=settings.drain_seconds,
            )
            sweeping.cancel()


def _database(settings: Settings) -> Database:
    return Database(
        settings.database_url.get_secret_value(),
        schema="filestore",
        require_durable=settings.require_durable_database,
    )


def _objects(settings: Settings) -> ObjectStore:
    return ObjectStore(
        StoreAddress(
            settings.s3_endpoint,
            settings.s3_region,
            settings.bucket,
            settings.s3_access_key.get_secret_value(),
            settings.s3_secret_key.get_secret_value(),
        )
    )


def _key_source(directory: grpc.aio.Channel) -> Callable[[], Awaitable[Sequence[PublicKey]]]:
    stub = directory_pb2_grpc.DirectoryServiceStub(directory)

    async def fetch() -> Sequence[PublicKey]:
        answer = await stub.GetCapabilityKeys(directory_pb2.GetCapabilityKeysRequest())
        return [PublicKey(key.key_id, key.public_key) for key in answer.keys]

    return fetch
