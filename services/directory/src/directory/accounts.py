"""An account as the rest of the service sees it."""

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record

from postroom_contracts.ids import AccountId, TenantId


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who has mail and files. The id never changes; the address may."""

    id: AccountId
    tenant_id: TenantId
    address: str
    display_name: str
    created_at: datetime


def account_of(row: Record) -> Account:
    """The account in a row that has all its columns."""
    return Account(
        id=AccountId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        address=row["address"],
        display_name=row["display_name"],
        created_at=row["created_at"],
    )
