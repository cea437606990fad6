"""Settings of the REST service."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from postroom_runtime.settings import (
    DirectoryAddress,
    FilestoreAddress,
    ListeningSettings,
    MailstoreAddress,
    Port,
    ProxyPort,
    TrustedNetworks,
)


class Settings(ListeningSettings):
    """Environment `POSTROOM_WEBMAIL_API_<FIELD>`; sizes in octets."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_WEBMAIL_API_")

    directory_address: DirectoryAddress
    mailstore_address: MailstoreAddress
    filestore_address: FilestoreAddress
    host: str = Field(default="", description="An address to listen on; empty is every address.")
    http_port: Port = 2080
    http_proxy_port: ProxyPort = None
    https_port: Port = 2443
    https_proxy_port: ProxyPort = None
    trusted_gateways: TrustedNetworks = Field(
        default=(), description="Networks of the HTTP gateways whose X-Forwarded-For and -Proto are believed."
    )
    max_connections: int = Field(default=1_000, ge=1, description="Of each listener.")
    max_requests: int = Field(default=200, ge=1, description="Under way at once, transfers among them.")
    message_octets: int = Field(default=25 * 1024**2, ge=1024, description="Of one message that is sent.")
    transfer_octets: int = Field(default=64 * 1024**2, ge=8 * 1024**2, description="Held for all transfers.")
    sending_octets: int = Field(default=256 * 1024**2, ge=1024**2, description="Held for messages to send.")
