"""Settings of the file store."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from postroom_runtime.settings import (
    CoreSettings,
    DirectoryAddress,
    S3AccessKey,
    S3Endpoint,
    S3Region,
    S3SecretKey,
)


class Settings(CoreSettings):
    """Environment `POSTROOM_FILESTORE_<FIELD>`; sizes in octets."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_FILESTORE_")

    directory_address: DirectoryAddress
    s3_endpoint: S3Endpoint
    s3_region: S3Region
    s3_access_key: S3AccessKey
    s3_secret_key: S3SecretKey
    bucket: str = Field(default="postroom-files", min_length=3)
    file_octets: int = Field(default=40 * 1024**3, ge=1024, description="Of one file.")
    account_octets: int = Field(default=1024**4, ge=1024, description="Of all files of one account.")
    account_nodes: int = Field(default=1_000_000, ge=1, description="Files and directories of one account.")
    upload_seconds: float = Field(default=86_400.0, ge=60, description="Then an open upload is given up.")
    deleted_octets_seconds: float = Field(
        default=86_400.0,
        ge=3_600,
        description="So long octets that no file has any more are kept; longer than a backup takes.",
    )
    require_durable_database: bool = Field(
        default=True, description="Refuse a Postgres that confirms what it may lose; off in tests only."
    )
    sweep_seconds: float = Field(default=60.0, gt=0, description="Between two looks for what may be deleted.")
