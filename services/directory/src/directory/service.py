"""The gRPC face of directory: messages in, domain calls, messages out."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from uuid import UUID

import grpc
from google.protobuf.message import Message

from directory.administration import Administration, Page
from directory.authentication import Authenticator, Login, LoginRequest
from directory.keys import KeyRing
from directory.limits import Limits
from directory.logins import logged_in, scope_of
from directory.messages import (
    account_message,
    alias_message,
    domain_message,
    maybe_account_message,
    quota_of,
    timestamp,
)
from directory.quotas import set_own_quota, set_quota
from directory.recipients import Recipients
from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1.directory_pb2_grpc import DirectoryServiceServicer
from postroom_contracts.capability import Capability, CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, UnavailableError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_storage.database import Connection
from postroom_storage.operations import operation_of

M = TypeVar("M", bound=Message)
S = TypeVar("S", pb.CreateAccountRequest, pb.SetPasswordRequest)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Change: TypeAlias = (
    pb.CreateDomainRequest
    | pb.DeleteDomainRequest
    | pb.CreateAccountRequest
    | pb.SetPasswordRequest
    | pb.DeleteAccountRequest
    | pb.CreateAliasRequest
    | pb.DeleteAliasRequest
    | pb.SetQuotaRequest
)

_OWNING: Final = frozenset({Scope.IMAP, Scope.API})
_FINDING: Final = _OWNING | {Scope.ADMIN}
_PUBLISH_SECONDS: Final = 0.5


class Publisher(Protocol):
    """Tells whoever listens; may be lost."""

    async def publish(self, subject: str, payload: bytes = b"") -> None:
        """Send it, or do not."""
        ...


class DirectoryService(DirectoryServiceServicer):
    """Every method answers within `Limits.call_seconds`, streams apart."""

    def __init__(
        self,
        authenticator: Authenticator,
        keys: KeyRing,
        recipients: Recipients,
        administration: Administration,
        publisher: Publisher,
        limits: Limits,
    ) -> None:
        self._authenticator = authenticator
        self._keys = keys
        self._recipients = recipients
        self._administration = administration
        self._publisher = publisher
        self._limits = limits

    @property
    def verifier(self) -> CapabilityVerifier:
        """Of the capabilities that we give."""
        return self._authenticator.verifier

    async def Authenticate(
        self, request: pb.AuthenticateRequest, context: _Context
    ) -> pb.AuthenticateResponse:
        """Checks an address and its password."""
        scope = scope_of(request.scope)
        wanted = LoginRequest(request.address, request.password, scope, request.peer_address, request.session)
        async with self._in_time():
            return await logged_in(self._authenticator.authenticate(wanted), scope, self._limits)

    async def AuthenticateAdmin(
        self, request: pb.AuthenticateAdminRequest, context: _Context
    ) -> pb.AuthenticateAdminResponse:
        """Exchanges the administrator's token for a capability."""
        async with self._in_time():
            login = await self._authenticator.authenticate_admin(request.token)
        return pb.AuthenticateAdminResponse(
            capability=login.capability.text,
            capability_expires_at=timestamp(login.capability.expires_at),
        )

    async def RenewCapability(
        self, request: pb.RenewCapabilityRequest, context: _Context
    ) -> pb.RenewCapabilityResponse:
        """A fresh capability for a live token."""
        async with self._in_time():
            login: Login = await self._authenticator.renew(request.token)
        return pb.RenewCapabilityResponse(
            capability=login.capability.text,
            capability_expires_at=timestamp(login.capability.expires_at),
            account=maybe_account_message(login.account, self._limits.quota),
        )

    async def GetCapabilityKeys(
        self, request: pb.GetCapabilityKeysRequest, context: _Context
    ) -> pb.GetCapabilityKeysResponse:
        """The public keys, the one in use first."""
        async with self._in_time():
            keys = await self._keys.public_keys()
        return pb.GetCapabilityKeysResponse(
            keys=[pb.CapabilityKey(key_id=key.key_id, public_key=key.octets) for key in keys]
        )

    async def ResolveRecipients(
        self, request: pb.ResolveRecipientsRequest, context: _Context
    ) -> pb.ResolveRecipientsResponse:
        """Where mail to each address goes."""
        async with self._in_time():
            return pb.ResolveRecipientsResponse(
                resolutions=await self._recipients.resolutions(request.addresses)
            )

    async def StreamResolveRecipients(
        self, request_iterator: AsyncIterator[pb.StreamResolveRecipientsRequest], context: _Context
    ) -> AsyncIterator[pb.StreamResolveRecipientsResponse]:
        """The same for many requests, each answered before the next is looked at."""
        async for answers in self._recipients.answered(request_iterator):
            yield pb.StreamResolveRecipientsResponse(answers=answers)

    async def ListTenants(self, request: pb.ListTenantsRequest, context: _Context) -> pb.ListTenantsResponse:
        """All tenants, in pages."""
        async with self._as_admin():
            page = self._page(request.cursor, request.limit)
            found = await self._administration.list_tenants(page)
        return pb.ListTenantsResponse(
            tenants=[pb.Tenant(id=tenant.id.bytes, name=tenant.name) for tenant in found],
            next_cursor=_next_cursor(page, [tenant.id for tenant in found]),
        )

    async def CreateDomain(
        self, request: pb.CreateDomainRequest, context: _Context
    ) -> pb.CreateDomainResponse:
        """Makes a domain ours."""

        async def create(connection: Connection) -> pb.CreateDomainResponse:
            tenant = parse_id(request.tenant_id) if request.tenant_id else None
            domain = await self._administration.create_domain(connection, request.name, tenant)
            return pb.CreateDomainResponse(domain=domain_message(domain))

        async with self._as_admin(changes="domain") as admin:
            return await self._once(admin, request, pb.CreateDomainResponse, create)

    async def ListDomains(self, request: pb.ListDomainsRequest, context: _Context) -> pb.ListDomainsResponse:
        """All domains, in pages."""
        async with self._as_admin():
            page = self._page(request.cursor, request.limit)
            found = await self._administration.list_domains(page)
        return pb.ListDomainsResponse(
            domains=[domain_message(domain) for domain in found],
            next_cursor=_next_cursor(page, [domain.id for domain in found]),
        )

    async def DeleteDomain(
        self, request: pb.DeleteDomainRequest, context: _Context
    ) -> pb.DeleteDomainResponse:
        """Gives a domain up in which nobody lives."""

        async def delete(connection: Connection) -> pb.DeleteDomainResponse:
            await self._administration.delete_domain(connection, request.name)
            return pb.DeleteDomainResponse()

        async with self._as_admin(changes="domain") as admin:
            return await self._once(admin, request, pb.DeleteDomainResponse, delete)

    async def CreateAccount(
        self, request: pb.CreateAccountRequest, context: _Context
    ) -> pb.CreateAccountResponse:
        """Makes an account with its password."""
        async with self._as_admin(changes="account") as admin:
            wanted = await self._administration.new_account(
                request.address, request.password, request.display_name
            )
            wanted = replace(wanted, quota=quota_of(request.quota))

            async def create(connection: Connection) -> pb.CreateAccountResponse:
                account = await self._administration.create_account(connection, wanted)
                return pb.CreateAccountResponse(account=account_message(account, self._limits.quota))

            masked = await self._masked(request)
            return await self._once(admin, masked, pb.CreateAccountResponse, create)

    async def GetAccount(self, request: pb.GetAccountRequest, context: _Context) -> pb.GetAccountResponse:
        """The account with this address; aliases are not looked at."""
        async with self._as_admin():
            account = await self._administration.get_account(request.address)
        return pb.GetAccountResponse(account=account_message(account, self._limits.quota))

    async def FindDeletedAccounts(
        self, request: pb.FindDeletedAccountsRequest, context: _Context
    ) -> pb.FindDeletedAccountsResponse:
        """Whose mail and files nobody wants any more."""
        async with self._in_time():
            found = await self._administration.find_deleted([parse_id(octets) for octets in request.ids])
        return pb.FindDeletedAccountsResponse(
            accounts=[
                pb.DeletedAccount(id=account_id.bytes, deleted_at=timestamp(deleted_at))
                for account_id, deleted_at in found.items()
            ]
        )

    async def FindAccounts(
        self, request: pb.FindAccountsRequest, context: _Context
    ) -> pb.FindAccountsResponse:
        """Accounts that share with each other what is theirs."""
        async with self._in_time():
            user = await self._authenticator.verifier.verify(capability_token(), scopes=_FINDING)
            ids = [parse_id(octets) for octets in request.ids]
            found = await self._administration.find_accounts(user.tenant_id, ids, request.addresses)
        return pb.FindAccountsResponse(
            accounts=[pb.Account(id=account.id.bytes, address=account.address) for account in found]
        )

    async def ListAccounts(
        self, request: pb.ListAccountsRequest, context: _Context
    ) -> pb.ListAccountsResponse:
        """All accounts, in pages."""
        async with self._as_admin():
            page = self._page(request.cursor, request.limit)
            found = await self._administration.list_accounts(page)
        return pb.ListAccountsResponse(
            accounts=[account_message(account, self._limits.quota) for account in found],
            next_cursor=_next_cursor(page, [account.id for account in found]),
        )

    async def SetPassword(self, request: pb.SetPasswordRequest, context: _Context) -> pb.SetPasswordResponse:
        """Another password, from now on."""
        async with self._as_admin(changes="credential") as admin:
            kept = await self._administration.hash_password(request.password)
            keys = await self._administration.scram_keys(request.password)

            async def change(connection: Connection) -> pb.SetPasswordResponse:
                await self._administration.set_password(connection, request.address, kept, keys)
                return pb.SetPasswordResponse()

            masked = await self._masked(request)
            return await self._once(admin, masked, pb.SetPasswordResponse, change)

    async def DeleteAccount(
        self, request: pb.DeleteAccountRequest, context: _Context
    ) -> pb.DeleteAccountResponse:
        """Ends an account; its address is free again."""

        async def delete(connection: Connection) -> pb.DeleteAccountResponse:
            await self._administration.delete_account(connection, request.address)
            return pb.DeleteAccountResponse()

        async with self._as_admin(changes="account") as admin:
            return await self._once(admin, request, pb.DeleteAccountResponse, delete)

    async def SetQuota(self, request: pb.SetQuotaRequest, context: _Context) -> pb.SetQuotaResponse:
        """How much mail an account may keep."""
        quota = quota_of(request.quota)

        async def change(connection: Connection) -> pb.SetQuotaResponse:
            account = await set_quota(connection, request.address, quota)
            return pb.SetQuotaResponse(account=account_message(account, self._limits.quota))

        async with self._as_admin(changes="account") as admin:
            return await self._once(admin, request, pb.SetQuotaResponse, change)

    async def SetOwnQuota(self, request: pb.SetOwnQuotaRequest, context: _Context) -> pb.SetOwnQuotaResponse:
        """The same by the account itself."""
        quota = quota_of(request.quota)

        async def change(connection: Connection) -> pb.SetOwnQuotaResponse:
            account = await set_own_quota(connection, owner.account_id, quota)
            return pb.SetOwnQuotaResponse(account=account_message(account, self._limits.quota))

        async with self._in_time():
            owner = await self._authenticator.verifier.verify(capability_token(), scopes=_OWNING)
            return await self._administration.once(None, pb.SetOwnQuotaResponse, change)

    async def CreateAlias(self, request: pb.CreateAliasRequest, context: _Context) -> pb.CreateAliasResponse:
        """Makes an address stand for others."""

        async def create(connection: Connection) -> pb.CreateAliasResponse:
            alias = await self._administration.create_alias(connection, request.address, request.targets)
            return pb.CreateAliasResponse(alias=alias_message(alias))

        async with self._as_admin(changes="alias") as admin:
            return await self._once(admin, request, pb.CreateAliasResponse, create)

    async def ListAliases(self, request: pb.ListAliasesRequest, context: _Context) -> pb.ListAliasesResponse:
        """All aliases, in pages."""
        async with self._as_admin():
            page = self._page(request.cursor, request.limit)
            found = await self._administration.list_aliases(page)
        return pb.ListAliasesResponse(
            aliases=[alias_message(alias) for alias in found],
            next_cursor=_next_cursor(page, [alias.id for alias in found]),
        )

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: _Context) -> pb.DeleteAliasResponse:
        """Ends an alias."""

        async def delete(connection: Connection) -> pb.DeleteAliasResponse:
            await self._administration.delete_alias(connection, request.address)
            return pb.DeleteAliasResponse()

        async with self._as_admin(changes="alias") as admin:
            return await self._once(admin, request, pb.DeleteAliasResponse, delete)

    @asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._limits.call_seconds):
                yield
        except TimeoutError:
            raise UnavailableError("too late") from None

    @asynccontextmanager
    async def _as_admin(self, changes: str | None = None) -> AsyncGenerator[Capability]:
        """For administrators only; afterwards, when it succeeded, whoever listens is told what changed."""
        async with self._in_time():
            yield await self._authenticator.verifier.verify(capability_token(), scopes=(Scope.ADMIN,))
        if changes is not None:
            try:
                async with asyncio.timeout(_PUBLISH_SECONDS):
                    await self._publisher.publish(f"postroom.directory.changed.{changes}")
            except TimeoutError:
                return  # it is committed, and listeners look by themselves too

    async def _once(
        self,
        admin: Capability,
        request: _Change,
        answer: type[M],
        work: Callable[[Connection], Awaitable[M]],
    ) -> M:
        operation = operation_of(admin.account_id, admin.tenant_id, request.operation_id, request)
        return await self._administration.once(operation, answer, work)

    async def _masked(self, request: S) -> S:
        """The request as it is remembered: nothing that is easier to try than what is kept of a password."""
        if not request.operation_id:
            return request
        salt = parse_id(request.operation_id).bytes
        masked = type(request)()
        masked.CopyFrom(request)
        masked.password = (await self._administration.digest_password(request.password, salt)).hex()
        return masked

    def _page(self, cursor: str, limit: int) -> Page:
        """Raises `InvalidRequestError` for a cursor that we did not give."""
        try:
            after = UUID(hex=cursor) if cursor else None
        except ValueError:
            raise InvalidRequestError("not a cursor") from None
        if limit < 0:
            raise InvalidRequestError("a negative limit")
        return Page(after, min(limit or self._limits.default_page, self._limits.page))


def _next_cursor(page: Page, ids: list[Any]) -> str:
    return ids[-1].hex if len(ids) == page.limit else ""
