"""Traces leave by OpenTelemetry's variables, and by one more arrow of every service."""

from collections.abc import Callable

import pytest
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_RESOURCE_ATTRIBUTES,
    OTEL_TRACES_SAMPLER,
    OTEL_TRACES_SAMPLER_ARG,
)
from opentelemetry.sdk.resources import OTELResourceDetector

from postroom_testing.chart import Helm, HelmError, Manifest, Rendering

Render = Callable[[str], Rendering]
ENDPOINT = {"endpoint": "http://collector.observability:4318"}
SERVICES = {
    *("directory", "mailstore", "filestore", "smtp-inbound"),
    *("smtp-outbound", "mail-access", "ftp-gateway", "webmail-api"),
}


def _environments(rendering: Rendering) -> dict[str, dict[str, Manifest]]:
    return {
        deployment["metadata"]["labels"]["app.kubernetes.io/component"]: {
            each["name"]: each for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        for deployment in rendering.of_kind("Deployment")
    }


def _arrows(rendering: Rendering) -> dict[str, list[Manifest]]:
    """Rules for the receiver's port, by the policy's name."""
    return {
        policy["metadata"]["name"]: rules
        for policy in rendering.of_kind("NetworkPolicy")
        if (rules := [rule for rule in policy["spec"].get("egress") or () if _port(rule) == 4318])
    }


def _port(rule: Manifest) -> int | None:
    (port, *more) = rule["ports"]
    return None if more else port["port"]


def test_nothing_leaves_unless_somebody_says_where_to(render: Render) -> None:
    rendering = render("bundled")
    for environment in _environments(rendering).values():
        assert not any(name.startswith("OTEL_") for name in environment)
    assert _arrows(rendering) == {}


def test_services_are_told_in_opentelemetry_s_own_words(
    render: Render, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = _environments(render("cnpg-gateway"))
    assert environments.keys() == SERVICES
    for service, environment in environments.items():
        given = {name: each.get("value") for name, each in environment.items() if name.startswith("OTEL_")}
        assert given == {
            OTEL_EXPORTER_OTLP_ENDPOINT: ENDPOINT["endpoint"],
            OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf",
            OTEL_EXPORTER_OTLP_HEADERS: None,
            OTEL_RESOURCE_ATTRIBUTES: "k8s.namespace.name=mail,deployment.environment.name=trial%2C%20again",
            OTEL_TRACES_SAMPLER: "always_on",
        }, service
        reference = environment[OTEL_EXPORTER_OTLP_HEADERS]["valueFrom"]["secretKeyRef"]
        assert reference == {"name": "collector-login", "key": "headers"}
    monkeypatch.setenv(
        OTEL_RESOURCE_ATTRIBUTES, str(environments["mailstore"][OTEL_RESOURCE_ATTRIBUTES]["value"])
    )
    assert OTELResourceDetector().detect().attributes == {
        "k8s.namespace.name": "mail",
        "deployment.environment.name": "trial, again",
    }


def test_a_tenth_of_the_traces_is_the_default(helm: Helm) -> None:
    environments = _environments(helm.template({"telemetry": {"otlp": ENDPOINT}}))
    for environment in environments.values():
        assert environment[OTEL_TRACES_SAMPLER]["value"] == "parentbased_traceidratio"
        assert environment[OTEL_TRACES_SAMPLER_ARG]["value"] == "0.1"


def test_each_service_and_nobody_else_reaches_the_receiver(render: Render, helm: Helm) -> None:
    arrows = _arrows(render("cnpg-gateway"))
    assert arrows.keys() == {f"postroom-{service}" for service in SERVICES}
    selectors = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "collector"}},
    }
    assert all(rules == [{**rules[0], "to": [selectors]}] for rules in arrows.values())
    values = {
        "setup": {"domains": ["example.org"]},
        "telemetry": {"otlp": {**ENDPOINT, "cidrs": ["10.9.0.0/24"]}},
    }
    outside = _arrows(helm.template(values))
    assert outside.keys() == arrows.keys()
    assert outside["postroom-mailstore"][0]["to"] == [{"ipBlock": {"cidr": "10.9.0.0/24"}}]
    anywhere = _arrows(helm.template({"telemetry": {"otlp": ENDPOINT}}))
    assert "to" not in anywhere["postroom-mailstore"][0]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("https://otlp.example.org", 443), ("http://collector", 80), ("http://[2001:db8::1]:4318/otlp", 4318)],
)
def test_the_port_follows_from_the_url(helm: Helm, endpoint: str, port: int) -> None:
    rendering = helm.template({"telemetry": {"otlp": {"endpoint": endpoint, "cidrs": ["10.9.0.0/24"]}}})
    rules = rendering.get("NetworkPolicy", "postroom-directory")["spec"]["egress"]
    assert [
        rule["ports"] for rule in rules if {"ipBlock": {"cidr": "10.9.0.0/24"}} in rule.get("to", ())
    ] == [[{"port": port, "protocol": "TCP"}]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"endpoint": "collector:4318"}, "telemetry.otlp.endpoint"),
        ({**ENDPOINT, "protocol": "grpc"}, "protocol"),
        ({**ENDPOINT, "sampler": "some"}, "sampler"),
        ({**ENDPOINT, "samplerArg": "1.5"}, "samplerArg"),
        ({**ENDPOINT, "header": "x"}, "header"),
    ],
)
def test_what_cannot_be_is_refused(helm: Helm, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        helm.template({"telemetry": {"otlp": wrong}})
