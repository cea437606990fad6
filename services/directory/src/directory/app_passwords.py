"""App passwords: one for each program, for some scopes, made by us and shown once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from asyncpg import Record
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from directory.addresses import clean
from directory.limits import Limits
from directory.schema import ACCOUNT, APP_PASSWORD
from postroom_contracts.capability import Scope
from postroom_contracts.errors import (
    AccountNotFoundError,
    AppPasswordNotFoundError,
    InvalidRequestError,
    LimitError,
)
from postroom_contracts.ids import new_id
from postroom_storage.core import fetch, fetch_one
from postroom_storage.database import Connection

SCOPES: Final = frozenset({Scope.IMAP, Scope.POP3, Scope.SUBMISSION, Scope.FTP, Scope.API})

# As we make it, and as people copy it: in groups, in capitals.
_FORM: Final = re.compile(r"[a-z2-7]{20}")
_SEPARATORS: Final = re.compile(r"[\s-]+")


@dataclass(frozen=True, slots=True)
class NewAppPassword:
    """What is wanted; `digest` is what is kept of the password."""

    name: str
    scopes: Sequence[Scope]
    digest: bytes
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class AppPassword:
    """What is known of one."""

    id: UUID
    name: str
    scopes: Sequence[Scope]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


def digest_of(password: str) -> bytes | None:
    """What is kept of an app password; None for what cannot be one.

    A plain digest will do: nobody tries 2^100 passwords.
    """
    text = _SEPARATORS.sub("", password).lower()
    return sha256(text.encode("ascii")).digest() if _FORM.fullmatch(text) else None


def new_app_password(
    limits: Limits, name: str, scopes: Sequence[Scope], password: str, expires_at: datetime | None
) -> NewAppPassword:
    """What `create` takes. Raises `InvalidRequestError`."""
    if not (shown := clean(name, limits.app_password_name).strip()):
        raise InvalidRequestError("no name")
    distinct = tuple(sorted(set(scopes)))
    if not distinct or not SCOPES.issuperset(distinct):
        raise InvalidRequestError("not scopes of an app password")
    if (digest := digest_of(clean(password, limits.password))) is None:
        raise InvalidRequestError("not an app password")
    return NewAppPassword(shown, distinct, digest, expires_at)


async def create(
    connection: Connection, limits: Limits, account_id: UUID, wanted: NewAppPassword
) -> AppPassword:
    """Raises `AccountNotFoundError`, `LimitError` for more than an account may have."""
    lock = select(ACCOUNT.c.tenant_id).where(ACCOUNT.c.id == account_id).with_for_update()
    if (account := await fetch_one(connection, lock)) is None:
        raise AccountNotFoundError
    count = select(func.count()).select_from(APP_PASSWORD).where(APP_PASSWORD.c.account_id == account_id)
    found = await fetch_one(connection, count)
    if found is not None and found[0] >= limits.app_passwords:
        raise LimitError("too many app passwords")
    row = {
        "id": new_id(),
        "tenant_id": account["tenant_id"],
        "account_id": account_id,
        "name": wanted.name,
        "scopes": [scope.value for scope in wanted.scopes],
        "digest": wanted.digest,
        "expires_at": wanted.expires_at,
    }
    statement = insert(APP_PASSWORD).values(row).on_conflict_do_nothing().returning(APP_PASSWORD)
    if (made := await fetch_one(connection, statement)) is None:
        raise InvalidRequestError("the account has this app password")
    return _app_password(made)


async def list_of(connection: Connection, account_id: UUID) -> list[AppPassword]:
    """In the order of creation."""
    statement = (
        select(APP_PASSWORD).where(APP_PASSWORD.c.account_id == account_id).order_by(APP_PASSWORD.c.id)
    )
    return [_app_password(row) for row in await fetch(connection, statement)]


async def remove(connection: Connection, account_id: UUID, app_password_id: UUID) -> None:
    """Bites at once: its capabilities are not renewed. Raises `AppPasswordNotFoundError`."""
    statement = (
        delete(APP_PASSWORD)
        .where(APP_PASSWORD.c.id == app_password_id, APP_PASSWORD.c.account_id == account_id)
        .returning(APP_PASSWORD.c.id)
    )
    if await fetch_one(connection, statement) is None:
        raise AppPasswordNotFoundError


def _app_password(row: Record) -> AppPassword:
    return AppPassword(
        id=row["id"],
        name=row["name"],
        scopes=[Scope(scope) for scope in row["scopes"]],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
    )
