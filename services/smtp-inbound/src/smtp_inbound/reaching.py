"""The verb `reach`: come to our own port as a client does, and see which address SMTP takes us for.

It shows whether the way that this process takes keeps addresses, such as from a pod through a Service. Of the
way from outside, through a balancer, it shows nothing.
"""

import asyncio
import re
from typing import Final

from postroom_runtime.errors import DependencyError, FindingsError
from postroom_runtime.logs import log
from postroom_runtime.networks import Networks
from smtp_inbound.settings import ReachSettings

_TIMES: Final = 8
"""Connections, since a Service has several pods, on the same node and on others."""
_PAUSE_SECONDS: Final = 1.0
_LINE: Final = 512  # RFC 5321 s4.5.3.1.5
_LINES: Final = 50
_SEEN: Final = re.compile(rb"250[ -]\S+ sees \[(?:IPv6:)?([0-9A-Fa-f:.]+)\]\r\n")


async def reach(settings: ReachSettings) -> None:
    """Raises `FindingsError` when another address arrives, `DependencyError` when nobody answers."""
    seen = sorted({await _seen_in_time(settings), *[await _seen(settings) for _ in range(_TIMES - 1)]})
    own = Networks(settings.pod_addresses)
    strange = [host for host in seen if host not in own and host not in settings.untrusted]
    log.info("client_address_seen", target=settings.target, seen=seen)
    if not strange:
        return
    nodes = settings.nodes
    ours = ", ".join(str(network.network_address) for network in settings.pod_addresses)
    said = ", ".join(f"{host} ({_whose(host, nodes)})" for host in strange)
    finding = (
        f"{settings.target} takes {ours} for {said}: clients' addresses are hidden on this way; "
        "name such addresses in exposure.sharedAddresses"
    )
    if settings.strict:
        raise FindingsError(finding)
    log.warning("client_addresses_hidden", finding=finding)


def _whose(host: str, nodes: Networks) -> str:
    return "this node's address" if host in nodes else "another node's, a balancer's or a sidecar's"


async def _seen_in_time(settings: ReachSettings) -> str:
    """The same, when nobody may be there yet or the network has not learnt of us."""
    attempts = int(settings.wait_seconds / _PAUSE_SECONDS)
    while True:
        try:
            return await _seen(settings)
        except DependencyError:
            if (attempts := attempts - 1) < 0:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


async def _seen(settings: ReachSettings) -> str:
    """The address in the reply to EHLO."""
    host, _, port = settings.target.rpartition(":")
    try:
        async with asyncio.timeout(settings.seconds):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=_LINE)
            try:
                await _reply(reader)
                writer.write(b"EHLO postroom.invalid\r\n")
                found = _SEEN.fullmatch(await _reply(reader))
                writer.write(b"QUIT\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        raise DependencyError(f"{settings.target}: {type(error).__name__}") from error
    if found is None:
        raise DependencyError(f"{settings.target}: the reply to EHLO says no address")
    return found[1].decode()


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """The first line of a reply, all of which is read."""
    first = line = await reader.readline()
    for _ in range(_LINES):
        if line[3:4] != b"-":
            return first
        line = await reader.readline()
    raise ValueError("a reply without an end")
