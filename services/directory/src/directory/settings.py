"""Settings of directory, from the environment: `POSTROOM_DIRECTORY_<FIELD>` and the shared names."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from postroom_runtime.settings import (
    CommaSeparated,
    CoreSettings,
    DirectoryAddress,
    NatsUrl,
    ServiceSettings,
    UntrustedAddresses,
)


class Settings(CoreSettings):
    """Read once, in `main`."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_DIRECTORY_")

    nats_url: NatsUrl
    untrusted_addresses: UntrustedAddresses = ()
    admin_token: SecretStr | None = Field(
        default=None, min_length=20, description="Exchanged for the administrator's capability; none without."
    )
    postmaster: str | None = Field(
        default=None, description="Address for postmaster@ of domains that have no such address (RFC 5321)."
    )
    quota_octets: int | None = Field(
        default=None, ge=0, description="Of mail that an account may keep unless it is told otherwise."
    )
    quota_messages: int | None = Field(
        default=None, ge=0, description="How many messages an account may keep unless it is told otherwise."
    )
    database_connections: int = Field(default=8, ge=1, le=100)
    require_durable_database: bool = Field(
        default=True, description="Refuse a Postgres that confirms what it may lose; off in tests only."
    )


class SetupSettings(ServiceSettings):
    """Environment `POSTROOM_SETUP_<FIELD>`, of `python -m directory declare|drift`."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_SETUP_")

    directory_address: DirectoryAddress
    admin_token: SecretStr = Field(min_length=20)
    declarations: CommaSeparated = Field(
        min_length=1, description="JSON files, or folders of such, with the domains, accounts and aliases."
    )
    wait_seconds: float = Field(default=120.0, ge=0, le=3_600, description="For directory to answer.")
