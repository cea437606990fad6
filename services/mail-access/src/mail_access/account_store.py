"""The typed client of what an account has beside its mailboxes: quota and annotations.

All methods raise `LoginEndedError` and the errors of `postroom_contracts.errors`.
"""

from collections.abc import Iterable, Sequence

from mail_access.limits import DEFAULT_LIMITS, Limits
from mail_access.login import Login
from mail_access.store import CallOptions
from postroom.directory.v1 import directory_pb2, directory_pb2_grpc
from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1 import account_pb2_grpc
from postroom_runtime.grpc_client import ask_twice, on_behalf_of


class AccountStore:
    """The mail store's AccountService, and directory where limits are set; for any number of logins."""

    def __init__(
        self,
        stub: account_pb2_grpc.AccountServiceStub,
        directory: directory_pb2_grpc.DirectoryServiceStub,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._stub, self._directory, self._limits = stub, directory, limits

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
        metadata = on_behalf_of(await login.token())
        seconds = self._limits.call_seconds
        answer = await ask_twice(self._stub.SetAnnotations, request, seconds=seconds, metadata=metadata)
        return answer.modseq

    async def _call(self, login: Login) -> CallOptions:
        return {"timeout": self._limits.call_seconds, "metadata": on_behalf_of(await login.token())}
