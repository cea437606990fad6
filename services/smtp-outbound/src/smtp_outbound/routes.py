"""Where a domain's mail goes: MX lookup (RFC 5321 s5.1), null MX (RFC 7505), addresses that are not ours."""

import hashlib
import ipaddress
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.resolver

from postroom_runtime.errors import ConfigurationError

_MAX_HOSTS: Final = 10
_MAX_ADDRESSES: Final = 8
_CACHED_ANSWERS: Final = 10_000
_QUESTION_SECONDS: Final = 10.0

Lookup = Callable[[str, str], Awaitable[Sequence[str]]]
"""The records of a name and type, in presentation form; empty when there are none of this type."""


@dataclass(frozen=True, slots=True)
class Route:
    """A domain's way: `hosts` in the order to try, `site` is the same for all domains of the same hosts."""

    site: str
    hosts: tuple[str, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a route: hosts tried for a message, and addresses of each."""

    hosts: int = _MAX_HOSTS
    addresses: int = _MAX_ADDRESSES


class UnroutableError(Exception):
    """There is no way to a domain: for good when `status` begins with 5, else for now (RFC 3463)."""

    def __init__(self, status: str, diagnostic: str) -> None:
        super().__init__(f"{status} {diagnostic}")
        self.status, self.diagnostic = status, diagnostic


class NoSuchNameError(Exception):
    """The DNS says that the name does not exist."""


class DnsUnavailableError(Exception):
    """The DNS gave no answer in time, or none that can be used."""


class Router:
    """Finds routes by DNS, or sends everything to a smarthost."""

    def __init__(
        self,
        lookup: Lookup,
        *,
        port: int,
        smarthost: tuple[str, int] | None = None,
        is_ours: Callable[[str], bool] | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self._lookup, self._port, self._smarthost, self._limits = lookup, port, smarthost, limits
        self._is_ours = is_ours or is_own_address

    async def route(self, domain: str) -> Route:
        """The way to a domain or address literal. Raises UnroutableError."""
        if self._smarthost is not None:
            host, port = self._smarthost
            return Route("smarthost", (host,), port)
        if (literal := _literal(domain)) is not None:
            return Route(domain.lower(), (literal,), self._port)
        hosts = await self._exchangers(domain)
        return Route(_site(hosts), hosts[: self._limits.hosts], self._port)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """A host's addresses, in random order, without those that are our own.

        Raises UnroutableError when there is none.
        """
        found = [host] if _is_address(host) else await self._resolve(host)
        if not found:
            raise UnroutableError("5.4.4", f"{host} has no address")
        if self._smarthost is None:
            # RFC 5321 s5.1: what leads back to ourselves would loop.
            found = [address for address in found if not self._is_ours(address)]
        if not found:
            raise UnroutableError("5.4.6", f"{host} is this host itself")
        random.shuffle(found)
        return tuple(found[: self._limits.addresses])

    async def _exchangers(self, domain: str) -> tuple[str, ...]:
        try:
            records = await self._lookup(domain, "MX")
        except NoSuchNameError:
            raise UnroutableError("5.1.2", "The domain does not exist") from None
        except DnsUnavailableError:
            raise UnroutableError("4.4.3", "The name servers of the domain do not answer") from None
        if not records:
            return (domain.lower(),)  # RFC 5321 s5.1: then the domain is its own exchanger
        exchangers = [(int(preference), name) for preference, name in map(_mx, records)]
        named = [(preference, name) for preference, name in exchangers if name]
        if not named:
            raise UnroutableError("5.1.10", "The domain takes no mail (null MX)")  # RFC 7505 s4.1
        # Equal preferences share the load by chance.
        ordered = sorted(named, key=lambda exchanger: (exchanger[0], random.random()))
        return tuple(dict.fromkeys(name for _, name in ordered))

    async def _resolve(self, host: str) -> list[str]:
        found: list[str] = []
        broken = False
        for kind in ("A", "AAAA"):
            try:
                found += await self._lookup(host, kind)
            except NoSuchNameError:
                break
            except DnsUnavailableError:
                broken = True
        if broken and not found:
            raise UnroutableError("4.4.3", f"The addresses of {host} are not to be had")
        return found


def open_lookup(servers: Sequence[str]) -> Lookup:
    """Questions to these name servers (`address[:port]`), else to the system's. Raises ConfigurationError."""
    resolver = dns.asyncresolver.Resolver(configure=not servers)
    if servers:
        resolver.nameservers = [_nameserver(server) for server in servers]
    resolver.cache = dns.resolver.LRUCache(_CACHED_ANSWERS)
    resolver.lifetime = _QUESTION_SECONDS

    async def lookup(name: str, kind: str) -> Sequence[str]:
        try:
            answer = await resolver.resolve(dns.name.from_text(name), kind, search=False)
        except dns.resolver.NXDOMAIN:
            raise NoSuchNameError(name) from None
        except dns.resolver.NoAnswer:
            return []
        except (dns.name.LabelTooLong, dns.name.NameTooLong, dns.name.EmptyLabel, UnicodeError):
            raise NoSuchNameError(name) from None
        except (dns.exception.DNSException, OSError) as error:
            raise DnsUnavailableError(name) from error
        return [record.to_text() for record in answer]

    return lookup


def is_own_address(address: str) -> bool:
    """Whether a connection to the address would reach this machine: it is one that can be bound here."""
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    if (mapped or parsed).is_loopback or parsed.is_unspecified or parsed.is_multicast:
        return True
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def parse_host_port(text: str, port: int) -> tuple[str, int]:
    """`host`, `host:port` or `[v6]:port`. Raises ConfigurationError."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, port
    host, _, digits = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", str(port))
    if not host or not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 65_536:
        raise ConfigurationError(f"not host[:port]: {text}")
    return host.strip("[]"), int(digits)


def _nameserver(text: str) -> dns.nameserver.Nameserver:
    address, port = parse_host_port(text, 53)
    if not _is_address(address):
        raise ConfigurationError(f"POSTROOM_SMTP_OUTBOUND_DNS_SERVERS: not an address: {text}")
    return dns.nameserver.Do53Nameserver(address, port)


def _mx(record: str) -> tuple[str, str]:
    """Preference and exchanger, which is empty for the root."""
    preference, _, name = record.partition(" ")
    return preference, name.rstrip(".").lower()


def _site(hosts: Sequence[str]) -> str:
    """One name for a set of hosts; a single host names itself."""
    names = sorted(hosts)
    if len(names) == 1:
        return names[0]
    # Readable in a queue's listing, and short however many there are.
    return f"{names[0]}+{hashlib.sha256(' '.join(names).encode()).hexdigest()[:12]}"


def _literal(domain: str) -> str | None:
    """The address of `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 s4.1.3)."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    text = domain[1:-1]
    return text[5:] if text[:5].upper() == "IPV6:" else text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
