"""The verbs `declare` and `drift`: make what files declare, and tell what is otherwise.

Both may run as often as one likes. What is there stays as it is: a password is set when its account is made,
never again. What is there otherwise than declared, or undeclared, is drift: it is told and left alone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from directory.declarations import (
    Declared,
    DeclaredAccount,
    DeclaredAlias,
    DeclaredQuota,
    key_of,
    read_declared,
)
from directory.settings import SetupSettings
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from postroom_contracts.errors import (
    AccountExistsError,
    AccountNotFoundError,
    AliasExistsError,
    CapabilityExpiredError,
    DomainExistsError,
    InvalidCredentialsError,
    PostroomError,
    UnavailableError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.errors import ConfigurationError, FindingsError
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_runtime.logs import log

T = TypeVar("T")
_NAME: Final = "setup"
"""Whose certificate it has: directory lets that one make and list, and nothing else."""
_PAUSE_SECONDS: Final = 1.0
_LINES: Final = 500
"""Lines of one kind in the log; the rest is counted."""


@dataclass(slots=True)
class Outcome:
    """What became of a declaration, a line each."""

    made: list[str] = field(default_factory=list[str])
    drift: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])


class _NoPasswordError(Exception):
    """An account is to be made, and nobody says with which password."""


class Administrator:
    """Calls with the administrator's capability, which is asked for anew when it has run out."""

    def __init__(self, stub: DirectoryServiceStub, settings: SetupSettings) -> None:
        self.stub = stub
        self._settings = settings
        self._capability = ""

    async def log_in(self) -> None:
        """Wait for directory. Raises `UnavailableError`, `ConfigurationError`."""
        request = pb.AuthenticateAdminRequest(token=self._settings.admin_token.get_secret_value())
        attempts = int(self._settings.wait_seconds / _PAUSE_SECONDS)
        while True:
            try:
                self._capability = (await self.stub.AuthenticateAdmin(request)).capability
            except InvalidCredentialsError:
                raise ConfigurationError("the administrator's token is not directory's") from None
            except UnavailableError:
                if (attempts := attempts - 1) < 0:
                    raise
            else:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def ask(self, method: Callable[..., Awaitable[T]], request: object) -> T:
        """One call. Raises `PostroomError`."""
        try:
            return await method(request, metadata=on_behalf_of(self._capability))
        except CapabilityExpiredError:
            await self.log_in()
            return await method(request, metadata=on_behalf_of(self._capability))

    async def pages(self, method: Callable[..., Awaitable[T]], request: type[Any]) -> AsyncIterator[T]:
        """All pages of a list."""
        cursor = ""
        while True:
            answer: Any = await self.ask(method, request(cursor=cursor))
            yield answer
            if not (cursor := answer.next_cursor):
                return


class Declaring:
    """Makes what is declared, and compares."""

    def __init__(self, administrator: Administrator, declared: Declared) -> None:
        self._administrator = administrator
        self._stub = administrator.stub
        self._declared = declared
        self._outcome = Outcome()

    async def make(self) -> Outcome:
        """Make what is missing and compare the rest. Raises `UnavailableError`."""
        for name in self._declared.domains or ():
            await self._once(f"domain {name}", DomainExistsError, self._make_domain(name))
        for account in self._declared.accounts or ():
            await self._once(f"account {account.address}", AccountExistsError, self._make_account(account))
        for alias in self._declared.aliases or ():
            await self._once(f"alias {alias.address}", AliasExistsError, self._make_alias(alias))
        return await self.compare()

    async def compare(self) -> Outcome:
        """Change nothing. Raises `UnavailableError`."""
        await self._compare_domains()
        await self._compare_accounts()
        await self._compare_aliases()
        return self._outcome

    async def _once(self, what: str, there: type[PostroomError], making: Awaitable[None]) -> None:
        try:
            await making
        except there:
            return
        except _NoPasswordError:
            self._outcome.refused.append(f"{what}: no password to begin with")
        except PostroomError as error:
            if error.transient:
                raise
            self._outcome.refused.append(f"{what}: {error.name}")
        else:
            self._outcome.made.append(what)

    async def _make_domain(self, name: str) -> None:
        request = pb.CreateDomainRequest(name=name, operation_id=new_id().bytes)
        await self._administrator.ask(self._stub.CreateDomain, request)

    async def _make_account(self, wanted: DeclaredAccount) -> None:
        """Asks first: what is there needs no password any more."""
        try:
            await self._administrator.ask(self._stub.GetAccount, pb.GetAccountRequest(address=wanted.address))
        except AccountNotFoundError:
            password = await asyncio.to_thread(wanted.first_password)
        else:
            raise AccountExistsError
        if password is None:
            raise _NoPasswordError
        request = pb.CreateAccountRequest(
            address=wanted.address,
            password=password,
            display_name=wanted.name or "",
            quota=None if wanted.quota is None else _quota(wanted.quota),
            operation_id=new_id().bytes,
        )
        await self._administrator.ask(self._stub.CreateAccount, request)

    async def _make_alias(self, wanted: DeclaredAlias) -> None:
        request = pb.CreateAliasRequest(
            address=wanted.address, targets=wanted.targets, operation_id=new_id().bytes
        )
        await self._administrator.ask(self._stub.CreateAlias, request)

    async def _compare_domains(self) -> None:
        if (domains := self._declared.domains) is None:
            return
        missing = set(domains)
        async for page in self._administrator.pages(self._stub.ListDomains, pb.ListDomainsRequest):
            for domain in page.domains:
                if domain.name not in missing:
                    self._drifts(f"domain {domain.name} is not declared")
                missing.discard(domain.name)
        self._miss(f"domain {name}" for name in sorted(missing))

    async def _compare_accounts(self) -> None:
        if (accounts := self._declared.accounts) is None:
            return
        wanted = {key_of(each.address): each for each in accounts}
        async for page in self._administrator.pages(self._stub.ListAccounts, pb.ListAccountsRequest):
            for account in page.accounts:
                if (found := wanted.pop(key_of(account.address), None)) is None:
                    self._drifts(f"account {account.address} is not declared")
                elif found.name is not None and found.name != account.display_name:
                    self._drifts(f"account {account.address} has another name")
                elif found.quota is not None and _quota(found.quota) != account.quota:
                    self._drifts(f"account {account.address} has another quota")
        self._miss(f"account {each.address}" for each in wanted.values())

    async def _compare_aliases(self) -> None:
        if (aliases := self._declared.aliases) is None:
            return
        wanted = {key_of(each.address): each for each in aliases}
        async for page in self._administrator.pages(self._stub.ListAliases, pb.ListAliasesRequest):
            for alias in page.aliases:
                if (found := wanted.pop(key_of(alias.address), None)) is None:
                    self._drifts(f"alias {alias.address} is not declared")
                elif {*map(key_of, found.targets)} != {*map(key_of, alias.targets)}:
                    self._drifts(f"alias {alias.address} leads elsewhere")
        self._miss(f"alias {each.address}" for each in wanted.values())

    def _miss(self, things: Iterable[str]) -> None:
        for thing in things:
            self._drifts(f"{thing} is missing")

    def _drifts(self, line: str) -> None:
        self._outcome.drift.append(line)


def _quota(wanted: DeclaredQuota) -> pb.Quota:
    return pb.Quota(octets=wanted.octets, messages=wanted.messages)


async def declare(settings: SetupSettings) -> None:
    """Make what is missing. Raises `FindingsError` when something was refused; drift is told only."""
    outcome = await work(settings, Declaring.make)
    _tell(outcome)
    if outcome.refused:
        raise FindingsError(f"{len(outcome.refused)} refused")


async def drift(settings: SetupSettings) -> None:
    """Change nothing. Raises `FindingsError` when something is otherwise than declared."""
    outcome = await work(settings, Declaring.compare)
    _tell(outcome)
    if outcome.drift:
        raise FindingsError(f"{len(outcome.drift)} otherwise than declared")


async def work(settings: SetupSettings, how: Callable[[Declaring], Awaitable[Outcome]]) -> Outcome:
    """Read what is declared and do that with it. Raises `ConfigurationError`, `UnavailableError`."""
    declared = await asyncio.to_thread(read_declared, [Path(place) for place in settings.declarations])
    async with channel(settings.directory_address, _NAME, settings.grpc_tls, server="directory") as directory:
        administrator = Administrator(DirectoryServiceStub(directory), settings)
        await administrator.log_in()
        return await how(Declaring(administrator, declared))


def _tell(outcome: Outcome) -> None:
    for line in outcome.made[:_LINES]:
        log.info("made", what=line)
    for line in outcome.refused[:_LINES]:
        log.error("refused", what=line)
    for line in outcome.drift[:_LINES]:
        log.warning("drift", what=line)
    log.info("compared", made=len(outcome.made), refused=len(outcome.refused), drift=len(outcome.drift))
