"""What an SMTP process is made of, and how it starts and ends."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import grpc

from postroom.directory.v1 import directory_pb2_grpc, login_pb2_grpc
from postroom.mailstore.v1 import delivery_pb2_grpc
from postroom_runtime.budget import ByteBudget
from postroom_runtime.grpc_client import channel
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Connection, Listener, ListenerSettings, serve_tcp, serve_until_stopped
from postroom_runtime.tls import CertificateReloader
from postroom_runtime.transfer import Transfers
from postroom_wire.smtp import Limits, ServerConfig
from smtp_inbound.handover import Handover
from smtp_inbound.recipients import RecipientResolver
from smtp_inbound.replies import FAILED, TOO_MANY
from smtp_inbound.rooms import Rooms
from smtp_inbound.session import House, Session
from smtp_inbound.settings import Settings
from smtp_inbound.store import Directory, Mailstore

_NAME = "smtp-inbound"


async def check(settings: Settings) -> None:
    """Ask the directory whether it answers."""
    async with channel(settings.directory_address, _NAME, settings.grpc_tls, server="directory") as way:
        await _directory(way).check()


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Run until told to stop."""
    async with AsyncExitStack() as stack:
        house = await _open_house(settings, lifecycle, stack)
        jobs = await stack.enter_async_context(asyncio.TaskGroup())
        running = [jobs.create_task(house.resolver.run()), jobs.create_task(house.handover.run())]
        listeners = await _listen(settings, house, stack)
        lifecycle.mark_ready()
        await serve_until_stopped(
            listeners,
            lifecycle,
            unready_seconds=settings.unready_seconds,
            drain_seconds=settings.drain_seconds,
        )
        for job in running:
            job.cancel()


async def _open_house(settings: Settings, lifecycle: Lifecycle, stack: AsyncExitStack) -> House:
    directory_channel = await stack.enter_async_context(
        channel(settings.directory_address, _NAME, settings.grpc_tls, server="directory")
    )
    mailstore_channel = await stack.enter_async_context(
        channel(settings.mailstore_address, _NAME, settings.grpc_tls, server="mailstore")
    )
    transfers = await stack.enter_async_context(Transfers(ByteBudget(settings.upload_budget_octets)))
    directory = _directory(directory_channel)
    mailstore = Mailstore(delivery_pb2_grpc.DeliveryServiceStub(mailstore_channel), transfers)
    return House(
        hostname=settings.hostname,
        idle_seconds=settings.idle_seconds,
        directory=directory,
        mailstore=mailstore,
        resolver=RecipientResolver(directory.open_stream),
        rooms=Rooms(mailstore.find_full),
        handover=Handover(mailstore.open_stream),
        lifecycle=lifecycle,
        tls=CertificateReloader(settings.tls_files) if settings.tls_files else None,
        client_tls=CertificateReloader(settings.client_tls_files) if settings.client_tls_files else None,
    )


def _directory(way: grpc.aio.Channel) -> Directory:
    return Directory(directory_pb2_grpc.DirectoryServiceStub(way), login_pb2_grpc.LoginServiceStub(way))


async def _listen(settings: Settings, house: House, stack: AsyncExitStack) -> list[Listener]:
    """MX, submission, and submission in TLS from the start, which needs a certificate (RFC 8314 s3)."""
    limits = Limits(message=settings.message_octets, recipients=settings.recipients)
    exchange = ServerConfig(settings.hostname, starttls=house.tls is not None, limits=limits)
    submission = ServerConfig(
        settings.hostname,
        starttls=house.tls is not None,
        mechanisms=settings.sasl_mechanisms,
        auth_required=True,
        limits=limits,
    )
    wanted = [
        ("mx", settings.port, settings.proxy_port, exchange, False),
        ("submission", settings.submission_port, settings.submission_proxy_port, submission, False),
    ]
    if house.tls is not None:
        tls_ports = settings.submissions_port, settings.submissions_proxy_port
        wanted.append(("submissions", *tls_ports, submission, True))
    return [
        await stack.enter_async_context(
            await serve_tcp(
                ListenerSettings(
                    name=door.name,
                    host=settings.host,
                    port=door.port,
                    implicit_tls=implicit_tls,
                    max_connections=settings.max_connections,
                    max_connections_per_address=settings.max_connections_per_address,
                    proxy=door.proxy,
                    untrusted=settings.untrusted,
                    nodes=settings.nodes,
                ),
                partial(_handle, config, house, name),
                lifecycle=house.lifecycle,
                tls=house.client_tls if config.mechanisms else house.tls,
                refuse=TOO_MANY,
                failed=FAILED,
            )
        )
        for name, port, proxy_port, config, implicit_tls in wanted
        for door in settings.doors(name, port, proxy_port)
    ]


async def _handle(config: ServerConfig, house: House, listener: str, connection: Connection) -> None:
    config = replace(config, peer_address=connection.peer.host)
    await Session(connection, config, house, listener=listener).run()
