"""Settings of mail access."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from postroom_runtime.settings import (
    DirectoryAddress,
    LoginSettings,
    MailstoreAddress,
    NatsUrl,
    Port,
    ProxyPort,
)


class Settings(LoginSettings):
    """Environment `POSTROOM_MAIL_ACCESS_<FIELD>`; sizes in octets."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_MAIL_ACCESS_")

    nats_url: NatsUrl
    directory_address: DirectoryAddress
    mailstore_address: MailstoreAddress
    host: str = Field(default="", description="An address to listen on; empty is every address.")
    imap_port: Port = 2143
    imap_proxy_port: ProxyPort = None
    imaps_port: Port = 2993
    imaps_proxy_port: ProxyPort = None
    pop3_port: Port = 2110
    pop3_proxy_port: ProxyPort = None
    pop3s_port: Port = 2995
    pop3s_proxy_port: ProxyPort = None
    max_connections: int = Field(default=5_000, ge=1, description="Of each listener.")
    max_connections_per_address: int = Field(default=100, ge=1, description="An IPv6 client is its /64.")
    max_sessions_per_account: int = Field(default=50, ge=1)
    append_octets: int = Field(default=50 * 1024**2, ge=1024, description="Of one message of APPEND.")
    message_limit: int = Field(
        default=100_000,
        ge=1,
        le=500_000,
        description="Messages of one COPY or MOVE, told as MESSAGELIMIT (RFC 9738), which has at least 1000.",
    )
    message_hard_limit: int = Field(
        default=10_000_000,
        ge=1,
        description="Messages of one FETCH, STORE, SEARCH, SORT, THREAD or UID EXPUNGE, if that is more than "
        "message_limit: clients that know of no limit take what they get for all.",
    )
    transfer_octets: int = Field(default=64 * 1024**2, ge=8 * 1024**2, description="Held for all transfers.")
    metadata_comment: str = Field(
        default="", max_length=1_024, description="What METADATA tells as the server's comment (RFC 5464)."
    )
    metadata_admin: str = Field(
        default="",
        max_length=1_024,
        description="A URI of whom to ask, as METADATA tells it; mailto: or other.",
    )
    idle_seconds: float = Field(default=1_800.0, gt=0, description="RFC 3501 s5.4: at least 30 minutes.")
    pop3_idle_seconds: float = Field(default=600.0, gt=0, description="RFC 1939 s3: at least 10 minutes.")
