"""The AccountService: how much an account keeps, its annotations, and what it shares."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import grpc

from mailstore.access import Access, guest_at
from mailstore.accounts import ensure_accounts, lock_accounts
from mailstore.mailbox_messages import mailbox_message
from mailstore.mailboxes.annotations import (
    NOBODY,
    Wanted,
    parse_entry,
    read_annotations,
    write_annotations,
)
from mailstore.mailboxes.catalogue import MAX_MAILBOXES, Owner
from mailstore.mailboxes.guests import SharedPlace, transfer
from mailstore.mailboxes.moving import Copied
from mailstore.mailboxes.quota import deleted_sizes, usage
from mailstore.mailboxes.sharing import (
    ALL_RIGHTS,
    EVERYBODY,
    Right,
    RightChange,
    list_shared,
    read_acl,
    require,
    shared_modseqs,
    write_right,
)
from mailstore.mailboxes.uid_ranges import parse_ranges, range_messages
from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1.account_pb2_grpc import AccountServiceServicer
from postroom_contracts.capability import CapabilityVerifier, Scope
from postroom_contracts.errors import InvalidRequestError, LimitError, NotPermittedError, PostroomError
from postroom_contracts.ids import parse_id
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.operations import once, operation_of

_Context = grpc.aio.ServicerContext[Any, Any]

_USING: Final = frozenset({Scope.IMAP, Scope.API})
_SIGNS: Final = {
    pb.SetRightsRequest.MODE_REPLACE: 0,
    pb.SetRightsRequest.MODE_ADD: 1,
    pb.SetRightsRequest.MODE_REMOVE: -1,
}
_ANNOTATING: Final = Right.READ | Right.SEEN | Right.WRITE | Right.INSERT | Right.POST
_MAX_ACCOUNTS: Final = 10_000
_MAX_ENTRIES: Final = 1_000
"""Of one request."""


class AccountService(AccountServiceServicer):
    """Answers for the account of the capability, and for what others share with it."""

    def __init__(
        self,
        database: Database,
        verifier: CapabilityVerifier,
        publish_changed: Callable[[UUID, int], Awaitable[None]],
    ) -> None:
        self._database, self._publish_changed = database, publish_changed
        self._access = Access(database, verifier, _USING)

    async def GetUsage(self, request: pb.GetUsageRequest, context: _Context) -> pb.GetUsageResponse:
        """Used and allowed."""
        owner = await self._access.owner()
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
        owner, mailbox_ids = await self._of(request.mailbox_ids, Right.READ)
        async with self._database.connection() as connection:
            return pb.GetDeletedSizesResponse(
                sizes=await deleted_sizes(connection, owner.account_id, mailbox_ids)
            )

    async def GetAnnotations(
        self, request: pb.GetAnnotationsRequest, context: _Context
    ) -> pb.GetAnnotationsResponse:
        """Of some mailboxes, or of the account itself."""
        owner, mailbox_ids = await self._of(request.mailbox_ids, Right.LOOKUP)
        _check_annotating(owner)
        if len(request.entries) > _MAX_ENTRIES:
            raise LimitError("too many entries")
        wanted = Wanted([parse_entry(entry) for entry in request.entries], request.depth)
        async with self._database.connection() as connection:
            found = await read_annotations(connection, owner, mailbox_ids or [NOBODY], wanted)
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
        owner, mailbox_ids = await self._of([request.mailbox_id] if request.mailbox_id else [], Right.LOOKUP)
        _check_annotating(owner)
        mailbox_id = mailbox_ids[0] if mailbox_ids else NOBODY
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
        await self._publish_changed(owner.account_id, modseq)
        return pb.SetAnnotationsResponse(modseq=modseq)

    async def ListShared(self, request: pb.ListSharedRequest, context: _Context) -> pb.ListSharedResponse:
        """What others share with the user."""
        user = await self._access.user()
        async with self._database.connection() as connection:
            found = await list_shared(connection, user)
        return pb.ListSharedResponse(
            mailboxes=[
                pb.SharedMailbox(
                    account_id=each.account_id.bytes,
                    mailbox=mailbox_message(each.mailbox),
                    rights=int(each.rights),
                )
                for each in found
            ]
        )

    async def GetRights(self, request: pb.GetRightsRequest, context: _Context) -> pb.GetRightsResponse:
        """Who else may use a mailbox of the user's."""
        owner = await self._access.owner()
        async with self._database.connection() as connection:
            acl = await read_acl(connection, owner, parse_id(request.mailbox_id))
        return pb.GetRightsResponse(
            grants=[
                pb.Grant(account_id=b"" if grantee == EVERYBODY else grantee.bytes, rights=int(rights))
                for grantee, rights in acl
            ]
        )

    async def SetRights(self, request: pb.SetRightsRequest, context: _Context) -> pb.SetRightsResponse:
        """Other rights for somebody."""
        owner, mailbox_id = await self._access.owner(), parse_id(request.mailbox_id)
        grantee = parse_id(request.grant.account_id) if request.grant.account_id else EVERYBODY
        if request.mode not in _SIGNS or request.grant.rights & ~int(ALL_RIGHTS):
            raise InvalidRequestError("no such mode or right")
        change = RightChange(Right(request.grant.rights), _SIGNS[request.mode])
        await ensure_accounts(self._database, {owner.account_id: owner.tenant_id})

        async def work(connection: Connection) -> int:
            modseq = (await lock_accounts(connection, [owner.account_id]))[owner.account_id]
            await write_right(connection, owner, modseq, mailbox_id, grantee, change)
            return modseq

        modseq = await self._database.run(work)
        await self._publish_changed(owner.account_id, modseq)
        if grantee not in {EVERYBODY, owner.account_id}:  # whose mailboxes are as they were: no MODSEQ
            await self._publish_changed(grantee, 0)
        return pb.SetRightsResponse(modseq=modseq)

    async def GetSharedModseqs(
        self, request: pb.GetSharedModseqsRequest, context: _Context
    ) -> pb.GetSharedModseqsResponse:
        """The MODSEQs of accounts that share something."""
        if len(request.capabilities) > _MAX_ACCOUNTS or len(request.capabilities) != len(request.account_ids):
            raise InvalidRequestError("too many accounts, or not as many as capabilities")
        users: list[Owner | None] = []
        for token in request.capabilities:
            try:
                users.append(await self._access.user(token))
            except PostroomError:
                users.append(None)
        hosts = [parse_id(each) for each in request.account_ids]
        async with self._database.connection() as connection:
            return pb.GetSharedModseqsResponse(modseqs=await shared_modseqs(connection, users, hosts))

    async def TransferMessages(
        self, request: pb.TransferMessagesRequest, context: _Context
    ) -> pb.TransferMessagesResponse:
        """Copies elsewhere, or the messages themselves."""
        user = await self._access.user()
        leaving = Right.DELETE_MESSAGES | Right.EXPUNGE if request.move else Right(0)
        source = await self._place(user, request.source, Right.READ, leaving)
        target = await self._place(user, request.target, Right.INSERT)
        ranges = parse_ranges(request.uids)
        modseqs: dict[UUID, int] = {}

        async def work(connection: Connection) -> pb.TransferMessagesResponse:
            modseqs.update(await lock_accounts(connection, {source.user.account_id, target.user.account_id}))
            copied = await transfer(connection, source, ranges, target, modseqs, move=request.move)
            return _transferred(copied, modseqs[source.user.account_id], modseqs[target.user.account_id])

        operation = operation_of(user.account_id, user.tenant_id, request.operation_id, request)
        answered = await once(self._database, operation, pb.TransferMessagesResponse, work)
        reached("transfer.after_commit")
        for account_id, modseq in modseqs.items():
            await self._publish_changed(account_id, modseq)
        return answered

    async def _place(self, user: Owner, place: pb.MailboxPlace, *rights: Right) -> SharedPlace:
        mailbox_id = parse_id(place.mailbox_id)
        at = guest_at(user, parse_id(place.account_id))
        await ensure_accounts(self._database, {user.account_id: user.tenant_id})
        async with self._database.connection() as connection:
            for right in rights:
                at = await require(connection, at, mailbox_id, right)
        return SharedPlace(at, mailbox_id)

    async def _of(self, mailbox_ids: Sequence[bytes], right: Right) -> tuple[Owner, list[UUID]]:
        """Some mailboxes of the user's own, or one that is shared."""
        if len(mailbox_ids) == 1:
            owner, mailbox_id = await self._access.at(mailbox_ids[0], right)
            return owner, [mailbox_id]
        return await self._access.owner(), _ids(mailbox_ids)


def _check_annotating(owner: Owner) -> None:
    """RFC 5464 s3.3. Raises NotPermittedError."""
    if owner.is_guest and not owner.rights & _ANNOTATING:
        raise NotPermittedError("none of the rights that annotating takes")


def _transferred(
    copied: Copied | None, source_modseq: int, target_modseq: int
) -> pb.TransferMessagesResponse:
    answer = pb.TransferMessagesResponse(source_modseq=source_modseq, target_modseq=target_modseq)
    if copied is not None:
        answer.target_uid_validity = copied.uid_validity
        answer.source.extend(range_messages(copied.source))
        answer.target.extend(range_messages(copied.target))
    return answer


def _ids(octets: Iterable[bytes]) -> list[UUID]:
    found = [parse_id(each) for each in octets]
    if len(found) > MAX_MAILBOXES:
        raise LimitError("too many mailboxes")
    return found
