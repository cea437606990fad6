"""SCRAM keys of the accounts that opted in: they fall with the password that they are of."""

from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from directory.schema import CREDENTIAL, SCRAM_KEY
from postroom_contracts.errors import InvalidCredentialsError
from postroom_storage.core import fetch, fetch_one
from postroom_storage.database import Connection
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


def _columns(keys: Keys) -> dict[str, bytes | int]:
    return {
        "salt": keys.salt,
        "iterations": keys.iterations,
        "stored_key": keys.stored_key,
        "server_key": keys.server_key,
    }
