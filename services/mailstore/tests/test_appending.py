"""Several messages at once (RFC 3502), and one in the place of another (RFC 8508): all or nothing."""

import asyncio

import pytest

from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import (
    InvalidRequestError,
    LimitError,
    MailboxNotFoundError,
    MessageNotFoundError,
    PostroomError,
    TooManyKeywordsError,
)
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailAccount, MailStore, inline

HELLO = b"Subject: hello\r\n\r\nHello.\r\n"


def batch(mailbox_id: bytes, *octets: bytes) -> mailbox_pb2.AppendMessagesRequest:
    request = mailbox_pb2.AppendMessagesRequest()
    for each in octets:
        message = request.messages.add(id=new_id().bytes, mailbox_id=mailbox_id, content=inline(each))
        message.internal_date.GetCurrentTime()
    return request


async def ask(
    store: MailStore, account: MailAccount, request: mailbox_pb2.AppendMessagesRequest
) -> mailbox_pb2.AppendMessagesResponse:
    return await store.mailbox.AppendMessages(request, metadata=account.metadata)


async def test_messages_come_at_once_and_in_their_order(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    await store.append(ann, inbox, HELLO)
    answer = await ask(store, ann, batch(inbox, b"one", b"two", b"three"))
    assert [(each.first, each.last) for each in answer.uids] == [(2, 4)]
    rows = await store.rows(ann, inbox)
    assert {modseq for uid, (_, _, modseq) in rows.items() if uid > 1} == {answer.modseq}
    assert [await store.read(ann, inbox, uid, prefix=True) for uid in (2, 3, 4)] == [b"one", b"two", b"three"]
    assert await store.counters_are_right(ann)


async def test_who_asks_again_appends_once(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    request = batch(inbox, b"one", b"two")
    answers = await asyncio.gather(*(ask(store, ann, request) for _ in range(3)))
    assert answers[0] == answers[1] == answers[2] == await ask(store, ann, request)
    assert len(await store.rows(ann, inbox)) == 2
    request.messages[1].flags = 1
    with pytest.raises(InvalidRequestError):
        await ask(store, ann, request)


async def test_one_that_cannot_be_placed_takes_the_others_back(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    too_many = batch(inbox, b"one", b"two")
    too_many.messages[1].keywords.extend(f"k{number}" for number in range(64))
    twice = batch(inbox, b"one", b"two")
    twice.messages[1].id = twice.messages[0].id
    nowhere = batch(new_id().bytes, b"one")
    elsewhere = batch(inbox, b"one", b"two")
    elsewhere.messages[1].mailbox_id = await store.mailbox_id(ann, "Trash")
    refused: list[tuple[mailbox_pb2.AppendMessagesRequest, type[PostroomError]]] = [
        (too_many, TooManyKeywordsError),
        (nowhere, MailboxNotFoundError),
        (elsewhere, InvalidRequestError),
        (twice, InvalidRequestError),
        (batch(inbox), InvalidRequestError),
        (batch(inbox, *[b"x"] * 257), LimitError),
    ]
    for request, error in refused:
        with pytest.raises(error):
            await ask(store, ann, request)
    assert await store.rows(ann, inbox) == {}
    assert await store.counters_are_right(ann)


async def test_a_message_comes_in_the_place_of_another(store: MailStore) -> None:
    ann = store.account()
    inbox, drafts = await store.mailbox_id(ann), await store.mailbox_id(ann, "Drafts")
    await store.append(ann, drafts, HELLO)
    await store.append(ann, drafts, HELLO)
    request = batch(inbox, b"sent")
    request.replaces.mailbox_id, request.replaces.uid = drafts, 1
    answer = await ask(store, ann, request)
    assert list(await store.rows(ann, drafts)) == [2]
    assert [modseq for _, _, modseq in (await store.rows(ann, inbox)).values()] == [answer.modseq]
    assert await ask(store, ann, request) == answer
    assert await store.counters_are_right(ann)


async def test_what_is_gone_is_not_replaced(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    for place in (inbox, await store.mailbox_id(ann, "Drafts")):
        request = batch(inbox, b"sent")
        request.replaces.mailbox_id, request.replaces.uid = place, 7
        with pytest.raises(MessageNotFoundError):
            await ask(store, ann, request)
    request.replaces.mailbox_id = new_id().bytes
    with pytest.raises(MailboxNotFoundError):
        await ask(store, ann, request)
    assert await store.rows(ann, inbox) == {}


async def test_two_who_replace_the_same_message_leave_one(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    await store.append(ann, inbox, HELLO)
    requests = [batch(inbox, b"%d" % number) for number in range(4)]
    for request in requests:
        request.replaces.mailbox_id, request.replaces.uid = inbox, 1
    answers = await asyncio.gather(*(ask(store, ann, each) for each in requests), return_exceptions=True)
    assert sum(isinstance(each, MessageNotFoundError) for each in answers) == 3
    assert len(await store.rows(ann, inbox)) == 1
