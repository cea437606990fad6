"""What a REST process is made of, and how it starts and ends."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc

from postroom.directory.v1.credential_pb2_grpc import CredentialServiceStub
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom.doctor.v1.doctor_pb2_grpc import DoctorServiceStub
from postroom.filestore.v1.file_pb2_grpc import FileServiceStub
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom.mailstore.v1.mailbox_pb2_grpc import MailboxServiceStub
from postroom.mailstore.v1.queue_pb2_grpc import QueueServiceStub
from postroom.mailstore.v1.retention_pb2_grpc import RetentionServiceStub
from postroom_runtime.budget import ByteBudget
from postroom_runtime.grpc_client import channel
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.tls import CertificateReloader
from postroom_runtime.transfer import Transfers
from webmail_api.application import application
from webmail_api.content import ContentReader
from webmail_api.delivering import Delivery
from webmail_api.files import Files
from webmail_api.house import House
from webmail_api.http_server import HttpServer, Listening, running
from webmail_api.limits import DEFAULT_LIMITS
from webmail_api.mail_store import MailStore
from webmail_api.message_view import Viewer
from webmail_api.sending import Sender
from webmail_api.sessions import Sessions
from webmail_api.settings import Settings

_SERVICE = "webmail-api"


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop, then let requests end."""
    async with serving(settings, lifecycle):
        await lifecycle.wait_stopping(settings.unready_seconds)


@asynccontextmanager
async def serving(settings: Settings, lifecycle: Lifecycle) -> AsyncGenerator[dict[str, int]]:
    """All of a process but its end: the ports of the open listeners by name, within the block."""
    async with AsyncExitStack() as stack:
        app = application(await open_house(settings, stack), lifecycle)
        doors = [
            (door, None) for door in settings.doors("http", settings.http_port, settings.http_proxy_port)
        ]
        if settings.tls_files is not None:
            tls = CertificateReloader(settings.tls_files)
            https = settings.doors("https", settings.https_port, settings.https_proxy_port)
            doors += [(door, tls) for door in https]
        servers = [
            HttpServer(
                app,
                Listening(door.name, settings.host, door.port, tls, door.proxy),
                max_connections=settings.max_connections,
                drain_seconds=settings.drain_seconds,
            )
            for door, tls in doors
        ]
        await stack.enter_async_context(running(servers))
        lifecycle.mark_ready()
        ports = {server.name: server.port for server in servers}
        log.info("ready", **ports)
        yield ports


async def open_house(settings: Settings, stack: AsyncExitStack) -> House:
    """Connect to all that requests need; nothing here waits for what is away."""

    async def connect(address: str, server: str) -> grpc.aio.Channel:
        return await stack.enter_async_context(channel(address, _SERVICE, settings.grpc_tls, server=server))

    limits = DEFAULT_LIMITS
    directory_channel = await connect(settings.directory_address, "directory")
    directory = DirectoryServiceStub(directory_channel)
    mailstore = await connect(settings.mailstore_address, "mailstore")
    filestore = await connect(settings.filestore_address, "filestore")
    transfers = await stack.enter_async_context(Transfers(ByteBudget(settings.transfer_octets)))
    mailboxes = MailboxServiceStub(mailstore)
    store = MailStore(mailboxes, limits)
    reader = ContentReader(store, transfers)
    delivery = Delivery(DeliveryServiceStub(mailstore), store, transfers, limits)
    return House(
        settings=settings,
        limits=limits,
        sessions=Sessions(directory, limits),
        directory=directory,
        credentials=CredentialServiceStub(directory_channel),
        queue=QueueServiceStub(mailstore),
        mailboxes=mailboxes,
        retention=RetentionServiceStub(mailstore),
        doctors={
            "directory": DoctorServiceStub(directory_channel),
            "mailstore": DoctorServiceStub(mailstore),
            "filestore": DoctorServiceStub(filestore),
        },
        store=store,
        reader=reader,
        viewer=Viewer(reader, limits),
        sender=Sender(directory, delivery, store, settings.message_octets, limits),
        files=Files(FileServiceStub(filestore), transfers, limits),
        sending=ByteBudget(settings.sending_octets),
    )
