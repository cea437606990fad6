"""Mailboxes: names, RENAME, DELETE, flags, APPEND, COPY, MOVE, EXPUNGE, \\Recent."""

import asyncio

import pytest

from mailstore.upkeep import Upkeep, UpkeepLimits
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.capability import Scope
from postroom_contracts.errors import (
    ContentMismatchError,
    InvalidCredentialsError,
    InvalidNameError,
    InvalidRequestError,
    MailboxExistsError,
    MailboxNotFoundError,
    MailboxProtectedError,
    NotPermittedError,
    PostroomError,
    TooManyKeywordsError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import on_behalf_of
from postroom_testing.mail_store import MailAccount, MailStore, capability, inline, rows_by_uid

SEEN, DELETED = 1, 8
ADD = mailbox_pb2.StoreFlagsRequest.MODE_ADD
REMOVE = mailbox_pb2.StoreFlagsRequest.MODE_REMOVE
REPLACE = mailbox_pb2.StoreFlagsRequest.MODE_REPLACE
HELLO = b"Subject: hello\r\n\r\nHello.\r\n"


async def _create(store: MailStore, account: MailAccount, name: str) -> mailbox_pb2.Mailbox:
    request = mailbox_pb2.CreateMailboxRequest(name=name)
    return (await store.mailbox.CreateMailbox(request, metadata=account.metadata)).mailbox


async def _rename(store: MailStore, account: MailAccount, old: str, new: str) -> mailbox_pb2.Mailbox:
    mailbox_id = await store.mailbox_id(account, old)
    request = mailbox_pb2.RenameMailboxRequest(mailbox_id=mailbox_id, new_name=new)
    return (await store.mailbox.RenameMailbox(request, metadata=account.metadata)).mailbox


async def _store_flags(
    store: MailStore,
    account: MailAccount,
    mailbox_id: bytes,
    mode: mailbox_pb2.StoreFlagsRequest.Mode.ValueType,
    flags: int = 0,
    keywords: list[str] | None = None,
) -> mailbox_pb2.StoreFlagsResponse:
    request = mailbox_pb2.StoreFlagsRequest(
        mailbox_id=mailbox_id, mode=mode, flags=flags, keywords=keywords or []
    )
    request.uids.add(first=1, last=2**32 - 1)
    return await store.mailbox.StoreFlags(request, metadata=account.metadata)


async def test_an_account_begins_with_its_six_mailboxes(store: MailStore) -> None:
    ann = store.account()
    found = await asyncio.gather(*(store.mailboxes(ann) for _ in range(4)))
    assert all(mailboxes == found[0] for mailboxes in found)
    uses = {name: mailbox.special_use for name, mailbox in found[0].items()}
    assert uses == {"INBOX": 0, "Sent": 1, "Drafts": 2, "Trash": 3, "Junk": 4, "Archive": 5}
    assert all(mailbox.subscribed and mailbox.uid_validity > 0 for mailbox in found[0].values())


async def test_a_mailbox_is_created_with_what_is_missing_above_it(store: MailStore) -> None:
    ann = store.account()
    await _create(store, ann, "a/b/c")
    assert {"a", "a/b", "a/b/c"} <= (await store.mailboxes(ann)).keys()
    with pytest.raises(MailboxExistsError):
        await _create(store, ann, "a/b")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a//b",
        "a/",
        "/a",
        "a\x00b",
        "a\nb",
        "a\x7f",
        "a\x85",
        "x" * 1_001,
        "é" * 501,
        "/".join("a" * 33),
    ],
)
async def test_names_that_no_mailbox_can_have_are_refused(store: MailStore, name: str) -> None:
    with pytest.raises(InvalidNameError):
        await _create(store, store.account(), name)


async def test_inbox_is_one_however_it_is_written(store: MailStore) -> None:
    ann = store.account()
    with pytest.raises(MailboxExistsError):
        await _create(store, ann, "InBox")
    assert (await _create(store, ann, "inbox/below")).name == "INBOX/below"


async def test_an_unknown_special_use_is_refused(store: MailStore) -> None:
    ann = store.account()
    request = mailbox_pb2.CreateMailboxRequest(name="odd")
    request.MergeFromString(b"\x10\x63")  # special_use = 99, which our own classes do not let through
    with pytest.raises(InvalidRequestError):
        await store.mailbox.CreateMailbox(request, metadata=ann.metadata)
    assert "odd" not in await store.mailboxes(ann)


async def test_a_mailbox_that_is_created_again_has_another_uid_validity(store: MailStore) -> None:
    ann = store.account()
    first = await _create(store, ann, "again")
    await store.append(ann, first.id, HELLO)
    request = mailbox_pb2.DeleteMailboxRequest(mailbox_id=first.id)
    await store.mailbox.DeleteMailbox(request, metadata=ann.metadata)
    second = await _create(store, ann, "again")
    assert second.uid_validity > first.uid_validity
    assert second.messages == 0
    with pytest.raises(MailboxNotFoundError):
        await store.append(ann, first.id, HELLO)


async def test_a_deleted_mailbox_is_purged_in_slices(
    own_store: MailStore,
) -> None:
    store, ann = own_store, own_store.account()
    box = await _create(store, ann, "gone")
    for _ in range(5):
        await store.append(ann, box.id, HELLO)
    request = mailbox_pb2.DeleteMailboxRequest(mailbox_id=box.id)
    await store.mailbox.DeleteMailbox(request, metadata=ann.metadata)
    changes = mailbox_pb2.GetChangesRequest(mailbox_id=box.id, since_modseq=1)
    assert (await store.mailbox.GetChanges(changes, metadata=ann.metadata)).deleted
    limits = UpkeepLimits(purge_messages=2)
    await Upkeep(store.database, store.objects, limits).run_once()
    assert await store.fetchval("SELECT used_messages FROM mailstore.account_state") == 0
    assert await store.fetchval("SELECT count(*) FROM mailstore.mailbox_message") == 0
    assert await store.fetchval("SELECT count(*) FROM mailstore.expunged WHERE kind = 3") == 5
    assert await store.counters_are_right(ann)


async def test_inbox_cannot_be_deleted(store: MailStore) -> None:
    ann = store.account()
    request = mailbox_pb2.DeleteMailboxRequest(mailbox_id=await store.mailbox_id(ann))
    with pytest.raises(MailboxProtectedError):
        await store.mailbox.DeleteMailbox(request, metadata=ann.metadata)


async def test_rename_takes_inferiors_along_and_keeps_what_is_in_them(store: MailStore) -> None:
    ann = store.account()
    below = await _create(store, ann, "a/b/c")
    await store.append(ann, below.id, HELLO)
    await _rename(store, ann, "a/b", "x/y")
    mailboxes = await store.mailboxes(ann)
    assert {"a", "x", "x/y", "x/y/c"} <= mailboxes.keys()
    assert "a/b/c" not in mailboxes
    assert (mailboxes["x/y/c"].id, mailboxes["x/y/c"].messages) == (below.id, 1)


@pytest.mark.parametrize(
    ("new", "error"),
    [
        ("a/below", InvalidNameError),
        ("b", MailboxExistsError),
        ("a", MailboxExistsError),
        ("inbox", MailboxExistsError),
        ("y" * 995, InvalidNameError),
    ],
)
async def test_a_rename_that_cannot_be_is_refused(
    store: MailStore, new: str, error: type[PostroomError]
) -> None:
    ann = store.account()
    for name in ("a/inferior", "b"):
        await _create(store, ann, name)
    with pytest.raises(error):
        await _rename(store, ann, "a", new)


async def test_renaming_inbox_moves_its_messages_and_leaves_it(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO, HELLO)
    inbox = (await store.mailboxes(ann))["INBOX"]
    renamed = await _rename(store, ann, "INBOX", "old/mail")
    mailboxes = await store.mailboxes(ann)
    assert (renamed.name, renamed.messages, mailboxes["INBOX"].messages) == ("old/mail", 2, 0)
    assert (mailboxes["INBOX"].id, mailboxes["INBOX"].uid_validity) == (inbox.id, inbox.uid_validity)
    assert mailboxes["INBOX"].uid_next == 3
    assert await store.counters_are_right(ann)


async def test_a_subscription_outlives_its_mailbox(store: MailStore) -> None:
    ann = store.account()
    box = await _create(store, ann, "list")
    await store.mailbox.SetSubscription(
        mailbox_pb2.SetSubscriptionRequest(name="list", subscribed=True), metadata=ann.metadata
    )
    await store.mailbox.DeleteMailbox(
        mailbox_pb2.DeleteMailboxRequest(mailbox_id=box.id), metadata=ann.metadata
    )
    answer = await store.mailbox.ListMailboxes(mailbox_pb2.ListMailboxesRequest(), metadata=ann.metadata)
    assert list(answer.subscribed_absent) == ["list"]


async def test_append_asked_again_appends_once_and_answers_the_same(store: MailStore) -> None:
    ann = store.account()
    inbox = await store.mailbox_id(ann)
    request = mailbox_pb2.AppendMessageRequest(id=new_id().bytes, mailbox_id=inbox, content=inline(HELLO))
    request.internal_date.GetCurrentTime()
    first = await store.mailbox.AppendMessage(request, metadata=ann.metadata)
    others = await asyncio.gather(
        *(store.mailbox.AppendMessage(request, metadata=ann.metadata) for _ in range(4))
    )
    assert all((other.uid_validity, other.uid) == (first.uid_validity, first.uid) for other in others)
    assert len(await store.rows(ann, inbox)) == 1
    assert await store.counters_are_right(ann)


async def test_append_shows_nobody_the_message_of_another(store: MailStore) -> None:
    ann, eve = store.account(), store.account("eve")
    await store.deliver(ann, b"Subject: secret\r\n\r\n")
    message_id = await store.fetchval(
        "SELECT message_id FROM mailstore.mailbox_message WHERE account_id = $1", ann.id
    )
    request = mailbox_pb2.AppendMessageRequest(
        id=message_id.bytes, mailbox_id=await store.mailbox_id(eve), content=inline(HELLO)
    )
    request.internal_date.GetCurrentTime()
    with pytest.raises(InvalidRequestError):
        await store.mailbox.AppendMessage(request, metadata=eve.metadata)
    assert await store.inbox(eve) == []


async def test_append_checks_size_and_digest(store: MailStore) -> None:
    ann = store.account()
    content = inline(HELLO)
    content.digest = bytes(32)
    request = mailbox_pb2.AppendMessageRequest(
        id=new_id().bytes, mailbox_id=await store.mailbox_id(ann), content=content
    )
    request.internal_date.GetCurrentTime()
    with pytest.raises(ContentMismatchError):
        await store.mailbox.AppendMessage(request, metadata=ann.metadata)


async def test_nobody_reaches_the_mailboxes_of_another(store: MailStore) -> None:
    ann, eve = store.account(), store.account("eve")
    await store.deliver(ann, HELLO)
    inbox = await store.mailbox_id(ann)
    await store.mailboxes(eve)
    assert await store.read(eve, inbox, 1, prefix=True) == b""
    with pytest.raises(MailboxNotFoundError):
        await store.rows(eve, inbox)
    with pytest.raises(MailboxNotFoundError):
        await store.append(eve, inbox, HELLO)
    with pytest.raises(MailboxNotFoundError):
        await store.mailbox.ExpungeMessages(
            mailbox_pb2.ExpungeMessagesRequest(mailbox_id=inbox), metadata=eve.metadata
        )
    with pytest.raises(InvalidCredentialsError):
        await store.mailbox.ListMailboxes(mailbox_pb2.ListMailboxesRequest())
    ftp = on_behalf_of(capability(ann.id, ann.address, Scope.FTP))
    with pytest.raises(NotPermittedError):
        await store.mailbox.ListMailboxes(mailbox_pb2.ListMailboxesRequest(), metadata=ftp)


async def test_flags_are_replaced_added_and_removed(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO, HELLO)
    inbox = await store.mailbox_id(ann)
    await _store_flags(store, ann, inbox, ADD, SEEN | DELETED, ["Work"])
    answer = await _store_flags(store, ann, inbox, REMOVE, DELETED)
    assert rows_by_uid(answer.rows) == {1: (SEEN, 1, answer.modseq), 2: (SEEN, 1, answer.modseq)}
    again = await _store_flags(store, ann, inbox, ADD, SEEN, ["WORK"])
    assert not again.rows.uids  # nothing is different now
    await _store_flags(store, ann, inbox, REPLACE, 0)
    assert {row[:2] for row in (await store.rows(ann, inbox)).values()} == {(0, 0)}
    assert await store.counters_are_right(ann)


async def test_an_account_has_63_keywords_and_removing_makes_none(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO)
    inbox = await store.mailbox_id(ann)
    await _store_flags(store, ann, inbox, REMOVE, 0, ["never"])
    names = [f"k{number}" for number in range(63)]
    answer = await _store_flags(store, ann, inbox, ADD, 0, names)
    assert {keyword.name: keyword.bit for keyword in answer.keywords} == {
        name: bit for bit, name in enumerate(names)
    }
    assert answer.rows.keywords[0] == 2**63 - 1
    with pytest.raises(TooManyKeywordsError):
        await _store_flags(store, ann, inbox, ADD, SEEN, ["one-more"])
    await _store_flags(store, ann, inbox, REMOVE, 0, ["k0", "unknown"])
    assert (await store.rows(ann, inbox))[1][:2] == (0, 2**63 - 2)


@pytest.mark.parametrize("name", ["", "a b", "a\x00", 'a"', "x" * 101, "é", "(a", "\\Seen", "a]"])
async def test_what_is_no_keyword_is_refused(store: MailStore, name: str) -> None:
    ann = store.account()
    with pytest.raises(InvalidRequestError):
        await _store_flags(store, ann, await store.mailbox_id(ann), ADD, 0, [name])


async def test_copy_and_move_tell_where_each_message_went(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, *(b"Subject: %d\r\n\r\n" % number for number in range(5)))
    mailboxes = await store.mailboxes(ann)
    inbox, archive = mailboxes["INBOX"].id, mailboxes["Archive"].id
    copy = mailbox_pb2.CopyMessagesRequest(mailbox_id=inbox, target_mailbox_id=archive)
    for uid in (1, 2, 4, 9):
        copy.uids.add(first=uid, last=uid)
    copied = await store.mailbox.CopyMessages(copy, metadata=ann.metadata)
    assert [(each.first, each.last) for each in copied.source] == [(1, 2), (4, 4)]
    assert [(each.first, each.last) for each in copied.target] == [(1, 3)]
    move = mailbox_pb2.MoveMessagesRequest(mailbox_id=inbox, target_mailbox_id=archive)
    move.uids.add(first=4, last=2**32 - 1)
    await store.mailbox.MoveMessages(move, metadata=ann.metadata)
    assert sorted(await store.rows(ann, inbox)) == [1, 2, 3]
    assert sorted(await store.rows(ann, archive)) == [1, 2, 3, 4, 5]
    assert await store.read(ann, archive, 5) == b"Subject: 4\r\n\r\n"
    assert await store.counters_are_right(ann)


async def test_expunge_takes_what_is_deleted_or_what_is_named_regardless(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, *(HELLO for _ in range(4)))
    inbox = await store.mailbox_id(ann)
    flag = mailbox_pb2.StoreFlagsRequest(mailbox_id=inbox, flags=DELETED)
    flag.mode = mailbox_pb2.StoreFlagsRequest.MODE_ADD
    flag.uids.add(first=1, last=2)
    await store.mailbox.StoreFlags(flag, metadata=ann.metadata)
    named = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=inbox)
    named.uids.add(first=2, last=3)
    gone = await store.mailbox.ExpungeMessages(named, metadata=ann.metadata)
    assert [(each.first, each.last) for each in gone.expunged] == [(2, 2)]
    named.regardless = True
    gone = await store.mailbox.ExpungeMessages(named, metadata=ann.metadata)
    assert [(each.first, each.last) for each in gone.expunged] == [(3, 3)]
    all_deleted = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=inbox)
    await store.mailbox.ExpungeMessages(all_deleted, metadata=ann.metadata)
    assert sorted(await store.rows(ann, inbox)) == [4]
    assert await store.counters_are_right(ann)


async def test_recent_messages_are_told_to_one_session(store: MailStore) -> None:
    ann = store.account()
    await store.deliver(ann, HELLO, HELLO)
    request = mailbox_pb2.ClaimRecentRequest(mailbox_id=await store.mailbox_id(ann))
    claims = await asyncio.gather(
        *(store.mailbox.ClaimRecent(request, metadata=ann.metadata) for _ in range(3))
    )
    ranges = sorted((claim.recent.first, claim.recent.last) for claim in claims)
    assert ranges == [(1, 2), (3, 2), (3, 2)]


async def test_uids_ascend_in_the_order_of_commits_whoever_places_messages(store: MailStore) -> None:
    ann = store.account()
    mailboxes = await store.mailboxes(ann)
    inbox, drafts = mailboxes["INBOX"].id, mailboxes["Drafts"].id
    await store.append(ann, drafts, HELLO)
    copy = mailbox_pb2.CopyMessagesRequest(mailbox_id=drafts, target_mailbox_id=inbox)
    copy.uids.add(first=1, last=1)
    seen: list[list[int]] = []

    async def look() -> None:
        while True:
            seen.append(sorted(await store.rows(ann, inbox)))

    looking = asyncio.ensure_future(look())
    for _ in range(4):
        await asyncio.gather(
            store.append(ann, inbox, HELLO),
            store.mailbox.CopyMessages(copy, metadata=ann.metadata),
            store.deliver(ann, HELLO),
            store.append(ann, inbox, HELLO),
        )
    looking.cancel()
    final = sorted(await store.rows(ann, inbox))
    assert final == list(range(1, len(final) + 1))
    assert all(each == final[: len(each)] for each in seen)  # nobody saw 3 before 2
    assert await store.counters_are_right(ann)


async def test_modseqs_of_many_accounts_are_told_at_once(store: MailStore) -> None:
    ann, bob = store.account(), store.account("bob")
    await store.mailboxes(ann)
    await store.deliver(ann, HELLO)
    request = mailbox_pb2.GetModseqsRequest(capabilities=[bob.token, "not one of ours", ann.token, ann.token])
    answer = await store.mailbox.GetModseqs(request)
    assert answer.modseqs[:2] == [0, 0]
    assert answer.modseqs[2] == answer.modseqs[3] == 2
