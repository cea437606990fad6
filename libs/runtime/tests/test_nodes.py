"""The node's address in the pods' network, from the routes that the kernel tells."""

from pathlib import Path

import pytest

from postroom_runtime import nodes
from postroom_runtime.nodes import ipv4_gateways, ipv6_gateways, own_gateways

POD = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100F40A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth0\t0000000A\t0200F40A\t0003\t0\t0\t0\t000000FF\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t9\t00000000\t0\t0\t0
"""
NOWHERE = "0" * 32
POD_V6 = f"""fd000000000000000000000000000000 40 {NOWHERE} 00 {NOWHERE} 00000100 1 0 1 eth0
{NOWHERE} 00 {NOWHERE} 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003 eth0
{NOWHERE} 00 {NOWHERE} 00 {NOWHERE} ffffffff 00000001 00000000 00200200 lo
20010db8000000000000000000000000 20 {NOWHERE} 00 fd000000000000000000000000000002 00000400 1 0 3 eth0
"""


def test_default_gateways_are_found_among_the_routes() -> None:
    assert [str(each) for each in ipv4_gateways(POD)] == ["10.244.0.1"]
    assert [str(each) for each in ipv6_gateways(POD_V6)] == ["fd00::1"]
    assert [*ipv4_gateways(""), *ipv6_gateways("")] == []


def test_a_system_that_does_not_tell_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nodes, "_IPV4_ROUTES", tmp_path / "none")
    monkeypatch.setattr(nodes, "_IPV6_ROUTES", tmp_path / "none")
    assert own_gateways() == ()
    (tmp_path / "route").write_text(POD)
    monkeypatch.setattr(nodes, "_IPV4_ROUTES", tmp_path / "route")
    assert [str(each) for each in own_gateways()] == ["10.244.0.1"]
