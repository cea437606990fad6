"""What a relay process is made of, and how it starts and ends."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from postroom.mailstore.v1 import queue_pb2_grpc
from postroom_runtime.budget import ByteBudget
from postroom_runtime.bus import REMOTE_BELL, Bus
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_client import channel
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.logs import log
from postroom_runtime.tls import opportunistic_client_context
from postroom_runtime.transfer import Transfers
from postroom_wire.smtp import AddressError, ClientConfig, ClientTimeouts
from smtp_outbound.bell import Bell
from smtp_outbound.held_sites import HeldSites
from smtp_outbound.queue import ClaimTerms, Queue
from smtp_outbound.relay import Office, Relay
from smtp_outbound.remote import Dialling
from smtp_outbound.routes import Router, is_own_address, open_lookup, parse_host_port
from smtp_outbound.settings import Settings

_NAME: Final = "smtp-outbound"
_DURABLE: Final = "smtp-outbound"
_SMTP_PORT: Final = 25


async def check(settings: Settings) -> None:
    """Look at the settings: there is nobody to ask without taking work."""
    open_router(settings)
    _dialling(settings)


async def serve(settings: Settings, lifecycle: Lifecycle) -> None:
    """Relay until told to stop."""
    async with AsyncExitStack() as stack:
        router, dialling = open_router(settings), _dialling(settings)
        bus = await stack.enter_async_context(await Bus.connect(settings.nats_url))
        mailstore = await stack.enter_async_context(
            channel(settings.mailstore_address, _NAME, settings.grpc_tls, server="mailstore")
        )
        transfers = await stack.enter_async_context(Transfers(ByteBudget(1)))
        terms = ClaimTerms(settings.worker_name, settings.claim_deliveries, settings.lease_seconds)
        queue = Queue(queue_pb2_grpc.QueueServiceStub(mailstore), transfers, terms)
        bell = Bell(settings.poll_seconds)
        office = Office(queue, router, dialling, bell, HeldSites(), lifecycle, settings.kept_seconds)
        async with asyncio.TaskGroup() as group:
            hearing = group.create_task(_hear(bus, bell))
            workers = [group.create_task(Relay(office).run()) for _ in range(settings.workers)]
            lifecycle.mark_ready()
            await lifecycle.wait_stopping()
            hearing.cancel()
            bell.wake_all()
            _, late = await asyncio.wait(workers, timeout=settings.drain_seconds)
            if late:
                log.warning("drain_cut", count=len(late))
            for worker in late:
                worker.cancel()


def open_router(settings: Settings) -> Router:
    """The way to find ways. Raises ConfigurationError."""
    smarthost = parse_host_port(settings.smarthost, _SMTP_PORT) if settings.smarthost else None
    is_ours: Callable[[str], bool] = (lambda _: False) if settings.allow_loopback else is_own_address
    lookup = open_lookup(settings.dns_servers)
    return Router(lookup, port=settings.remote_port, smarthost=smarthost, is_ours=is_ours)


def _dialling(settings: Settings) -> Dialling:
    seconds = settings.command_seconds
    try:
        config = ClientConfig(
            settings.helo_name,
            timeouts=ClientTimeouts(
                greeting_seconds=seconds, command_seconds=seconds, end_seconds=settings.end_seconds
            ),
        )
    except AddressError:
        raise ConfigurationError(
            f"POSTROOM_SMTP_OUTBOUND_HELO_NAME: not a host name: {settings.helo_name}"
        ) from None
    tls = opportunistic_client_context() if settings.starttls else None
    return Dialling(config, tls, settings.connect_seconds)


async def _hear(bus: Bus, bell: Bell) -> None:
    async for _ in bus.bells(REMOTE_BELL, _DURABLE):
        bell.ring()
