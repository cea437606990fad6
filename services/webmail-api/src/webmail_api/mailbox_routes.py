"""`/mailboxes`: the list, its changes, and what is in one of them."""

from typing import Final

from fastapi import APIRouter, Response

from postroom.mailstore.v1 import mailbox_pb2 as pb
from webmail_api.access import PROBLEMS, CurrentUser, ListPage, PathId, Shared
from webmail_api.identifiers import encode, mailbox_id, parse_uid_cursor, uid_cursor
from webmail_api.mail_models import Mailbox, MailboxChange, MailboxList, MessageList, NewMailbox
from webmail_api.mail_store import find
from webmail_api.message_view import summary_of

router = APIRouter(prefix="/mailboxes", tags=["mailboxes"], responses=PROBLEMS)

_SPECIAL: Final = {
    pb.SPECIAL_USE_SENT: "sent",
    pb.SPECIAL_USE_DRAFTS: "drafts",
    pb.SPECIAL_USE_TRASH: "trash",
    pb.SPECIAL_USE_JUNK: "junk",
    pb.SPECIAL_USE_ARCHIVE: "archive",
}


@router.get("", operation_id="listMailboxes")
async def list_mailboxes(user: CurrentUser, house: Shared) -> MailboxList:
    """All mailboxes."""
    listed = await house.store.mailboxes(user)
    return MailboxList(items=[_mailbox(mailbox) for mailbox in listed.mailboxes])


@router.post("", operation_id="createMailbox", status_code=201)
async def create_mailbox(wanted: NewMailbox, user: CurrentUser, house: Shared) -> Mailbox:
    """A new mailbox, and what is missing above it."""
    created = await house.store.create(user, wanted.name)
    await house.store.subscribe(user, created.name, subscribed=True)
    return _mailbox(await house.store.mailbox(user, created.id))


@router.get("/{id}", operation_id="getMailbox")
async def get_mailbox(given: PathId, user: CurrentUser, house: Shared) -> Mailbox:
    """One mailbox."""
    return _mailbox(await house.store.mailbox(user, mailbox_id(given)))


@router.patch("/{id}", operation_id="changeMailbox")
async def change_mailbox(given: PathId, change: MailboxChange, user: CurrentUser, house: Shared) -> Mailbox:
    """Another name, which inferior mailboxes follow, or another subscription."""
    wanted = mailbox_id(given)
    mailbox = await house.store.mailbox(user, wanted)
    if change.name is not None and change.name != mailbox.name:
        mailbox = await house.store.rename(user, wanted, change.name)
    if change.subscribed is not None:
        await house.store.subscribe(user, mailbox.name, subscribed=change.subscribed)
    return _mailbox(await house.store.mailbox(user, mailbox.id))


@router.delete("/{id}", operation_id="deleteMailbox", status_code=204, response_class=Response)
async def delete_mailbox(given: PathId, user: CurrentUser, house: Shared) -> None:
    """A mailbox less, with all that is in it. Not the inbox."""
    await house.store.delete(user, mailbox_id(given))


@router.get("/{id}/messages", operation_id="listMessages")
async def list_messages(given: PathId, page: ListPage, user: CurrentUser, house: Shared) -> MessageList:
    """The messages of a mailbox, the newest first."""
    listed = await house.store.mailboxes(user)
    mailbox = find(listed.mailboxes, mailbox_id(given))
    before = parse_uid_cursor(page.cursor) if page.cursor else mailbox.uid_next
    found, more = await house.store.newest(user, mailbox, min(before, mailbox.uid_next), page.limit)
    keywords = {keyword.bit: keyword.name for keyword in listed.keywords}
    return MessageList(
        items=[summary_of(facts, mailbox.id, keywords) for facts in found],
        next_cursor=uid_cursor(found[-1].uid) if more else None,
    )


def _mailbox(mailbox: pb.Mailbox) -> Mailbox:
    return Mailbox(
        id=encode(mailbox.id),
        name=mailbox.name,
        special_use="inbox" if mailbox.name == "INBOX" else _SPECIAL.get(mailbox.special_use),
        messages=mailbox.messages,
        unseen=mailbox.unseen,
        size=mailbox.size,
        subscribed=mailbox.subscribed,
    )
