"""Routes without a network: order, sites, and addresses that are our own."""

from collections.abc import Mapping, Sequence

import pytest

from postroom_runtime.errors import ConfigurationError
from smtp_outbound.routes import (
    DnsUnavailableError,
    NoSuchNameError,
    Router,
    UnroutableError,
    is_own_address,
    parse_host_port,
)


def router(records: Mapping[tuple[str, str], Sequence[str] | Exception]) -> Router:
    """A router that asks a table; a name that the table has not does not exist."""

    async def lookup(name: str, kind: str) -> Sequence[str]:
        found = records.get((name, kind))
        if isinstance(found, Exception):
            raise found
        if found is None:
            if any(known == name for known, _ in records):
                return []
            raise NoSuchNameError(name)
        return found

    return Router(lookup, port=25, is_ours=lambda address: address.startswith("127."))


async def test_hosts_are_tried_by_preference() -> None:
    table = {("a.example", "MX"): ["20 C.example.", "5 b.example.", "10 d.example.", "30 ."]}
    assert (await router(table).route("a.example")).hosts == ("b.example", "d.example", "c.example")


async def test_a_site_is_the_set_of_hosts_whatever_their_order_and_preference() -> None:
    table = {
        ("a.example", "MX"): ["10 x.example.", "20 y.example."],
        ("b.example", "MX"): ["20 X.example.", "10 y.example."],
        ("c.example", "MX"): ["10 x.example."],
    }
    sites = [(await router(table).route(f"{name}.example")).site for name in "abc"]
    assert sites[0] == sites[1] != sites[2] == "x.example"


async def test_equal_preferences_share_the_load() -> None:
    table = {("a.example", "MX"): ["10 x.example.", "10 y.example."]}
    firsts = {(await router(table).route("a.example")).hosts[0] for _ in range(100)}
    assert firsts == {"x.example", "y.example"}


@pytest.mark.parametrize(
    ("domain", "host"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1")]
)
async def test_an_address_literal_is_its_own_host(domain: str, host: str) -> None:
    routes = router({})
    route = await routes.route(domain)
    assert route.hosts == (host,)
    assert await routes.addresses(host) == (host,)


async def test_our_own_addresses_are_left_out() -> None:
    routes = router({("x.example", "A"): ["127.0.0.1", "192.0.2.1"], ("y.example", "A"): ["127.0.0.1"]})
    assert await routes.addresses("x.example") == ("192.0.2.1",)
    with pytest.raises(UnroutableError, match=r"5\.4\.6"):
        await routes.addresses("y.example")


async def test_one_kind_of_address_does_when_the_other_is_not_to_be_had() -> None:
    away = DnsUnavailableError("x.example")
    routes = router({("x.example", "A"): away, ("x.example", "AAAA"): ["2001:db8::1"]})
    assert await routes.addresses("x.example") == ("2001:db8::1",)
    with pytest.raises(UnroutableError, match=r"4\.4\.3"):
        await router({("x.example", "A"): away}).addresses("x.example")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "224.0.0.1"],  # noqa: S104
)
def test_this_machine_is_known_by_many_names(address: str) -> None:
    assert is_own_address(address)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_another_machine_is_another(address: str) -> None:
    assert not is_own_address(address)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("mx.example", ("mx.example", 25)),
        ("mx.example:2525", ("mx.example", 2525)),
        ("[2001:db8::1]:2525", ("2001:db8::1", 2525)),
        ("[2001:db8::1]", ("2001:db8::1", 25)),
        ("2001:db8::1", ("2001:db8::1", 25)),
    ],
)
def test_host_and_port_are_read_as_people_write_them(text: str, parsed: tuple[str, int]) -> None:
    assert parse_host_port(text, 25) == parsed


@pytest.mark.parametrize(
    "text", ["mx.example:", ":25", "mx.example:0", "mx.example:70000", "mx.example:smtp"]
)
def test_what_is_no_host_and_port_is_a_wrong_configuration(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_host_port(text, 25)
