"""How much mail accounts may keep (RFC 9208): set by administrators, and by accounts for themselves."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, update

from directory.accounts import Account, account_of
from directory.addresses import parse_address
from directory.administration import select_account_id
from directory.schema import ACCOUNT
from postroom_contracts.capability import Quota
from postroom_contracts.errors import AccountNotFoundError
from postroom_storage.core import fetch_one
from postroom_storage.database import Connection


async def set_quota(connection: Connection, address: str, quota: Quota) -> Account:
    """What the administrator allows an account. Raises `AccountNotFoundError`, `InvalidAddressError`."""
    return await _set(connection, ACCOUNT.c.id.in_(select_account_id(parse_address(address))), quota, "")


async def set_own_quota(connection: Connection, account_id: UUID, quota: Quota) -> Account:
    """What an account wants itself; the administrator's limits hold all the same.

    Raises `AccountNotFoundError`.
    """
    return await _set(connection, ACCOUNT.c.id == account_id, quota, "own_")


async def _set(connection: Connection, which: "ColumnElement[bool]", quota: Quota, prefix: str) -> Account:
    values: dict[str, Any] = {
        f"{prefix}quota_octets": quota.octets,
        f"{prefix}quota_messages": quota.messages,
    }
    row = await fetch_one(connection, update(ACCOUNT).where(which).values(values).returning(ACCOUNT))
    if row is None:
        raise AccountNotFoundError
    return account_of(row)
