"""The network policies open the arrows of the architecture's table, and no others."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from postroom_testing.chart import Helm, HelmError, Manifest, Rendering

Render = Callable[[str], Rendering]

# The table of the architecture: from, to, port. `mailstore, filestore` ask directory for its keys.
ARROWS = {
    *(
        (name, "nats", 4222)
        for name in ("directory", "mailstore", "filestore", "smtp-inbound", "smtp-outbound")
    ),
    *((name, "nats", 4222) for name in ("mail-access", "ftp-gateway", "webmail-api")),
    *((name, "postgres", 5432) for name in ("directory", "mailstore", "filestore")),
    *((name, "object-store", 8333) for name in ("mailstore", "filestore", "smtp-inbound", "smtp-outbound")),
    *((name, "object-store", 8333) for name in ("mail-access", "ftp-gateway", "webmail-api")),
    *((name, "directory", 9000) for name in ("mailstore", "filestore", "smtp-inbound", "smtp-outbound")),
    *((name, "directory", 9000) for name in ("mail-access", "ftp-gateway", "webmail-api")),
    *((name, "mailstore", 9000) for name in ("smtp-inbound", "smtp-outbound", "mail-access", "webmail-api")),
    *((name, "filestore", 9000) for name in ("ftp-gateway", "webmail-api")),
    ("ftp-gateway", "ftp-gateway", 9021),
}
INTERNET = {
    ("smtp-outbound", 25),
    ("smtp-outbound", 443),
    ("webmail-api", 80),
    ("webmail-api", 443),
    ("ftp-gateway", "active"),
}
_PORTS = (
    25,
    53,
    80,
    143,
    443,
    993,
    4222,
    5432,
    6432,
    8080,
    8222,
    8333,
    8888,
    9000,
    9021,
    9090,
    9333,
    18333,
    40_000,
)
_OUTSIDE = ("203.0.113.7", "2001:db8::7")
_PRIVATE = ("10.96.0.1", "169.254.169.254", "192.168.1.1", "fd00::1")


class Network:
    """What a CNI would make of the policies."""

    def __init__(self, rendering: Rendering) -> None:
        self._policies = rendering.of_kind("NetworkPolicy")
        self.pods: dict[str, dict[str, str]] = {}
        for _, pod in rendering.pods():
            labels = pod["metadata"]["labels"]
            self.pods[labels["app.kubernetes.io/component"]] = labels

    def _rules(self, pod: str, direction: str) -> Iterator[Manifest] | None:
        """The rules of a direction; None when no policy speaks of the pod, which leaves it open."""
        chosen = [
            policy["spec"]
            for policy in self._policies
            if _selects(policy["spec"]["podSelector"], self.pods[pod])
            and direction.capitalize() in policy["spec"]["policyTypes"]
        ]
        return (rule for spec in chosen for rule in spec.get(direction) or ()) if chosen else None

    def may_send(self, source: str, target: str, port: int) -> bool:
        """Whether a pod may connect to another one."""
        out = self._rules(source, "egress")
        into = self._rules(target, "ingress")
        return _admits(out, "to", self.pods[target], port) and _admits(into, "from", self.pods[source], port)

    def may_leave(self, source: str, address: str, port: int) -> bool:
        """Whether a pod may connect to an address outside the release."""
        return _admits(self._rules(source, "egress"), "to", address, port)

    def may_enter(self, target: str, address: str, port: int) -> bool:
        """Whether an address outside the release may connect to a pod."""
        return _admits(self._rules(target, "ingress"), "from", address, port)


def _admits(rules: Iterator[Manifest] | None, side: str, peer: dict[str, str] | str, port: int) -> bool:
    return rules is None or any(
        _has_port(rule.get("ports"), port) and _has_peer(rule.get(side), peer) for rule in rules
    )


def _has_port(ports: list[Manifest] | None, port: int) -> bool:
    return ports is None or any(each["port"] <= port <= each.get("endPort", each["port"]) for each in ports)


def _has_peer(peers: list[Manifest] | None, peer: dict[str, str] | str) -> bool:
    return peers is None or any(_is_peer(each, peer) for each in peers)


def _is_peer(selector: Manifest, peer: dict[str, str] | str) -> bool:
    if isinstance(peer, str):
        block = selector.get("ipBlock")
        return block is not None and _in_block(block, peer)
    # A pod of the release is in its own namespace, which no selector of namespaces means here.
    return (
        "podSelector" in selector
        and "namespaceSelector" not in selector
        and _selects(selector["podSelector"], peer)
    )


def _in_block(block: Manifest, address: str) -> bool:
    def within(cidr: str) -> bool:
        network = ip_network(cidr)
        return network.version == ip_address(address).version and ip_address(address) in network

    return within(block["cidr"]) and not any(within(each) for each in block.get("except", ()))


def _selects(selector: Manifest, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def _serving(network: Network) -> list[str]:
    once = ("-check", "-migrate", "-declare", "-drift", "-reach")
    return [pod for pod in network.pods if not pod.endswith(once)]


def test_pods_reach_each_other_as_the_table_says(render: Render) -> None:
    network = Network(render("bundled"))
    pods = _serving(network)
    found = {
        (source, target, port)
        for source in pods
        for target in pods
        for port in _PORTS
        if network.may_send(source, target, port)
    }
    # Public ports are open to everyone, but no pod of ours may go there.
    assert found == ARROWS


def test_migrations_and_checks_go_as_their_service(render: Render) -> None:
    network = Network(render("bundled"))
    assert network.may_send("mailstore-migrate", "postgres", 5432)
    assert network.may_send("smtp-inbound-check", "directory", 9000)
    assert not network.may_send("smtp-inbound-check", "postgres", 5432)


def test_what_makes_the_declared_reaches_directory_and_nothing_else(helm: Helm) -> None:
    network = Network(helm.template({"setup": {"domains": ["example.org"], "driftSchedule": "@daily"}}))
    for pod in ("setup-declare", "setup-drift"):
        found = {
            (target, port)
            for target in network.pods
            for port in _PORTS
            if network.may_send(pod, target, port)
        }
        assert found == {("directory", 9000), ("directory-check", 9000), ("directory-migrate", 9000)}
        assert not any(network.may_send(source, pod, port) for source in network.pods for port in _PORTS)
        for address in (*_OUTSIDE, *_PRIVATE):
            assert not any(network.may_leave(pod, address, port) for port in _PORTS)


def test_the_client_of_helm_test_reaches_the_port_that_it_visits_and_nothing_else(render: Render) -> None:
    for scenario, port in (("bundled", 2025), ("external", 2587)):
        network = Network(render(scenario))
        ports = (*_PORTS, 2025, 2465, 2587, 12025, 2143, 2080)
        found = {
            (target, each)
            for target in network.pods
            for each in ports
            if network.may_send("client-reach", target, each)
        }
        assert found == {("smtp-inbound", port), ("smtp-inbound-check", port)}
        for address in (*_OUTSIDE, *_PRIVATE):
            assert not any(network.may_leave("client-reach", address, each) for each in ports)


@pytest.mark.parametrize("scenario", ["bundled", "external", "cnpg-gateway"])
def test_only_three_services_reach_the_internet(render: Render, scenario: str) -> None:
    network = Network(render(scenario))
    external = {443, 4222, 6432} if scenario == "external" else set[int]()
    for pod in _serving(network):
        allowed = {port for name, port in INTERNET if name == pod}
        for port in _PORTS:
            expected = port in allowed or ("active" in allowed and port >= 1024)
            for address in _OUTSIDE:
                if not (expected or port in external):
                    assert not network.may_leave(pod, address, port), (pod, port)
                elif expected:
                    assert network.may_leave(pod, address, port), (pod, port)
            for address in _PRIVATE:
                if port not in external:
                    assert not network.may_leave(pod, address, port), (pod, port)


def _with_issuer(helm: Helm, keys: str, cidrs: list[str]) -> Network:
    settings = {"oauth_issuer": "https://id.example.org", "oauth_jwks": keys}
    values = {
        "services": {"directory": {"settings": settings}},
        "networkPolicy": {"issuer": {"cidrs": cidrs}},
    }
    return Network(helm.template(values))


def _ways_out(network: Network) -> set[tuple[str, str, int]]:
    return {
        (pod, address, port)
        for pod in _serving(network)
        for address in (*_OUTSIDE, *_PRIVATE, "10.7.0.9")
        for port in (*_PORTS, 8443)
        if network.may_leave(pod, address, port)
    }


# Where the keys are, `networkPolicy.issuer.cidrs`, and where directory may go for that.
ISSUERS: list[tuple[str, list[str], set[tuple[str, int]]]] = [
    ("https://id.example.org/keys", [], {(address, 443) for address in _OUTSIDE}),
    ("https://id.example.org:8443/a:1/keys", [], {(address, 8443) for address in _OUTSIDE}),
    ("https://id.example.org/keys", ["10.7.0.0/24"], {("10.7.0.9", 443)}),
    ("https://[2001:db8::7]:8443/keys", ["2001:db8::7/128"], {("2001:db8::7", 8443)}),
    ("/etc/postroom/keys.json", ["10.7.0.0/24"], set()),
]


@pytest.mark.parametrize(("keys", "cidrs", "opened"), ISSUERS)
def test_only_directory_reaches_the_keys_of_access_tokens(
    helm: Helm, render: Render, keys: str, cidrs: list[str], opened: set[tuple[str, int]]
) -> None:
    found = _ways_out(_with_issuer(helm, keys, cidrs))
    assert found - _ways_out(Network(render("bundled"))) == {("directory", *each) for each in opened}


def test_only_relays_reach_other_mail_servers(render: Render) -> None:
    for scenario in ("bundled", "external", "cnpg-gateway", "gitops", "local-images"):
        network = Network(render(scenario))
        assert {pod for pod in network.pods if network.may_leave(pod, "203.0.113.7", 25)} == {
            "smtp-outbound",
            "smtp-outbound-check",
        }


def test_clients_reach_the_public_ports_and_no_others(render: Render) -> None:
    rendering = render("bundled")
    network = Network(rendering)
    public = {
        "smtp-inbound": {2025, 2465, 2587},
        "mail-access": {2143, 2993, 2110, 2995},
        "webmail-api": {2080, 2443},
        "ftp-gateway": {2021, 2990, *range(30_000, 30_020)},
    }
    ports = {port for each in public.values() for port in each} | {9000, 9021, 9090, 5432, 4222, 8222, 8333}
    for pod in _serving(network):
        found = {port for port in ports if network.may_enter(pod, "203.0.113.7", port)}
        assert found == public.get(pod, set()), pod


def _rules_of(rendering: Rendering, name: str, direction: str) -> list[Manifest]:
    return rendering.get("NetworkPolicy", name)["spec"][direction]


def test_prometheus_reaches_the_metrics_and_nothing_else(render: Render) -> None:
    rendering = render("bundled")
    for policy in rendering.of_kind("NetworkPolicy"):
        for rule in policy["spec"].get("ingress") or ():
            if any("namespaceSelector" in peer for peer in rule.get("from", ())):
                assert rule["ports"] == [{"port": 9090, "protocol": "TCP"}]


def test_keda_reaches_the_metrics_of_the_mail_store(render: Render) -> None:
    def asks(rendering: Rendering, name: str) -> list[Any]:
        (metrics,) = (
            rule for rule in _rules_of(rendering, name, "ingress") if rule["ports"][0]["port"] == 9090
        )
        return [peer["namespaceSelector"]["matchLabels"] for peer in metrics["from"]]

    keda = {"kubernetes.io/metadata.name": "keda"}
    assert keda in asks(render("cnpg-gateway"), "postroom-mailstore")
    assert keda not in asks(render("cnpg-gateway"), "postroom-filestore")
    assert keda not in asks(render("external"), "postroom-mailstore")


def test_policies_can_be_left_out_and_added_to(helm: Helm, render: Render) -> None:
    assert render("least").of_kind("NetworkPolicy") == []
    rule = {"to": [{"ipBlock": {"cidr": "10.9.9.9/32"}}], "ports": [{"port": 2525, "protocol": "TCP"}]}
    values = {"services": {"smtp-outbound": {"networkPolicy": {"extraEgress": [rule]}}}}
    assert Network(helm.template(values)).may_leave("smtp-outbound", "10.9.9.9", 2525)


def test_dns_is_asked_in_its_namespace(render: Render) -> None:
    rendering = render("bundled")
    for policy in rendering.of_kind("NetworkPolicy"):
        name = policy["metadata"]["name"]
        if name.removeprefix("postroom-") in {"default-deny", "nats", "postgres", "object-store"}:
            continue
        first = policy["spec"]["egress"][0]
        assert [port["port"] for port in first["ports"]] == [53, 53], name
        assert first["to"][0]["namespaceSelector"]["matchLabels"] == {
            "kubernetes.io/metadata.name": "kube-system"
        }


def test_a_peer_list_that_would_open_everything_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match="cidrs"):
        helm.template({"nats": {"external": {"cidrs": ["anywhere"]}}})
