"""What was expunged and is kept for a while: for its owner, and for an administrator."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import Final

from fastapi import APIRouter

from postroom.directory.v1 import directory_pb2
from postroom.mailstore.v1 import mailbox_pb2
from postroom.mailstore.v1 import retention_pb2 as pb
from postroom_contracts.errors import MailboxNotFoundError, MessageNotFoundError
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import ask_twice, on_behalf_of
from webmail_api.access import PROBLEMS, CurrentAdministrator, CurrentUser, ListPage, PathId, Shared
from webmail_api.access import Page as AskedPage
from webmail_api.admin_calls import options
from webmail_api.house import House
from webmail_api.identifiers import MessageKey, encode, mailbox_id, parse_text_cursor, text_cursor
from webmail_api.message_view import summary_of
from webmail_api.retention_models import ExpungedList, ExpungedMessage, Restore, Restored, RestoredMessage

router: Final = APIRouter(responses=PROBLEMS)


@router.get("/expunged", operation_id="listAllExpunged", tags=["messages"])
async def list_all_expunged(page: ListPage, user: CurrentUser, house: Shared) -> ExpungedList:
    """Messages that were deleted for good and can be restored, those of deleted mailboxes too."""
    return await _list(house, user.capability, _asked(page))


@router.get("/mailboxes/{id}/expunged", operation_id="listExpunged", tags=["mailboxes"])
async def list_expunged(given: PathId, page: ListPage, user: CurrentUser, house: Shared) -> ExpungedList:
    """The same of one mailbox, which may be a deleted one."""
    request = _asked(page)
    request.mailbox_id = mailbox_id(given)
    return await _list(house, user.capability, request)


@router.post("/mailboxes/{id}/restore", operation_id="restoreMessages", tags=["mailboxes"])
async def restore_messages(given: PathId, wanted: Restore, user: CurrentUser, house: Shared) -> Restored:
    """Put messages of a mailbox back, under new ids; into the inbox when the mailbox was deleted."""
    mailbox, keys = mailbox_id(given), [MessageKey.parse(each) for each in wanted.ids]
    if any(key.mailbox_id != mailbox for key in keys):
        raise MessageNotFoundError("a message of another mailbox")
    return Restored(items=await _restore(house, user.capability, mailbox, keys))


# An address may have a slash in it, so it is a path.
@router.get("/admin/accounts/{address:path}/expunged", operation_id="listExpungedOf", tags=["admin"])
async def list_expunged_of(
    address: str, page: ListPage, admin: CurrentAdministrator, house: Shared
) -> ExpungedList:
    """What can be restored of an account."""
    request = _asked(page)
    request.account_id = await _account(house, admin, address)
    return await _list(house, admin.capability, request)


@router.post("/admin/accounts/{address:path}/restore", operation_id="restoreMessagesOf", tags=["admin"])
async def restore_messages_of(
    address: str, wanted: Restore, admin: CurrentAdministrator, house: Shared
) -> Restored:
    """Put messages of an account back, each into its mailbox, or the inbox when that was deleted."""
    by_mailbox: defaultdict[bytes, list[MessageKey]] = defaultdict(list)
    for key in map(MessageKey.parse, wanted.ids):
        by_mailbox[key.mailbox_id].append(key)
    account_id = await _account(house, admin, address)
    items: list[RestoredMessage] = []
    for mailbox, keys in by_mailbox.items():
        try:
            items += await _restore(house, admin.capability, mailbox, keys, account_id)
        except MailboxNotFoundError:  # an id of another account
            raise MessageNotFoundError("no message of this account") from None
    return Restored(items=items)


def _asked(page: AskedPage) -> pb.ListExpungedRequest:
    return pb.ListExpungedRequest(cursor=parse_text_cursor(page.cursor), limit=page.limit)


async def _account(house: House, admin: CurrentAdministrator, address: str) -> bytes:
    request = directory_pb2.GetAccountRequest(address=address)
    return (await house.directory.GetAccount(request, **options(admin))).account.id


async def _list(house: House, capability: str, request: pb.ListExpungedRequest) -> ExpungedList:
    answer = await house.retention.ListExpunged(
        request, timeout=house.limits.call_seconds, metadata=on_behalf_of(capability)
    )
    keywords = {keyword.bit: keyword.name for keyword in answer.keywords}
    return ExpungedList(
        items=[_document(each, keywords) for each in answer.messages],
        next_cursor=text_cursor(answer.next_cursor),
    )


async def _restore(
    house: House, capability: str, mailbox: bytes, keys: Sequence[MessageKey], account_id: bytes = b""
) -> list[RestoredMessage]:
    request = pb.RestoreMessagesRequest(
        account_id=account_id,
        mailbox_id=mailbox,
        uids=[mailbox_pb2.UidRange(first=key.uid, last=key.uid) for key in keys],
        operation_id=new_id().bytes,
    )
    done = await ask_twice(
        house.retention.RestoreMessages,
        request,
        seconds=house.limits.call_seconds,
        metadata=on_behalf_of(capability),
    )
    return [
        RestoredMessage(
            id=str(MessageKey(done.mailbox_id, now)),
            was=str(MessageKey(mailbox, before)),
            mailbox_id=encode(done.mailbox_id),
            mailbox=done.mailbox,
        )
        for before, now in zip(_each(done.source), _each(done.target), strict=True)
    ]


def _each(ranges: Iterable[mailbox_pb2.UidRange]) -> Iterator[int]:
    for each in ranges:
        yield from range(each.first, each.last + 1)


def _document(expunged: pb.ExpungedMessage, keywords: dict[int, str]) -> ExpungedMessage:
    facts = mailbox_pb2.Facts(
        uid=expunged.uid,
        size=expunged.size,
        internal_date=expunged.internal_date,
        flags=expunged.flags,
        keywords=expunged.keywords,
        summary=expunged.summary,
    )
    return ExpungedMessage(
        **dict(summary_of(facts, expunged.mailbox_id, keywords)),
        mailbox=expunged.mailbox,
        mailbox_deleted=expunged.mailbox_gone,
        expunged_at=expunged.expunged_at.ToDatetime(UTC),
        kept_until=expunged.kept_until.ToDatetime(UTC),
    )
