"""Operations that may be asked again: each is done once, and answers the same however often it is asked.

A broken connection or a deadline leaves open whether an operation was done. Its caller asks again with the
same id, on any replica, perhaps while the first try still runs. The answer is kept in the transaction that
did it, in a table `operation` of the service's own schema, which its migrations make:

    account_id uuid, id uuid, tenant_id uuid, request bytea, answer bytea,
    asked_at timestamptz DEFAULT now(), PRIMARY KEY (account_id, id)

The key begins with the account: what others did under the same id is never seen.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from postroom_contracts.errors import InvalidRequestError, UnavailableError
from postroom_contracts.ids import parse_id
from postroom_storage.database import Connection, Database

M = TypeVar("M", bound=Message)

REMEMBERED_SECONDS: Final = 86_400.0
"""How long an answer is kept at least."""

# Whoever asks at the same time waits here for the end of the other's transaction.
_BEGIN: Final = """
INSERT INTO operation (account_id, id, tenant_id, request) VALUES ($1, $2, $3, $4)
ON CONFLICT (account_id, id) DO NOTHING RETURNING true
"""
_FIND: Final = "SELECT request, answer FROM operation WHERE account_id = $1 AND id = $2"
_END: Final = "UPDATE operation SET answer = $3 WHERE account_id = $1 AND id = $2"
_FORGET: Final = """
WITH forgotten AS (
    DELETE FROM operation WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM operation WHERE asked_at < now() - make_interval(secs => $1) LIMIT $2
        FOR UPDATE SKIP LOCKED))
    RETURNING 1
)
SELECT count(*) FROM forgotten
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """What an account asks for under an id; `request` is the digest of all that it asks."""

    account_id: UUID
    tenant_id: UUID
    id: UUID
    request: bytes


def operation_of(account_id: UUID, tenant_id: UUID, octets: bytes, request: Message) -> Operation | None:
    """The operation of a request that carries these octets as its id; None for none.

    Raises `InvalidRequestError` for octets that are no id.
    """
    if not octets:
        return None
    said = request.DESCRIPTOR.full_name.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return Operation(account_id, tenant_id, parse_id(octets), sha256(said).digest())


async def once(
    database: Database,
    operation: Operation | None,
    answer: type[M],
    work: Callable[[Connection], Awaitable[M]],
) -> M:
    """Do `work` in a transaction, or give the answer of when it was done; without an operation, do it.

    `work` must change nothing outside the transaction. Raises `InvalidRequestError` when the id is another
    request's, and what `Database.run` raises.
    """
    if operation is None:
        return await database.run(work)

    async def transact(connection: Connection) -> M:
        key = (operation.account_id, operation.id)
        if await connection.fetchval(_BEGIN, *key, operation.tenant_id, operation.request) is None:
            return await _answered(connection, operation, answer)
        done = await work(connection)
        await connection.execute(_END, *key, done.SerializeToString())
        return done

    return await database.run(transact)


async def forget_old(connection: Connection, most: int) -> int:
    """Forget operations that nobody asks about any more, so many at most; returns how many they were."""
    return await connection.fetchval(_FORGET, REMEMBERED_SECONDS, most)


async def _answered(connection: Connection, operation: Operation, answer: type[M]) -> M:
    row = await connection.fetchrow(_FIND, operation.account_id, operation.id)
    if row is None:  # forgotten since a moment ago
        raise UnavailableError("the operation's answer is gone")
    if row["request"] != operation.request:
        raise InvalidRequestError("an id that another request has")
    return answer.FromString(row["answer"])
