"""What is removed from a mailbox is remembered as it was, in the statement that removes it."""

from typing import Any
from uuid import UUID

import pytest

from mailstore.accounts import ensure_accounts, lock_accounts
from mailstore.mailboxes.moving import MailboxPlace, Marks, copy_messages, move_messages
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import NotPermittedError
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_storage.database import Connection
from postroom_testing.mail_store import MailAccount, MailStore, inline

DELETED = 8
ALL = ((1, 2**32 - 1),)


async def expunge(store: MailStore, account: MailAccount, mailbox_id: bytes, *uids: int) -> None:
    request = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=mailbox_id, regardless=True)
    for uid in uids:
        request.uids.add(first=uid, last=uid)
    await store.mailbox.ExpungeMessages(request, metadata=account.metadata)


async def move(
    store: MailStore, account: MailAccount, mailbox_id: bytes, target: bytes
) -> mailbox_pb2.MoveMessagesResponse:
    request = mailbox_pb2.MoveMessagesRequest(mailbox_id=mailbox_id, target_mailbox_id=target)
    request.uids.add(first=1, last=2**32 - 1)
    return await store.mailbox.MoveMessages(request, metadata=account.metadata)


async def expunged(store: MailStore, account: MailAccount) -> dict[int, Any]:
    async with store.database.connection() as connection:
        rows = await connection.fetch("SELECT * FROM mailstore.expunged WHERE account_id = $1", account.id)
    return {row["uid"]: row for row in rows}


async def test_expunged_messages_are_remembered_as_they_were(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n", b"Subject: 3\r\n\r\n")
    inbox = await store.mailbox_id(ann)
    flags = mailbox_pb2.StoreFlagsRequest(
        mailbox_id=inbox, mode=mailbox_pb2.StoreFlagsRequest.MODE_ADD, flags=DELETED, keywords=["$work"]
    )
    flags.uids.add(first=2, last=2)
    await store.mailbox.StoreFlags(flags, metadata=ann.metadata)
    columns = "internal_date, saved_at, prefix, message_id, size, modseq"
    row = f"SELECT {columns} FROM mailstore.{{}} WHERE account_id = $1"
    async with store.database.connection() as connection:
        before = await connection.fetchrow(row.format("mailbox_message") + " AND uid = 2", ann.id)
        request = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=inbox)
        answer = await store.mailbox.ExpungeMessages(request, metadata=ann.metadata)
        after = await connection.fetchrow(row.format("expunged"), ann.id)
    assert before == after
    assert before is not None
    assert before["prefix"]
    assert [(each.first, each.last) for each in answer.expunged] == [(2, 2)]
    kept = await expunged(store, ann)
    assert (kept[2]["kind"], kept[2]["flags"], kept[2]["keywords"]) == (1, DELETED, 1)
    assert list(await store.rows(ann, inbox)) == [1, 3]
    assert await store.counters_are_right(ann)


async def test_nothing_to_expunge_changes_nothing(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, b"Subject: 1\r\n\r\n")
    inbox = await store.mailbox_id(ann)
    journal = "SELECT count(*) FROM mailstore.change WHERE account_id = $1"
    before = await store.fetchval(journal, ann.id)
    request = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=inbox)
    assert not (await store.mailbox.ExpungeMessages(request, metadata=ann.metadata)).expunged
    assert await store.fetchval(journal, ann.id) == before
    assert not await expunged(store, ann)


async def test_an_append_that_is_asked_again_answers_the_same_wherever_its_message_went(
    store: MailStore,
) -> None:
    ann = store.account()
    inbox, archive = await store.mailbox_id(ann), await store.mailbox_id(ann, "Archive")
    request = mailbox_pb2.AppendMessageRequest(
        id=new_id().bytes, mailbox_id=inbox, content=inline(b"Subject: once\r\n\r\n")
    )

    async def ask() -> tuple[int, int]:
        answer = await store.mailbox.AppendMessage(request, metadata=ann.metadata)
        return answer.uid_validity, answer.uid

    first = await ask()
    await move(store, ann, inbox, archive)
    assert await ask() == first
    await move(store, ann, archive, inbox)
    assert await ask() == first
    await expunge(store, ann, inbox, *await store.rows(ann, inbox))
    assert await ask() == first
    assert not await store.rows(ann, inbox)
    assert not await store.rows(ann, archive)


async def transfer(
    store: MailStore, of: MailAccount, to: MailAccount, marks: Marks, *, moves: bool = False
) -> tuple[UUID, UUID]:
    """Copy the inbox of one account into another's archive; both mailboxes."""
    source, target = await store.mailbox_id(of), await store.mailbox_id(to, "Archive")
    work = move_messages if moves else copy_messages

    async def transact(connection: Connection) -> None:
        modseqs = await lock_accounts(connection, [of.id, to.id])
        here = MailboxPlace(of.id, UUID(bytes=source), modseqs[of.id])
        there = MailboxPlace(to.id, UUID(bytes=target), modseqs[to.id])
        copied = await work(connection, here, ALL, there, marks)
        assert copied is not None
        assert (copied.source, copied.target) == ([(1, 2)], [(1, 2)])

    await store.database.run(transact)
    return UUID(bytes=source), UUID(bytes=target)


async def label(store: MailStore, account: MailAccount, uid: int, *keywords: str) -> None:
    request = mailbox_pb2.StoreFlagsRequest(
        mailbox_id=await store.mailbox_id(account),
        mode=mailbox_pb2.StoreFlagsRequest.MODE_ADD,
        flags=1,
        keywords=keywords,
    )
    request.uids.add(first=uid, last=uid)
    await store.mailbox.StoreFlags(request, metadata=account.metadata)


@pytest.mark.parametrize("moves", [False, True])
async def test_messages_go_to_another_account_with_its_own_bits_for_their_keywords(
    store: MailStore, *, moves: bool
) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    await store.deliver(ann, b"Subject: 1\r\n\r\none", b"Subject: 2\r\n\r\ntwo")
    await store.deliver(bob, b"Subject: own\r\n\r\n")
    await label(store, ann, 1, "a", "b")
    await label(store, ann, 2, "b")
    await label(store, bob, 1, "x", "B")
    source, target = await transfer(store, ann, bob, Marks(), moves=moves)
    rows = await store.rows(bob, target.bytes)
    assert {uid: row[:2] for uid, row in rows.items()} == {1: (1, 0b110), 2: (1, 0b010)}
    assert await store.read(bob, target.bytes, 2) == b"Subject: 2\r\n\r\ntwo"
    assert len(await store.rows(ann, source.bytes)) == (0 if moves else 2)
    assert {row["kind"] for row in (await expunged(store, ann)).values()} == ({2} if moves else set())
    assert await store.counters_are_right(ann)
    assert await store.counters_are_right(bob)


async def test_flags_that_may_not_be_set_elsewhere_stay_behind(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    await store.deliver(ann, b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n")
    await store.mailboxes(bob)
    await label(store, ann, 1, "a")
    _, target = await transfer(store, ann, bob, Marks(flags=0, keywords=False))
    assert {row[:2] for row in (await store.rows(bob, target.bytes)).values()} == {(0, 0)}


async def test_keywords_for_which_the_other_account_has_no_room_stay_behind(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    await store.deliver(ann, b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n")
    await store.deliver(bob, b"Subject: own\r\n\r\n")
    await label(store, bob, 1, *(f"k{number}" for number in range(62)))
    await label(store, ann, 1, "fits", "not", "k5")
    _, target = await transfer(store, ann, bob, Marks())
    assert (await store.rows(bob, target.bytes))[1][1] == 1 << 62 | 1 << 5


async def test_octets_are_not_shared_between_tenants(store: MailStore) -> None:
    ann, bob = store.account("ann"), store.account("bob")
    await ensure_accounts(store.database, {ann.id: DEFAULT_TENANT, bob.id: new_id()})
    await store.deliver(ann, b"Subject: 1\r\n\r\n", b"Subject: 2\r\n\r\n")
    with pytest.raises(NotPermittedError):
        await transfer(store, ann, bob, Marks())
    assert not await store.rows(bob, await store.mailbox_id(bob, "Archive"))
