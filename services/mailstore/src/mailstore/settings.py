"""Settings of the mail store."""

import socket

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from postroom_runtime.settings import (
    CoreSettings,
    DirectoryAddress,
    NatsUrl,
    S3AccessKey,
    S3Endpoint,
    S3Region,
    S3SecretKey,
)


class Settings(CoreSettings):
    """Environment `POSTROOM_MAILSTORE_<FIELD>`; sizes in octets."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_MAILSTORE_")

    nats_url: NatsUrl
    directory_address: DirectoryAddress
    s3_endpoint: S3Endpoint
    s3_region: S3Region
    s3_access_key: S3AccessKey
    s3_secret_key: S3SecretKey
    bucket: str = Field(default="postroom-mail", min_length=3)
    worker_name: str = Field(default_factory=socket.gethostname, description="In leases and logs.")
    hostname: str = Field(default_factory=socket.getfqdn, description="In delivery reports.")
    staged_octets: int = Field(default=4 * 1024**3, ge=1024**2, description="Beyond, mail is put off (452).")
    segment_octets: int = Field(default=256 * 1024**2, ge=1024**2, description="A larger segment is sealed.")
    segment_seconds: float = Field(default=60.0, gt=0, description="An older segment with rows is sealed.")
    message_octets: int = Field(default=100 * 1024**2, ge=1024, description="Of one message.")
    queue_lifetime_seconds: float = Field(default=5 * 86_400.0, gt=0, description="Then mail out is bounced.")
    retry_seconds: float = Field(default=300.0, gt=0, description="Before the second attempt; it doubles.")
    retry_max_seconds: float = Field(default=4 * 3_600.0, gt=0)
    lane_lease_seconds: float = Field(
        default=15.0, ge=0.5, description="Mail of a worker that died waits so long for the next one."
    )
    retention_seconds: float = Field(
        default=14 * 86_400.0, ge=3_600, description="Expunged messages can be restored for so long."
    )
    retention_octets: int = Field(
        default=10 * 1024**3,
        ge=0,
        description="Of one account; of what is expunged beyond, the oldest are forgotten within hours.",
    )
    journal_seconds: float = Field(
        default=90 * 86_400.0,
        ge=86_400,
        description="IMAP clients that were away for longer load their mailboxes anew.",
    )
    deleted_octets_seconds: float = Field(
        default=15 * 86_400.0,
        ge=3_600,
        description="Octets that no mail has are kept so long: longer than Postgres may be put back.",
    )
    require_durable_database: bool = Field(
        default=True, description="Refuse a Postgres that confirms what it may lose; off in tests only."
    )
