"""Settings of the SMTP service."""

import socket

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from postroom_runtime.settings import (
    DirectoryAddress,
    ListeningSettings,
    LoginSettings,
    MailstoreAddress,
    NetworkList,
    Port,
    ProxyPort,
)


class Settings(LoginSettings):
    """Environment `POSTROOM_SMTP_INBOUND_<FIELD>`; sizes in octets."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_SMTP_INBOUND_")

    directory_address: DirectoryAddress
    mailstore_address: MailstoreAddress
    host: str = Field(default="", description="Where to listen; empty for all addresses.")
    port: Port = 2025
    proxy_port: ProxyPort = None
    submission_port: Port = 2587
    submission_proxy_port: ProxyPort = None
    submissions_port: Port = 2465
    submissions_proxy_port: ProxyPort = None
    hostname: str = Field(
        default_factory=socket.getfqdn, description="In the greeting and in Received lines."
    )
    message_octets: int = Field(default=50 * 1024**2, ge=1024, description="Announced as SIZE.")
    recipients: int = Field(default=1_000, ge=100, description="Of one message (RFC 5321 s4.5.3.1.8).")
    max_connections: int = Field(default=2_000, ge=1)
    max_connections_per_address: int = Field(default=100, ge=1)
    idle_seconds: float = Field(default=300.0, gt=0, description="RFC 5321 s4.5.3.2.7.")
    upload_budget_octets: int = Field(
        default=128 * 1024**2, ge=16 * 1024**2, description="Of all large mail."
    )


class ReachSettings(ListeningSettings):
    """Environment `POSTROOM_CLIENT_<FIELD>`, of `python -m smtp_inbound reach`."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_CLIENT_")

    target: str = Field(pattern=r"^.+:\d+$", description="host:port of an SMTP listener without TLS.")
    pod_addresses: NetworkList = Field(min_length=1, description="Those of this pod itself.")
    strict: bool = Field(default=True, description="Fail when another address arrives; else only tell.")
    seconds: float = Field(default=10.0, gt=0, le=300, description="For one connection.")
    wait_seconds: float = Field(default=30.0, ge=0, le=600, description="For somebody to answer.")
