from collections.abc import AsyncIterator

import dns.asyncresolver
import dns.exception
import dns.resolver
import pytest

from postroom_testing.dns import DnsServer, Trouble


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    async with DnsServer() as running:
        running.add("example.org", "MX", "20 mx2.example.org.", "10 mx1.example.org.")
        running.add("mx1.example.org", "A", "127.0.0.1", "127.0.0.2")
        running.add("mx1.example.org", "AAAA", "::1")
        running.add("www.example.org", "CNAME", "mx1.example.org.")
        yield running


@pytest.fixture
def resolver(server: DnsServer) -> dns.asyncresolver.Resolver:
    asking = dns.asyncresolver.Resolver(configure=False)
    asking.nameservers = [server.host]
    asking.port = server.port
    asking.lifetime = 0.5
    asking.timeout = 0.2
    return asking


async def ask(resolver: dns.asyncresolver.Resolver, name: str, kind: str, *, tcp: bool = False) -> list[str]:
    answer = await resolver.resolve(name, kind, tcp=tcp, search=False)
    return sorted(record.to_text() for record in answer)


@pytest.mark.parametrize("tcp", [False, True])
async def test_records_are_answered(resolver: dns.asyncresolver.Resolver, tcp: bool) -> None:
    assert await ask(resolver, "example.org", "MX", tcp=tcp) == ["10 mx1.example.org.", "20 mx2.example.org."]
    assert await ask(resolver, "MX1.Example.org", "A", tcp=tcp) == ["127.0.0.1", "127.0.0.2"]
    assert await ask(resolver, "mx1.example.org", "AAAA", tcp=tcp) == ["::1"]
    assert await ask(resolver, "www.example.org", "A", tcp=tcp) == ["127.0.0.1", "127.0.0.2"]


async def test_a_name_without_such_records_is_no_nxdomain(resolver: dns.asyncresolver.Resolver) -> None:
    with pytest.raises(dns.resolver.NoAnswer):
        await ask(resolver, "mx1.example.org", "MX")
    with pytest.raises(dns.resolver.NXDOMAIN):
        await ask(resolver, "nobody.example.org", "MX")


async def test_troubles_happen_and_go_away(server: DnsServer, resolver: dns.asyncresolver.Resolver) -> None:
    server.trouble("example.org", Trouble.SERVFAIL, "MX")
    with pytest.raises(dns.resolver.NoNameservers):
        await ask(resolver, "example.org", "MX")
    server.trouble("slow.example.org", Trouble.TIMEOUT)
    with pytest.raises(dns.exception.Timeout):
        await ask(resolver, "slow.example.org", "A")
    server.trouble("gone.example.org", Trouble.NXDOMAIN)
    with pytest.raises(dns.resolver.NXDOMAIN):
        await ask(resolver, "gone.example.org", "A")
    server.forget("example.org")
    server.add("example.org", "MX", "0 .")
    assert await ask(resolver, "example.org", "MX") == ["0 ."]


async def test_an_answer_too_big_for_udp_comes_over_tcp(
    server: DnsServer, resolver: dns.asyncresolver.Resolver
) -> None:
    server.add("many.example.org", "TXT", *[f'"{number:03d} {"x" * 100}"' for number in range(60)])
    assert len(await ask(resolver, "many.example.org", "TXT")) == 60
    assert server.queries.count(("many.example.org", "TXT")) == 2
