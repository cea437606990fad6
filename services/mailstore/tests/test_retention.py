"""What was expunged is read by those who do not know yet, can be restored, and is forgotten in the end."""

import json

import pytest

from mailstore.mailboxes.retention import RetentionLimits
from mailstore.upkeep import Upkeep, UpkeepLimits
from postroom.mailstore.v1 import mailbox_pb2
from postroom.mailstore.v1 import retention_pb2 as pb
from postroom_contracts.capability import Quota, Scope
from postroom_contracts.errors import (
    InvalidCredentialsError,
    InvalidRequestError,
    LimitError,
    MailboxNotFoundError,
    NotPermittedError,
    OverQuotaError,
    PostroomError,
)
from postroom_contracts.ids import NOBODY, new_id
from postroom_runtime.grpc_client import on_behalf_of
from postroom_testing.mail_store import MailAccount, MailStore, capability

ADMIN = on_behalf_of(capability(NOBODY, "", Scope.ADMIN))
SEEN, DELETED = 1, 8
_CANDIDATES = "SELECT count(*) FROM mailstore.blob_candidate"
_KEPT = "SELECT count(*) FROM mailstore.expunged"
_AGE = "UPDATE mailstore.expunged SET expunged_at = expunged_at - make_interval(secs => $1)"


async def filled(store: MailStore, account: MailAccount, count: int = 3) -> bytes:
    """The account's INBOX, with some messages."""
    await store.deliver(account, *(b"Subject: %d\r\n\r\ntext %d" % (each, each) for each in range(count)))
    return await store.mailbox_id(account)


async def expunge(store: MailStore, account: MailAccount, mailbox_id: bytes, *uids: int) -> None:
    request = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=mailbox_id, regardless=True)
    for uid in uids:
        request.uids.add(first=uid, last=uid)
    await store.mailbox.ExpungeMessages(request, metadata=account.metadata)


async def listed(store: MailStore, account: MailAccount, mailbox_id: bytes = b"") -> dict[int, str]:
    """Subjects by UID."""
    request = pb.ListExpungedRequest(mailbox_id=mailbox_id)
    answer = await store.retention.ListExpunged(request, metadata=account.metadata)
    assert not answer.next_cursor
    return {each.uid: json.loads(each.summary)["subject"] for each in answer.messages}


async def restore(
    store: MailStore, account: MailAccount, mailbox_id: bytes, *uids: int, operation: bytes = b""
) -> pb.RestoreMessagesResponse:
    request = pb.RestoreMessagesRequest(mailbox_id=mailbox_id, operation_id=operation)
    for uid in uids:
        request.uids.add(first=uid, last=uid)
    return await store.retention.RestoreMessages(request, metadata=account.metadata)


async def round_of_upkeep(store: MailStore) -> None:
    limits = UpkeepLimits(retention=RetentionLimits(slice_rows=2))
    await Upkeep(store.database, store.objects, limits).run_once()


async def test_an_expunged_message_is_listed_and_comes_back_with_its_flags_under_a_new_uid(
    store: MailStore,
) -> None:
    ann = store.account()
    inbox = await filled(store, ann)
    flags = mailbox_pb2.StoreFlagsRequest(
        mailbox_id=inbox,
        mode=mailbox_pb2.StoreFlagsRequest.MODE_ADD,
        flags=SEEN | DELETED,
        keywords=["$work"],
    )
    flags.uids.add(first=2, last=2)
    await store.mailbox.StoreFlags(flags, metadata=ann.metadata)
    await expunge(store, ann, inbox, 1, 2)
    assert await listed(store, ann, inbox) == {1: "0", 2: "1"}
    store.hooks.changed.clear()
    answer = await restore(store, ann, inbox, 2)
    assert (answer.mailbox_id, answer.mailbox) == (inbox, "INBOX")
    assert [(each.first, each.last) for each in answer.source] == [(2, 2)]
    assert [(each.first, each.last) for each in answer.target] == [(4, 4)]
    assert store.hooks.changed == [(ann.id, answer.modseq)]
    assert (await store.rows(ann, inbox))[4] == (SEEN, 1, answer.modseq)
    assert await store.read(ann, inbox, 4) == b"Subject: 1\r\n\r\ntext 1"
    assert await listed(store, ann, inbox) == {1: "0"}
    assert await store.counters_are_right(ann)


async def test_all_of_a_mailbox_comes_back_when_no_uids_are_named(store: MailStore) -> None:
    ann = store.account()
    inbox = await filled(store, ann)
    await expunge(store, ann, inbox, 1, 3)
    await restore(store, ann, inbox)
    assert list(await store.rows(ann, inbox)) == [2, 4, 5]
    assert not (await restore(store, ann, inbox)).target
    assert not (await restore(store, ann, inbox, 77)).target


async def test_a_restore_that_is_asked_again_is_done_once(store: MailStore) -> None:
    ann = store.account()
    inbox, operation = await filled(store, ann), new_id().bytes
    await expunge(store, ann, inbox, 1)
    answers = [await restore(store, ann, inbox, 1, operation=operation) for _ in range(2)]
    assert answers[0] == answers[1]
    await expunge(store, ann, inbox, 4)
    assert await restore(store, ann, inbox, 1, operation=operation) == answers[0]
    assert list(await store.rows(ann, inbox)) == [2, 3]


async def test_messages_of_a_deleted_mailbox_come_back_in_inbox(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    created = await store.mailbox.CreateMailbox(
        mailbox_pb2.CreateMailboxRequest(name="old"), metadata=ann.metadata
    )
    await store.append(ann, created.mailbox.id, b"Subject: kept\r\n\r\n", SEEN)
    request = mailbox_pb2.DeleteMailboxRequest(mailbox_id=created.mailbox.id)
    await store.mailbox.DeleteMailbox(request, metadata=ann.metadata)
    await round_of_upkeep(store)
    answer = await store.retention.ListExpunged(pb.ListExpungedRequest(), metadata=ann.metadata)
    (found,) = answer.messages
    assert (found.mailbox, found.mailbox_gone, found.mailbox_id) == ("old", True, created.mailbox.id)
    assert (await restore(store, ann, created.mailbox.id)).mailbox == "INBOX"
    assert await store.inbox(ann) == [b""]  # of which the test's reader takes away two lines of a prefix
    assert not await listed(store, ann)
    assert await store.counters_are_right(ann)


async def test_what_was_moved_is_not_listed_and_cannot_be_restored(store: MailStore) -> None:
    ann = store.account()
    inbox, trash = await filled(store, ann), await store.mailbox_id(ann, "Trash")
    request = mailbox_pb2.MoveMessagesRequest(mailbox_id=inbox, target_mailbox_id=trash)
    request.uids.add(first=1, last=1)
    await store.mailbox.MoveMessages(request, metadata=ann.metadata)
    assert not await listed(store, ann)
    assert not (await restore(store, ann, inbox, 1)).target
    assert list(await store.rows(ann, inbox)) == [2, 3]


async def test_whoever_was_not_told_of_the_expunge_reads_on(store: MailStore) -> None:
    ann = store.account()
    inbox = await filled(store, ann)
    await expunge(store, ann, inbox, 2)

    async def facts(*, expunged: bool) -> list[tuple[int, int]]:
        request = mailbox_pb2.FetchFactsRequest(mailbox_id=inbox, envelope=True, expunged=expunged)
        request.uids.add(first=1, last=2)
        request.uids.add(first=3, last=9)
        pages = store.mailbox.FetchFacts(request, metadata=ann.metadata)
        return [(each.uid, each.size) async for page in pages for each in page.facts if each.envelope]

    async def octets(*, expunged: bool) -> bytes:
        request = mailbox_pb2.ReadMessagesRequest(mailbox_id=inbox, expunged=expunged)
        request.reads.add(uid=2, offset=0, length=2**40)
        answers = store.mailbox.ReadMessages(request, metadata=ann.metadata)
        return b"".join([answer.chunk.octets async for answer in answers])

    sizes = dict(await facts(expunged=True))
    assert list(sizes) == [1, 2, 3]
    assert [uid for uid, _ in await facts(expunged=False)] == [1, 3]
    assert (await octets(expunged=True)).endswith(b"Subject: 1\r\n\r\ntext 1")
    assert len(await octets(expunged=True)) == sizes[2]
    assert not await octets(expunged=False)
    await restore(store, ann, inbox, 2)
    assert len(await octets(expunged=True)) == sizes[2]


async def test_the_list_comes_in_pages(store: MailStore) -> None:
    ann = store.account()
    inbox = await filled(store, ann, 5)
    await expunge(store, ann, inbox, 1, 2, 3, 5)
    uids: list[list[int]] = []
    request = pb.ListExpungedRequest(mailbox_id=inbox, limit=2)
    while True:
        answer = await store.retention.ListExpunged(request, metadata=ann.metadata)
        uids.append([each.uid for each in answer.messages])
        if not answer.next_cursor:
            break
        request.cursor = answer.next_cursor
    assert uids == [[5, 3], [2, 1]]


async def test_an_administrator_names_the_account(store: MailStore) -> None:
    ann = store.account()
    inbox = await filled(store, ann)
    await expunge(store, ann, inbox, 1)
    asked = pb.ListExpungedRequest(account_id=ann.id.bytes)
    answer = await store.retention.ListExpunged(asked, metadata=ADMIN)
    assert [each.uid for each in answer.messages] == [1]
    put_back = pb.RestoreMessagesRequest(account_id=ann.id.bytes, mailbox_id=inbox)
    assert (await store.retention.RestoreMessages(put_back, metadata=ADMIN)).target
    assert list(await store.rows(ann, inbox)) == [2, 3, 4]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.ListExpungedRequest(cursor="nonsense"), InvalidRequestError),
        (pb.ListExpungedRequest(cursor="zz.1"), InvalidRequestError),
        (pb.ListExpungedRequest(cursor=f"{new_id().hex}.-1"), InvalidRequestError),
        (pb.ListExpungedRequest(limit=-1), InvalidRequestError),
        (pb.ListExpungedRequest(mailbox_id=b"short"), InvalidRequestError),
        (pb.ListExpungedRequest(account_id=new_id().bytes), InvalidRequestError),
        (pb.ListExpungedRequest(mailbox_id=new_id().bytes), MailboxNotFoundError),
        (pb.RestoreMessagesRequest(account_id=new_id().bytes), InvalidRequestError),
        (pb.RestoreMessagesRequest(mailbox_id=new_id().bytes), MailboxNotFoundError),
    ],
)
async def test_requests_that_mean_nothing_are_refused(
    store: MailStore, request_: pb.ListExpungedRequest | pb.RestoreMessagesRequest, error: type[PostroomError]
) -> None:
    ann = store.account()
    await store.mailboxes(ann)
    lists = isinstance(request_, pb.ListExpungedRequest)
    call = store.retention.ListExpunged if lists else store.retention.RestoreMessages
    with pytest.raises(error):
        await call(request_, metadata=ann.metadata)  # pyright: ignore[reportArgumentType]  # its own request


async def test_nobody_restores_the_messages_of_another(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    inbox = await filled(store, ann)
    await store.mailboxes(bob)
    await expunge(store, ann, inbox, 1)
    with pytest.raises(MailboxNotFoundError):
        await restore(store, bob, inbox)
    with pytest.raises(MailboxNotFoundError):
        await listed(store, bob, inbox)
    assert not await listed(store, bob)
    with pytest.raises(InvalidCredentialsError):
        await store.retention.ListExpunged(pb.ListExpungedRequest())
    pop3 = on_behalf_of(capability(ann.id, ann.address, Scope.POP3))
    with pytest.raises(NotPermittedError):
        await store.retention.ListExpunged(pb.ListExpungedRequest(), metadata=pop3)


async def test_no_more_is_restored_at_once_than_a_transaction_bears(
    store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstore.mailboxes.retention.MAX_RESTORED", 2)
    ann = store.account()
    inbox = await filled(store, ann)
    await expunge(store, ann, inbox, 1, 2, 3)
    with pytest.raises(LimitError):
        await restore(store, ann, inbox)
    assert await listed(store, ann) == {1: "0", 2: "1", 3: "2"}
    await restore(store, ann, inbox, 1, 2)
    assert await listed(store, ann) == {3: "2"}


async def test_what_was_moved_takes_no_place_among_what_is_restored(
    store: MailStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailstore.mailboxes.retention.MAX_RESTORED", 2)
    ann = store.account()
    inbox, trash = await filled(store, ann, 6), await store.mailbox_id(ann, "Trash")
    request = mailbox_pb2.MoveMessagesRequest(mailbox_id=inbox, target_mailbox_id=trash)
    request.uids.add(first=1, last=4)
    await store.mailbox.MoveMessages(request, metadata=ann.metadata)
    await expunge(store, ann, inbox, 5, 6)
    assert [(each.first, each.last) for each in (await restore(store, ann, inbox)).source] == [(5, 6)]


async def test_a_full_account_restores_nothing_unless_an_administrator_does(store: MailStore) -> None:
    ann = store.account(quota=Quota(messages=3))
    inbox = await filled(store, ann)
    await expunge(store, ann, inbox, 1)
    await store.deliver(ann, b"Subject: meanwhile\r\n\r\n")
    with pytest.raises(OverQuotaError):
        await restore(store, ann, inbox)
    assert await listed(store, ann) == {1: "0"}
    request = pb.RestoreMessagesRequest(account_id=ann.id.bytes, mailbox_id=inbox)
    await store.retention.RestoreMessages(request, metadata=ADMIN)
    assert list(await store.rows(ann, inbox)) == [2, 3, 4, 5]
    assert await store.counters_are_right(ann)


async def test_after_its_time_nothing_is_restored_and_what_is_left_is_the_janitors(
    own_store: MailStore,
) -> None:
    store, ann = own_store, own_store.account()
    inbox = await filled(store, ann, 6)
    await expunge(store, ann, inbox, 1, 2, 3)
    await store.execute(_AGE, 13.9 * 86_400)
    await expunge(store, ann, inbox, 4)
    await round_of_upkeep(store)
    assert len(await listed(store, ann)) == 4
    await store.execute(_AGE, 0.2 * 86_400)
    assert await listed(store, ann) == {4: "3"}
    assert [each.first for each in (await restore(store, ann, inbox)).source] == [4]
    await round_of_upkeep(store)
    assert await store.fetchval(_KEPT) == 1
    assert await store.fetchval(_CANDIDATES) == 3


async def test_of_an_account_that_expunged_too_much_the_oldest_are_forgotten_early(
    own_store: MailStore,
) -> None:
    store = own_store
    ann, bob = store.account("ann"), store.account("bob")
    inbox, others = await filled(store, ann, 5), await filled(store, bob, 2)
    for uid in (3, 1, 2):
        await expunge(store, ann, inbox, uid)
    await expunge(store, bob, others, 1)
    await store.execute(_AGE, 3_700)
    await expunge(store, ann, inbox, 4)
    sizes: dict[int, int] = {}
    async with store.database.connection() as connection:
        for row in await connection.fetch("SELECT * FROM mailstore.expunged WHERE account_id = $1", ann.id):
            sizes[row["uid"]] = row["size"]
    limits = UpkeepLimits(retention=RetentionLimits(account_octets=sizes[4] + sizes[2]))
    await Upkeep(store.database, store.objects, limits).run_once()
    assert await listed(store, ann) == {4: "3", 2: "1"}
    assert await listed(store, bob) == {1: "0"}
    await Upkeep(
        store.database, store.objects, UpkeepLimits(retention=RetentionLimits(account_octets=0))
    ).run_once()
    assert await listed(store, ann) == {4: "3"}  # an hour at least


async def test_what_was_moved_is_known_for_a_day(own_store: MailStore) -> None:
    store, ann = own_store, own_store.account()
    inbox, trash = await filled(store, ann), await store.mailbox_id(ann, "Trash")
    request = mailbox_pb2.MoveMessagesRequest(mailbox_id=inbox, target_mailbox_id=trash)
    request.uids.add(first=1, last=3)
    await store.mailbox.MoveMessages(request, metadata=ann.metadata)
    await store.execute(_AGE, 86_000)
    await round_of_upkeep(store)
    assert await store.fetchval(_KEPT) == 3
    await store.execute(_AGE, 401)
    await round_of_upkeep(store)
    assert await store.fetchval(_KEPT) == 0
    assert len(await store.rows(ann, trash)) == 3


async def test_a_deleted_mailbox_is_forgotten_when_nothing_of_it_can_be_restored(
    own_store: MailStore,
) -> None:
    store, ann = own_store, own_store.account()
    for name in ("full", "empty"):
        created = await store.mailbox.CreateMailbox(
            mailbox_pb2.CreateMailboxRequest(name=name), metadata=ann.metadata
        )
        if name == "full":
            await store.append(ann, created.mailbox.id, b"Subject: kept\r\n\r\n")
        request = mailbox_pb2.DeleteMailboxRequest(mailbox_id=created.mailbox.id)
        await store.mailbox.DeleteMailbox(request, metadata=ann.metadata)
    gone = "SELECT coalesce(array_agg(name), '{}') FROM mailstore.mailbox WHERE deleted_at IS NOT NULL"
    await round_of_upkeep(store)
    assert sorted(await store.fetchval(gone)) == ["empty", "full"]
    await store.execute("UPDATE mailstore.mailbox SET deleted_at = deleted_at - interval '15 days'")
    await round_of_upkeep(store)
    assert await store.fetchval(gone) == ["full"]
    await store.execute(_AGE, 15 * 86_400)
    await round_of_upkeep(store)
    assert await store.fetchval(gone) == []
    assert len(await store.mailboxes(ann)) == 6
