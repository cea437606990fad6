"""What changes an account's mailboxes: each call is one transaction of the locked account.

The wake-up follows the commit. A request with an operation id is done once; whoever asks again
gets the answer of then, and wakes nobody.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Self, TypeAlias, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from mailstore.accounts import ensure_accounts, lock_accounts
from mailstore.mailbox_messages import keyword_messages, mailbox_message, parse_use, rows_message
from mailstore.mailboxes import catalogue
from mailstore.mailboxes.catalogue import Owner
from mailstore.mailboxes.flags import (
    MAX_MODSEQ,
    FlagChange,
    StoreMode,
    keywords_of,
    parse_keywords,
    store_flags,
)
from mailstore.mailboxes.guests import SharedPlace, store_as_guest
from mailstore.mailboxes.moving import (
    Copied,
    MailboxPlace,
    copy_messages,
    move_messages,
    remove_messages,
)
from mailstore.mailboxes.names import parse_name
from mailstore.mailboxes.packed_rows import changed_flags
from mailstore.mailboxes.quota import check_quota
from mailstore.mailboxes.renewing import renew_uid_validity
from mailstore.mailboxes.uid_ranges import Ranges, parse_ranges, range_messages
from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom_contracts.errors import InvalidRequestError
from postroom_contracts.ids import parse_id
from postroom_runtime.steps import reached
from postroom_storage.database import Connection, Database
from postroom_storage.operations import Operation, once, operation_of

M = TypeVar("M", bound=Message)
T = TypeVar("T", pb.CopyMessagesResponse, pb.MoveMessagesResponse)
_Transfer: TypeAlias = Callable[[Connection, MailboxPlace, Ranges, MailboxPlace], Awaitable[Copied | None]]

_ALL_UIDS: Final[Ranges] = ((1, 2**32 - 1),)


class MailboxChanges:
    """One for each process. Requests are checked here; the owner is the capability's."""

    def __init__(self, database: Database, publish_changed: Callable[[UUID, int], Awaitable[None]]) -> None:
        self._database, self._publish_changed = database, publish_changed

    async def create(self, owner: Owner, request: pb.CreateMailboxRequest) -> pb.CreateMailboxResponse:
        """Raises MailboxExistsError, InvalidNameError, LimitError."""
        name, use = parse_name(request.name), parse_use(request.special_use)

        async def change(connection: Connection, modseq: int) -> pb.CreateMailboxResponse:
            created = await catalogue.create_mailbox(connection, owner, modseq, name, use)
            return pb.CreateMailboxResponse(mailbox=mailbox_message(created), modseq=modseq)

        operation = _operation(owner, request.operation_id, request)
        return await self._once(owner, operation, pb.CreateMailboxResponse, change)

    async def delete(self, owner: Owner, request: pb.DeleteMailboxRequest) -> pb.DeleteMailboxResponse:
        """Raises MailboxNotFoundError, MailboxProtectedError."""
        mailbox_id = parse_id(request.mailbox_id)

        async def change(connection: Connection, modseq: int) -> pb.DeleteMailboxResponse:
            await catalogue.delete_mailbox(connection, owner, modseq, mailbox_id)
            return pb.DeleteMailboxResponse(modseq=modseq)

        operation = _operation(owner, request.operation_id, request)
        return await self._once(owner, operation, pb.DeleteMailboxResponse, change)

    async def rename(self, owner: Owner, request: pb.RenameMailboxRequest) -> pb.RenameMailboxResponse:
        """Raises MailboxNotFoundError, MailboxExistsError, InvalidNameError."""
        mailbox_id, new_name = parse_id(request.mailbox_id), parse_name(request.new_name)

        async def change(connection: Connection, modseq: int) -> pb.RenameMailboxResponse:
            renamed = await catalogue.rename_mailbox(connection, owner, modseq, mailbox_id, new_name)
            return pb.RenameMailboxResponse(mailbox=mailbox_message(renamed), modseq=modseq)

        operation = _operation(owner, request.operation_id, request)
        return await self._once(owner, operation, pb.RenameMailboxResponse, change)

    async def set_subscription(
        self, owner: Owner, request: pb.SetSubscriptionRequest
    ) -> pb.SetSubscriptionResponse:
        """Raises InvalidNameError, LimitError."""
        name = parse_name(request.name)

        async def change(connection: Connection, modseq: int) -> pb.SetSubscriptionResponse:
            await catalogue.set_subscription(connection, owner, modseq, name, subscribed=request.subscribed)
            return pb.SetSubscriptionResponse(modseq=modseq)

        return await self._once(owner, None, pb.SetSubscriptionResponse, change)

    async def store_flags(self, owner: Owner, request: pb.StoreFlagsRequest) -> pb.StoreFlagsResponse:
        """Raises MailboxNotFoundError, TooManyKeywordsError."""
        mailbox_id, ranges = parse_id(request.mailbox_id), parse_ranges(request.uids)
        try:
            mode = StoreMode(request.mode)
        except ValueError:
            raise InvalidRequestError("no such mode") from None
        unchanged_since = request.unchanged_since if request.HasField("unchanged_since") else None
        if unchanged_since is not None and unchanged_since > MAX_MODSEQ:
            raise InvalidRequestError("no such MODSEQ")
        flag_change = FlagChange(mode, request.flags, parse_keywords(request.keywords), unchanged_since)

        async def change(connection: Connection, modseq: int) -> pb.StoreFlagsResponse:
            await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            if owner.is_guest:
                place = SharedPlace(owner, mailbox_id)
                stored = await store_as_guest(connection, place, modseq, ranges, flag_change)
            else:
                stored = await store_flags(
                    connection, owner.account_id, mailbox_id, modseq, ranges, flag_change
                )
            keywords = await keywords_of(connection, owner.account_id)
            return pb.StoreFlagsResponse(
                modseq=modseq,
                rows=None if request.packed else rows_message(stored.rows),
                changed=changed_flags(stored.rows) if request.packed else None,
                keywords=keyword_messages(keywords),
                modified=range_messages(stored.modified),
            )

        operation = _operation(owner, request.operation_id, request)
        return await self._once(owner, operation, pb.StoreFlagsResponse, change)

    async def copy(self, owner: Owner, request: pb.CopyMessagesRequest) -> pb.CopyMessagesResponse:
        """Raises MailboxNotFoundError, OverQuotaError."""
        copy = partial(_transfer, copy_messages, owner, _Wanted.of(request), pb.CopyMessagesResponse)

        async def change(connection: Connection, modseq: int) -> pb.CopyMessagesResponse:
            copied = await copy(connection, modseq)
            if copied.source:
                await check_quota(connection, owner)
            return copied

        operation = _operation(owner, request.operation_id, request)
        return await self._once(owner, operation, pb.CopyMessagesResponse, change)

    async def move(self, owner: Owner, request: pb.MoveMessagesRequest) -> pb.MoveMessagesResponse:
        """Raises MailboxNotFoundError."""
        change = partial(_transfer, move_messages, owner, _Wanted.of(request), pb.MoveMessagesResponse)
        operation = _operation(owner, request.operation_id, request)
        return await self._once(owner, operation, pb.MoveMessagesResponse, change)

    async def expunge(self, owner: Owner, request: pb.ExpungeMessagesRequest) -> pb.ExpungeMessagesResponse:
        """Raises MailboxNotFoundError."""
        mailbox_id, ranges = parse_id(request.mailbox_id), parse_ranges(request.uids) or _ALL_UIDS
        only_deleted = not (request.regardless and request.uids)

        async def change(connection: Connection, modseq: int) -> pb.ExpungeMessagesResponse:
            await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
            place = MailboxPlace(owner.account_id, mailbox_id, modseq)
            expunged = await remove_messages(connection, place, ranges, only_deleted=only_deleted)
            return pb.ExpungeMessagesResponse(modseq=modseq, expunged=range_messages(expunged))

        operation = _operation(owner, request.operation_id, request)
        return await self._once(owner, operation, pb.ExpungeMessagesResponse, change)

    async def renew_uid_validity(
        self, administrator: Owner, request: pb.RenewUidValidityRequest
    ) -> pb.RenewUidValidityResponse:
        """New UIDVALIDITYs for a slice of all accounts, or for one of them."""
        account_id = parse_id(request.account_id) if request.account_id else None
        after = parse_id(request.after_account_id) if request.after_account_id else UUID(int=0)
        modseqs: list[tuple[UUID, int]] = []

        async def renew(connection: Connection) -> pb.RenewUidValidityResponse:
            renewed = await renew_uid_validity(connection, account_id, after)
            modseqs[:] = renewed.modseqs
            return pb.RenewUidValidityResponse(
                accounts=len(renewed.modseqs),
                mailboxes=renewed.mailboxes,
                last_account_id=renewed.last.bytes if renewed.last else b"",
            )

        operation = _operation(administrator, request.operation_id, request)
        answered = await once(self._database, operation, pb.RenewUidValidityResponse, renew)
        reached("mailbox.after_commit")
        for renewed_id, modseq in modseqs:
            await self._publish_changed(renewed_id, modseq)
        return answered

    async def _once(
        self,
        owner: Owner,
        operation: Operation | None,
        answer: type[M],
        change: Callable[[Connection, int], Awaitable[M]],
    ) -> M:
        await ensure_accounts(self._database, {owner.account_id: owner.tenant_id})
        modseq = 0

        async def work(connection: Connection) -> M:
            nonlocal modseq
            modseq = (await lock_accounts(connection, [owner.account_id]))[owner.account_id]
            return await change(connection, modseq)

        answered = await once(self._database, operation, answer, work)
        reached("mailbox.after_commit")
        if modseq:
            await self._publish_changed(owner.account_id, modseq)
        return answered


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which messages go where."""

    mailbox_id: UUID
    ranges: Ranges
    target_id: UUID

    @classmethod
    def of(cls, request: pb.CopyMessagesRequest | pb.MoveMessagesRequest) -> Self:
        return cls(
            parse_id(request.mailbox_id), parse_ranges(request.uids), parse_id(request.target_mailbox_id)
        )


async def _transfer(
    transfer: _Transfer, owner: Owner, wanted: _Wanted, answer: type[T], connection: Connection, modseq: int
) -> T:
    for mailbox_id in (wanted.mailbox_id, wanted.target_id):
        await catalogue.find_mailbox(connection, owner.account_id, mailbox_id)
    source = MailboxPlace(owner.account_id, wanted.mailbox_id, modseq)
    target = MailboxPlace(owner.account_id, wanted.target_id, modseq)
    copied = await transfer(connection, source, wanted.ranges, target)
    if copied is None:
        return answer(modseq=modseq)
    return answer(
        modseq=modseq,
        target_uid_validity=copied.uid_validity,
        source=range_messages(copied.source),
        target=range_messages(copied.target),
    )


def _operation(owner: Owner, octets: bytes, request: Message) -> Operation | None:
    return operation_of(owner.user_id, owner.tenant_id, octets, request)
