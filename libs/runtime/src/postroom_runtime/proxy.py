"""The PROXY protocol at a listener: which balancers are believed, and whose connections they pass on."""

import asyncio
import socket
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from postroom_runtime.networks import Networks
from postroom_runtime.peer import PeerAddress, address_of
from postroom_wire.proxy_protocol import (
    LIMITS,
    Address,
    Endpoint,
    HeaderReader,
    Relayed,
    RemoteProtocolError,
    Unnamed,
)

LEFT: Final = "left_before_proxy_header"
"""The reason when nothing came, as from balancers that only try the port."""

_BROADCAST: Final = "255.255.255.255"


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Who has to send a header, and within how many seconds. Everybody else is refused."""

    trusted: Networks
    header_seconds: float = 5.0


class ProxyHeaderError(Exception):
    """No connection to serve; `reason` is a word for logs and metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Introduction:
    """Whose connection it is, and the address of ours that was reached."""

    peer: PeerAddress
    reached: PeerAddress


async def introduction(sock: socket.socket, peer: PeerAddress, settings: ProxySettings) -> Introduction:
    """Read the header off an accepted socket, and not one octet more: TLS may begin with the next.

    `peer` is the balancer, which is believed. The client is never `direct`, so that no header can claim to
    come from this machine. Raises `ProxyHeaderError`.
    """
    sock.setblocking(False)
    reader = HeaderReader()
    try:
        async with asyncio.timeout(settings.header_seconds):
            while reader.header is None:
                await _read_some(sock, reader)
    except RemoteProtocolError:
        raise ProxyHeaderError("bad_proxy_header") from None
    except (TimeoutError, OSError):
        raise ProxyHeaderError("no_proxy_header") from None
    match reader.header:
        case Relayed(source, destination):
            return Introduction(_claimed(source), _claimed(destination))
        case Unnamed():
            return Introduction(replace(peer, direct=False), address_of(sock.getsockname()))


async def _read_some(sock: socket.socket, reader: HeaderReader) -> None:
    try:
        octets = sock.recv(LIMITS.v2, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        await _readable(sock)
        return
    if not octets:
        raise ProxyHeaderError(LEFT)
    taken = reader.receive_data(octets)
    while taken:  # urgent data may come in pieces
        taken -= len(sock.recv(taken))


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sock, partial(_be_ready, ready))
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _be_ready(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _claimed(endpoint: Endpoint) -> PeerAddress:
    if not _is_somebody(endpoint.address):
        raise ProxyHeaderError("bad_proxy_address")
    return PeerAddress(str(endpoint.address), endpoint.port, direct=False)


def _is_somebody(address: Address) -> bool:
    return not (address.is_unspecified or address.is_multicast or str(address) == _BROADCAST)
