"""What a mail access process is made of, and how it starts and ends."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from mail_access.account_store import AccountStore
from mail_access.content import ContentReader
from mail_access.finder import Finder
from mail_access.listeners import open_listeners
from mail_access.login import Logins
from mail_access.resources import Resources
from mail_access.settings import Settings
from mail_access.store import MailStore
from mail_access.views import OpenMailboxes
from mail_access.watching import Watches
from postroom.directory.v1 import directory_pb2_grpc, login_pb2_grpc
from postroom.mailstore.v1 import account_pb2_grpc, finding_pb2_grpc, mailbox_pb2_grpc
from postroom_runtime.budget import ByteBudget
from postroom_runtime.bus import Bus
from postroom_runtime.grpc_client import channel
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Listener, serve_until_stopped
from postroom_runtime.tls import CertificateReloader
from postroom_runtime.transfer import Transfers

_SERVICE = "mail-access"


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    async with serving(settings, lifecycle) as listeners:
        lifecycle.mark_ready()
        await serve_until_stopped(
            listeners,
            lifecycle,
            unready_seconds=settings.unready_seconds,
            drain_seconds=settings.drain_seconds,
        )


@asynccontextmanager
async def serving(settings: Settings, lifecycle: Lifecycle) -> AsyncGenerator[list[Listener]]:
    """All of a process but its end: the open listeners, within the block."""
    async with AsyncExitStack() as stack:
        resources = await open_resources(settings, stack)
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(resources.logins.run()),
                group.create_task(resources.mailboxes.run()),
                group.create_task(resources.watches.run()),
            ]
            try:
                yield await open_listeners(resources, lifecycle)
            finally:
                for task in running:
                    task.cancel()


async def open_resources(settings: Settings, stack: AsyncExitStack) -> Resources:
    """Connect to all that sessions need; nothing here waits for what is away."""
    directory = await stack.enter_async_context(
        channel(settings.directory_address, _SERVICE, settings.grpc_tls, server="directory")
    )
    mailstore = await stack.enter_async_context(
        channel(settings.mailstore_address, _SERVICE, settings.grpc_tls, server="mailstore")
    )
    bus = await stack.enter_async_context(await Bus.connect(settings.nats_url))
    budget = ByteBudget(settings.transfer_octets)
    transfers = await stack.enter_async_context(Transfers(budget))
    store = MailStore(mailbox_pb2_grpc.MailboxServiceStub(mailstore))
    accounts = AccountStore(
        account_pb2_grpc.AccountServiceStub(mailstore), directory_pb2_grpc.DirectoryServiceStub(directory)
    )
    return Resources(
        settings=settings,
        logins=Logins(
            directory_pb2_grpc.DirectoryServiceStub(directory),
            login_pb2_grpc.LoginServiceStub(directory),
            max_sessions_per_account=settings.max_sessions_per_account,
        ),
        accounts=accounts,
        store=store,
        finder=Finder(finding_pb2_grpc.FindingServiceStub(mailstore)),
        mailboxes=OpenMailboxes(store, bus, shared_modseqs=accounts.shared_modseqs),
        watches=Watches(store, accounts, bus),
        reader=ContentReader(store, transfers),
        budget=budget,
        transfers=transfers,
        tls=CertificateReloader(files) if (files := settings.client_tls_files) is not None else None,
    )
