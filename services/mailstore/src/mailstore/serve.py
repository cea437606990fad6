"""What a mail store process is made of, and how it starts and ends."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path

import grpc

from mailstore.blobs.packer import Packer
from mailstore.blobs.reader import BlobReader
from mailstore.blobs.segments import OpenSegment, SegmentLimits
from mailstore.delivery_service import DeliveryService
from mailstore.intake.committer import CommitLimits, Committer
from mailstore.intake.uploads import UploadLimits, Uploads
from mailstore.lanes import LOCAL_BELLS, lane_of_bell
from mailstore.local_delivery.worker import LocalDeliveryWorker
from mailstore.mailbox_service import MailboxService
from mailstore.policy import POLICY
from mailstore.queue.bounces import Bouncer
from mailstore.queue.schedule import RetrySchedule
from mailstore.queue_service import QueueService
from mailstore.settings import Settings
from mailstore.upkeep import Upkeep
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc
from postroom.mailstore.v1 import delivery_pb2_grpc, mailbox_pb2_grpc, queue_pb2_grpc
from postroom_contracts.capability import CapabilityVerifier, PublicKey
from postroom_runtime import metrics
from postroom_runtime.bus import Bus
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_storage.database import Database
from postroom_storage.migrations import Migrations
from postroom_storage.objects import ObjectStore, StoreAddress

MIGRATIONS = Migrations("mailstore", Path(__file__).parent / "migrations")
_STAGED = metrics.gauge("staging_bytes", "Octets that all segments take on disk.")
_MEASURE_SECONDS = 2.0


async def migrate(settings: Settings) -> None:
    """Bring the schema to this code's revision."""
    url = settings.database_url.get_secret_value()
    await MIGRATIONS.run(url, require_durable=settings.require_durable_database)


async def check(settings: Settings) -> None:
    """Ask the database and the object store whether they answer."""
    async with _database(settings) as database:
        await database.probe()
    with closing(_objects(settings)) as objects:
        await objects.probe()


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(settings))
        objects = stack.enter_context(closing(_objects(settings)))
        bus = await stack.enter_async_context(await Bus.connect(settings.nats_url))
        directory = await stack.enter_async_context(
            channel(settings.directory_address, "mailstore", settings.grpc_tls, server="directory")
        )
        if not await MIGRATIONS.wait_for_current(database, lifecycle.stopping):
            return
        verifier = CapabilityVerifier(_key_source(directory))
        segment_limits = SegmentLimits(
            settings.segment_octets, settings.segment_seconds, settings.staged_octets
        )
        segment = OpenSegment(segment_limits)
        limits = CommitLimits(lifetime_seconds=settings.queue_lifetime_seconds)
        committer = Committer(database, segment, bus.ring, limits)
        uploads = Uploads(database, objects, UploadLimits(message_size=settings.message_octets))
        reader = BlobReader(database, objects)
        worker = LocalDeliveryWorker(
            database, reader, bus.publish_changed, name=settings.worker_name, lifecycle=lifecycle
        )
        delivery = DeliveryService(database, committer, uploads, verifier, lifecycle.stopping)
        mailbox = MailboxService(database, reader, segment, uploads, verifier, bus.publish_changed)
        schedule = RetrySchedule(settings.retry_seconds, most_seconds=settings.retry_max_seconds)
        queue = QueueService(database, reader, verifier, bus.ring, schedule)

        def add(server: grpc.aio.Server) -> None:
            delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(delivery, server)
            mailbox_pb2_grpc.add_MailboxServiceServicer_to_server(mailbox, server)
            queue_pb2_grpc.add_QueueServiceServicer_to_server(queue, server)

        server = await serve_grpc(
            settings.grpc_listen, add, policy=POLICY, tls=settings.grpc_tls, lifecycle=lifecycle
        )
        upkeep = Upkeep(database, objects)
        jobs = [
            committer.run(),
            worker.run(),
            _hear_bells(bus, worker),
            _measure(database, segment),
            Bouncer(database, reader, segment, bus.ring, hostname=settings.hostname).run(),
            upkeep.run(),
            upkeep.run_gauges(),
            Packer(database, objects, segment, segment_limits).run(),
        ]
        async with server, asyncio.TaskGroup() as group:
            running = [group.create_task(job) for job in jobs]
            lifecycle.mark_ready()
            await server.serve_until_stopped(
                lifecycle,
                unready_seconds=settings.unready_seconds,
                drain_seconds=settings.drain_seconds,
            )
            for job in running:
                job.cancel()


def _database(settings: Settings) -> Database:
    return Database(
        settings.database_url.get_secret_value(),
        schema="mailstore",
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


async def _hear_bells(bus: Bus, worker: LocalDeliveryWorker) -> None:
    async for subject in bus.bells(LOCAL_BELLS, "mailstore-local"):
        if (lane := lane_of_bell(subject)) is not None:
            worker.ring(lane)


async def _measure(database: Database, segment: OpenSegment) -> None:
    """Keep the gauge that refuses mail when too much is staged."""
    while True:
        try:
            async with database.connection() as connection:
                _STAGED.set(await segment.measure(connection))
        except Exception as error:
            if not getattr(error, "transient", False):
                raise
        await asyncio.sleep(_MEASURE_SECONDS)


def _key_source(directory: grpc.aio.Channel):
    stub = directory_pb2_grpc.DirectoryServiceStub(directory)

    async def fetch() -> Sequence[PublicKey]:
        answer = await stub.GetCapabilityKeys(directory_pb2.GetCapabilityKeysRequest())
        return [PublicKey(key.key_id, key.public_key) for key in answer.keys]

    return fetch
