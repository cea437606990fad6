"""`python -m directory`, as whoever operates it sees it."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.grpc_client import channel


@pytest.fixture
def environment(database: PostgresAddress, sockets: Path) -> dict[str, str]:
    """Settings over an empty schema; NATS is away."""
    token = sockets / "admin.token"
    token.write_text("administrator-of-the-tests\n")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")},
        "POSTROOM_DATABASE_URL": database.url("directory"),
        "POSTROOM_NATS_URL": "nats://127.0.0.1:1",
        "POSTROOM_DIRECTORY_ADMIN_TOKEN_FILE": str(token),
        "POSTROOM_DIRECTORY_GRPC_LISTEN": f"unix:{sockets}/grpc.sock",
        "POSTROOM_DIRECTORY_HEALTH_ADDRESS": f"unix:{sockets}/health.sock",
        "POSTROOM_DIRECTORY_REQUIRE_DURABLE_DATABASE": "false",
    }


@asynccontextmanager
async def _running(command: str, environment: Mapping[str, str]) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "directory", command, env=environment, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def _run(command: str, environment: Mapping[str, str]) -> tuple[int | None, str]:
    async with _running(command, environment) as process:
        _, errors = await process.communicate()
        return process.returncode, errors.decode()


async def _status(socket: Path, path: str) -> int:
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return 0
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return int(line.split()[1]) if line else 0


async def _becomes(socket: Path, status: int) -> None:
    async with asyncio.timeout(30):
        while await _status(socket, "/readyz") != status:  # another process
            await asyncio.sleep(0.05)


async def test_serve_waits_for_migrate_then_answers_and_ends_in_order(
    environment: dict[str, str], sockets: Path
) -> None:
    assert await _run("check", environment) == (3, "")
    async with _running("serve", environment) as process:
        await _becomes(sockets / "health.sock", 503)  # alive and not ready: nobody has migrated
        assert await _run("migrate", environment) == (0, "")
        await _becomes(sockets / "health.sock", 200)
        assert await _run("check", environment) == (0, "")
        async with channel(environment["POSTROOM_DIRECTORY_GRPC_LISTEN"], "webmail-api") as replica:
            request = pb.AuthenticateAdminRequest(token="administrator-of-the-tests")
            assert (await DirectoryServiceStub(replica).AuthenticateAdmin(request)).capability
        setup = _setup(environment, sockets)
        assert await _run("drift", setup) == (1, "")
        assert await _run("declare", setup) == (0, "")
        assert await _run("drift", setup) == (0, "")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            await process.communicate()
        assert process.returncode == 0


def _setup(environment: Mapping[str, str], sockets: Path) -> dict[str, str]:
    """What `declare` and `drift` need, and nothing of what the service needs besides."""
    declared = sockets / "declared.json"
    declared.write_text('{"domains": ["example.org"]}')
    return {
        **{name: value for name, value in environment.items() if not name.startswith("POSTROOM_")},
        "POSTROOM_DIRECTORY_ADDRESS": environment["POSTROOM_DIRECTORY_GRPC_LISTEN"],
        "POSTROOM_SETUP_ADMIN_TOKEN_FILE": environment["POSTROOM_DIRECTORY_ADMIN_TOKEN_FILE"],
        "POSTROOM_SETUP_DECLARATIONS": str(declared),
    }


async def test_a_wrong_declaration_is_one_line_that_names_it(
    environment: dict[str, str], sockets: Path
) -> None:
    setup = _setup(environment, sockets)
    (sockets / "declared.json").write_text('{"domain": []}')
    status, errors = await _run("declare", setup)
    assert (status, errors.count("\n"), "declared.json: domain" in errors) == (2, 1, True)
    status, errors = await _run("declare", {**setup, "POSTROOM_SETUP_DECLARATIONS": ""})
    assert (status, "POSTROOM_SETUP_DECLARATIONS" in errors) == (2, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTROOM_DATABASE_URL", ""),
        ("POSTROOM_DIRECTORY_POSTMASTER", "nobody"),
        ("POSTROOM_DIRECTORY_ADMIN_TOKEN_FILE", "/nowhere/admin.token"),
        ("POSTROOM_DIRECTORY_GRPC_LISTEN", "0.0.0.0:0"),
    ],
)
async def test_a_wrong_setting_is_one_line_that_names_it(
    environment: dict[str, str], directory_database: PostgresAddress, name: str, value: str
) -> None:
    migrated = {"POSTROOM_DATABASE_URL": directory_database.url("directory")}
    status, errors = await _run("serve", environment | migrated | {name: value})
    assert status == 2
    (line,) = errors.splitlines()
    assert name in line or (name.endswith("LISTEN") and "GRPC_TLS" in line)
