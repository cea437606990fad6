"""The eight services as processes: one table that says what each is given, and who needs a schema.

Add a service by a row in `SERVICES`; ports are offsets to the port base.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from postroom_embedded.certificates import Certificates
from postroom_embedded.instance import Instance
from postroom_embedded.ports import check_port
from postroom_embedded.process import Command, Process, describe_exit, run
from postroom_embedded.stack import StackAddresses

PORT_OPTION = "--port-base"
BIND_OPTION = "--bind"
CORE_TIER, EDGE_TIER = 1, 2
_START_SECONDS = 60.0
_MIGRATE_SECONDS = 120.0
_POLL_SECONDS = 0.05
# Together with the stack's 6 s below the 20 s in which everything has to end.
_DRAIN_SECONDS = {CORE_TIER: 2, EDGE_TIER: 5}
_STOP_SECONDS = {CORE_TIER: 4.0, EDGE_TIER: 7.0}


@dataclass(frozen=True, slots=True)
class Options:
    """What `postroom up` may be told about the services."""

    port_base: int = 2000
    bind: str = "127.0.0.1"
    dns: str | None = None  # HOST:PORT
    smarthost: str | None = None  # HOST:PORT
    hostname: str = field(default_factory=socket.gethostname)  # a look-up of its domain may take long
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)  # for all of them
    # More for single processes, by name (`mailstore-1`).
    environment_of: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict[str, Mapping[str, str]], repr=False
    )
    through: str | None = None  # a module that runs the service's module, for tests of crashes


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where everything is that a service may be given."""

    instance: Instance
    addresses: StackAddresses
    certificates: Certificates
    admin_token: Path
    options: Options

    def socket(self, process: str, kind: str) -> str:
        """The address of a unix socket of one process; `kind` is `grpc` or `health`."""
        return f"unix:{self.instance.runtime / f'{process}.{kind}'}"

    def grpc(self, name: str) -> str:
        """All replicas of a core service."""
        return ",".join(self.socket(process, "grpc") for process in process_names(SERVICES[name]))


@dataclass(frozen=True, slots=True)
class Listener:
    """A public port, or a range of them: the variable that names it, its offset, what speaks there."""

    variable: str
    offset: int
    purpose: str
    count: int = 1

    def ports(self, base: int) -> range:
        """The port numbers."""
        return range(base + self.offset, base + self.offset + self.count)

    def value(self, base: int) -> str:
        """For the variable: `2021`, or `30000-30019`."""
        ports = self.ports(base)
        return str(ports[0]) if self.count == 1 else f"{ports[0]}-{ports[-1]}"


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service: its name is that of its folder and of its settings."""

    name: str
    tier: int
    environment: Callable[[Wiring], Mapping[str, str]]
    listeners: tuple[Listener, ...] = ()
    replicas: int = 1
    has_schema: bool = False

    @property
    def module(self) -> str:
        """The package that `python -m` runs."""
        return self.name.replace("-", "_")

    @property
    def prefix(self) -> str:
        """Of its variables."""
        return f"POSTROOM_{self.module.upper()}_"


def _core(name: str) -> Callable[[Wiring], Mapping[str, str]]:
    def environment(wiring: Wiring) -> Mapping[str, str]:
        return {
            "POSTROOM_DATABASE_URL": wiring.addresses.databases[name],
            # Nobody expects a standby of the embedded Postgres; of another one it is worth a word.
            "POSTROOM_ACCEPT_NO_STANDBY": str(wiring.addresses.own_database).lower(),
        }

    return environment


def _store(wiring: Wiring) -> Mapping[str, str]:
    store = wiring.addresses.s3
    return {
        "POSTROOM_S3_ENDPOINT": store.endpoint,
        "POSTROOM_S3_REGION": store.region,
        "POSTROOM_S3_ACCESS_KEY": store.access_key,
        "POSTROOM_S3_SECRET_KEY": store.secret_key,
    }


def _directory(wiring: Wiring) -> Mapping[str, str]:
    token = {"POSTROOM_DIRECTORY_ADMIN_TOKEN_FILE": str(wiring.admin_token)}
    return {**_core("directory")(wiring), **token}


def _mailstore(wiring: Wiring) -> Mapping[str, str]:
    return {**_core("mailstore")(wiring), **_store(wiring)}


def _filestore(wiring: Wiring) -> Mapping[str, str]:
    return {**_core("filestore")(wiring), **_store(wiring)}


def _inbound(wiring: Wiring) -> Mapping[str, str]:
    return {"POSTROOM_SMTP_INBOUND_HOSTNAME": wiring.options.hostname}


def _outbound(wiring: Wiring) -> Mapping[str, str]:
    options = wiring.options
    named = {
        "POSTROOM_SMTP_OUTBOUND_HELO_NAME": options.hostname,
        "POSTROOM_SMTP_OUTBOUND_DNS_SERVERS": options.dns,
        "POSTROOM_SMTP_OUTBOUND_SMARTHOST": options.smarthost,
        # Whoever brings a name server for a trial has exchangers on this machine.
        "POSTROOM_SMTP_OUTBOUND_ALLOW_LOOPBACK": None if options.dns is None else "true",
    }
    return {variable: value for variable, value in named.items() if value is not None}


def _nothing(wiring: Wiring) -> Mapping[str, str]:
    del wiring
    return {}


_ROWS = (
    ServiceRow("directory", CORE_TIER, _directory, has_schema=True),
    ServiceRow("mailstore", CORE_TIER, _mailstore, replicas=2, has_schema=True),
    ServiceRow("filestore", CORE_TIER, _filestore, has_schema=True),
    ServiceRow(
        "smtp-inbound",
        EDGE_TIER,
        _inbound,
        (
            Listener("PORT", 25, "SMTP"),
            Listener("SUBMISSION_PORT", 587, "submission"),
            Listener("SUBMISSIONS_PORT", 465, "submission over TLS"),
        ),
    ),
    ServiceRow("smtp-outbound", EDGE_TIER, _outbound),
    ServiceRow(
        "mail-access",
        EDGE_TIER,
        _nothing,
        (
            Listener("IMAP_PORT", 143, "IMAP"),
            Listener("IMAPS_PORT", 993, "IMAP over TLS"),
            Listener("POP3_PORT", 110, "POP3"),
            Listener("POP3S_PORT", 995, "POP3 over TLS"),
        ),
    ),
    ServiceRow(
        "ftp-gateway",
        EDGE_TIER,
        _nothing,
        (
            Listener("PORT", 21, "FTP"),
            Listener("FTPS_PORT", 990, "FTP over TLS"),
            Listener("PASSIVE_PORTS", 28_000, "FTP passive", count=20),
        ),
    ),
    ServiceRow(
        "webmail-api",
        EDGE_TIER,
        _nothing,
        (Listener("HTTP_PORT", 80, "HTTP"), Listener("HTTPS_PORT", 443, "HTTPS")),
    ),
)
SERVICES: Mapping[str, ServiceRow] = {row.name: row for row in _ROWS}


def process_names(row: ServiceRow) -> list[str]:
    """One name for each replica."""
    if row.replicas == 1:
        return [row.name]
    return [f"{row.name}-{number}" for number in range(1, row.replicas + 1)]


def environment_of(wiring: Wiring, row: ServiceRow, process: str) -> dict[str, str]:
    """All that one process of a service is given."""
    options = wiring.options
    environment = {
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "POSTROOM_NATS_URL": wiring.addresses.nats_url,
        "POSTROOM_DIRECTORY_ADDRESS": wiring.grpc("directory"),
        "POSTROOM_MAILSTORE_ADDRESS": wiring.grpc("mailstore"),
        "POSTROOM_FILESTORE_ADDRESS": wiring.grpc("filestore"),
        "POSTROOM_TLS_CERT_FILE": str(wiring.certificates.certificate),
        "POSTROOM_TLS_KEY_FILE": str(wiring.certificates.key),
        "POSTROOM_TLS_CA_FILE": str(wiring.certificates.ca),
        f"{row.prefix}HEALTH_ADDRESS": wiring.socket(process, "health"),
        f"{row.prefix}DRAIN_SECONDS": str(_DRAIN_SECONDS[row.tier]),
    }
    if row.tier == CORE_TIER:
        environment[f"{row.prefix}GRPC_LISTEN"] = wiring.socket(process, "grpc")
    if row.replicas > 1:
        environment[f"{row.prefix}WORKER_NAME"] = process
    if row.listeners:
        environment[f"{row.prefix}HOST"] = options.bind
    for listener in row.listeners:
        environment[row.prefix + listener.variable] = listener.value(options.port_base)
    more = options.environment_of.get(process, {})
    return {**environment, **row.environment(wiring), **options.environment, **more}


def check_ports(options: Options, rows: Sequence[ServiceRow]) -> None:
    """Raise a PortInUseError or a ForbiddenPortError for the first port that is not to be had."""
    for row in rows:
        for listener in row.listeners:
            option = f"{PORT_OPTION} (now {options.port_base}) or {BIND_OPTION}"
            for port in listener.ports(options.port_base):
                check_port(options.bind, port, listener.purpose, option)


class ServicePart:
    """One process of a service; ready when it says so on its health socket."""

    def __init__(self, wiring: Wiring, row: ServiceRow, process: str) -> None:
        self.name = process
        self._wiring, self._row = wiring, row

    async def prepare(self) -> None:
        """Nothing comes before."""

    def command(self) -> Command:
        """`python -m <service> serve`."""
        return Command(
            self.name,
            _python(self._wiring.options, self._row, "serve"),
            environment_of(self._wiring, self._row, self.name),
            stop_seconds=_STOP_SECONDS[self._row.tier],
        )

    async def wait_ready(self, process: Process) -> None:
        """Return when `/readyz` says 200."""
        path = self._wiring.socket(self.name, "health").removeprefix("unix:")
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await says_ready(path):
                    if process.exit_status is not None:
                        raise process.failed(describe_exit(process.exit_status))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise process.late(_START_SECONDS) from None


async def says_ready(path: str) -> bool:
    """Whether `/readyz` on this unix socket answers 200."""
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, ValueError):
        return False


async def migrate(wiring: Wiring, rows: Sequence[ServiceRow], *, embedded: bool) -> None:
    """Bring the schemas up to date, beside each other; raises StartError.

    The embedded database lies in the data directory with a note of the migrations that it has, so that a
    start without new ones costs nothing. A database elsewhere is asked each time.
    """
    note = wiring.instance.directory / "migrated.json"
    wanted = {row.name: await asyncio.to_thread(_fingerprint, row.module) for row in rows if row.has_schema}
    done = await asyncio.to_thread(_read_note, note) if embedded else {}
    async with asyncio.TaskGroup() as group:
        for row in rows:
            if row.has_schema and (done.get(row.name) != wanted[row.name]):
                group.create_task(_migrate_one(wiring, row))
    if embedded and done != wanted:
        await asyncio.to_thread(wiring.instance.write, note, json.dumps(wanted))


async def _migrate_one(wiring: Wiring, row: ServiceRow) -> None:
    name = f"{row.name}-migrate"
    environment = environment_of(wiring, row, row.name)
    arguments = _python(wiring.options, row, "migrate")
    await run(wiring.instance, Command(name, arguments, environment), _MIGRATE_SECONDS)


def _python(options: Options, row: ServiceRow, verb: str) -> tuple[str, ...]:
    through = (options.through,) if options.through is not None else ()
    return (sys.executable, "-m", *through, row.module, verb)


def _fingerprint(module: str) -> str:
    """Of all migrations of a service, without importing it."""
    digest = hashlib.sha256()
    found = importlib.util.find_spec(module)
    for place in (found.submodule_search_locations if found is not None else None) or ():
        for file in sorted(Path(place, "migrations").rglob("*.py")):
            digest.update(f"{file.relative_to(place)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _read_note(note: Path) -> dict[str, str]:
    try:
        fields: dict[str, str] = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return fields
