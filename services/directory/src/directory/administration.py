"""What administrators do: domains, accounts, aliases.

What changes something does so within the caller's transaction; who opened it commits it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
from asyncpg import Record
from google.protobuf.message import Message
from sqlalchemy import Select, Table, delete, func, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from directory.accounts import Account, account_of
from directory.addresses import Address, clean, parse_address, parse_domain
from directory.limits import Limits
from directory.passwords import Passwords, spellings
from directory.schema import (
    ACCOUNT,
    ADDRESS,
    ALIAS,
    ALIAS_TARGET,
    CREDENTIAL,
    DELETED_ACCOUNT,
    DOMAIN,
    TENANT,
)
from directory.scram_keys import enable, renew_keys
from postroom_contracts.capability import Quota
from postroom_contracts.errors import (
    AccountExistsError,
    AccountNotFoundError,
    AliasExistsError,
    AliasNotFoundError,
    DomainExistsError,
    DomainInUseError,
    DomainNotFoundError,
    InvalidRequestError,
    LimitError,
    TenantNotFoundError,
)
from postroom_contracts.ids import DEFAULT_TENANT, TenantId, new_id
from postroom_runtime.steps import reached
from postroom_storage.core import fetch, fetch_one
from postroom_storage.database import Connection, Database
from postroom_storage.operations import Operation, forget_old, once
from postroom_wire.sasl.scram import Keys

M = TypeVar("M", bound=Message)

_KIND: Final = "password"
_FORGOTTEN_AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True)
class Page:
    """Where a listing goes on, and how much of it is wanted; ids in the order of creation."""

    after: UUID | None
    limit: int


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose domains they are."""

    id: TenantId
    name: str


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain whose mail is ours; the name in A-labels."""

    id: UUID
    tenant_id: TenantId
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that stands for others."""

    id: UUID
    tenant_id: TenantId
    address: str
    targets: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewAccount:
    """Who is to have an account; `hash` is what is kept of the password, with SCRAM's `keys` if any."""

    address: Address
    display_name: str
    hash: str
    quota: Quota = Quota()
    keys: Keys | None = None


class Administration:
    """Addresses are unique over accounts and aliases, whoever makes them at the same time."""

    def __init__(self, database: Database, passwords: Passwords, limits: Limits) -> None:
        self._database = database
        self._passwords = passwords
        self._limits = limits

    async def once(
        self, operation: Operation | None, answer: type[M], work: Callable[[Connection], Awaitable[M]]
    ) -> M:
        """Make changes in one transaction, or give the answer of when they were made."""

        async def change(connection: Connection) -> M:
            # Each takes some that are over with it, so that the table stays small.
            await forget_old(connection, _FORGOTTEN_AT_ONCE)
            return await work(connection)

        answered = await once(self._database, operation, answer, change)
        reached("administration.after_commit")
        return answered

    async def list_tenants(self, page: Page) -> list[Tenant]:
        """In the order of creation."""
        return [Tenant(TenantId(row["id"]), row["name"]) for row in await self._list(TENANT, page)]

    async def create_domain(self, connection: Connection, name: str, tenant: UUID | None) -> Domain:
        """Raises `DomainExistsError`, `TenantNotFoundError`, `InvalidAddressError`."""
        row = {"id": new_id(), "tenant_id": tenant or DEFAULT_TENANT, "name": parse_domain(name)}
        try:
            made = await fetch_one(connection, insert(DOMAIN).values(row).returning(DOMAIN))
        except asyncpg.UniqueViolationError:
            raise DomainExistsError from None
        except asyncpg.ForeignKeyViolationError:
            raise TenantNotFoundError from None
        return _domain(_one(made))

    async def list_domains(self, page: Page) -> list[Domain]:
        """In the order of creation."""
        return [_domain(row) for row in await self._list(DOMAIN, page)]

    async def delete_domain(self, connection: Connection, name: str) -> None:
        """Raises `DomainNotFoundError`, `DomainInUseError` while accounts or aliases live in it."""
        statement = delete(DOMAIN).where(DOMAIN.c.name == parse_domain(name)).returning(DOMAIN.c.id)
        try:
            removed = await fetch_one(connection, statement)
        except asyncpg.ForeignKeyViolationError:
            raise DomainInUseError from None
        if removed is None:
            raise DomainNotFoundError

    async def create_account(self, connection: Connection, wanted: NewAccount) -> Account:
        """Raises `AccountExistsError`, `AliasExistsError`, `DomainNotFoundError`."""
        domain = await _lock_domain(connection, wanted.address.domain)
        account_id, tenant_id = new_id(), domain["tenant_id"]
        row = {
            "id": account_id,
            "tenant_id": tenant_id,
            "address": str(wanted.address),
            "display_name": wanted.display_name,
            "quota_octets": wanted.quota.octets,
            "quota_messages": wanted.quota.messages,
        }
        made = await fetch_one(connection, insert(ACCOUNT).values(row).returning(ACCOUNT))
        await _take_address(connection, wanted.address, domain, {"account_id": account_id})
        credential = {
            "id": new_id(),
            "tenant_id": tenant_id,
            "account_id": account_id,
            "kind": _KIND,
            "version": 1,
            "hash": wanted.hash,
        }
        await fetch(connection, insert(CREDENTIAL).values(credential))
        if wanted.keys is not None:
            await enable(connection, account_id, 1, wanted.keys)
        return account_of(_one(made))

    async def account(self, account_id: UUID) -> Account:
        """Raises `AccountNotFoundError`."""
        async with self._database.connection() as connection:
            row = await fetch_one(connection, select(ACCOUNT).where(ACCOUNT.c.id == account_id))
        if row is None:
            raise AccountNotFoundError
        return account_of(row)

    async def get_account(self, address: str) -> Account:
        """Raises `AccountNotFoundError`."""
        wanted = parse_address(address)
        async with self._database.connection() as connection:
            row = await fetch_one(connection, _select_owned(ACCOUNT, ADDRESS.c.account_id, wanted))
        if row is None:
            raise AccountNotFoundError
        return account_of(row)

    async def find_accounts(
        self, tenant: UUID, ids: Sequence[UUID], addresses: Sequence[str]
    ) -> list[Account]:
        """The tenant's accounts of these ids and addresses. Raises `LimitError` for too many of them.

        Addresses that are none, or an alias's, are nobody's.
        """
        if len(ids) + len(addresses) > self._limits.resolved_addresses:
            raise LimitError("too many accounts in one call")
        found: dict[UUID, Account] = {}
        async with self._database.connection() as connection:
            for row in await fetch(
                connection, select(ACCOUNT).where(ACCOUNT.c.tenant_id == tenant, ACCOUNT.c.id.in_(ids))
            ):
                found[row["id"]] = account_of(row)
            for text in addresses:
                statement = select_account_id(parse_address(text))
                which = select(ACCOUNT).where(ACCOUNT.c.tenant_id == tenant, ACCOUNT.c.id.in_(statement))
                if (row := await fetch_one(connection, which)) is not None:
                    found[row["id"]] = account_of(row)
        return list(found.values())

    async def find_deleted(self, ids: Sequence[UUID]) -> dict[UUID, datetime]:
        """When those of these accounts were deleted that were. Raises `LimitError` for too many of them."""
        if len(ids) > self._limits.resolved_addresses:
            raise LimitError("too many accounts in one call")
        statement = select(DELETED_ACCOUNT).where(DELETED_ACCOUNT.c.account_id.in_(ids))
        async with self._database.connection() as connection:
            return {row["account_id"]: row["deleted_at"] for row in await fetch(connection, statement)}

    async def list_accounts(self, page: Page) -> list[Account]:
        """In the order of creation."""
        return [account_of(row) for row in await self._list(ACCOUNT, page)]

    async def set_password(
        self, connection: Connection, address: str, kept: str, keys: Keys | None = None
    ) -> None:
        """Bites at once: what was verified or signed with the old one ends. Raises `AccountNotFoundError`.

        `kept` is what `hash_password` gave, `keys` what `scram_keys` did.
        """
        wanted = parse_address(address)
        statement = (
            update(CREDENTIAL)
            .where(
                CREDENTIAL.c.account_id.in_(_select_owner(ADDRESS.c.account_id, wanted)),
                CREDENTIAL.c.kind == _KIND,
            )
            .values(hash=kept, version=CREDENTIAL.c.version + 1, changed_at=func.now())
            .returning(CREDENTIAL.c.account_id, CREDENTIAL.c.version)
        )
        if (changed := await fetch_one(connection, statement)) is None:
            raise AccountNotFoundError
        if keys is not None:
            keep = enable if self._limits.scram_for_all else renew_keys
            await keep(connection, changed["account_id"], changed["version"], keys)

    async def delete_account(self, connection: Connection, address: str) -> None:
        """Raises `AccountNotFoundError`. Its mail and files are the stores' business, who ask for it."""
        wanted = _select_owner(ADDRESS.c.account_id, parse_address(address))
        statement = (
            delete(ACCOUNT).where(ACCOUNT.c.id.in_(wanted)).returning(ACCOUNT.c.id, ACCOUNT.c.tenant_id)
        )
        if (row := await fetch_one(connection, statement)) is None:
            raise AccountNotFoundError
        gone = {"account_id": row["id"], "tenant_id": row["tenant_id"]}
        await fetch(connection, insert(DELETED_ACCOUNT).values(gone))

    async def create_alias(self, connection: Connection, address: str, targets: Sequence[str]) -> Alias:
        """Targets may be aliases, or addresses of other houses, and need not exist yet.

        Raises `AliasExistsError`, `AccountExistsError`, `DomainNotFoundError`, `LimitError`, and for wrong
        values `InvalidAddressError` or `InvalidRequestError`.
        """
        wanted = parse_address(address)
        if not targets:
            raise InvalidRequestError("an alias without targets")
        if len(targets) > self._limits.alias_targets:
            raise LimitError("too many targets")
        distinct = list(dict.fromkeys(str(parse_address(target)) for target in targets))
        domain = await _lock_domain(connection, wanted.domain)
        alias_id, tenant_id = new_id(), domain["tenant_id"]
        row = {"id": alias_id, "tenant_id": tenant_id, "address": str(wanted)}
        made = await fetch_one(connection, insert(ALIAS).values(row).returning(ALIAS))
        await _take_address(connection, wanted, domain, {"alias_id": alias_id})
        rows = [
            {"alias_id": alias_id, "position": position, "tenant_id": tenant_id, "address": target}
            for position, target in enumerate(distinct)
        ]
        await fetch(connection, insert(ALIAS_TARGET).values(rows))
        return _alias(_one(made), distinct)

    async def list_aliases(self, page: Page) -> list[Alias]:
        """In the order of creation."""
        targets = (
            select(func.array_agg(aggregate_order_by(ALIAS_TARGET.c.address, ALIAS_TARGET.c.position)))
            .where(ALIAS_TARGET.c.alias_id == ALIAS.c.id)
            .scalar_subquery()
            .label("targets")
        )
        async with self._database.connection() as connection:
            rows = await fetch(connection, _paged(select(ALIAS, targets), ALIAS, page))
        return [_alias(row, row["targets"]) for row in rows]

    async def delete_alias(self, connection: Connection, address: str) -> None:
        """Raises `AliasNotFoundError`."""
        if not await _delete_owned(connection, ALIAS, ADDRESS.c.alias_id, parse_address(address)):
            raise AliasNotFoundError

    async def new_account(self, address: str, password: str, display_name: str) -> NewAccount:
        """What `create_account` takes. Raises `InvalidAddressError`, `InvalidRequestError`."""
        wanted, shown = parse_address(address), clean(display_name, self._limits.display_name)
        kept = await self.hash_password(password)
        keys = await self.scram_keys(password) if self._limits.scram_for_all else None
        return NewAccount(wanted, shown, kept, keys=keys)

    async def hash_password(self, password: str) -> str:
        """What to keep of a password. Raises `InvalidRequestError` for one that nobody may have."""
        if len(clean(password, self._limits.password)) < self._limits.password_characters:
            raise InvalidRequestError("the password is too short")
        return await self._passwords.hash(spellings(password)[0])

    async def scram_keys(self, password: str) -> Keys | None:
        """What `set_password` needs besides for an account that has opted in to SCRAM."""
        return await self._passwords.scram_keys(clean(password, self._limits.password))

    async def digest_password(self, password: str, salt: bytes) -> bytes:
        """What tells a password from others, under a salt of one's own, as dear to try as what is kept."""
        return await self._passwords.digest(clean(password, self._limits.password), salt)

    async def _list(self, table: Table, page: Page) -> Sequence[Record]:
        async with self._database.connection() as connection:
            return await fetch(connection, _paged(select(table), table, page))


async def _delete_owned(connection: Connection, table: Table, owner: Any, address: Address) -> bool:
    statement = delete(table).where(table.c.id.in_(_select_owner(owner, address))).returning(table.c.id)
    return await fetch_one(connection, statement) is not None


async def _lock_domain(connection: Connection, name: str) -> Record:
    """The domain, which stays until the end of the transaction; raises `DomainNotFoundError`."""
    statement = select(DOMAIN).where(DOMAIN.c.name == name).with_for_update(read=True, key_share=True)
    if (row := await fetch_one(connection, statement)) is None:
        raise DomainNotFoundError
    return row


async def _take_address(
    connection: Connection, address: Address, domain: Record, owner: dict[str, UUID]
) -> None:
    """Make the address its owner's; raises `AccountExistsError` or `AliasExistsError`."""
    row = {"domain_id": domain["id"], "local_key": address.key, "tenant_id": domain["tenant_id"]}
    statement = insert(ADDRESS).values(**row, **owner).on_conflict_do_nothing().returning(ADDRESS.c.local_key)
    if await fetch_one(connection, statement) is not None:
        return
    alias = await fetch_one(connection, _select_owner(ADDRESS.c.alias_id, address))
    raise AccountExistsError if alias is None else AliasExistsError


def select_account_id(address: Address) -> "Select[Any]":
    """The id of the account that has an address."""
    return _select_owner(ADDRESS.c.account_id, address)


def _select_owner(owner: Any, address: Address) -> "Select[Any]":
    return (
        select(owner)
        .join_from(ADDRESS, DOMAIN, ADDRESS.c.domain_id == DOMAIN.c.id)
        .where(DOMAIN.c.name == address.domain, ADDRESS.c.local_key == address.key, owner.is_not(None))
    )


def _select_owned(table: Table, owner: Any, address: Address) -> "Select[Any]":
    return select(table).where(table.c.id.in_(_select_owner(owner, address)))


def _paged(statement: "Select[Any]", table: Table, page: Page) -> "Select[Any]":
    if page.after is not None:
        statement = statement.where(table.c.id > page.after)
    return statement.order_by(table.c.id).limit(page.limit)


def _one(row: Record | None) -> Record:
    if row is None:  # RETURNING of an INSERT gives a row
        raise RuntimeError("INSERT returned nothing")
    return row


def _domain(row: Record) -> Domain:
    return Domain(row["id"], TenantId(row["tenant_id"]), row["name"], row["created_at"])


def _alias(row: Record, targets: Sequence[str]) -> Alias:
    return Alias(row["id"], TenantId(row["tenant_id"]), row["address"], targets, row["created_at"])
