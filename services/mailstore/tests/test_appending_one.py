"""One message is appended in one round trip, and what is unusual in a longer way: nobody can tell which."""

import asyncio

import pytest

from mailstore.mailboxes.appending import append_message
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.capability import Quota
from postroom_contracts.errors import (
    InvalidNameError,
    InvalidRequestError,
    MailboxNotFoundError,
    OverQuotaError,
)
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailAccount, MailStore, inline

HELLO = b"Subject: hello\r\n\r\nHello.\r\n"


def one(mailbox_id: bytes, name: str = "", octets: bytes = HELLO) -> mailbox_pb2.AppendMessageRequest:
    request = mailbox_pb2.AppendMessageRequest(
        id=new_id().bytes, mailbox_id=mailbox_id, mailbox_name=name, content=inline(octets)
    )
    request.internal_date.GetCurrentTime()
    return request


async def ask(
    store: MailStore, account: MailAccount, request: mailbox_pb2.AppendMessageRequest
) -> mailbox_pb2.AppendMessageResponse:
    return await store.mailbox.AppendMessage(request, metadata=account.metadata)


@pytest.fixture
def longer_ways(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Messages that were appended in the longer way."""
    went: list[object] = []

    async def note(*arguments: object) -> object:
        went.append(arguments[3])
        return await append_message(*arguments)  # pyright: ignore[reportArgumentType]  # passed on

    monkeypatch.setattr("mailstore.mailboxes.appending_at_once.append_message", note)
    return went


async def test_a_message_is_appended_at_once(store: MailStore, longer_ways: list[object]) -> None:
    ann = store.account(quota=Quota(octets=1_000, messages=10))
    inbox = await store.mailbox_id(ann)
    first = await ask(store, ann, one(inbox))
    request = one(inbox, "INBOX")
    request.flags = 1 | 8
    second = await ask(store, ann, request)
    assert not longer_ways
    assert (first.uid, second.uid) == (1, 2)
    assert second.modseq == first.modseq + 1
    rows = await store.rows(ann, inbox)
    assert [row[2] for row in rows.values()] == [first.modseq, second.modseq]
    assert [row[0] for row in rows.values()] == [0, 9]
    assert await store.read(ann, inbox, 2, prefix=True) == HELLO
    assert await store.counters_are_right(ann)
    assert store.hooks.changed[-2:] == [(ann.id, first.modseq), (ann.id, second.modseq)]


async def test_an_account_that_nobody_has_seen_gets_its_mailboxes_first(store: MailStore) -> None:
    ann = store.account()
    with pytest.raises(MailboxNotFoundError):
        await ask(store, ann, one(new_id().bytes))
    assert await store.mailbox_id(ann)


async def test_keywords_that_are_known_take_no_longer_way(
    store: MailStore, longer_ways: list[object]
) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    words: list[int] = []
    for keywords in (["$Work", "$Tea"], ["$tea"], ["$TEA", "$work", "$Tea"], ["$New"]):
        request = one(inbox)
        request.keywords.extend(keywords)
        answer = await ask(store, ann, request)
        words.append((await store.rows(ann, inbox))[answer.uid][1])
    assert words == [3, 2, 3, 4]
    assert len(longer_ways) == 2


async def test_who_asks_again_is_told_what_was_done(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    request = one(inbox, "INBOX")
    answers = await asyncio.gather(*(ask(store, ann, request) for _ in range(4)))
    await store.mailbox.ExpungeMessages(
        mailbox_pb2.ExpungeMessagesRequest(
            mailbox_id=inbox, uids=[mailbox_pb2.UidRange(first=1, last=1)], regardless=True
        ),
        metadata=ann.metadata,
    )
    again = await ask(store, ann, request)
    assert {each.uid for each in [*answers, again]} == {1}
    assert {each.modseq for each in answers} == {answers[0].modseq}
    assert await store.rows(ann, inbox) == {}
    assert await store.counters_are_right(ann)


async def test_nobody_takes_the_id_of_anothers_message(store: MailStore) -> None:
    ann, ben = store.account("ann"), store.account("ben")
    request = one(await store.mailbox_id(ann))
    await ask(store, ann, request)
    inbox = await store.mailbox_id(ben)
    request.mailbox_id = inbox
    with pytest.raises(InvalidRequestError):
        await ask(store, ben, request)
    assert await store.rows(ben, inbox) == {}
    assert await store.counters_are_right(ben)


@pytest.mark.parametrize("quota", [Quota(octets=2 * len(HELLO)), Quota(messages=2)])
async def test_no_more_is_kept_than_the_quota_allows(store: MailStore, quota: Quota) -> None:
    ann = store.account(quota=quota)
    inbox = await store.mailbox_id(ann)
    answers = await asyncio.gather(*(ask(store, ann, one(inbox)) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(each, OverQuotaError) for each in answers) == 2
    assert sorted(await store.rows(ann, inbox)) == [1, 2]
    assert await store.counters_are_right(ann)


async def test_a_mailbox_of_another_name_is_not_the_one_that_is_meant(store: MailStore) -> None:
    ann = store.account()
    drafts = await store.mailbox_id(ann, "Drafts")
    await ask(store, ann, one(drafts, "Drafts"))
    rename = mailbox_pb2.RenameMailboxRequest(mailbox_id=drafts, new_name="Old")
    await store.mailbox.RenameMailbox(rename, metadata=ann.metadata)
    batch = mailbox_pb2.AppendMessagesRequest(messages=[one(drafts, "Drafts")])
    with pytest.raises(MailboxNotFoundError):
        await ask(store, ann, one(drafts, "Drafts"))
    with pytest.raises(MailboxNotFoundError):
        await store.mailbox.AppendMessages(batch, metadata=ann.metadata)
    with pytest.raises(InvalidNameError):
        await ask(store, ann, one(drafts, "Dra\0fts"))
    assert (await ask(store, ann, one(drafts, "Old"))).uid == 2
    batch.messages[0].mailbox_name = "Old"
    batch.messages.append(one(drafts, "Drafts"))
    with pytest.raises(InvalidRequestError):
        await store.mailbox.AppendMessages(batch, metadata=ann.metadata)


async def test_nobody_appends_to_a_mailbox_of_somebody_else(store: MailStore) -> None:
    ann, ben = store.account("ann"), store.account("ben")
    inbox = await store.mailbox_id(ann)
    await store.mailbox_id(ben)
    with pytest.raises(MailboxNotFoundError):
        await ask(store, ben, one(inbox))
    assert await store.rows(ann, inbox) == {}


async def test_uids_and_modseqs_ascend_together_whoever_appends(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    await asyncio.gather(*(ask(store, ann, one(inbox)) for _ in range(20)))
    rows = await store.rows(ann, inbox)
    assert sorted(rows) == list(range(1, 21))
    modseqs = [rows[uid][2] for uid in sorted(rows)]
    assert modseqs == sorted(set(modseqs))
    assert await store.counters_are_right(ann)


async def find(store: MailStore, account: MailAccount, name: str) -> mailbox_pb2.FindMailboxResponse:
    request = mailbox_pb2.FindMailboxRequest(name=name)
    return await store.mailbox.FindMailbox(request, metadata=account.metadata)


async def test_a_mailbox_is_found_by_its_name_as_it_is_listed(store: MailStore) -> None:
    ann = store.account()
    assert (await find(store, ann, "INBOX")).mailbox.name == "INBOX"  # nobody has seen the account before
    inbox = await store.mailbox_id(ann)
    answer = await ask(store, ann, one(inbox))
    request = mailbox_pb2.ListMailboxesRequest()
    listed = await store.mailbox.ListMailboxes(request, metadata=ann.metadata)
    assert listed.modseq == answer.modseq
    for mailbox in listed.mailboxes:
        found = await find(store, ann, mailbox.name)
        assert (found.mailbox, found.modseq) == (mailbox, listed.modseq)


async def test_a_name_that_nothing_has_is_not_found(store: MailStore) -> None:
    ann = store.account()
    drafts = await store.mailbox_id(ann, "Drafts")
    request = mailbox_pb2.DeleteMailboxRequest(mailbox_id=drafts)
    await store.mailbox.DeleteMailbox(request, metadata=ann.metadata)
    for name in ("Drafts", "drafts", "Nowhere", "", "a//b", "nul\0", "x" * 2_000):
        with pytest.raises(MailboxNotFoundError):
            await find(store, ann, name)
