"""Settings of directory, from the environment: `POSTROOM_DIRECTORY_<FIELD>` and the shared names."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from directory.issuer import Issuer
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
    oauth_issuer: str | None = Field(
        default=None, description="Whose access tokens are taken (`iss`); OAUTHBEARER and XOAUTH2."
    )
    oauth_audience: str = Field(default="postroom", min_length=1, description="Of the tokens (`aud`).")
    oauth_jwks: str | None = Field(
        default=None,
        pattern=r"^(https://|/)",
        description="The issuer's keys (RFC 7517): an https URL that this process may reach, or a file.",
    )
    oauth_address_claim: str = Field(
        default="email", min_length=1, description="Which claim says the account's address."
    )
    client_ca_file: Path | None = Field(
        default=None,
        validation_alias="POSTROOM_CLIENT_CA_FILE",
        description="Who signs certificates of clients; SASL EXTERNAL.",
    )
    scram_for_all: bool = Field(
        default=False,
        description="Make SCRAM keys of every password that is set, and of one set before at the next login "
        "by it; otherwise for accounts that opt in. Who steals the database tries passwords cheaper then.",
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

    @property
    def issuer(self) -> Issuer | None:
        """Whose access tokens are taken, if anybody's."""
        if self.oauth_issuer is None or self.oauth_jwks is None:
            return None
        return Issuer(self.oauth_issuer, self.oauth_audience, self.oauth_jwks, self.oauth_address_claim)

    @model_validator(mode="after")
    def _keys_of_the_issuer(self) -> Self:
        if (self.oauth_issuer is None) is not (self.oauth_jwks is None):
            raise ValueError("OAUTH_ISSUER and OAUTH_JWKS belong together")
        return self


class SetupSettings(ServiceSettings):
    """Environment `POSTROOM_SETUP_<FIELD>`, of `python -m directory declare|drift`."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_SETUP_")

    directory_address: DirectoryAddress
    admin_token: SecretStr = Field(min_length=20)
    declarations: CommaSeparated = Field(
        min_length=1, description="JSON files, or folders of such, with the domains, accounts and aliases."
    )
    wait_seconds: float = Field(default=120.0, ge=0, le=3_600, description="For directory to answer.")
