from ipaddress import ip_address
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from postroom_runtime.errors import ConfigurationError
from postroom_runtime.settings import (
    CommaSeparated,
    CoreSettings,
    Door,
    ListeningSettings,
    NatsUrl,
    Port,
    ProxyPort,
    ServiceSettings,
    load_settings,
)
from postroom_runtime.tls import GrpcTls, TlsFiles


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="POSTROOM_RELAY_")

    nats_url: NatsUrl
    port: Port = 2025
    dns_servers: CommaSeparated = ()
    token: SecretStr | None = None


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_NATS_URL", "nats://u:p@127.0.0.1:4222")


def test_shared_names_have_no_service_in_them_and_own_ones_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_RELAY_PORT", "25")
    monkeypatch.setenv("POSTROOM_RELAY_DNS_SERVERS", "127.0.0.1:53, [::1]:53")
    monkeypatch.setenv("POSTROOM_RELAY_DRAIN_SECONDS", "3.5")
    monkeypatch.setenv("POSTROOM_LOG_LEVEL", "debug")
    settings = load_settings(Settings)
    assert settings.nats_url == "nats://u:p@127.0.0.1:4222"
    assert settings.port == 25
    assert settings.dns_servers == ("127.0.0.1:53", "[::1]:53")
    assert settings.drain_seconds == 3.5
    assert settings.log_level == "debug"


def test_defaults_hold_for_what_is_absent_or_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_RELAY_PORT", "")
    settings = load_settings(Settings)
    assert settings.port == 2025
    assert settings.dns_servers == ()
    assert settings.tls_files is None
    assert settings.grpc_tls is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POSTROOM_RELAY_PORT", "70000"),
        ("POSTROOM_RELAY_PORT", "tcp://10.0.0.1:25"),
        ("POSTROOM_RELAY_DRAIN_SECONDS", "-1"),
        ("POSTROOM_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as wrong:
        load_settings(Settings)
    assert str(wrong.value).startswith(f"{variable}: ")
    assert "\n" not in str(wrong.value)
    assert value not in str(wrong.value)


def test_every_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTROOM_NATS_URL")
    monkeypatch.setenv("POSTROOM_RELAY_PORT", "x")
    with pytest.raises(ConfigurationError, match=r"POSTROOM_NATS_URL: .*; POSTROOM_RELAY_PORT: "):
        load_settings(Settings)
    with pytest.raises(ConfigurationError, match=r"POSTROOM_DATABASE_URL: "):
        load_settings(CoreSettings)


def test_a_secret_comes_from_its_file_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("hush\n")
    monkeypatch.setenv("POSTROOM_RELAY_TOKEN_FILE", str(tmp_path / "token"))
    (tmp_path / "database").write_text("postgresql://u:hush@/db")
    monkeypatch.setenv("POSTROOM_DATABASE_URL_FILE", str(tmp_path / "database"))
    settings = load_settings(Settings)
    assert settings.token is not None
    assert settings.token.get_secret_value() == "hush"
    assert "hush" not in repr(settings)
    assert load_settings(CoreSettings).database_url.get_secret_value() == "postgresql://u:hush@/db"


def test_a_secret_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTROOM_RELAY_TOKEN_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match=r"POSTROOM_RELAY_TOKEN_FILE: .*absent: No such file"):
        load_settings(Settings)
    monkeypatch.setenv("POSTROOM_RELAY_TOKEN", "here")
    with pytest.raises(ConfigurationError, match=r"POSTROOM_RELAY_TOKEN: set either"):
        load_settings(Settings)


def test_a_name_that_is_no_secret_is_not_read_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "port").write_text("26")
    monkeypatch.setenv("POSTROOM_RELAY_PORT_FILE", str(tmp_path / "port"))
    assert load_settings(Settings).port == 2025


def test_tls_files_come_in_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("CERT", "KEY", "CA"):
        monkeypatch.setenv(f"POSTROOM_GRPC_TLS_{kind}_FILE", f"/grpc/{kind}")
        monkeypatch.setenv(f"POSTROOM_TLS_{kind}_FILE", f"/tls/{kind}")
    settings = load_settings(Settings)
    assert settings.tls_files == TlsFiles(Path("/tls/CERT"), Path("/tls/KEY"))
    assert settings.grpc_tls == GrpcTls(Path("/grpc/CERT"), Path("/grpc/KEY"), Path("/grpc/CA"))


def test_settings_can_be_made_by_name() -> None:
    assert Settings(nats_url="nats://elsewhere", port=0).nats_url == "nats://elsewhere"


class Doors(ListeningSettings):
    model_config = SettingsConfigDict(env_prefix="POSTROOM_RELAY_")

    port: Port = 2025
    proxy_port: ProxyPort = None


def test_a_second_port_is_for_the_balancers_that_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_RELAY_PROXY_PORT", "2026")
    monkeypatch.setenv("POSTROOM_RELAY_TRUSTED_PROXIES", "10.1.0.0/16, 2001:db8::1")
    monkeypatch.setenv("POSTROOM_UNTRUSTED_ADDRESSES", "10.2.0.0/16")
    settings = load_settings(Doors)
    plain, proxied = settings.doors("mx", settings.port, settings.proxy_port)
    assert plain == Door("mx", 2025)
    assert (proxied.name, proxied.port) == ("mx-proxy", 2026)
    assert proxied.proxy is not None
    assert "10.1.2.3" in proxied.proxy.trusted
    assert "2001:db8::1" in proxied.proxy.trusted
    assert "10.2.0.1" not in proxied.proxy.trusted
    assert "10.2.0.1" in settings.untrusted


def test_the_node_is_what_the_cluster_says_and_the_gateway_of_the_pods_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("postroom_runtime.settings.own_gateways", lambda: (ip_address("10.244.0.1"),))
    assert not load_settings(Doors).nodes  # no cluster: the gateway is a router like any other
    monkeypatch.setenv("POSTROOM_NODE_ADDRESSES", "192.0.2.5,2001:db8::5")
    settings = load_settings(Doors)
    hosts = ("192.0.2.5", "2001:db8::5", "10.244.0.1", "192.0.2.6")
    assert [host in settings.nodes for host in hosts] == [True, True, True, False]
    assert not settings.untrusted


def test_without_a_second_port_there_is_one_that_takes_no_header() -> None:
    settings = load_settings(Doors)
    assert settings.doors("mx", settings.port, settings.proxy_port) == [Door("mx", 2025)]


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"PROXY_PORT": "2026"}, "POSTROOM_RELAY_TRUSTED_PROXIES"),
        ({"PROXY_PORT": "2026", "TRUSTED_PROXIES": "0.0.0.0/0"}, "everybody"),
        ({"PROXY_PORT": "2026", "TRUSTED_PROXIES": "10.0.0.0/8,::/0"}, "everybody"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "host bits"),
        ({"TRUSTED_PROXIES": "balancer.example"}, "POSTROOM_RELAY_TRUSTED_PROXIES"),
    ],
)
def test_a_wrong_trust_is_a_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], complaint: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"POSTROOM_RELAY_{name}", value)
    with pytest.raises(ConfigurationError, match=complaint):
        load_settings(Doors)
