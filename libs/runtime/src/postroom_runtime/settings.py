"""A service's settings: environment only, read once in `main`, passed on by value.

Names are `POSTROOM_<SERVICE>_<FIELD>`; what several services share has one name for all. A secret
(`SecretStr`) is also read from the file that `<NAME>_FILE` names.
"""

import os
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, cast, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretBytes,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from postroom_runtime.errors import ConfigurationError
from postroom_runtime.networks import Networks
from postroom_runtime.nodes import own_gateways
from postroom_runtime.proxy import ProxySettings
from postroom_runtime.tls import GrpcTls, TlsFiles
from postroom_wire.sasl import Mechanism

# The shared names: declare the field with one of these and it is required.
NatsUrl = Annotated[str, Field(validation_alias="POSTROOM_NATS_URL", min_length=1)]
DirectoryAddress = Annotated[str, Field(validation_alias="POSTROOM_DIRECTORY_ADDRESS", min_length=1)]
MailstoreAddress = Annotated[str, Field(validation_alias="POSTROOM_MAILSTORE_ADDRESS", min_length=1)]
FilestoreAddress = Annotated[str, Field(validation_alias="POSTROOM_FILESTORE_ADDRESS", min_length=1)]
DatabaseUrl = Annotated[SecretStr, Field(validation_alias="POSTROOM_DATABASE_URL", min_length=1)]
S3Endpoint = Annotated[str, Field(validation_alias="POSTROOM_S3_ENDPOINT", min_length=1)]
S3Region = Annotated[str, Field(validation_alias="POSTROOM_S3_REGION", min_length=1)]
S3AccessKey = Annotated[SecretStr, Field(validation_alias="POSTROOM_S3_ACCESS_KEY", min_length=1)]
S3SecretKey = Annotated[SecretStr, Field(validation_alias="POSTROOM_S3_SECRET_KEY", min_length=1)]

Port = Annotated[int, Field(ge=0, le=65535, description="0 lets the system choose.")]


def _split(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _split_networks(value: object) -> object:
    parts = _split(value)  # in one step, so that the complaint is one and names what is wrong
    return tuple(map(ip_network, cast(tuple[str, ...], parts))) if isinstance(value, str) else value


def _not_everybody(networks: tuple[IPv4Network | IPv6Network, ...]) -> object:
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("everybody is not a network that can be trusted")
    return networks


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
NetworkList = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split_networks)]
TrustedNetworks = Annotated[NetworkList, AfterValidator(_not_everybody)]
UntrustedAddresses = Annotated[
    NetworkList,
    Field(
        validation_alias="POSTROOM_UNTRUSTED_ADDRESSES",
        description="Networks whose addresses stand for many clients (nodes', balancers'): nothing is "
        "bounded, counted or blocked by such an address.",
    ),
]

NodeAddresses = Annotated[
    NetworkList,
    Field(
        validation_alias="POSTROOM_NODE_ADDRESSES",
        description="Addresses of the node, as the cluster says them: they stand for many clients too.",
    ),
]

ProxyPort = Annotated[
    int | None,
    Field(ge=0, le=65535, description="A second port that takes connections with a PROXY header only."),
]


class TelemetrySettings(BaseSettings):
    """Of OpenTelemetry's variables, what we look at; its SDK reads the rest (headers, sampler, ...)."""

    otlp_endpoint: str | None = Field(default=None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    otlp_traces_endpoint: str | None = Field(
        default=None, validation_alias="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    )
    otlp_protocol: Literal["http/protobuf"] = Field(
        default="http/protobuf", validation_alias="OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    otlp_traces_protocol: Literal["http/protobuf"] = Field(
        default="http/protobuf", validation_alias="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    )
    traces_exporter: Literal["otlp", "none"] = Field(default="otlp", validation_alias="OTEL_TRACES_EXPORTER")
    otel_disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")
    span_queue: int = Field(
        default=2048,
        ge=1,
        le=100_000,
        validation_alias="OTEL_BSP_MAX_QUEUE_SIZE",
        description="More are dropped.",
    )
    span_batch: int = Field(default=512, ge=1, le=10_000, validation_alias="OTEL_BSP_MAX_EXPORT_BATCH_SIZE")

    @property
    def exports_spans(self) -> bool:
        """Whether somebody wants traces: nothing is sent to an address that nobody has named."""
        named = self.otlp_endpoint or self.otlp_traces_endpoint
        return named is not None and self.traces_exporter == "otlp" and not self.otel_disabled


class ServiceSettings(TelemetrySettings):
    """What every service has. A service derives its own class with its own `env_prefix`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, populate_by_name=True, env_ignore_empty=True
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias="POSTROOM_LOG_LEVEL"
    )
    health_address: str = Field(default=":9090", description="host:port, :port, or unix:/path.")
    unready_seconds: float = Field(default=0.0, ge=0, le=60, description="New peers still come so long.")
    drain_seconds: float = Field(default=20.0, ge=0, le=600, description="Below the pod's grace period.")

    tls_cert_file: Path | None = Field(default=None, validation_alias="POSTROOM_TLS_CERT_FILE")
    tls_key_file: Path | None = Field(default=None, validation_alias="POSTROOM_TLS_KEY_FILE")
    tls_ca_file: Path | None = Field(default=None, validation_alias="POSTROOM_TLS_CA_FILE")
    grpc_tls_cert_file: Path | None = Field(default=None, validation_alias="POSTROOM_GRPC_TLS_CERT_FILE")
    grpc_tls_key_file: Path | None = Field(default=None, validation_alias="POSTROOM_GRPC_TLS_KEY_FILE")
    grpc_tls_ca_file: Path | None = Field(default=None, validation_alias="POSTROOM_GRPC_TLS_CA_FILE")

    @property
    def tls_files(self) -> TlsFiles | None:
        """Certificate and key of the public listeners."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file)

    @property
    def grpc_tls(self) -> GrpcTls | None:
        """Certificate, key and authority for mutual TLS between services; none on unix sockets."""
        match self.grpc_tls_cert_file, self.grpc_tls_key_file, self.grpc_tls_ca_file:
            case Path() as cert, Path() as key, Path() as authority:
                return GrpcTls(cert, key, authority)
            case _:
                return None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the files that the environment names."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _SecretFiles(settings_cls)


@dataclass(frozen=True, slots=True)
class Door:
    """A port at which a protocol is spoken; with `proxy`, behind a PROXY header only."""

    name: str  # in logs and metrics
    port: int
    proxy: ProxySettings | None = None


class ListeningSettings(ServiceSettings):
    """What a service has besides to which clients connect."""

    trusted_proxies: TrustedNetworks = Field(
        default=(), description="Networks of the balancers whose PROXY headers are believed."
    )
    proxy_header_seconds: float = Field(default=5.0, gt=0, le=60, description="For the whole header.")
    untrusted_addresses: UntrustedAddresses = ()
    node_addresses: NodeAddresses = ()

    @property
    def proxy(self) -> ProxySettings | None:
        """For the ports behind balancers; none without a balancer that is trusted."""
        if not self.trusted_proxies:
            return None
        return ProxySettings(Networks(self.trusted_proxies), self.proxy_header_seconds)

    @property
    def untrusted(self) -> Networks:
        """`untrusted_addresses` as one set."""
        return Networks(self.untrusted_addresses)

    @property
    def nodes(self) -> Networks:
        """The node's addresses, with that of the pods' network; none outside a cluster."""
        if not self.node_addresses:
            return Networks()
        return Networks((*self.node_addresses, *map(ip_network, own_gateways())))

    def doors(self, name: str, port: int, proxy_port: int | None) -> list[Door]:
        """The port of a protocol, and its second one for balancers."""
        plain = Door(name, port)
        return [plain] if proxy_port is None else [plain, Door(f"{name}-proxy", proxy_port, self.proxy)]

    @model_validator(mode="after")
    def _balancers_are_known(self) -> Self:
        ports = [name for name in type(self).model_fields if name.endswith("proxy_port")]
        if not self.trusted_proxies and any(getattr(self, name) is not None for name in ports):
            prefix = self.model_config.get("env_prefix", "")
            raise ValueError(f"a PROXY port needs {prefix}TRUSTED_PROXIES")
        return self


class LoginSettings(ListeningSettings):
    """What a service has besides to which mail clients log in."""

    sasl_mechanisms: Annotated[tuple[Mechanism, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(Mechanism.PLAIN, Mechanism.LOGIN),
        min_length=1,
        description="In the order of the offer. SCRAM-SHA-256 is for houses whose accounts have opted in: "
        "clients prefer it, and do not all try another; EXTERNAL needs POSTROOM_CLIENT_CA_FILE.",
    )
    client_ca_file: Path | None = Field(
        default=None,
        validation_alias="POSTROOM_CLIENT_CA_FILE",
        description="Clients are asked for certificates of these authorities.",
    )

    @property
    def client_tls_files(self) -> TlsFiles | None:
        """`tls_files` for listeners where clients log in."""
        files = self.tls_files
        return None if files is None else replace(files, client_ca_file=self.client_ca_file)


class CoreSettings(ServiceSettings):
    """What a core service has besides."""

    grpc_listen: str = Field(default="0.0.0.0:9000", description="host:port, or unix:/path.")
    database_url: DatabaseUrl
    accept_no_standby: bool = Field(
        default=False,
        validation_alias="POSTROOM_ACCEPT_NO_STANDBY",
        description="Say nothing of a Postgres without a synchronous standby: a trial, or a database that "
        "protects what it confirms in another way.",
    )


S = TypeVar("S", bound=ServiceSettings)


def load_settings(cls: type[S]) -> S:
    """Read the environment; raises `ConfigurationError` with one line that names each wrong variable."""
    try:
        return cls.model_validate({})
    except ValidationError as error:
        faults = (
            f"{_variable(cls, str(fault['loc'][0]) if fault['loc'] else '')}: {fault['msg']}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError("; ".join(faults)) from None
    except SettingsError as error:
        raise ConfigurationError(str(error)) from None


def _variable(cls: type[BaseSettings], location: str) -> str:
    """The environment variable of a field, which pydantic calls by its alias or by its name."""
    if (field := cls.model_fields.get(location)) is not None:
        return _name(cls, location, field)
    return location or cls.__name__


def _name(cls: type[BaseSettings], name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, str):
        return field.validation_alias
    return f"{cls.model_config.get('env_prefix', '')}{name}".upper()


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `<NAME>_FILE` for every field that holds a secret."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret, the key to give it under, and that it is not JSON."""
        variable = _name(self.settings_cls, field_name, field)
        key = field.validation_alias if isinstance(field.validation_alias, str) else field_name
        file = os.environ.get(f"{variable}_FILE")
        if not file or not _is_secret(field):
            return None, key, False
        if os.environ.get(variable):
            raise ConfigurationError(f"{variable}: set either it or {variable}_FILE")
        try:
            return Path(file).read_text(encoding="utf-8").rstrip("\r\n"), key, False
        except OSError as error:
            raise ConfigurationError(f"{variable}_FILE: {file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{variable}_FILE: {file}: not UTF-8") from None

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in found if value is not None}


def _is_secret(field: FieldInfo) -> bool:
    parts: tuple[object, ...] = (field.annotation, *get_args(field.annotation))
    return SecretStr in parts or SecretBytes in parts
