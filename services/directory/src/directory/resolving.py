"""Where mail to an address goes: accounts, aliases of aliases, targets outside (RFC 5321 s3.9).

`user+detail` is `user` unless it exists itself (RFC 5233). Mail to `postmaster` (RFC 5321 s4.5.1) of a domain
that has no such address, and to `postmaster` alone, goes to the address that the administrator named for it.
DEVIATION: RFC 5321 s4.5.1: where nobody is named, it is unknown: no account gets mail that it was not given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from directory.accounts import effective_quota
from directory.addresses import Address, clean, parse_address
from directory.limits import Limits
from postroom_contracts.capability import Quota
from postroom_contracts.errors import InvalidAddressError, LimitError
from postroom_contracts.ids import AccountId, TenantId
from postroom_storage.database import Connection, Database

_POSTMASTER: Final = "postmaster"
_NO_QUOTA: Final = Quota()

# One row for each address asked for: without a tenant the domain is not ours, without an owner nobody has it.
_OWNERS: Final = """
    SELECT wanted.domain, wanted.local_key, domain.tenant_id, owner.account_id,
           CASE WHEN owner.alias_id IS NOT NULL THEN ARRAY(
               SELECT target.address FROM alias_target target
               WHERE target.alias_id = owner.alias_id ORDER BY target.position) END AS targets,
           account.quota_octets, account.quota_messages, account.own_quota_octets, account.own_quota_messages
    FROM unnest($1::text[], $2::text[]) AS wanted (domain, local_key)
    LEFT JOIN domain ON domain.name = wanted.domain
    LEFT JOIN address owner ON owner.domain_id = domain.id AND owner.local_key = wanted.local_key
    LEFT JOIN account ON account.id = owner.account_id"""

Key: TypeAlias = tuple[str, str]
"""Domain and local key."""

Target: TypeAlias = AccountId | Address
"""An account of ours, or an address elsewhere."""


class Outcome(Enum):
    """What an address is to us."""

    LOCAL = "local"
    REMOTE = "remote"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer for one address, with how much the accounts among the targets may keep."""

    outcome: Outcome
    tenant_id: TenantId | None = None
    targets: Sequence[Target] = ()
    quotas: Mapping[Target, Quota] = field(default_factory=dict[Target, Quota])


@dataclass(slots=True)
class Known:
    """What of the directory was read for one request."""

    tenants: dict[str, TenantId] = field(default_factory=dict[str, TenantId])
    """By domain; ours only."""
    owners: dict[Key, AccountId | tuple[Address, ...]] = field(
        default_factory=dict[Key, AccountId | tuple[Address, ...]]
    )
    """The account, or the targets of the alias."""
    quotas: dict[Target, Quota] = field(default_factory=dict[Target, Quota])
    """Of the accounts that have any."""
    asked: set[Key] = field(default_factory=set[Key])

    def owner(self, address: Address) -> AccountId | tuple[Address, ...] | None:
        """Who has the address, or the address without its detail."""
        found = self.owners.get((address.domain, address.key))
        return self.owners.get((address.domain, address.base_key)) if found is None else found


class Resolver:
    """Resolves batches of addresses, each table asked once per level of aliases."""

    def __init__(self, database: Database, limits: Limits, postmaster: Address | None) -> None:
        self._database = database
        self._limits = limits
        self._postmaster = postmaster

    async def resolve(self, texts: Sequence[str]) -> list[Resolution]:
        """In the order of the request. Raises `LimitError`, `InvalidRequestError`."""
        if len(texts) > self._limits.resolved_addresses:
            raise LimitError("too many addresses")
        addresses = [self._read(text) for text in texts]
        known = Known()
        async with self._database.connection() as connection:
            wanted = {address for address in addresses if address is not None}
            for _ in range(self._limits.alias_depth + 1):
                if not (wanted := await self._learn(connection, known, wanted)):
                    break
        return [self._resolution(address, known) for address in addresses]

    def _read(self, text: str) -> Address | None:
        if clean(text).casefold() == _POSTMASTER:
            return self._postmaster
        try:
            return parse_address(text)
        except InvalidAddressError:
            return _unusual(text)

    async def _learn(self, connection: Connection, known: Known, wanted: Iterable[Address]) -> set[Address]:
        """Read about these addresses; gives those that the aliases among them name."""
        addresses = {address for address in wanted if (address.domain, address.key) not in known.asked}
        if self._postmaster is not None and any(address.key == _POSTMASTER for address in addresses):
            addresses.add(self._postmaster)
        keys = {(address.domain, key) for address in addresses for key in (address.key, address.base_key)}
        if not keys or len(known.asked) + len(keys) > self._limits.looked_up:
            return set()
        known.asked |= keys
        domains, local_keys = zip(*keys, strict=True)
        found: set[Address] = set()
        for row in await connection.fetch(_OWNERS, domains, local_keys):
            domain, local_key, tenant, account, targets, *limits = row
            if tenant is not None:
                known.tenants[domain] = tenant
            if account is not None:
                known.owners[domain, local_key] = account
                quota = effective_quota(Quota(*limits[:2]), Quota(*limits[2:]), self._limits.quota)
                if quota != _NO_QUOTA:
                    known.quotas[account] = quota
            elif targets is not None:
                known.owners[domain, local_key] = addresses_of = tuple(map(parse_address, targets))
                found.update(addresses_of)
        return found

    def _resolution(self, address: Address | None, known: Known) -> Resolution:
        if address is None:
            return Resolution(Outcome.UNKNOWN)
        if (tenant := known.tenants.get(address.domain)) is None:
            return Resolution(Outcome.REMOTE)
        if known.owner(address) is None and address.key == _POSTMASTER and self._postmaster is not None:
            address = self._postmaster
        targets = expand(address, known, self._limits)
        quotas = {target: known.quotas[target] for target in targets if target in known.quotas}
        return Resolution(Outcome.LOCAL if targets else Outcome.UNKNOWN, tenant, targets, quotas)


def expand(address: Address, known: Known, limits: Limits) -> Sequence[Target]:
    """The ends of all ways from an address, each once. A loop ends where it closes.

    Nothing where a bound is passed: the sender is told, instead of some recipients getting nothing.
    """
    ends: dict[Target, None] = {}
    seen: set[Key] = set()
    level = [address]
    for _ in range(limits.alias_depth + 1):
        following: list[Address] = []
        for at in level:
            if (at.domain, at.key) not in known.asked:
                return ()
            owner = known.owner(at)
            if at.domain not in known.tenants:
                ends[at] = None
            elif isinstance(owner, tuple):
                if (at.domain, at.key) not in seen:
                    seen.add((at.domain, at.key))
                    following += owner
            elif owner is not None:
                ends[owner] = None
        if len(ends) + len(following) > limits.expansion:
            return ()
        if not following:
            return tuple(ends)
        level = following
    return ()


def _unusual(text: str) -> Address | None:
    """An address that we do not serve; elsewhere it may be a good one (RFC 5321 s4.1.2, s4.1.3)."""
    local, _, domain = text.rpartition("@")
    return Address(local, domain.lower()) if local and domain else None
