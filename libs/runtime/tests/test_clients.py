"""Networks as sets, one client's connections, and the suspicion that clients' addresses are hidden."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from postroom_runtime.clients import WINDOW, AddressBound, AddressCheck
from postroom_runtime.networks import Networks, customer_of

NONE = Networks()
NODES = Networks([ip_network("10.1.0.0/16"), ip_network("2001:db8:1::/48")])


def test_addresses_are_in_networks_in_each_of_their_forms() -> None:
    inside = ("10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "2001:db8:1::7", "2001:db8:1::7%eth0")
    outside = ("10.2.0.0", "2001:db8:2::7", "::1", "", "unix", "0.0.0.1")
    assert [host for host in (*inside, *outside) if host in NODES] == list(inside)
    assert "10.1.2.3" not in Networks()
    assert "192.0.2.1" in (NODES | Networks([ip_network("0.0.0.0/0")]))
    assert (bool(NODES), bool(Networks())) == (True, False)


@given(
    st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), max_size=5),
    st.integers(0, 32),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
)
def test_networks_hold_what_one_of_them_holds(addresses: list[object], prefix: int, address: object) -> None:
    networks = [ip_network(f"{one}/{prefix}", strict=False) for one in addresses]
    plain = getattr(address, "ipv4_mapped", None) or ip_address(str(address))
    assert (str(address) in Networks(networks)) is any(plain in network for network in networks)


def test_one_ipv6_customer_is_one_client() -> None:
    assert customer_of("2001:db8::1") == customer_of("2001:db8::ffff:0:0:1") != customer_of("2001:db8:0:1::1")
    assert customer_of("192.0.2.1") != customer_of("192.0.2.2")


def test_connections_are_bounded_by_client_but_not_where_an_address_stands_for_many() -> None:
    bound = AddressBound(1, NODES)
    assert [bound.take(host) for host in ("192.0.2.1", "192.0.2.1", "192.0.2.2")] == [True, False, True]
    bound.give("192.0.2.1")
    assert bound.take("192.0.2.1")
    assert all(bound.take("10.1.2.3") for _ in range(5))
    bound.give("10.1.2.3")


def hidden(
    name: str, hosts: Sequence[str], untrusted: Networks = NODES, nodes: Networks = NONE
) -> tuple[float | None, int]:
    """The gauge after so many sessions, and how often there was a warning."""
    check = AddressCheck(name, untrusted, nodes)
    with capture_logs() as logs:
        for number in range(2 * WINDOW):
            check.note(hosts[number % len(hosts)])
    gauge = REGISTRY.get_sample_value("postroom_tcp_client_addresses_hidden", {"listener": name})
    return gauge, len([entry for entry in logs if entry["event"] == "client_addresses_hidden"])


PUBLIC = [f"192.0.2.{number}" for number in range(1, 5)]


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["10.9.0.1"], (1.0, 1)),
        (["10.9.0.1", "fd00::1", "100.64.0.1"], (1.0, 1)),  # warned of once within the hour
        (["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4"], (0.0, 0)),  # clients of the same building
        (["10.9.0.1"] * 9 + PUBLIC, (0.0, 0)),
        (PUBLIC, (0.0, 0)),
        (["10.1.0.1"], (0.0, 0)),  # known
        (["127.0.0.1", "::1"], (0.0, 0)),
        (["127.0.0.6"], (1.0, 1)),  # a sidecar
    ],
)
def test_sessions_from_very_few_private_addresses_are_suspected(
    hosts: list[str], expected: tuple[float, int]
) -> None:
    assert hidden("-".join(hosts), hosts) == expected


def test_sessions_from_the_own_node_are_suspected_until_somebody_names_it() -> None:
    node = Networks([ip_network("198.51.100.5")])  # nodes may have public addresses
    assert hidden("node", ["198.51.100.5"], nodes=node) == (1.0, 1)
    assert hidden("named-node", ["198.51.100.5"], untrusted=node, nodes=node) == (0.0, 0)
    assert hidden("no-node", ["198.51.100.5"]) == (0.0, 0)
