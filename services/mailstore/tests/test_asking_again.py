"""Changes of mailboxes whose outcome was unknown: asked for again they are made once, and answer the same."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.message import Message

from mailstore.upkeep import Upkeep, UpkeepLimits
from postroom.mailstore.v1 import mailbox_pb2 as pb
from postroom_contracts.errors import (
    InvalidRequestError,
    MailboxExistsError,
    MailboxNotFoundError,
    UnavailableError,
)
from postroom_contracts.ids import new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_storage.database import Database
from postroom_storage.objects import ObjectStore
from postroom_testing.lost_answers import LostAnswers
from postroom_testing.mail_store import MailAccount, MailStore, running_mail_store

HELLO = b"Subject: hello\r\n\r\nHello.\r\n"
CHANGES = (
    "CreateMailbox",
    "DeleteMailbox",
    "RenameMailbox",
    "CopyMessages",
    "MoveMessages",
    "ExpungeMessages",
)


@pytest.fixture
async def twin(
    shared_database: PostgresAddress, absent_objects: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[MailStore]:
    """A second replica over the database of `store`."""
    url, place = shared_database.url("mailstore"), tmp_path_factory.mktemp("twin")
    async with (
        Database(url, schema="mailstore", require_durable=False) as database,
        running_mail_store(database, absent_objects, place) as store,
    ):
        yield store


async def requests(store: MailStore, account: MailAccount) -> dict[str, Any]:
    """A request of each kind that can be done once only, and the mailboxes that they need."""
    await store.deliver(account, HELLO, HELLO, HELLO)
    for name in ("old", "gone"):
        await ask(store, account, "CreateMailbox", pb.CreateMailboxRequest(name=name))
    ids = {name: mailbox.id for name, mailbox in (await store.mailboxes(account)).items()}
    inbox, archive = ids["INBOX"], ids["Archive"]
    one, two = [pb.UidRange(first=1, last=1)], [pb.UidRange(first=2, last=2)]
    three = [pb.UidRange(first=3, last=3)]
    found: dict[str, Any] = {
        "CreateMailbox": pb.CreateMailboxRequest(name="new/below"),
        "DeleteMailbox": pb.DeleteMailboxRequest(mailbox_id=ids["gone"]),
        "RenameMailbox": pb.RenameMailboxRequest(mailbox_id=ids["old"], new_name="renamed"),
        "CopyMessages": pb.CopyMessagesRequest(mailbox_id=inbox, uids=one, target_mailbox_id=archive),
        "MoveMessages": pb.MoveMessagesRequest(mailbox_id=inbox, uids=two, target_mailbox_id=archive),
        "ExpungeMessages": pb.ExpungeMessagesRequest(mailbox_id=inbox, uids=three, regardless=True),
    }
    assert found.keys() == {*CHANGES}
    for request in found.values():
        request.operation_id = new_id().bytes
    return found


async def ask(store: MailStore, account: MailAccount, method: str, request: Message) -> Any:
    return await getattr(store.mailbox, method)(request, metadata=account.metadata)


async def everything(store: MailStore, account: MailAccount) -> dict[str, Any]:
    """All mailboxes with what is in them."""
    mailboxes = await store.mailboxes(account)
    return {name: (box, await store.rows(account, box.id)) for name, box in mailboxes.items()}


@pytest.mark.parametrize("method", CHANGES)
async def test_it_is_done_once_whoever_is_asked_again(store: MailStore, twin: MailStore, method: str) -> None:
    ann = store.account()
    request = (await requests(store, ann))[method]
    answer = await ask(store, ann, method, request)
    after = await everything(store, ann)
    for replica in (store, twin, twin):
        assert await ask(replica, ann, method, request) == answer
    assert await everything(store, ann) == after
    assert await store.counters_are_right(ann)


@pytest.mark.parametrize("method", CHANGES)
async def test_it_is_done_once_when_all_ask_at_the_same_time(
    store: MailStore, twin: MailStore, method: str
) -> None:
    ann = store.account()
    request = (await requests(store, ann))[method]
    answers = await asyncio.gather(*(ask(replica, ann, method, request) for replica in [store, twin] * 3))
    assert all(answer == answers[0] for answer in answers)
    modseq = await store.fetchval("SELECT max(modseq) FROM mailstore.change WHERE account_id = $1", ann.id)
    account_modseq = "SELECT modseq FROM mailstore.account_state WHERE account_id = $1"
    assert await store.fetchval(account_modseq, ann.id) == modseq  # nobody is woken for nothing
    assert await store.counters_are_right(ann)


@pytest.mark.parametrize("method", CHANGES)
async def test_an_answer_that_was_lost_behind_the_commit_is_given_again(
    store: MailStore, lost: LostAnswers, method: str
) -> None:
    ann = store.account()
    request = (await requests(store, ann))[method]
    lost(1_000, "mailbox.after_commit")
    with pytest.raises(UnavailableError):
        await ask(store, ann, method, request)
    lost(0, "mailbox.after_commit")
    after = await everything(store, ann)
    answer = await ask(store, ann, method, request)
    assert await everything(store, ann) == after
    match method:
        case "CopyMessages" | "MoveMessages":
            assert [(each.first, each.last) for each in answer.target] == [(1, 1)]
        case "ExpungeMessages":
            assert [(each.first, each.last) for each in answer.expunged] == [(3, 3)]
        case "CreateMailbox":
            assert answer.mailbox == after["new/below"][0]
        case _:
            pass


async def test_what_others_did_since_is_not_undone(store: MailStore) -> None:
    ann = store.account()
    wanted = await requests(store, ann)
    answers = {method: await ask(store, ann, method, wanted[method]) for method in CHANGES}
    again = await ask(store, ann, "CreateMailbox", pb.CreateMailboxRequest(name="old"))
    rename = pb.RenameMailboxRequest(mailbox_id=answers["CreateMailbox"].mailbox.id, new_name="elsewhere")
    await ask(store, ann, "RenameMailbox", rename)
    archive = await store.mailbox_id(ann, "Archive")
    expunge = pb.ExpungeMessagesRequest(
        mailbox_id=archive, uids=[pb.UidRange(first=1, last=9)], regardless=True
    )
    await ask(store, ann, "ExpungeMessages", expunge)
    after = await everything(store, ann)
    for method in CHANGES:
        assert await ask(store, ann, method, wanted[method]) == answers[method]
    assert await everything(store, ann) == after
    assert (after["old"][0].id, after["Archive"][1]) == (again.mailbox.id, {})


async def test_what_was_refused_is_tried_anew(store: MailStore) -> None:
    ann = store.account()
    await store.mailboxes(ann)
    request = pb.CreateMailboxRequest(name="Sent", operation_id=new_id().bytes)
    with pytest.raises(MailboxExistsError):
        await ask(store, ann, "CreateMailbox", request)
    delete = pb.DeleteMailboxRequest(mailbox_id=await store.mailbox_id(ann, "Sent"))
    await ask(store, ann, "DeleteMailbox", delete)
    await ask(store, ann, "CreateMailbox", request)
    with pytest.raises(MailboxNotFoundError):
        await ask(store, ann, "DeleteMailbox", delete)  # without an id, each time is another


async def test_an_id_is_good_for_one_request_only(store: MailStore) -> None:
    ann = store.account()
    wanted = await requests(store, ann)
    copy = wanted["CopyMessages"]
    await ask(store, ann, "CopyMessages", copy)
    after = await everything(store, ann)
    for method in CHANGES[:3] + CHANGES[4:]:
        wanted[method].operation_id = copy.operation_id
        with pytest.raises(InvalidRequestError):
            await ask(store, ann, method, wanted[method])
    for other in (
        pb.CopyMessagesRequest(uids=[pb.UidRange(first=1, last=2)]),
        pb.CopyMessagesRequest(target_mailbox_id=copy.mailbox_id),
        pb.CopyMessagesRequest(operation_id=b"not an id"),
    ):
        changed = pb.CopyMessagesRequest()
        changed.CopyFrom(copy)
        changed.MergeFrom(other)
        with pytest.raises(InvalidRequestError):
            await ask(store, ann, "CopyMessages", changed)
    assert await everything(store, ann) == after


async def test_the_id_of_another_account_is_like_any_other(store: MailStore) -> None:
    ann, eve = store.account(), store.account("eve")
    hers, theirs = await requests(store, ann), await requests(store, eve)
    for method in CHANGES:
        await ask(store, ann, method, hers[method])
        theirs[method].operation_id = hers[method].operation_id
        await ask(store, eve, method, theirs[method])
    mine = await everything(store, ann)
    for name, (mailbox, rows) in (await everything(store, eve)).items():
        assert mailbox.id != mine[name][0].id
        assert [*rows] == [*mine[name][1]]


@pytest.mark.parametrize("method", CHANGES[1:])
async def test_the_request_of_another_account_is_refused_as_if_it_were_new(
    store: MailStore, method: str
) -> None:
    ann, eve = store.account(), store.account("eve")
    request = (await requests(store, ann))[method]
    await ask(store, ann, method, request)
    with pytest.raises(MailboxNotFoundError):
        await ask(store, eve, method, request)


async def test_operations_are_forgotten_after_a_day(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    for request in (await requests(store, ann)).values():
        await ask(store, ann, type(request).__name__.removesuffix("Request"), request)
    age = "UPDATE mailstore.operation SET asked_at = asked_at - interval '23 hours'"
    await store.execute(age)
    upkeep = Upkeep(store.database, store.objects, UpkeepLimits(forget_operations=2))
    await upkeep.run_once()
    assert await store.fetchval("SELECT count(*) FROM mailstore.operation") == len(CHANGES)
    await store.execute(age)
    await upkeep.run_once()
    assert await store.fetchval("SELECT count(*) FROM mailstore.operation") == 0
