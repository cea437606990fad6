"""The gRPC face of app passwords and SCRAM keys, for their holders and for administrators."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import grpc
from google.protobuf.message import Message

from directory import app_passwords, scram_keys
from directory.addresses import parse_address
from directory.administration import Administration, select_account_id
from directory.app_passwords import AppPassword
from directory.authentication import Authenticator
from directory.calls import in_time
from directory.limits import Limits
from directory.logins import number_of, scope_of
from directory.messages import timestamp
from postroom.directory.v1 import credential_pb2 as pb
from postroom.directory.v1.credential_pb2_grpc import CredentialServiceServicer
from postroom_contracts.capability import Capability, Scope
from postroom_contracts.errors import (
    AccountNotFoundError,
    InvalidRequestError,
    NotPermittedError,
)
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_storage.core import fetch_one
from postroom_storage.database import Connection, Database
from postroom_storage.operations import operation_of

M = TypeVar("M", bound=Message)
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_Change: TypeAlias = pb.CreateAppPasswordRequest | pb.DeleteAppPasswordRequest


@dataclass(frozen=True, slots=True)
class _Holder:
    """Whose credentials are meant, and who asks."""

    account_id: UUID
    asker: Capability


class CredentialService(CredentialServiceServicer):
    """Every method answers within `Limits.call_seconds`."""

    def __init__(
        self,
        database: Database,
        authenticator: Authenticator,
        administration: Administration,
        limits: Limits,
    ) -> None:
        self._database = database
        self._authenticator = authenticator
        self._administration = administration
        self._limits = limits

    async def CreateAppPassword(
        self, request: pb.CreateAppPasswordRequest, context: _Context
    ) -> pb.CreateAppPasswordResponse:
        """Makes a password for one program."""
        expires_at = request.expires_at.ToDatetime(UTC) if request.HasField("expires_at") else None
        scopes = [scope_of(number) for number in request.scopes]
        wanted = app_passwords.new_app_password(
            self._limits, request.name, scopes, request.password, expires_at
        )
        async with in_time(self._limits.call_seconds):
            holder = await self._holder(request.address)

            async def create(connection: Connection) -> pb.CreateAppPasswordResponse:
                made = await app_passwords.create(connection, self._limits, holder.account_id, wanted)
                return pb.CreateAppPasswordResponse(app_password=_message(made))

            return await self._once(holder, request, pb.CreateAppPasswordResponse, create)

    async def ListAppPasswords(
        self, request: pb.ListAppPasswordsRequest, context: _Context
    ) -> pb.ListAppPasswordsResponse:
        """All of an account; the passwords themselves nobody knows any more."""
        async with in_time(self._limits.call_seconds):
            holder = await self._holder(request.address)
            async with self._database.connection() as connection:
                found = await app_passwords.list_of(connection, holder.account_id)
        return pb.ListAppPasswordsResponse(app_passwords=[_message(each) for each in found])

    async def DeleteAppPassword(
        self, request: pb.DeleteAppPasswordRequest, context: _Context
    ) -> pb.DeleteAppPasswordResponse:
        """Ends one."""
        app_password_id = parse_id(request.id)
        async with in_time(self._limits.call_seconds):
            holder = await self._holder(request.address)

            async def delete(connection: Connection) -> pb.DeleteAppPasswordResponse:
                await app_passwords.remove(connection, holder.account_id, app_password_id)
                return pb.DeleteAppPasswordResponse()

            return await self._once(holder, request, pb.DeleteAppPasswordResponse, delete)

    async def EnableScram(self, request: pb.EnableScramRequest, context: _Context) -> pb.EnableScramResponse:
        """Keeps keys of the password as it is."""
        async with in_time(self._limits.call_seconds):
            holder = await self._holder(request.address)
            account = await self._administration.account(holder.account_id)
            version = await self._authenticator.confirm(
                account.address, request.password, request.peer_address
            )
            keys = await self._administration.scram_keys(request.password)
            if keys is None:
                raise InvalidRequestError("not a password for SCRAM")
            await self._database.run(
                lambda connection: scram_keys.enable(connection, account.id, version, keys)
            )
        return pb.EnableScramResponse()

    async def DisableScram(
        self, request: pb.DisableScramRequest, context: _Context
    ) -> pb.DisableScramResponse:
        """Forgets them."""
        async with in_time(self._limits.call_seconds):
            holder = await self._holder(request.address)
            await self._database.run(lambda connection: scram_keys.disable(connection, holder.account_id))
        return pb.DisableScramResponse()

    async def GetScram(self, request: pb.GetScramRequest, context: _Context) -> pb.GetScramResponse:
        """Whether there are any."""
        async with in_time(self._limits.call_seconds):
            holder = await self._holder(request.address)
            async with self._database.connection() as connection:
                return pb.GetScramResponse(enabled=await scram_keys.is_enabled(connection, holder.account_id))

    async def _holder(self, address: str) -> _Holder:
        """Raises `NotPermittedError`, `AccountNotFoundError` and what the verifier raises."""
        asker = await self._authenticator.verifier.verify(capability_token(), scopes=(Scope.API, Scope.ADMIN))
        if asker.scope is Scope.API:
            # What an app password could make would outlive it.
            if address or asker.credential_id is not None:
                raise NotPermittedError("for the account itself, by its own password")
            return _Holder(asker.account_id, asker)
        async with self._database.connection() as connection:
            row = await fetch_one(connection, select_account_id(parse_address(address)))
        if row is None:
            raise AccountNotFoundError
        return _Holder(row[0], asker)

    async def _once(
        self,
        holder: _Holder,
        request: _Change,
        answer: type[M],
        work: Callable[[Connection], Awaitable[M]],
    ) -> M:
        asker = holder.asker
        operation = operation_of(asker.account_id, asker.tenant_id, request.operation_id, request)
        return await self._administration.once(operation, answer, work)


def _message(found: AppPassword) -> pb.AppPassword:
    message = pb.AppPassword(
        id=found.id.bytes,
        name=found.name,
        scopes=[number_of(scope) for scope in found.scopes],
        created_at=timestamp(found.created_at),
    )
    if found.expires_at is not None:
        message.expires_at.CopyFrom(timestamp(found.expires_at))
    if found.used_at is not None:
        message.used_at.CopyFrom(timestamp(found.used_at))
    return message
