"""What happens when something behind the gateway is away, or somebody is killed at the worst moment."""

import asyncio
import contextlib
import ftplib
import os
import re
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

import filestore.serve
from postroom_embedded.instance import open_instance
from postroom_embedded.ports import free_ports
from postroom_embedded.process import Process
from postroom_embedded.seaweedfs import ObjectStore, S3Address
from postroom_testing.core import private_directory, served
from postroom_testing.crash import STATUS

MIB = 1 << 20


@contextlib.asynccontextmanager
async def program(
    module: str, environment: dict[str, str], *, crash_at: str = ""
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A service as a process of its own, which may end at a step."""
    given = {"PATH": os.environ["PATH"], **environment}
    if crash_at:
        given["POSTROOM_CRASH_AT"] = crash_at
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "postroom_testing.crash", module, "serve"),
        env=given,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def gateway_environment(behind: Any, folder: Path) -> tuple[dict[str, str], int]:
    port = free_ports(1)[0]
    variables = {
        "POSTROOM_DIRECTORY_ADDRESS": behind.directory.address,
        "POSTROOM_FILESTORE_ADDRESS": behind.filestore,
        "POSTROOM_FTP_GATEWAY_PORT": str(port),
        "POSTROOM_FTP_GATEWAY_HOST": "127.0.0.1",
        "POSTROOM_FTP_GATEWAY_PASSIVE_PORTS": "0",
        "POSTROOM_FTP_GATEWAY_HEALTH_ADDRESS": f"unix:{folder}/health",
        "POSTROOM_FTP_GATEWAY_UPLOAD_BUDGET_OCTETS": str(16 * MIB),
    }
    return variables, port


def patient(port: int, user: str) -> ftplib.FTP:
    """A client of a process that is just starting."""
    deadline = time.monotonic() + 20
    while True:
        client = ftplib.FTP(timeout=20)
        try:
            client.connect("127.0.0.1", port)
            client.login(user, "secret")
        except OSError:
            client.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return client


async def test_the_directory_away_is_told_at_login(gateway: Any, behind: Any, client: Any) -> None:
    user = behind.account()
    behind.directory.away = True

    def run() -> None:
        with pytest.raises(ftplib.error_temp, match="421 Login is not possible now"):
            gateway.plain(user)
        behind.directory.away = False
        gateway.plain(user).quit()

    try:
        await client(run)
    finally:
        behind.directory.away = False


async def test_the_filestore_away_is_a_temporary_error_and_comes_back(
    start: Any,
    behind: Any,
    client: Any,
    ftp: Any,
    file_database: Any,
    object_store: S3Address,
    filestore_settings: Any,
) -> None:
    listen = f"unix:{behind.sockets}/other.sock"
    settings = filestore_settings(file_database, object_store, behind.directory.address, listen)
    gateway, user = await start(filestore_address=listen), behind.account()

    def away(session: ftplib.FTP) -> None:
        for act in (session.nlst, lambda: ftp.store(session, "f", b"octets"), lambda: session.cwd("/x")):
            begun = time.monotonic()
            with pytest.raises(ftplib.error_temp, match="451"):
                act()
            assert time.monotonic() - begun < 8  # 5 s, and what a busy machine adds

    def there(session: ftplib.FTP) -> None:
        ftp.store(session, "f", b"octets")
        assert ftp.fetch(session, "f") == b"octets"

    session = await client(lambda: gateway.plain(user))
    await client(lambda: away(session))
    async with served(filestore.serve.serve, settings):
        await asyncio.sleep(2.5)  # a channel looks again within 2 s
        await client(lambda: there(session))
        data = await client(lambda: session.transfercmd("STOR f"))
        data.sendall(b"new")

    def finish() -> None:
        data.close()
        with pytest.raises(ftplib.error_temp, match="451"):
            session.voidresp()

    await client(finish)
    async with served(filestore.serve.serve, settings):
        await asyncio.sleep(2.5)
        assert await client(lambda: ftp.fetch(session, "f")) == b"octets"
        await client(session.quit)


async def test_the_object_store_stopped_and_started_again_under_way(
    start: Any, behind: Any, client: Any, ftp: Any, file_database: Any, filestore_settings: Any
) -> None:
    listen = f"unix:{behind.sockets}/third.sock"
    async with contextlib.AsyncExitStack() as stack:
        place = stack.enter_context(private_directory())
        place.chmod(0o755)
        store = ObjectStore(stack.enter_context(open_instance(place / "data")))
        await store.prepare()
        processes: list[Process] = []

        async def start_parts() -> None:
            for part in store.parts:
                processes.append(await Process.start(store.instance, part.command()))
                await part.wait_ready(processes[-1])

        async def stop_parts() -> None:
            for process in reversed(processes):
                await process.stop()
            processes.clear()

        stack.push_async_callback(stop_parts)
        await start_parts()
        settings = filestore_settings(file_database, store.address, behind.directory.address, listen)
        await stack.enter_async_context(served(filestore.serve.serve, settings))
        gateway, user = await start(filestore_address=listen), behind.account()
        session = await client(lambda: gateway.plain(user))
        await client(lambda: ftp.store(session, "f", b"old"))
        data = await client(lambda: session.transfercmd("STOR f"))
        await client(lambda: data.sendall(b"x" * (6 * MIB)))
        await stop_parts()

        def away() -> None:
            begun = time.monotonic()
            data.close()
            with pytest.raises(ftplib.error_temp, match="451"):
                session.voidresp()
            for act in (
                lambda: ftp.store(session, "g", b"octets"),
                lambda: ftp.store(session, "g", b"x" * (6 * MIB)),
                lambda: ftp.fetch(session, "f"),
            ):
                with pytest.raises((ftplib.error_temp, OSError)) as caught:
                    act()
                if not isinstance(caught.value, ftplib.Error):  # cut while it was still sending
                    with pytest.raises(ftplib.error_temp, match="451"):
                        session.voidresp()
            assert time.monotonic() - begun < 15.0
            assert session.nlst() == ["f"]

        await client(away)
        await start_parts()

        def there() -> None:
            assert ftp.fetch(session, "f") == b"old"
            ftp.store(session, "f", b"new" * MIB)
            assert ftp.fetch(session, "f") == b"new" * MIB
            session.quit()

        await client(there)


@pytest.mark.parametrize("step", ["stor.begun", "stor.stored", "stor.published"])
async def test_a_gateway_killed_at_a_step_leaves_the_old_file_or_the_whole_new_one(
    gateway: Any, behind: Any, client: Any, ftp: Any, tmp_path: Path, step: str
) -> None:
    user = behind.account()
    variables, port = gateway_environment(behind, tmp_path)

    def prepare() -> None:
        with gateway.plain(user) as session:
            ftp.store(session, "f", b"old")

    def run() -> None:
        session = patient(port, user)
        with pytest.raises((EOFError, OSError)):
            ftp.store(session, "f", b"new")
        session.close()

    def look() -> None:
        with gateway.plain(user) as session:
            assert ftp.fetch(session, "f") == (b"new" if step == "stor.published" else b"old")
            assert session.nlst() == ["f"]
            ftp.store(session, "f", b"newest")
            assert ftp.fetch(session, "f") == b"newest"

    await client(prepare)
    async with program("ftp_gateway", variables, crash_at=step) as process:
        await client(run)
        assert await process.wait() == STATUS
    await client(look)


@pytest.mark.parametrize("step", ["publish.completed", "publish.before_commit", "publish.committed"])
async def test_a_filestore_killed_at_a_step_loses_nothing_that_was_acknowledged(
    start: Any,
    behind: Any,
    client: Any,
    ftp: Any,
    file_database: Any,
    object_store: S3Address,
    tmp_path: Path,
    step: str,
) -> None:
    listen = f"unix:{behind.sockets}/crashing.sock"
    gateway = await start(filestore_address=listen)
    user = behind.account()
    variables = {
        "POSTROOM_DIRECTORY_ADDRESS": behind.directory.address,
        "POSTROOM_DATABASE_URL": file_database.url("filestore"),
        "POSTROOM_FILESTORE_REQUIRE_DURABLE_DATABASE": "false",
        "POSTROOM_S3_ENDPOINT": object_store.endpoint,
        "POSTROOM_S3_REGION": object_store.region,
        "POSTROOM_S3_ACCESS_KEY": object_store.access_key,
        "POSTROOM_S3_SECRET_KEY": object_store.secret_key,
        "POSTROOM_FILESTORE_GRPC_LISTEN": listen,
        "POSTROOM_FILESTORE_HEALTH_ADDRESS": f"unix:{tmp_path}/health",
    }

    def store(session: ftplib.FTP) -> bool:
        try:
            ftp.store(session, "f", b"new" * 2_000_000)
        except ftplib.error_temp:
            return False
        return True

    async with program("filestore", variables, crash_at=f"{step}:2") as process:
        await client(lambda: _until_there(gateway, user))
        session = await client(lambda: gateway.plain(user))
        await client(lambda: ftp.store(session, "f", b"old"))
        acknowledged = await client(lambda: store(session))
        assert await process.wait() == STATUS
    async with program("filestore", {**variables, "POSTROOM_FILESTORE_GRPC_LISTEN": listen}):
        await client(lambda: _until_there(gateway, user))
        octets = await client(lambda: ftp.fetch(session, "f"))
        new = b"new" * 2_000_000
        assert octets in ((new,) if acknowledged or step == "publish.committed" else (b"old", new))
        assert await client(session.nlst) == ["f"]
        await client(session.quit)


async def test_a_large_upload_takes_bounded_memory(
    behind: Any, client: Any, tmp_path: Path, debian_tool: Callable[[str], Path]
) -> None:
    user, size = behind.account(), 64 * MIB
    variables, port = gateway_environment(behind, tmp_path)

    def run(pid: int) -> tuple[int, int]:
        session = patient(port, user)
        session.voidcmd("TYPE I")
        before = _peak_octets(pid)
        with session.transfercmd("STOR f") as data:
            for _ in range(64):
                data.sendall(b"x" * MIB)
        session.voidresp()
        assert session.size("f") == size
        count = 0

        def take(octets: bytes) -> None:
            nonlocal count
            count += len(octets)

        session.retrbinary("RETR f", take)
        assert count == size
        session.quit()
        return before, _peak_octets(pid)

    async with program("ftp_gateway", variables) as process:
        before, after = await client(lambda: run(process.pid))
    assert after - before < 40 * MIB


def _until_there(gateway: Any, user: str) -> None:
    deadline = time.monotonic() + 20
    with gateway.plain(user) as session:
        while True:
            try:
                session.nlst()
            except ftplib.error_temp:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


def _peak_octets(pid: int) -> int:
    """What the process has held at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
