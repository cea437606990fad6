"""The typed client of what an account has beside its mailboxes: quota, annotations, and what is shared.

All methods raise `LoginEndedError` and the errors of `postroom_contracts.errors`.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from mail_access.limits import DEFAULT_LIMITS, Limits
from mail_access.login import Login, LoginEndedError
from mail_access.store import CallOptions
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc
from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1 import account_pb2_grpc
from postroom_contracts.errors import (
    InvalidAddressError,
    InvalidRequestError,
    MethodMissingError,
    PostroomError,
)
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_client import ask_twice
from postroom_wire.imap.mailbox_name import DELIMITER

OTHERS_ROOT: Final = "Other Users"
OTHERS_PREFIX: Final = OTHERS_ROOT + DELIMITER
"""What mailboxes of others are below (RFC 2342 s5)."""

_MODES: Final = {
    0: pb.SetRightsRequest.MODE_REPLACE,
    1: pb.SetRightsRequest.MODE_ADD,
    -1: pb.SetRightsRequest.MODE_REMOVE,
}
_FOUND_AT_ONCE: Final = 1_000
_REMEMBERED: Final = 10_000
"""Addresses of others."""
_REMEMBERED_SECONDS: Final = 30.0


class AccountStore:
    """The mail store's AccountService, and directory where limits are set; for any number of logins."""

    def __init__(
        self,
        stub: account_pb2_grpc.AccountServiceStub,
        directory: directory_pb2_grpc.DirectoryServiceStub,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._stub, self._directory, self._limits = stub, directory, limits
        self._addresses: dict[UUID, tuple[str, float]] = {}

    async def usage(self, login: Login) -> pb.GetUsageResponse:
        """What is used and allowed."""
        return await self._stub.GetUsage(pb.GetUsageRequest(), **await self._call(login))

    async def set_quota(self, login: Login, octets: int | None, messages: int | None) -> None:
        """What the account wants itself, from now on in this session and soon in others."""
        request = directory_pb2.SetOwnQuotaRequest(
            quota=directory_pb2.Quota(octets=octets, messages=messages)
        )
        await self._directory.SetOwnQuota(request, **await self._call(login))
        await login.renew_at_once()

    async def deleted_sizes(self, login: Login, mailbox_ids: Sequence[bytes]) -> Sequence[int]:
        """Octets that expunging would free, in the order of the mailboxes."""
        request = pb.GetDeletedSizesRequest(mailbox_ids=mailbox_ids)
        return (await self._stub.GetDeletedSizes(request, **await self._call(login))).sizes

    async def annotations(
        self, login: Login, mailbox_ids: Sequence[bytes], entries: Sequence[str], depth: int = 0
    ) -> list[dict[str, bytes]]:
        """Of each mailbox, or of the account for no mailbox; by entry."""
        request = pb.GetAnnotationsRequest(mailbox_ids=mailbox_ids, entries=entries, depth=depth)
        answer = await self._stub.GetAnnotations(request, **await self._call(login))
        return [{found.entry: found.value for found in each.annotations} for each in answer.annotations]

    async def annotate(
        self, login: Login, mailbox_id: bytes, values: Iterable[tuple[str, bytes | None]]
    ) -> int:
        """Set values, remove those of None; no mailbox id means the account. The account's MODSEQ."""
        request = pb.SetAnnotationsRequest(mailbox_id=mailbox_id)
        for entry, value in values:
            if value is None:
                request.removed.append(entry)
            else:
                request.set.append(pb.Annotation(entry=entry, value=value))
        metadata = await login.metadata()
        seconds = self._limits.call_seconds
        answer = await ask_twice(self._stub.SetAnnotations, request, seconds=seconds, metadata=metadata)
        return answer.modseq

    async def shared(self, login: Login) -> Sequence[pb.SharedMailbox]:
        """The mailboxes of others that the user has a right to."""
        try:
            answer = await self._stub.ListShared(pb.ListSharedRequest(), **await self._call(login))
        except MethodMissingError:  # of a store that is upgraded after us
            return ()
        return answer.mailboxes

    async def named_shared(self, login: Login) -> list[tuple[str, pb.SharedMailbox]]:
        """The same by the names that the user has for them; without those of accounts that are gone."""
        shared = await self.shared(login)
        owners = {parse_id(each.account_id) for each in shared}
        addresses = await self.addresses(login, owners) if shared else {}
        return [
            (f"{OTHERS_PREFIX}{address}{DELIMITER}{each.mailbox.name}", each)
            for each in shared
            if (address := addresses.get(parse_id(each.account_id))) is not None
        ]

    async def shared_modseqs(self, logins: Sequence[Login]) -> Sequence[int]:
        """The present MODSEQ of each guest's host; 0 where nothing is shared any more, or the login ended."""
        request = pb.GetSharedModseqsRequest()
        for login in logins:
            request.account_ids.append(login.account_id.bytes)
            token = ""
            with suppress(LoginEndedError, PostroomError):
                token = await login.token()
            request.capabilities.append(token)
        return (await self._stub.GetSharedModseqs(request, timeout=self._limits.call_seconds)).modseqs

    async def rights(self, login: Login, mailbox_id: UUID) -> list[tuple[UUID | None, int]]:
        """Who else has which rights at a mailbox; None is everybody."""
        request = pb.GetRightsRequest(mailbox_id=mailbox_id.bytes)
        grants = (await self._stub.GetRights(request, **await self._call(login))).grants
        return [(parse_id(grant.account_id) if grant.account_id else None, grant.rights) for grant in grants]

    async def set_rights(
        self, login: Login, mailbox_id: UUID, grantee: UUID | None, rights: int, sign: int
    ) -> int:
        """Give these rights, or with a sign these more or less. The account's MODSEQ."""
        request = pb.SetRightsRequest(
            mailbox_id=mailbox_id.bytes,
            grant=pb.Grant(account_id=b"" if grantee is None else grantee.bytes, rights=rights),
            mode=_MODES[sign],
        )
        metadata, seconds = await login.metadata(), self._limits.call_seconds
        return (await ask_twice(self._stub.SetRights, request, seconds=seconds, metadata=metadata)).modseq

    async def transfer(
        self, login: Login, request: pb.TransferMessagesRequest
    ) -> pb.TransferMessagesResponse:
        """Copy or move between mailboxes of which one is somebody else's."""
        metadata, seconds = await login.metadata(), self._limits.call_seconds
        return await ask_twice(self._stub.TransferMessages, request, seconds=seconds, metadata=metadata)

    async def addresses(self, login: Login, account_ids: Collection[UUID]) -> dict[UUID, str]:
        """The addresses of accounts, as of some seconds ago; those that are gone are left out."""
        now = time.monotonic()
        known = {
            account_id: found[0]
            for account_id in account_ids
            if (found := self._addresses.get(account_id)) is not None and found[1] > now
        }
        missing = [account_id for account_id in account_ids if account_id not in known]
        for start in range(0, len(missing), _FOUND_AT_ONCE):
            ids = [account_id.bytes for account_id in missing[start : start + _FOUND_AT_ONCE]]
            request = directory_pb2.FindAccountsRequest(ids=ids)
            answer = await self._directory.FindAccounts(request, **await self._call(login))
            for account in answer.accounts:
                known[parse_id(account.id)] = account.address
        if len(self._addresses) + len(missing) > _REMEMBERED:
            self._addresses.clear()
        for account_id in missing:
            if account_id in known:
                self._addresses[account_id] = known[account_id], now + _REMEMBERED_SECONDS
        return known

    async def account_of(self, login: Login, address: str) -> UUID | None:
        """The account of the tenant that has this address; None when there is none."""
        request = directory_pb2.FindAccountsRequest(addresses=[address])
        try:
            answer = await self._directory.FindAccounts(request, **await self._call(login))
        except (InvalidAddressError, InvalidRequestError):
            return None
        return parse_id(answer.accounts[0].id) if answer.accounts else None

    async def _call(self, login: Login) -> CallOptions:
        return {"timeout": self._limits.call_seconds, "metadata": await login.metadata()}
