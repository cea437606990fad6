"""Sets of networks, and what one client is."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

_IPV6_CUSTOMER_BITS: Final = 64


class Networks:
    """Networks as one set: looking an address up costs one look for each length of prefix."""

    __slots__ = ("_by_prefix", "_networks")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._by_prefix: dict[tuple[int, int], set[int]] = {}
        for network in self._networks:
            shift = network.max_prefixlen - network.prefixlen
            prefixes = self._by_prefix.setdefault((network.version, shift), set())
            prefixes.add(int(network.network_address) >> shift)

    def __contains__(self, host: str) -> bool:
        """Whether this address, in text, is in one of them; what is no address is not."""
        if not self._networks:
            return False
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        number = int(address)
        return any(
            version == address.version and number >> shift in prefixes
            for (version, shift), prefixes in self._by_prefix.items()
        )

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __or__(self, other: "Networks") -> "Networks":
        """What is in either."""
        return Networks((*self._networks, *other._networks))

    def __repr__(self) -> str:
        return f"Networks({', '.join(map(str, self._networks))})"


def customer_of(host: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 that one IPv6 customer has at least."""
    if ":" not in host:
        return host
    return f"{int(IPv6Address(host.partition('%')[0])) >> _IPV6_CUSTOMER_BITS:x}::"
