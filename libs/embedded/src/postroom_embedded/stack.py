"""The embedded stack: Postgres, NATS and the object store, each of them here or at an address."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from minio.error import MinioException
from urllib3.exceptions import HTTPError

from postroom_embedded.errors import DependencyAwayError
from postroom_embedded.instance import Instance
from postroom_embedded.nats import OPTION as NATS_OPTION
from postroom_embedded.nats import Nats
from postroom_embedded.part import Reporter
from postroom_embedded.postgres import OPTION as DATABASE_OPTION
from postroom_embedded.postgres import Postgres
from postroom_embedded.seaweedfs import BUCKETS, ObjectStore, S3Address
from postroom_embedded.seaweedfs import OPTION as S3_OPTION
from postroom_embedded.supervisor import Entry, Supervisor, supervised

_ADDRESS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class External:
    """Parts that run elsewhere; None means: the embedded one."""

    database_url: str | None = field(default=None, repr=False)
    nats_url: str | None = field(default=None, repr=False)
    s3: S3Address | None = None


@dataclass(frozen=True, slots=True)
class StackAddresses:
    """Where the three are, whether embedded or not. `databases` is by role."""

    databases: dict[str, str] = field(repr=False)
    nats_url: str = field(repr=False)
    s3: S3Address
    own_database: bool = False


class Stack:
    """The embedded parts of one instance; `entries` for the supervisor, `addresses` for who uses them."""

    def __init__(self, instance: Instance, external: External) -> None:
        self.external = external
        self.postgres = Postgres(instance) if external.database_url is None else None
        self.nats = Nats(instance) if external.nats_url is None else None
        self.store = ObjectStore(instance) if external.s3 is None else None

    def entries(self) -> list[Entry]:
        """What is to be supervised. The store's four start one after another."""
        alone = (self.postgres, self.nats)
        found: list[Entry] = [Entry(part) for part in alone if part is not None]
        before: tuple[str, ...] = ()
        for part in self.store.parts if self.store is not None else ():
            found.append(Entry(part, before))
            before = (part.name,)
        return found

    def addresses(self, roles: tuple[str, ...]) -> StackAddresses:
        """Where everything is; known before it runs."""
        external = self.external
        if self.postgres is not None:
            databases = {role: self.postgres.address.url(role) for role in roles}
        else:
            databases = {role: with_role(external.database_url or "", role) for role in roles}
        nats_url = self.nats.address.url if self.nats is not None else external.nats_url or ""
        store = self.store.address if self.store is not None else external.s3
        if store is None:
            raise DependencyAwayError("the object store", "", "it has no address", S3_OPTION)
        return StackAddresses(databases, nats_url, store, own_database=self.postgres is not None)


def with_role(url: str, role: str) -> str:
    """The URL as it is, with the service's role where it names no user."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return url
    return parts._replace(netloc=f"{role}@{parts.netloc}").geturl()


async def check_external(external: External) -> None:
    """Raise a DependencyAwayError when something that was named does not answer."""
    if external.database_url is not None:
        await _check_database(external.database_url)
    if external.nats_url is not None:
        await _check_nats(external.nats_url)
    if external.s3 is not None:
        await _check_store(external.s3)


async def _check_database(url: str) -> None:
    try:
        connection = await asyncpg.connect(with_role(url, "directory"), timeout=_ADDRESS_SECONDS)
        await connection.close(timeout=_ADDRESS_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DependencyAwayError("Postgres", _public(url), _cause(error), DATABASE_OPTION) from None


async def _check_nats(url: str) -> None:
    parts = urlsplit(url.split(",", 1)[0])
    try:
        async with asyncio.timeout(_ADDRESS_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname or "", parts.port or 4222)
            greeting = await reader.readline()
            writer.close()
        if not greeting.startswith(b"INFO "):
            raise DependencyAwayError("NATS", _public(url), "something else answers", NATS_OPTION)
    except (OSError, TimeoutError, ValueError) as error:
        raise DependencyAwayError("NATS", _public(url), _cause(error), NATS_OPTION) from None


async def _check_store(address: S3Address) -> None:
    def check() -> None:
        client = address.client()
        for bucket in BUCKETS:
            if not client.bucket_exists(bucket):
                client.make_bucket(bucket)

    try:
        await asyncio.to_thread(check)
    except (MinioException, HTTPError, ValueError, OSError) as error:
        raise DependencyAwayError("the object store", address.endpoint, _cause(error), S3_OPTION) from None


def _public(url: str) -> str:
    """The address without its password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer within 5 s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextlib.asynccontextmanager
async def embedded_stack(
    directory: Path, external: External | None = None, report: Reporter | None = None
) -> AsyncGenerator[tuple[Supervisor, Stack]]:
    """The whole stack in a data directory, ready and supervised, for as long as the block lasts."""
    instance = await asyncio.to_thread(Instance.open, directory)
    try:
        stack = Stack(instance, external or External())
        async with supervised(instance, report) as supervisor:
            await check_external(stack.external)
            supervisor.add(stack.entries())
            await supervisor.wait_ready()
            yield supervisor, stack
    finally:
        await asyncio.to_thread(instance.close)
