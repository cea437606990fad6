"""What a mail store process is made of, and how it starts and ends."""

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from uuid import UUID

import grpc

from mailstore.account_service import AccountService
from mailstore.blobs.janitor import Janitor, JanitorLimits
from mailstore.blobs.packer import Packer
from mailstore.blobs.reader import BlobReader
from mailstore.blobs.segments import OpenSegment, SegmentLimits
from mailstore.cutting import CutLimits
from mailstore.delivery_service import DeliveryService
from mailstore.doctor_service import DoctorService
from mailstore.finding.worker import FindingWorker
from mailstore.finding_service import FindingService
from mailstore.intake.committer import CommitLimits, Committer
from mailstore.intake.uploads import UploadLimits, Uploads
from mailstore.lanes import LOCAL_BELLS, lane_of_bell
from mailstore.local_delivery.worker import FilingLimits, LocalDeliveryWorker
from mailstore.mailbox_service import MailboxService
from mailstore.mailboxes.retention import RetentionLimits
from mailstore.news import News
from mailstore.policy import POLICY
from mailstore.queue.bounces import Bouncer
from mailstore.queue.reports import Retrying
from mailstore.queue.schedule import RetrySchedule
from mailstore.queue.sites import SITE_SCHEDULE
from mailstore.queue.sweeping import SweepLimits
from mailstore.queue_service import QueueService
from mailstore.retention_service import RetentionService
from mailstore.retiring import FindDeleted
from mailstore.settings import Settings
from mailstore.upkeep import Upkeep, UpkeepLimits
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc
from postroom.doctor.v1 import doctor_pb2_grpc
from postroom.mailstore.v1 import (
    account_pb2_grpc,
    delivery_pb2_grpc,
    finding_pb2_grpc,
    mailbox_pb2_grpc,
    queue_pb2_grpc,
    retention_pb2_grpc,
)
from postroom_contracts.capability import CapabilityVerifier, PublicKey
from postroom_contracts.errors import PostroomError
from postroom_runtime import metrics
from postroom_runtime.bus import Bus
from postroom_runtime.durability import tell_protection
from postroom_runtime.errors import ConfigurationError, DependencyError
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_storage.database import Database
from postroom_storage.errors import StorageConfigurationError
from postroom_storage.migrations import Migrations
from postroom_storage.objects import ObjectStore, StoreAddress

MIGRATIONS = Migrations("mailstore", Path(__file__).parent / "migrations")
_STAGED = metrics.gauge("staging_bytes", "Octets that all segments take on disk.")
_MEASURE_SECONDS = 2.0


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
        raise DependencyError("the schema mailstore is not migrated")
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
        try:
            if not await MIGRATIONS.wait_for_current(database, lifecycle.stopping):
                return
        except StorageConfigurationError as error:
            raise ConfigurationError(str(error)) from None
        await tell_protection(settings, database.is_protected)
        parts = _Parts(settings, database, objects, bus, directory_pb2_grpc.DirectoryServiceStub(directory))
        server = await serve_grpc(
            settings.grpc_listen,
            parts.services(lifecycle),
            policy=POLICY,
            tls=settings.grpc_tls,
            lifecycle=lifecycle,
        )
        async with server, asyncio.TaskGroup() as group:
            running = [group.create_task(job) for job in parts.jobs(lifecycle)]
            lifecycle.mark_ready()
            await server.serve_until_stopped(
                lifecycle,
                unready_seconds=settings.unready_seconds,
                drain_seconds=settings.drain_seconds,
            )
            # A lane that is given back is taken by others at once, one that is dropped after its lease.
            await lifecycle.drain(settings.drain_seconds)
            for job in running:
                job.cancel()


class _Parts:
    """What the services and the jobs of one process share."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        objects: ObjectStore,
        bus: Bus,
        directory: directory_pb2_grpc.DirectoryServiceStub,
    ) -> None:
        self._settings, self._database, self._objects, self._bus = settings, database, objects, bus
        self._directory = directory
        self._verifier = CapabilityVerifier(_key_source(directory))
        self._segment_limits = SegmentLimits(
            settings.segment_octets, settings.segment_seconds, settings.staged_octets
        )
        self._segment = OpenSegment(self._segment_limits)
        limits = CommitLimits(lifetime_seconds=settings.queue_lifetime_seconds)
        self._worker: LocalDeliveryWorker | None = None
        self._committer = Committer(database, self._segment, self._ring, limits)
        self._reader = BlobReader(database, objects)
        self._finding = FindingWorker(database, self._reader)
        self._retention = RetentionLimits(
            settings.retention_seconds,
            min(settings.retention_seconds, RetentionLimits().moved_seconds),
            settings.retention_octets,
        )

    def services(self, lifecycle: Lifecycle) -> Callable[[grpc.aio.Server], None]:
        """Adds the services to a server."""
        settings, database, verifier, reader = self._settings, self._database, self._verifier, self._reader
        uploads = Uploads(database, self._objects, UploadLimits(message_size=settings.message_octets))
        schedule = RetrySchedule(settings.retry_seconds, most_seconds=settings.retry_max_seconds)
        delivery = DeliveryService(database, self._committer, uploads, verifier, lifecycle.closing)
        news = News(changed=self._bus.publish_changed, added=self._publish_new)
        mailbox = MailboxService(database, reader, self._segment, uploads, verifier, news)
        site_schedule = RetrySchedule(
            min(settings.retry_seconds, SITE_SCHEDULE.first_seconds),
            most_seconds=min(settings.retry_max_seconds, SITE_SCHEDULE.most_seconds),
        )
        retrying = Retrying(schedule, site_schedule)
        account = AccountService(database, verifier, self._bus.publish_changed)
        queue = QueueService(database, reader, verifier, self._bus.ring, retrying)
        retention = RetentionService(database, verifier, self._bus.publish_changed, self._retention)
        doctor = DoctorService(database, self._objects, MIGRATIONS, verifier, lambda: self._bus.connected)
        finding = FindingService(database, verifier)

        def add(server: grpc.aio.Server) -> None:
            account_pb2_grpc.add_AccountServiceServicer_to_server(account, server)
            delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(delivery, server)
            mailbox_pb2_grpc.add_MailboxServiceServicer_to_server(mailbox, server)
            queue_pb2_grpc.add_QueueServiceServicer_to_server(queue, server)
            finding_pb2_grpc.add_FindingServiceServicer_to_server(finding, server)
            retention_pb2_grpc.add_RetentionServiceServicer_to_server(retention, server)
            doctor_pb2_grpc.add_DoctorServiceServicer_to_server(doctor, server)

        return add

    def jobs(self, lifecycle: Lifecycle) -> list[Coroutine[None, None, None]]:
        """What runs beside the services, each until it is cancelled."""
        settings, database, bus = self._settings, self._database, self._bus
        self._worker = worker = LocalDeliveryWorker(
            database,
            self._reader,
            self._publish_new,
            name=settings.worker_name,
            lifecycle=lifecycle,
            limits=FilingLimits(lease_seconds=settings.lane_lease_seconds),
        )
        bouncer = Bouncer(database, self._reader, self._segment, self._ring, hostname=settings.hostname)
        # An id is kept for longer than anybody may still ask with it: a day more than its mail may wait.
        sweep = SweepLimits(known_seconds=settings.queue_lifetime_seconds + 86_400.0)
        cut = CutLimits(journal_seconds=settings.journal_seconds)
        limits = UpkeepLimits(sweep=sweep, retention=self._retention, cut=cut)
        upkeep = Upkeep(database, self._objects, limits, _deletions(self._directory))
        return [
            self._committer.run(),
            worker.run(),
            _hear_bells(bus, worker),
            _measure(database, self._segment),
            bouncer.run(),
            upkeep.run(),
            upkeep.run_gauges(),
            self._finding.run(),
            Packer(database, self._objects, self._segment, self._segment_limits).run(),
            Janitor(database, self._objects, JanitorLimits(settings.deleted_octets_seconds)).run(),
        ]

    async def _publish_new(self, account_id: UUID, modseq: int) -> None:
        """Tell all readers of new messages, and have these read for searching."""
        self._finding.wake()
        await self._bus.publish_changed(account_id, modseq)

    async def _ring(self, subject: str) -> None:
        """Ring a lane: here when this process empties it, else so that the others hear it too."""
        lane, worker = lane_of_bell(subject), self._worker
        if lane is not None and worker is not None and worker.takes(lane):
            worker.ring(lane)
        else:
            await self._bus.ring(subject)


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
            await worker.wait_for_turn(lane)  # until then a bell is for whoever has room


async def _measure(database: Database, segment: OpenSegment) -> None:
    """Keep the gauge that refuses mail when too much is staged."""
    while True:
        try:
            async with database.connection() as connection:
                _STAGED.set(await segment.measure(connection))
        except PostroomError as error:
            log.info("staging_not_measured", error=error.name)
        except Exception:  # noqa: BLE001  # a gauge must not end the process
            log.exception("staging_not_measured")
        await asyncio.sleep(_MEASURE_SECONDS)


def _deletions(directory: directory_pb2_grpc.DirectoryServiceStub) -> FindDeleted:
    async def find(ids: Sequence[UUID]) -> Mapping[UUID, dt.datetime]:
        request = directory_pb2.FindDeletedAccountsRequest(ids=[account_id.bytes for account_id in ids])
        answer = await directory.FindDeletedAccounts(request)
        return {UUID(bytes=each.id): each.deleted_at.ToDatetime(dt.UTC) for each in answer.accounts}

    return find


def _key_source(directory: directory_pb2_grpc.DirectoryServiceStub):
    async def fetch() -> Sequence[PublicKey]:
        answer = await directory.GetCapabilityKeys(directory_pb2.GetCapabilityKeysRequest())
        return [PublicKey(key.key_id, key.public_key) for key in answer.keys]

    return fetch
