"""SCRAM keys, of the accounts that opted in or of all: they fall with the password that they are of."""

from contextlib import suppress
from uuid import UUID

from asyncpg import Record
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from directory.limits import Limits
from directory.passwords import Passwords
from directory.schema import CREDENTIAL, SCRAM_KEY
from postroom_contracts.errors import InvalidCredentialsError, UnavailableError
from postroom_storage.core import fetch, fetch_one
from postroom_storage.database import Connection, Database
from postroom_wire.sasl.scram import Keys


async def enable(connection: Connection, account_id: UUID, version: int, keys: Keys) -> None:
    """Keep these keys of the password of this version. Raises `InvalidCredentialsError` for an older one."""
    credential = (
        select(CREDENTIAL.c.tenant_id)
        .where(CREDENTIAL.c.account_id == account_id, CREDENTIAL.c.version == version)
        .with_for_update()
    )
    if (row := await fetch_one(connection, credential)) is None:
        raise InvalidCredentialsError("another password meanwhile")
    kept = {"version": version, **_columns(keys), "changed_at": func.now()}
    statement = insert(SCRAM_KEY).values(account_id=account_id, tenant_id=row["tenant_id"], **kept)
    await fetch(connection, statement.on_conflict_do_update(index_elements=["account_id"], set_=kept))


async def disable(connection: Connection, account_id: UUID) -> None:
    """Forget the keys; any number of times."""
    await fetch(connection, delete(SCRAM_KEY).where(SCRAM_KEY.c.account_id == account_id))


async def is_enabled(connection: Connection, account_id: UUID) -> bool:
    """Whether there are keys of the password as it is."""
    statement = (
        select(SCRAM_KEY.c.account_id)
        .join(CREDENTIAL, CREDENTIAL.c.account_id == SCRAM_KEY.c.account_id)
        .where(SCRAM_KEY.c.account_id == account_id, CREDENTIAL.c.version == SCRAM_KEY.c.version)
    )
    return await fetch_one(connection, statement) is not None


async def renew_keys(connection: Connection, account_id: UUID, version: int, keys: Keys) -> None:
    """The password has changed: whoever opted in stays so."""
    statement = update(SCRAM_KEY).where(SCRAM_KEY.c.account_id == account_id)
    await fetch(connection, statement.values(version=version, **_columns(keys), changed_at=func.now()))


class KeysOfLogins:
    """Makes the keys that are missing when a password has just been right, where all are to have some."""

    def __init__(self, database: Database, passwords: Passwords, limits: Limits) -> None:
        self._database = database
        self._passwords = passwords
        self._limits = limits

    async def make(self, row: Record, password: str) -> None:
        """`row` is the account's, as `Authenticator` reads it. Nobody is kept out for want of keys."""
        if not self._limits.scram_for_all or row["salt"] is not None:
            return
        with suppress(UnavailableError, InvalidCredentialsError):
            if (keys := await self._passwords.scram_keys(password)) is not None:
                await self._database.run(
                    lambda connection: enable(connection, row["id"], row["version"], keys)
                )


def _columns(keys: Keys) -> dict[str, bytes | int]:
    return {
        "salt": keys.salt,
        "iterations": keys.iterations,
        "stored_key": keys.stored_key,
        "server_key": keys.server_key,
    }
