"""What the chart gives to a service is what the service reads: names, numbers, files, ports."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509

from directory.settings import SetupSettings
from postroom_runtime.settings import ServiceSettings, load_settings
from postroom_testing.chart import Helm, Manifest, Rendering, realise
from smtp_inbound.settings import ReachSettings

Render = Callable[[str], Rendering]
LISTENERS = {
    "smtp-inbound": ("smtp", "submission", "submissions"),
    "mail-access": ("imap", "imaps", "pop3", "pop3s"),
    "ftp-gateway": ("ftp", "ftps"),
    "webmail-api": ("http", "https"),
}
_ONCE = {"setup": SetupSettings, "client": ReachSettings}
SCENARIOS = ("bundled", "external", "least", "gitops", "cnpg-gateway", "local-images")

_READ_BY_THE_SDK = {
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
}


class _Given(dict[str, Mapping[str, bytes]]):
    """Any Secret that somebody else makes."""

    def __init__(self, rendering: Rendering) -> None:
        self._made = rendering.names("Secret")
        keys = (
            "uri",
            "url",
            "access-key",
            "secret-key",
            "tls.crt",
            "tls.key",
            "ca.crt",
            "password",
            "headers",
        )
        self._there = dict.fromkeys(keys, b"postgresql://given") | {
            "token": b"t" * 40,
            "authorities": b"authorities of clients",
        }

    def __contains__(self, name: object) -> bool:
        return name not in self._made

    def __getitem__(self, name: str) -> Mapping[str, bytes]:
        return self._there


def _services(rendering: Rendering) -> Iterator[tuple[str, Manifest]]:
    for deployment in rendering.of_kind("Deployment"):
        yield deployment["metadata"]["labels"]["app.kubernetes.io/component"], deployment["spec"]["template"]


def _class(service: str) -> type[ServiceSettings]:
    if service in _ONCE:
        return _ONCE[service]
    module = importlib.import_module(f"{service.replace('-', '_')}.settings")
    return cast("type[ServiceSettings]", module.Settings)


def _readable(service: str) -> set[str]:
    """The variables that a service looks at."""
    cls = _class(service)
    prefix = cls.model_config.get("env_prefix", "")
    names = {
        field.validation_alias if isinstance(field.validation_alias, str) else f"{prefix}{name}".upper()
        for name, field in cls.model_fields.items()
    }
    secrets = {f"{name}_FILE" for name in names if name.endswith(("_TOKEN", "_URL", "_KEY"))}
    return names | secrets


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_services_read_every_variable_that_they_are_given(render: Render, scenario: str) -> None:
    for name, pod in render(scenario).pods():
        kind, _, _ = name.partition("/")
        if kind == "StatefulSet":
            continue
        service = pod["metadata"]["labels"]["postroom-identity"]
        given = {each["name"] for each in pod["spec"]["containers"][0]["env"]} - {"TZ"}
        assert given - _READ_BY_THE_SDK <= _readable(service), name


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_services_start_with_what_they_are_given(
    render: Render, scenario: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rendering = render(scenario)
    for service, pod in _services(rendering):
        with monkeypatch.context() as environment:
            for name, value in realise(rendering, pod, _Given(rendering), tmp_path / service).items():
                environment.setenv(name, value)
            settings = load_settings(_class(service))
        assert settings.health_address == ":9090"
        assert settings.grpc_tls is not None
        for file in (settings.grpc_tls.cert_file, settings.grpc_tls.key_file, settings.grpc_tls.ca_file):
            assert file.is_file()
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        assert set(_ports(settings)) == set(ports.values()) - {9090, 9000}
        assert (ports.get("grpc") == 9000) == (getattr(settings, "grpc_listen", None) == "0.0.0.0:9000")


def _ports(settings: ServiceSettings) -> Iterator[int]:
    for name in type(settings).model_fields:
        value: Any = getattr(settings, name)
        if name == "passive_ports":
            yield from value
        elif name != "remote_port" and (name == "port" or name.endswith("_port")) and value is not None:
            yield value


def test_values_reach_their_settings(render: Render, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rendering = render("external")
    found: dict[str, Any] = {}
    for service, pod in _services(rendering):
        with monkeypatch.context() as environment:
            for name, value in realise(rendering, pod, _Given(rendering), tmp_path / service).items():
                environment.setenv(name, value)
            found[service] = load_settings(_class(service))
    assert found["mailstore"].staged_octets == 8 * 1024**3
    assert found["mailstore"].hostname == found["smtp-inbound"].hostname == "mail.example.org"
    assert found["smtp-outbound"].helo_name == "mail.example.org"
    assert found["smtp-outbound"].dns_servers == ("192.0.2.53",)
    assert found["smtp-outbound"].drain_seconds == 300
    assert found["mailstore"].s3_endpoint == found["filestore"].s3_endpoint == "https://s3.example.org"
    assert (found["mailstore"].bucket, found["filestore"].bucket) == ("postroom-mail", "postroom-files")
    assert not found["mailstore"].accept_no_standby
    assert found["directory"].admin_token.get_secret_value() == "t" * 40
    assert found["smtp-inbound"].proxy_port == 12025
    assert found["smtp-inbound"].submissions_proxy_port == 12465
    assert found["smtp-inbound"].submission_proxy_port is None
    assert [str(each) for each in found["smtp-inbound"].trusted_proxies] == ["192.0.2.0/24"]
    assert [str(each) for each in found["smtp-inbound"].untrusted_addresses] == ["10.0.0.0/16"]
    assert [str(each) for each in found["webmail-api"].trusted_gateways] == ["10.0.8.0/24"]
    assert str(found["ftp-gateway"].passive_address) == "192.0.2.10"
    assert found["ftp-gateway"].passive_ports == tuple(range(40_000, 40_050))
    assert found["directory"].issuer.jwks == "https://id.example.org/keys"
    for service in ("directory", "mail-access", "smtp-inbound"):
        assert found[service].client_ca_file.read_bytes() == b"authorities of clients", service


def test_only_who_is_named_asks_clients_for_certificates(helm: Helm) -> None:
    people = {"existingSecret": "people", "services": ["mail-access"]}
    rendering = helm.template({"tls": {"clientCertificates": people}})
    given = {
        service
        for service, pod in _services(rendering)
        for variable in pod["spec"]["containers"][0]["env"]
        if variable["name"] == "POSTROOM_CLIENT_CA_FILE"
    }
    assert given == {"directory", "mail-access"}


def test_migrations_and_checks_have_what_their_service_has(render: Render) -> None:
    rendering = render("bundled")
    serving = dict(_services(rendering))
    others = [
        pod
        for name, pod in rendering.pods()
        if name.startswith(("Job/", "Pod/")) and name != "Pod/postroom-client-check"
    ]
    assert len(others) == 3 + 8
    for pod in others:
        service = serving[pod["metadata"]["labels"]["postroom-identity"]]
        ours, theirs = (each["spec"]["containers"][0] for each in (pod, service))
        assert ours["args"] in (["migrate"], ["check"])
        for key in ("image", "env", "volumeMounts"):
            assert ours[key] == theirs[key]
        assert pod["spec"]["volumes"] == service["spec"]["volumes"]


def test_only_of_the_bundled_database_no_standby_is_expected(render: Render) -> None:
    for scenario, accepted in (("bundled", "true"), ("cnpg-gateway", "false"), ("external", "false")):
        for service in ("directory", "mailstore", "filestore"):
            pod = dict(_services(render(scenario)))[service]
            env = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
            assert env["POSTROOM_ACCEPT_NO_STANDBY"] == accepted


def test_public_ports_are_the_well_known_ones(render: Render) -> None:
    rendering = render("bundled")
    wanted = {
        "smtp-inbound": {"smtp": 25, "submission": 587, "submissions": 465},
        "mail-access": {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995},
        "webmail-api": {"http": 80, "https": 443},
        "ftp-gateway": {"ftp": 21, "ftps": 990} | {f"passive-{port}": port for port in range(30_000, 30_020)},
    }
    for service, ports in wanted.items():
        specification = rendering.get("Service", f"postroom-{service}")["spec"]
        assert specification["type"] == "LoadBalancer"
        assert specification["externalTrafficPolicy"] == "Local"
        assert {port["name"]: port["port"] for port in specification["ports"]} == ports


def test_a_listener_behind_a_balancer_has_a_port_of_its_own(render: Render) -> None:
    rendering = render("external")
    public = rendering.get("Service", "postroom-mail-access")["spec"]["ports"]
    inside = rendering.get("Service", "postroom-mail-access-internal")["spec"]
    assert {port["name"]: port["targetPort"] for port in public} == {
        "imap": 12143,
        "imaps": 12993,
        "pop3": "pop3",
        "pop3s": "pop3s",
    }
    assert inside.get("type", "ClusterIP") == "ClusterIP"
    assert {port["name"]: port["targetPort"] for port in inside["ports"]} == {
        name: name for name in ("imap", "imaps", "pop3", "pop3s")
    }


def test_the_public_certificate_names_host_and_services(render: Render) -> None:
    data = render("bundled").secret("postroom-tls")
    certificate = x509.load_pem_x509_certificate(data["tls.crt"])
    authority = x509.load_pem_x509_certificate(data["ca.crt"])
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = names.get_values_for_type(x509.DNSName)
    assert {"mail.postroom.test", "postroom-mail-access", "postroom-mail-access.mail.svc"} <= set(found)


def test_the_web_is_reached_through_gateways(render: Render) -> None:
    (ingress,) = render("external").of_kind("Ingress")
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "postroom-webmail-api", "port": {"name": "http"}}
    rendering = render("cnpg-gateway")
    (route,) = rendering.of_kind("HTTPRoute")
    assert route["spec"]["parentRefs"] == [{"name": "public", "namespace": "gateways", "sectionName": "web"}]
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "postroom-webmail-api", "port": 443}]
    (policy,) = rendering.of_kind("BackendTLSPolicy")
    (authority,) = policy["spec"]["validation"]["caCertificateRefs"]
    assert authority["name"] in rendering.names("ConfigMap")
    listeners = {
        each["metadata"]["name"]: (each["apiVersion"], each["spec"]["rules"][0]["backendRefs"][0]["port"])
        for each in rendering.of_kind("TCPRoute", "TLSRoute")
    }
    version = "gateway.networking.k8s.io/v1"
    assert listeners == {
        "postroom-smtp": (version, 25),
        "postroom-submission": (version, 587),
        "postroom-submissions": (version, 465),
        "postroom-imaps": (version, 993),
    }


@pytest.mark.parametrize(
    ("service", "listener"),
    [(service, listener) for service, listeners in LISTENERS.items() for listener in listeners],
)
def test_every_listener_may_have_a_balancer_before_it(
    helm: Helm, service: str, listener: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {
        "exposure": {"trustedProxies": ["192.0.2.0/24"]},
        "services": {service: {"proxyProtocol": [listener]}},
    }
    rendering = helm.template(values)
    pod = dict(_services(rendering))[service]
    plain, behind = (
        next(port["containerPort"] for port in pod["spec"]["containers"][0]["ports"] if port["name"] == name)
        for name in (listener, f"{listener[:9]}-proxy")
    )
    public = rendering.get("Service", f"postroom-{service}")["spec"]["ports"]
    assert next(port["targetPort"] for port in public if port["name"] == listener) == behind
    for name, value in realise(rendering, pod, _Given(rendering), tmp_path).items():
        monkeypatch.setenv(name, value)
    settings = load_settings(_class(service))
    assert {plain, behind} <= set(_ports(settings))
