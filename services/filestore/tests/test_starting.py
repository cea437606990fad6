"""What keeps a file store from starting, and what `check` says of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from filestore.serve import check, migrate, serve
from filestore.settings import Settings
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.errors import ConfigurationError, DependencyError
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.stack import drop_database, new_database, run_in_thread


def _settings(address: PostgresAddress, store: S3Address | None = None, *, durable: bool = False) -> Settings:
    store = store or S3Address("http://127.0.0.1:9", "none", "none")
    return Settings(
        directory_address="unix:/nowhere",
        database_url=SecretStr(address.url("filestore")),
        s3_endpoint=store.endpoint,
        s3_region=store.region,
        s3_access_key=SecretStr(store.access_key),
        s3_secret_key=SecretStr(store.secret_key),
        require_durable_database=durable,
    )


@pytest.fixture
def empty(postgres_server: PostgresAddress) -> Iterator[PostgresAddress]:
    """A database that nobody has migrated."""
    address = run_in_thread(lambda: new_database(postgres_server))
    yield address
    run_in_thread(lambda: drop_database(address))


async def test_a_schema_that_is_not_migrated_fails_the_check(
    empty: PostgresAddress, object_store: S3Address
) -> None:
    settings = _settings(empty, object_store)
    with pytest.raises(DependencyError, match="filestore is not migrated"):
        await check(settings)
    await migrate(settings)
    with capture_logs() as logs:
        await check(settings)
    assert [line["event"] for line in logs].count("no_synchronous_standby") == 1


async def test_a_database_that_forgets_commits_is_a_wrong_configuration(
    file_database: PostgresAddress, tmp_path: Path
) -> None:
    settings = _settings(file_database, durable=True).model_copy(
        update={"grpc_listen": f"unix:{tmp_path / 's'}"}
    )
    with pytest.raises(ConfigurationError, match="fsync"):
        await check(settings)
    with pytest.raises(ConfigurationError, match="fsync"):
        await migrate(settings)
    with pytest.raises(ConfigurationError, match="fsync"):
        await serve(settings, Lifecycle())
