"""`python -m directory.declaring`: make the domains, accounts and aliases that a file declares.

It may run as often as one likes. What is there stays as it is: a password is set when its account is made,
never again. What is there otherwise than declared, or undeclared, is drift: it is told and left alone.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from directory.addresses import parse_address, parse_domain
from directory.settings import DeclaringSettings
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.errors import (
    AccountExistsError,
    AccountNotFoundError,
    AliasExistsError,
    DomainExistsError,
    PostroomError,
    UnavailableError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_client import Metadata, channel, on_behalf_of
from postroom_runtime.service import ExitStatus
from postroom_runtime.settings import load_settings

T = TypeVar("T")
_NAME: Final = "postroom"
"""Whose certificate it has: that of the command line, which directory lets administer."""
_PAUSE_SECONDS: Final = 1.0


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclaredAccount(_Document):
    """Somebody with a mailbox; the first line of the file is the password that the account begins with."""

    address: str
    name: str = ""
    password_file: Path


class DeclaredAlias(_Document):
    """An address that leads to others."""

    address: str
    targets: tuple[str, ...]


class Declared(_Document):
    """All that there is to be."""

    domains: tuple[str, ...] = ()
    accounts: tuple[DeclaredAccount, ...] = ()
    aliases: tuple[DeclaredAlias, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What became of a declaration, a line each."""

    made: list[str] = field(default_factory=list[str])
    drift: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])


def read_declared(file: Path) -> Declared:
    """Raises `ConfigurationError`."""
    try:
        return Declared.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise ConfigurationError(f"{file}: {faults}") from None


class Declaring:
    """Makes what is declared, by calls as the administrator."""

    def __init__(self, stub: DirectoryServiceStub, metadata: Metadata) -> None:
        self._stub = stub
        self._metadata = metadata
        self._outcome = Outcome()

    async def make(self, declared: Declared) -> Outcome:
        """Make what is missing and compare the rest. Raises `UnavailableError`."""
        for name in declared.domains:
            await self._once(f"domain {name}", DomainExistsError, self._make_domain(name))
        for account in declared.accounts:
            await self._once(f"account {account.address}", AccountExistsError, self._make_account(account))
        for alias in declared.aliases:
            await self._once(f"alias {alias.address}", AliasExistsError, self._make_alias(alias))
        await self._compare_domains(declared)
        await self._compare_accounts(declared)
        await self._compare_aliases(declared)
        return self._outcome

    async def _once(self, what: str, there: type[PostroomError], making: Awaitable[None]) -> None:
        try:
            await making
        except there:
            return
        except PostroomError as error:
            if error.transient:
                raise
            self._outcome.refused.append(f"{what}: {error.name}")
        else:
            self._outcome.made.append(what)

    async def _make_domain(self, name: str) -> None:
        request = pb.CreateDomainRequest(name=name, operation_id=new_id().bytes)
        await self._stub.CreateDomain(request, metadata=self._metadata)

    async def _make_account(self, wanted: DeclaredAccount) -> None:
        try:
            await self._stub.GetAccount(pb.GetAccountRequest(address=wanted.address), metadata=self._metadata)
        except AccountNotFoundError:
            password = await asyncio.to_thread(_first_line, wanted.password_file)
        else:
            raise AccountExistsError
        request = pb.CreateAccountRequest(
            address=wanted.address, password=password, display_name=wanted.name, operation_id=new_id().bytes
        )
        await self._stub.CreateAccount(request, metadata=self._metadata)

    async def _make_alias(self, wanted: DeclaredAlias) -> None:
        request = pb.CreateAliasRequest(
            address=wanted.address, targets=wanted.targets, operation_id=new_id().bytes
        )
        await self._stub.CreateAlias(request, metadata=self._metadata)

    async def _compare_domains(self, declared: Declared) -> None:
        wanted = {parse_domain(name) for name in declared.domains}
        there = [
            domain.name
            async for page in self._pages(self._stub.ListDomains, pb.ListDomainsRequest)
            for domain in page.domains
        ]
        self._outcome.drift += [f"domain {name} is not declared" for name in there if name not in wanted]

    async def _compare_accounts(self, declared: Declared) -> None:
        wanted = {_key(each.address): each for each in declared.accounts}
        async for page in self._pages(self._stub.ListAccounts, pb.ListAccountsRequest):
            for account in page.accounts:
                if (found := wanted.get(_key(account.address))) is None:
                    self._outcome.drift.append(f"account {account.address} is not declared")
                elif found.name != account.display_name:
                    self._outcome.drift.append(f"account {account.address} has another name")

    async def _compare_aliases(self, declared: Declared) -> None:
        wanted = {_key(each.address): {_key(target) for target in each.targets} for each in declared.aliases}
        async for page in self._pages(self._stub.ListAliases, pb.ListAliasesRequest):
            for alias in page.aliases:
                if (targets := wanted.get(_key(alias.address))) is None:
                    self._outcome.drift.append(f"alias {alias.address} is not declared")
                elif targets != {_key(target) for target in alias.targets}:
                    self._outcome.drift.append(f"alias {alias.address} leads elsewhere")

    async def _pages(self, method: Callable[..., Awaitable[T]], request: type[Any]) -> AsyncIterator[T]:
        cursor = ""
        while True:
            answer: Any = await method(request(cursor=cursor), metadata=self._metadata)
            yield answer
            if not (cursor := answer.next_cursor):
                return


def _key(address: str) -> tuple[str, str]:
    parsed = parse_address(address)
    return parsed.key, parsed.domain


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


async def declare(settings: DeclaringSettings) -> Outcome:
    """Make what the file declares. Raises `ConfigurationError`, `UnavailableError`."""
    declared = read_declared(settings.file)
    async with channel(settings.directory_address, _NAME, settings.grpc_tls, server="directory") as directory:
        stub = DirectoryServiceStub(directory)
        capability = await _log_in(stub, settings)
        return await Declaring(stub, on_behalf_of(capability)).make(declared)


async def _log_in(stub: DirectoryServiceStub, settings: DeclaringSettings) -> str:
    """The administrator's capability, once directory answers."""
    request = pb.AuthenticateAdminRequest(token=settings.admin_token.get_secret_value())
    attempts = int(settings.wait_seconds / _PAUSE_SECONDS)
    while True:
        try:
            return (await stub.AuthenticateAdmin(request)).capability
        except UnavailableError:
            if (attempts := attempts - 1) < 0:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def run() -> ExitStatus:
    """`main` without the exit: what was made and what is drift goes to standard output, a line each."""
    try:
        outcome = asyncio.run(declare(load_settings(DeclaringSettings)))
    except (ConfigurationError, PostroomError) as error:
        sys.stderr.write(f"declaring: {error or type(error).__name__}\n")
        if isinstance(error, ConfigurationError):
            return ExitStatus.CONFIGURATION
        return ExitStatus.DEPENDENCY if error.transient else ExitStatus.FAILED
    for kind, lines in (("made", outcome.made), ("drift", outcome.drift), ("refused", outcome.refused)):
        for line in lines:
            sys.stdout.write(f"{kind}: {line}\n")
    return ExitStatus.FAILED if outcome.refused else ExitStatus.FINE


def main() -> NoReturn:
    """Do it and leave with an exit status."""
    sys.exit(run())


if __name__ == "__main__":
    main()
