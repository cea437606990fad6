"""The keys that sign capabilities: kept in Postgres, so that all replicas sign with the same one.

To rotate, insert a key whose `sign_from` lies some minutes ahead and give the old one a `verify_until`.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from asyncpg import Record
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from directory.limits import Limits
from postroom_contracts.capability import PublicKey, SigningKey
from postroom_contracts.errors import UnavailableError
from postroom_contracts.ids import DEFAULT_TENANT
from postroom_storage.database import Connection, Database

_REFRESH_SECONDS: Final = 1.0
"""So long does somebody wait for newer keys when there are older ones."""

_SELECT: Final = """
    SELECT id, private_key, public_key, sign_from <= statement_timestamp() AS signs FROM signing_key
    WHERE verify_until IS NULL OR verify_until > now()
    ORDER BY sign_from <= statement_timestamp() DESC, sign_from DESC, id"""


class KeyRing:
    """The keys as they were at most `Limits.keys_seconds` ago; older ones while Postgres is away."""

    def __init__(
        self, database: Database, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._rows: Sequence[Record] = ()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def signing_key(self) -> SigningKey:
        """The one in use."""
        row = (await self._current())[0]
        return SigningKey(row["id"], Ed25519PrivateKey.from_private_bytes(row["private_key"]))

    async def public_keys(self) -> Sequence[PublicKey]:
        """All that verify, the one in use first."""
        return [PublicKey(row["id"], row["public_key"]) for row in await self._current()]

    async def secrets(self, purpose: bytes) -> Sequence[bytes]:
        """What all replicas know and nobody else, the one in use first; another for each purpose."""
        return [hmac.digest(row["private_key"], purpose, sha256) for row in await self._current()]

    async def _current(self) -> Sequence[Record]:
        if self._is_fresh():
            return self._rows
        async with self._reading:
            if self._is_fresh():
                return self._rows
            try:
                self._rows = await self._database.run(_read, seconds=_REFRESH_SECONDS if self._rows else None)
            except UnavailableError:
                if not self._rows:
                    raise
            self._read_at = self._clock()  # after a failure too: nobody waits for it again soon
        return self._rows

    def _is_fresh(self) -> bool:
        return self._clock() - self._read_at < self._limits.keys_seconds


async def _read(connection: Connection) -> Sequence[Record]:
    rows = await connection.fetch(_SELECT)
    if rows and rows[0]["signs"]:
        return rows
    # Several replicas may start on an empty schema at once; one makes the key.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('directory.signing_key', 0))")
    rows = await connection.fetch(_SELECT)
    if rows and rows[0]["signs"]:
        return rows
    key = Ed25519PrivateKey.generate()
    await connection.execute(
        "INSERT INTO signing_key (id, tenant_id, private_key, public_key) VALUES ($1, $2, $3, $4)",
        secrets.token_hex(8),
        DEFAULT_TENANT,
        key.private_bytes_raw(),
        key.public_key().public_bytes_raw(),
    )
    return await connection.fetch(_SELECT)
