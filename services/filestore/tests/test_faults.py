"""Postgres away and back again."""

import asyncio
import contextlib
from typing import Any

import pytest
from pydantic import SecretStr

from filestore.serve import MIGRATIONS
from postroom_contracts.errors import UnavailableError
from postroom_embedded.seaweedfs import S3Address
from postroom_testing.postgres_faults import faulty_postgres
from postroom_testing.small_directory_service import SmallDirectory


async def test_postgres_away_is_a_temporary_error_within_five_seconds_and_comes_back(
    start: Any, connect: Any, directory: SmallDirectory, object_store: S3Address
) -> None:
    async with faulty_postgres() as server:
        await server.start()
        url = server.address.url("filestore")
        await MIGRATIONS.run(url, require_durable=False)
        ann = await connect(await start(database_url=SecretStr(url)), directory.add("ann@example.org"))
        await ann.write("/f", b"octets")
        await server.stop()
        for call in (ann.names("/"), ann.make("/d"), ann.begin("/g")):
            async with asyncio.timeout(5.0):
                with pytest.raises(UnavailableError):
                    await call
        await server.start()
        async with asyncio.timeout(5.0):
            while True:
                with contextlib.suppress(UnavailableError):
                    assert await ann.names("/") == ["f"]
                    break
        assert await ann.read("/f") == b"octets"
