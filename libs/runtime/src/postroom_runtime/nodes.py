"""The addresses of the Kubernetes node that a pod runs on, by which others than clients come.

Where a cluster hides clients' addresses (kube-proxy does for `externalTrafficPolicy: Cluster`), a pod sees
those who came in at its own node as an address of that node: what the API calls the host's, or its address in
the pods' network, which is the pod's default gateway.
"""

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_IPV4_ROUTES: Final = Path("/proc/net/route")
_IPV6_ROUTES: Final = Path("/proc/net/ipv6_route")


def own_gateways() -> tuple[Address, ...]:
    """The default gateways of this network name space; none where the system does not tell."""
    ipv4, ipv6 = _read(_IPV4_ROUTES), _read(_IPV6_ROUTES)
    return tuple(dict.fromkeys((*ipv4_gateways(ipv4), *ipv6_gateways(ipv6))))


def ipv4_gateways(routes: str) -> Iterator[Address]:
    """The default gateways in the text of `/proc/net/route`: interface, destination, gateway, ..., mask."""
    for line in routes.splitlines()[1:]:
        _, destination, gateway, _, _, _, _, mask = line.split()[:8]
        if int(destination, 16) == int(mask, 16) == 0 != int(gateway, 16):
            yield IPv4Address(int(gateway, 16).to_bytes(4, sys.byteorder))  # as it lies in the memory


def ipv6_gateways(routes: str) -> Iterator[Address]:
    """The same of `/proc/net/ipv6_route`: destination, its length, source, its length, gateway."""
    for line in routes.splitlines():
        destination, length, _, _, gateway = line.split()[:5]
        if int(destination, 16) == int(length, 16) == 0 != int(gateway, 16):
            yield IPv6Address(bytes.fromhex(gateway))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""
