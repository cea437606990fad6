"""The core's way to Postgres: a bounded pool of asyncpg connections on which every call ends in time.

Postgres may be away, frozen or restarting: a caller gets `UnavailableError` within `Limits.call_seconds`, and
the next call finds out by itself whether it is back. A COMMIT that was cut short has an unknown outcome.
"""

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias, TypeVar

import asyncpg
from asyncpg import Record
from asyncpg.pool import Pool, PoolConnectionProxy

from postroom_contracts.errors import UnavailableError
from postroom_storage.errors import UnsafeDatabaseError
from postroom_storage.failures import is_fatal, is_retryable, unavailable

T = TypeVar("T")
Connection: TypeAlias = "PoolConnectionProxy[Record]"
Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]

_ROLLBACK_SECONDS: Final = 0.5
_RELEASE_SECONDS: Final = 0.5
# `local` does not wait for any standby.
_PROTECTED: Final = """
SELECT btrim(current_setting('synchronous_standby_names')) <> ''
    AND current_setting('synchronous_commit') <> 'local'
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one `Database`."""

    connections: int = 10
    waiting: int = 512
    """Callers that wait for a connection; one more is refused at once."""
    call_seconds: float = 4.0
    """From asking for a connection to the end of COMMIT."""
    acquire_seconds: float = 2.5
    connect_seconds: float = 2.0
    pause_seconds: float = 0.1
    """After a failed attempt nobody tries to connect for so long."""
    attempts: int = 6
    """Of a transaction that met a deadlock or a serialization failure."""
    idle_seconds: float = 300.0


class Database:
    """A pool for one schema. `open` does not wait for Postgres; the first call connects.

    A connection keeps nothing from one use to the next: set with SET LOCAL, lock within transactions.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str,
        limits: Limits | None = None,
        require_durable: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self.schema = schema
        self._url = url
        self._require_durable = require_durable
        self._waiting = 0
        self._connect_again_at = float("-inf")
        self._pool: Pool[Record] | None = None
        # To take a connection from asyncpg's pool and give it back costs several statements' time: those
        # that are in order stay out of it, the last one that was used on the right.
        self._idle: deque[tuple[Connection, float]] = deque()
        self._room = asyncio.Semaphore(self.limits.connections)

    async def open(self) -> None:
        """Make the pool; it has no connection yet."""
        limits = self.limits
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=limits.connections,
            max_inactive_connection_lifetime=limits.idle_seconds,
            connect=self._connect,
            reset=_keep_session,
            timeout=limits.connect_seconds,
            server_settings=self._session(),
        )

    async def close(self) -> None:
        """End all connections; whoever still uses one is cut."""
        if (pool := self._pool) is None:
            return
        self._pool = None
        with suppress(TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with asyncio.timeout(1.0):
                while self._idle:
                    await pool.release(self._idle.pop()[0])
                await pool.close()
        pool.terminate()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def probe(self) -> None:
        """Raise `UnavailableError`, or `UnsafeDatabaseError` which no waiting mends."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def is_protected(self) -> bool:
        """Whether a commit is on a synchronous standby before it is confirmed. Raises as `probe` does."""
        async with self.connection() as connection:
            return bool(await connection.fetchval(_PROTECTED))

    @asynccontextmanager
    async def connection(self, *, seconds: float | None = None) -> AsyncGenerator[Connection]:
        """A connection without a transaction, for single statements.

        Raises `UnavailableError` when Postgres does not do its part within `seconds` (`Limits.call_seconds`),
        the block included.
        """
        try:
            async with asyncio.timeout(self.limits.call_seconds if seconds is None else seconds):
                connection = await self._acquire()
                try:
                    yield connection
                except BaseException as error:
                    # Cancelled, cut or confused: in the middle of a statement, whose end nobody waits for.
                    if not isinstance(error, Exception) or is_fatal(error):
                        connection.terminate()
                    raise
                finally:
                    await self._release(connection)
        except Exception as error:
            if (mapped := unavailable(error)) is not None:
                raise mapped from error
            raise

    @asynccontextmanager
    async def transaction(
        self,
        *,
        seconds: float | None = None,
        isolation: Isolation = "read_committed",
        readonly: bool = False,
    ) -> AsyncGenerator[Connection]:
        """A connection within a transaction: committed at the end of the block, rolled back by an exception.

        Raises as `connection` does; a deadlock too is `UnavailableError` here, see `run`.
        """
        try:
            async with self._transaction(seconds, isolation, readonly) as connection:
                yield connection
        except Exception as error:
            if is_retryable(error):
                raise UnavailableError("deadlock or serialization failure") from error
            raise

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        seconds: float | None = None,
        isolation: Isolation = "read_committed",
    ) -> T:
        """Do `work` in a transaction, again from the start after a deadlock or serialization failure.

        `work` must change nothing outside the transaction. All attempts share `seconds`.
        """

        async def attempt(left: float) -> T:
            async with self._transaction(left, isolation) as connection:
                return await work(connection)

        return await self._until_it_stands(attempt, seconds)

    async def run_statement(
        self, statement: str, *arguments: object, seconds: float | None = None
    ) -> list[Record]:
        """Run one statement that is a transaction of its own, in one round trip; again as `run` does."""

        async def attempt(left: float) -> list[Record]:
            async with self.connection(seconds=left) as connection:
                return await connection.fetch(statement, *arguments)

        return await self._until_it_stands(attempt, seconds)

    async def _until_it_stands(self, attempt: Callable[[float], Awaitable[T]], seconds: float | None) -> T:
        deadline = time.monotonic() + (self.limits.call_seconds if seconds is None else seconds)
        for number in range(self.limits.attempts):
            try:
                return await attempt(deadline - time.monotonic())
            except Exception as error:
                if not is_retryable(error):
                    raise
            await asyncio.sleep(random.uniform(0.2, 1.0) * 0.01 * 2**number)
        raise UnavailableError(f"{self.limits.attempts} deadlocks or serialization failures in a row")

    @asynccontextmanager
    async def leadership(self, name: str) -> AsyncGenerator["Leadership | None"]:
        """Be the only one in the cluster under this name for the block; None when somebody else is.

        Holds a connection of its own, outside the pool. Look at `Leadership.held` before each step: the lock
        ends with the connection.
        """
        try:
            async with asyncio.timeout(self.limits.call_seconds):
                connection = await asyncpg.connect(self._url, server_settings=self._session())
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise UnavailableError(f"Postgres: {error}") from error
        try:
            yield await self._try_lock(connection, f"{self.schema}.{name}")
        finally:
            connection.terminate()

    async def _try_lock(self, connection: "asyncpg.Connection[Record]", name: str) -> "Leadership | None":
        try:
            async with asyncio.timeout(self.limits.call_seconds):
                locked = await connection.fetchval(
                    "SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name
                )
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise UnavailableError(f"Postgres: {error}") from error
        return Leadership(connection) if locked else None

    @asynccontextmanager
    async def _transaction(
        self, seconds: float | None, isolation: Isolation, readonly: bool = False
    ) -> AsyncGenerator[Connection]:
        async with self.connection(seconds=seconds) as connection:
            transaction = connection.transaction(isolation=isolation, readonly=readonly)
            await transaction.start()
            try:
                yield connection
            except Exception as error:
                # After a cut or a timeout the connection goes, and the transaction with it.
                if not connection.is_closed() and not isinstance(error, OSError) and not is_fatal(error):
                    async with asyncio.timeout(_ROLLBACK_SECONDS):
                        await transaction.rollback()
                raise
            await transaction.commit()

    async def _acquire(self) -> Connection:
        if (pool := self._pool) is None:
            raise UnavailableError("the database is closed")
        if not self._room.locked():
            await self._room.acquire()  # at once
            if (idle := self._take_idle()) is not None:
                return idle
            self._room.release()
        if self._waiting >= self.limits.waiting:
            raise UnavailableError("too many callers wait for a connection")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.limits.acquire_seconds):
                await self._room.acquire()
                try:
                    return self._take_idle() or await pool.acquire()
                except BaseException:
                    self._room.release()
                    raise
        finally:
            self._waiting -= 1

    def _take_idle(self) -> "Connection | None":
        while self._idle:
            connection, _ = self._idle.pop()
            if _is_in_order(connection):
                return connection
        return None

    async def _release(self, connection: Connection) -> None:
        """Keep a connection for the next caller, or give it to the pool, which ends one that is broken."""
        now = time.monotonic()
        unused: Connection | None = connection
        if self._pool is not None and _is_in_order(connection):
            self._idle.append((connection, now))
            old = now - self._idle[0][1] > self.limits.idle_seconds
            unused = self._idle.popleft()[0] if old else None
        try:
            if unused is not None:
                await self._give_to_pool(unused)
        finally:
            self._room.release()

    async def _give_to_pool(self, connection: Connection) -> None:
        if (pool := self._pool) is None:
            connection.terminate()
            return
        try:
            await pool.release(connection, timeout=_RELEASE_SECONDS)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return  # the pool has ended the connection

    async def _connect(self, *args: Any, **options: Any) -> "asyncpg.Connection[Record]":
        """Connect, unless somebody failed to a moment ago: a server that starts must not be knocked down."""
        if time.monotonic() < self._connect_again_at:
            raise UnavailableError("Postgres did not let us in a moment ago")
        try:
            connection: asyncpg.Connection[Record] = await asyncpg.connect(*args, **options)
            try:
                await self._prepare(connection)
            except BaseException:
                connection.terminate()
                raise
            return connection
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._connect_again_at = time.monotonic() + self.limits.pause_seconds
            # Whatever it is (a wrong password too): to a caller the database is away.
            raise UnavailableError(f"Postgres does not let us in: {error}") from error

    async def _prepare(self, connection: "asyncpg.Connection[Record]") -> None:
        if self._require_durable:
            await refuse_unsafe(connection)
        await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    def _session(self) -> dict[str, str]:
        return session_settings(self.schema, self.limits.call_seconds)


@dataclass(frozen=True, slots=True)
class Leadership:
    """An advisory lock that lives as long as its connection."""

    connection: "asyncpg.Connection[Record]"

    @property
    def held(self) -> bool:
        """Whether the connection, and so the lock, is still there as far as we know."""
        return not self.connection.is_closed()


def session_settings(schema: str, statement_seconds: float) -> dict[str, str]:
    """What every session of ours is told at its start."""
    return {
        "application_name": f"postroom-{schema}",
        "search_path": schema,
        "timezone": "UTC",
        "statement_timeout": f"{int(statement_seconds * 1000)}ms",
        "idle_in_transaction_session_timeout": "10s",
        # A caller that has given up cuts its connection: what it waited for must end too.
        "client_connection_check_interval": "1s",
        "jit": "off",
    }


async def refuse_unsafe(connection: "asyncpg.Connection[Record]") -> None:
    """Raise `UnsafeDatabaseError` when COMMIT does not mean durable."""
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        if await connection.fetchval("SELECT current_setting($1)", setting) == "off":
            raise UnsafeDatabaseError(f"Postgres has {setting} = off: what it confirms may be lost")


def _is_in_order(connection: Connection) -> bool:
    try:
        return not connection.is_closed() and not connection.is_in_transaction()
    except asyncpg.InterfaceError:  # it has ended, which gave it back to the pool
        return False


async def _keep_session(connection: object) -> None:
    """Nothing to undo, so no round trip: see `Database`."""
