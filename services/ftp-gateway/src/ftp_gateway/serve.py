"""What an FTP process is made of, and how it starts and ends."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from ftp_gateway.data import DataSettings
from ftp_gateway.house import House, SessionContexts
from ftp_gateway.logins import Logins
from ftp_gateway.passive import PassivePorts
from ftp_gateway.seats import SeatLimits, Seats
from ftp_gateway.session import Session
from ftp_gateway.settings import Settings
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc
from postroom.filestore.v1 import file_pb2, file_pb2_grpc
from postroom_contracts.errors import InvalidCredentialsError
from postroom_runtime.budget import ByteBudget
from postroom_runtime.grpc_client import channel
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.networks import Networks
from postroom_runtime.tcp import Connection, Listener, ListenerSettings, serve_tcp, serve_until_stopped
from postroom_runtime.transfer import Transfers
from postroom_wire.ftp.standard_replies import SHUTTING_DOWN, TOO_MANY_SESSIONS

_NAME = "ftp-gateway"
_GOODBYE_SECONDS = 3.0
"""Of the drain, for the last replies of transfers that were cut."""


async def check(settings: Settings) -> None:
    """Ask directory and filestore whether they answer; filestore does by asking for a capability."""
    async with AsyncExitStack() as stack:
        directory, files = await _open_stubs(settings, stack)
        await directory.GetCapabilityKeys(directory_pb2.GetCapabilityKeysRequest())
        try:
            await files.GetNode(file_pb2.GetNodeRequest(path="/"))
        except InvalidCredentialsError:
            pass


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as stack:
        house = await _open_house(settings, stack)
        listeners = await _listen(settings, house, lifecycle, stack)
        jobs = await stack.enter_async_context(asyncio.TaskGroup())
        cutting = jobs.create_task(_cut_late_transfers(settings, house, lifecycle))
        lifecycle.mark_ready()
        await serve_until_stopped(
            listeners,
            lifecycle,
            unready_seconds=settings.unready_seconds,
            drain_seconds=settings.drain_seconds,
        )
        cutting.cancel()


async def _open_stubs(
    settings: Settings, stack: AsyncExitStack
) -> tuple[directory_pb2_grpc.DirectoryServiceStub, file_pb2_grpc.FileServiceStub]:
    directory = await stack.enter_async_context(
        channel(settings.directory_address, _NAME, settings.grpc_tls, server="directory")
    )
    filestore = await stack.enter_async_context(
        channel(settings.filestore_address, _NAME, settings.grpc_tls, server="filestore")
    )
    return directory_pb2_grpc.DirectoryServiceStub(directory), file_pb2_grpc.FileServiceStub(filestore)


async def _open_house(settings: Settings, stack: AsyncExitStack) -> House:
    directory, filestore = await _open_stubs(settings, stack)
    transfers = await stack.enter_async_context(Transfers(ByteBudget(settings.upload_budget_octets)))
    ports = stack.enter_context(PassivePorts(settings.host, settings.passive_ports, settings.proxy))
    return House(
        files=filestore,
        logins=Logins(directory),
        transfers=transfers,
        passive_ports=ports,
        passive_address=settings.passive_address,
        data=DataSettings(settings.data_connect_seconds, settings.data_idle_seconds, settings.data_session),
        seats=Seats(
            SeatLimits(
                settings.max_sessions,
                settings.max_sessions_per_address,
                settings.max_sessions_per_account,
                settings.untrusted | settings.nodes | Networks(settings.trusted_proxies),
            )
        ),
        contexts=SessionContexts(settings.tls_files).make if settings.tls_files else None,
        idle_seconds=settings.idle_seconds,
        login_seconds=settings.login_seconds,
    )


async def _listen(
    settings: Settings, house: House, lifecycle: Lifecycle, stack: AsyncExitStack
) -> list[Listener]:
    """Plain FTP with AUTH TLS, and TLS from the start, which needs a certificate."""
    wanted = [("ftp", settings.port, settings.proxy_port, False)]
    if house.contexts is not None:
        wanted.append(("ftps", settings.ftps_port, settings.ftps_proxy_port, True))
    return [
        await stack.enter_async_context(
            await serve_tcp(
                ListenerSettings(
                    name=door.name,
                    host=settings.host,
                    port=door.port,
                    implicit_tls=implicit_tls,
                    # The sessions are counted over both listeners, and refused there.
                    max_connections=2 * settings.max_sessions,
                    max_connections_per_address=2 * settings.max_sessions_per_address,
                    urgent_inline=True,
                    proxy=door.proxy,
                    untrusted=settings.untrusted,
                    nodes=settings.nodes,
                ),
                partial(_handle, house),
                lifecycle=lifecycle,
                tls=house.contexts,
                refuse=TOO_MANY_SESSIONS.octets,
                failed=SHUTTING_DOWN.octets,
            )
        )
        for name, port, proxy_port, implicit_tls in wanted
        for door in settings.doors(name, port, proxy_port)
    ]


async def _handle(house: House, connection: Connection) -> None:
    await Session(connection, house).run()


async def _cut_late_transfers(settings: Settings, house: House, lifecycle: Lifecycle) -> None:
    """Let transfers run on in the drain, but not so long that nobody could be told how they ended."""
    await lifecycle.wait_stopping(settings.unready_seconds)
    await asyncio.sleep(max(settings.drain_seconds - _GOODBYE_SECONDS, settings.drain_seconds / 2))
    for transfer in list(house.running):
        transfer.cut()
