"""A directory for tests of the services around it: accounts in memory, capabilities that are real.

async with SmallDirectory(folder / "directory.sock") as directory:
    ann = directory.add("ann@example.org", "secret")
    directory.capability(ann, Scope.FTP)  # a token
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeAlias
from uuid import UUID

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from postroom.directory.v1 import directory_pb2 as pb
from postroom.directory.v1 import directory_pb2_grpc
from postroom_contracts.capability import Capability, Kind, Quota, Scope, SigningKey, decode, sign
from postroom_contracts.errors import CapabilityExpiredError, InvalidCredentialsError, UnavailableError
from postroom_contracts.ids import DEFAULT_TENANT, AccountId, new_id
from postroom_runtime.grpc_server import GrpcServer, capability_token, serve_grpc
from postroom_runtime.lifecycle import Lifecycle

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_SERVICE = "/postroom.directory.v1.DirectoryService/"
_EVERYBODY = frozenset(
    {"smtp-inbound", "smtp-outbound", "mail-access", "ftp-gateway", "webmail-api", "mailstore", "filestore"}
)
_SESSION_SECONDS = 3_600.0
_SCOPES = {value: Scope(name.removeprefix("SCOPE_").lower()) for name, value in pb.Scope.items()[1:]}


@dataclass(slots=True)
class Account:
    """Somebody who may log in."""

    id: UUID
    address: str
    password: str
    quota: Quota = Quota()


class SmallDirectory:
    """Accounts, and the calls of the edge about them. `away` makes every call fail."""

    def __init__(self, socket: Path, *, capability_seconds: float = 600.0) -> None:
        self.address = f"unix:{socket}"
        self.away = False
        self.logins = 0
        self.renewals = 0
        self.capability_seconds = capability_seconds
        self._accounts: dict[str, Account] = {}
        self._key = SigningKey(secrets.token_hex(4), Ed25519PrivateKey.generate())
        self._server: GrpcServer | None = None

    async def __aenter__(self) -> Self:
        def add(server: grpc.aio.Server) -> None:
            # Abstract: what it does not have answers UNIMPLEMENTED, which is what is wanted.
            servicer = _Servicer(self)  # pyright: ignore[reportAbstractUsage]
            directory_pb2_grpc.add_DirectoryServiceServicer_to_server(servicer, server)

        calls = ("Authenticate", "RenewCapability", "GetCapabilityKeys", "SetOwnQuota", "FindAccounts")
        policy = {_SERVICE + name: _EVERYBODY for name in calls}
        self._server = await serve_grpc(self.address, add, policy=policy, tls=None, lifecycle=Lifecycle())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.stop(None)

    def add(self, address: str, password: str = "secret") -> Account:  # noqa: S107
        """Make an account."""
        account = self._accounts[address] = Account(new_id(), address, password)
        return account

    def remove(self, account: Account) -> None:
        """Its capabilities are not renewed from now on."""
        del self._accounts[account.address]

    def capability(self, account: Account, scope: Scope, seconds: float | None = None) -> str:
        """A token as a login gives it."""
        return self._sign(account, scope, seconds or self.capability_seconds)[0]

    def session_token(self, account: Account, scope: Scope) -> str:
        """Good for renewing only."""
        return self._sign(account, scope, _SESSION_SECONDS, Kind.SESSION)[0]

    def login(self, address: str, password: str, scope: Scope) -> tuple[Account, str, datetime]:
        """The account and its token; raises `InvalidCredentialsError`, `UnavailableError`."""
        self._check_away()
        self.logins += 1
        account = self._accounts.get(address)
        if account is None or account.password != password:
            raise InvalidCredentialsError("wrong")
        return account, *self._sign(account, scope, self.capability_seconds)

    def renew(self, token: str) -> tuple[Account, str, datetime]:
        """The same for a live token; raises `CapabilityExpiredError`, `UnavailableError`."""
        self._check_away()
        self.renewals += 1
        old = decode(token, self._key.key.public_key())
        account = self._accounts.get(old.address)
        if account is None or account.id != old.account_id or old.expires_at <= datetime.now(UTC):
            raise CapabilityExpiredError("changed")
        return account, *self._sign(account, old.scope, self.capability_seconds)

    def set_quota(self, token: str, quota: Quota) -> Account:
        """What the account that has this token wants; raises `UnavailableError`."""
        self._check_away()
        account = self._accounts[decode(token, self._key.key.public_key()).address]
        account.quota = quota
        return account

    def find(self, ids: Iterable[bytes], addresses: Iterable[str]) -> list[Account]:
        """The accounts that there are; raises `UnavailableError`."""
        self._check_away()
        wanted, named = set(ids), set(addresses)
        return [
            account
            for account in self._accounts.values()
            if account.id.bytes in wanted or account.address in named
        ]

    def key(self) -> pb.CapabilityKey:
        """What verifies its tokens; raises `UnavailableError`."""
        self._check_away()
        public = self._key.key.public_key().public_bytes_raw()
        return pb.CapabilityKey(key_id=self._key.key_id, public_key=public)

    def _check_away(self) -> None:
        if self.away:
            raise UnavailableError("away")

    def _sign(
        self, account: Account, scope: Scope, seconds: float, kind: Kind = Kind.CAPABILITY
    ) -> tuple[str, datetime]:
        now = datetime.now(UTC)
        expires_at = now + timedelta(seconds=seconds)
        capability = Capability(
            AccountId(account.id),
            DEFAULT_TENANT,
            account.address,
            scope,
            expires_at,
            kind,
            quota=account.quota,
        )
        return sign(capability, self._key, now), expires_at


class _Servicer(directory_pb2_grpc.DirectoryServiceServicer):
    def __init__(self, directory: SmallDirectory) -> None:
        self._directory = directory

    async def Authenticate(
        self, request: pb.AuthenticateRequest, context: _Context
    ) -> pb.AuthenticateResponse:
        """Check a password."""
        account, token, expires_at = self._directory.login(
            request.address, request.password, _SCOPES[request.scope]
        )
        answer = pb.AuthenticateResponse(account=_message(account), capability=token)
        answer.capability_expires_at.FromDatetime(expires_at)
        if request.session:
            answer.session_token = self._directory.session_token(account, _SCOPES[request.scope])
        return answer

    async def RenewCapability(
        self, request: pb.RenewCapabilityRequest, context: _Context
    ) -> pb.RenewCapabilityResponse:
        """A fresh one for a live one."""
        account, token, expires_at = self._directory.renew(request.token)
        answer = pb.RenewCapabilityResponse(account=_message(account), capability=token)
        answer.capability_expires_at.FromDatetime(expires_at)
        return answer

    async def SetOwnQuota(self, request: pb.SetOwnQuotaRequest, context: _Context) -> pb.SetOwnQuotaResponse:
        """Other limits from the next capability on."""
        limits = {field.name: value for field, value in request.quota.ListFields()}
        account = self._directory.set_quota(capability_token(), Quota(**limits))
        return pb.SetOwnQuotaResponse(account=_message(account))

    async def FindAccounts(
        self, request: pb.FindAccountsRequest, context: _Context
    ) -> pb.FindAccountsResponse:
        """By id and address."""
        return pb.FindAccountsResponse(
            accounts=[_message(each) for each in self._directory.find(request.ids, request.addresses)]
        )

    async def GetCapabilityKeys(
        self, request: pb.GetCapabilityKeysRequest, context: _Context
    ) -> pb.GetCapabilityKeysResponse:
        """The one key."""
        return pb.GetCapabilityKeysResponse(keys=[self._directory.key()])


def _message(account: Account) -> pb.Account:
    return pb.Account(id=account.id.bytes, tenant_id=DEFAULT_TENANT.bytes, address=account.address)
