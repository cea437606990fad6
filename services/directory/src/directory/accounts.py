"""An account as the rest of the service sees it."""

from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record

from postroom_contracts.capability import Quota
from postroom_contracts.ids import AccountId, TenantId


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who has mail and files. The id never changes; the address may.

    `quota` is what the administrator allows, `own_quota` what the account wants itself.
    """

    id: AccountId
    tenant_id: TenantId
    address: str
    display_name: str
    created_at: datetime
    quota: Quota = Quota()
    own_quota: Quota = Quota()

    def effective_quota(self, default: Quota) -> Quota:
        """What holds: the administrator's limits, or else the default, and never more than is wanted."""
        return effective_quota(self.quota, self.own_quota, default)


def account_of(row: Record) -> Account:
    """The account in a row that has all its columns."""
    return Account(
        id=AccountId(row["id"]),
        tenant_id=TenantId(row["tenant_id"]),
        address=row["address"],
        display_name=row["display_name"],
        created_at=row["created_at"],
        quota=Quota(row["quota_octets"], row["quota_messages"]),
        own_quota=Quota(row["own_quota_octets"], row["own_quota_messages"]),
    )


def effective_quota(allowed: Quota, own: Quota, default: Quota) -> Quota:
    """As `Account.effective_quota`."""
    octets = _first(allowed.octets, default.octets)
    messages = _first(allowed.messages, default.messages)
    return Quota(_least(octets, own.octets), _least(messages, own.messages))


def _first(limit: int | None, default: int | None) -> int | None:
    return default if limit is None else limit


def _least(first: int | None, second: int | None) -> int | None:
    given = [limit for limit in (first, second) if limit is not None]
    return min(given, default=None)
