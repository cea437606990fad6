"""The AccountService: how much an account keeps, and its annotations."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final
from uuid import UUID

import grpc

from mailstore.accounts import ensure_accounts, lock_accounts
from mailstore.mailboxes.annotations import (
    NOBODY,
    Wanted,
    parse_entry,
    read_annotations,
    write_annotations,
)
from mailstore.mailboxes.catalogue import MAX_MAILBOXES, Owner
from mailstore.mailboxes.quota import deleted_sizes, usage
from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1.account_pb2_grpc import AccountServiceServicer
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import LimitError
from postroom_contracts.ids import parse_id
from postroom_runtime.grpc_server import capability_token
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database

_Context = grpc.aio.ServicerContext[Any, Any]

_USING: Final = frozenset({Scope.IMAP, Scope.API})
_MAX_ENTRIES: Final = 1_000
"""Of one request."""


class AccountService(AccountServiceServicer):
    """Answers for the account of the capability, and for no other."""

    def __init__(
        self,
        database: Database,
        verifier: CapabilityVerifier,
        publish_changed: Callable[[UUID, int], Awaitable[None]],
    ) -> None:
        self._database, self._verifier, self._publish_changed = database, verifier, publish_changed

    async def GetUsage(self, request: pb.GetUsageRequest, context: _Context) -> pb.GetUsageResponse:
        """Used and allowed."""
        owner = await self._owner()
        async with self._database.connection() as connection:
            used = await usage(connection, owner.account_id)
        return pb.GetUsageResponse(
            used_octets=used.octets,
            used_messages=used.messages,
            limit_octets=owner.quota.octets,
            limit_messages=owner.quota.messages,
        )

    async def GetDeletedSizes(
        self, request: pb.GetDeletedSizesRequest, context: _Context
    ) -> pb.GetDeletedSizesResponse:
        """What expunging would free."""
        owner, mailbox_ids = await self._owner(), _ids(request.mailbox_ids)
        async with self._database.connection() as connection:
            return pb.GetDeletedSizesResponse(
                sizes=await deleted_sizes(connection, owner.account_id, mailbox_ids)
            )

    async def GetAnnotations(
        self, request: pb.GetAnnotationsRequest, context: _Context
    ) -> pb.GetAnnotationsResponse:
        """Of some mailboxes, or of the account itself."""
        owner, mailbox_ids = await self._owner(), _ids(request.mailbox_ids) or [NOBODY]
        if len(request.entries) > _MAX_ENTRIES:
            raise LimitError("too many entries")
        wanted = Wanted([parse_entry(entry) for entry in request.entries], request.depth)
        async with self._database.connection() as connection:
            found = await read_annotations(connection, owner, mailbox_ids, wanted)
        return pb.GetAnnotationsResponse(
            annotations=[
                pb.Annotations(annotations=[pb.Annotation(entry=entry, value=value) for entry, value in each])
                for each in found
            ]
        )

    async def SetAnnotations(
        self, request: pb.SetAnnotationsRequest, context: _Context
    ) -> pb.SetAnnotationsResponse:
        """All or none; harmless to ask again."""
        owner = await self._owner()
        mailbox_id = parse_id(request.mailbox_id) if request.mailbox_id else NOBODY
        if len(request.set) + len(request.removed) > _MAX_ENTRIES:
            raise LimitError("too many entries")
        values: list[tuple[str, bytes | None]] = [(parse_entry(entry), None) for entry in request.removed]
        values += [(parse_entry(each.entry), each.value) for each in request.set]
        await ensure_accounts(self._database, {owner.account_id: owner.tenant_id})

        async def change(connection: Connection) -> int:
            modseq = (await lock_accounts(connection, [owner.account_id]))[owner.account_id]
            await write_annotations(connection, owner, modseq, mailbox_id, values)
            return modseq

        modseq = await self._database.run(change)
        reached("annotations.after_commit")
        await self._publish_changed(owner.account_id, modseq)
        return pb.SetAnnotationsResponse(modseq=modseq)

    async def _owner(self) -> Owner:
        capability = await self._verifier.verify(capability_token(), scopes=_USING)
        return Owner(capability.account_id, capability.tenant_id, capability.quota)


def _ids(octets: Iterable[bytes]) -> list[UUID]:
    found = [parse_id(each) for each in octets]
    if len(found) > MAX_MAILBOXES:
        raise LimitError("too many mailboxes")
    return found
