"""Mailboxes that others may use, each with its own idea of what is seen (RFC 4314)."""

from collections.abc import Sequence
from typing import Any

import pytest

from mailstore.mailboxes.guests import without
from mailstore.mailboxes.sharing import Right
from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.capability import Quota
from postroom_contracts.errors import (
    InvalidRequestError,
    LimitError,
    MailboxNotFoundError,
    NotPermittedError,
    OverQuotaError,
)
from postroom_contracts.ids import new_id
from postroom_runtime.grpc_client import Metadata
from postroom_testing.mail_store import MailAccount, MailStore, inline, rows_by_uid

MAIL = b"From: Ann <ann@example.org>\r\nSubject: Tea\r\n\r\nAt five.\r\n"
SEEN, ANSWERED, FLAGGED, DELETED = 1, 2, 4, 8
READING = Right.LOOKUP | Right.READ
ALL = [mailbox_pb2.UidRange(first=1, last=2**32 - 1)]
STORE = mailbox_pb2.StoreFlagsRequest


def at(guest: MailAccount, host: MailAccount) -> Metadata:
    return (*guest.metadata, ("postroom-host", str(host.id)))


async def grant(
    store: MailStore, owner: MailAccount, mailbox_id: bytes, rights: int, grantee: MailAccount | None
) -> None:
    who = b"" if grantee is None else grantee.id.bytes
    request = pb.SetRightsRequest(
        mailbox_id=mailbox_id,
        grant=pb.Grant(account_id=who, rights=rights),
        mode=pb.SetRightsRequest.MODE_REPLACE,
    )
    await store.accounts.SetRights(request, metadata=owner.metadata)


async def shared(store: MailStore, rights: int, mails: int = 2) -> tuple[MailAccount, MailAccount, bytes]:
    """Ann's INBOX with so many messages, of which bob has rights, and bob."""
    ann, bob = store.account("ann"), store.account("bob")
    inbox = await store.mailbox_id(ann)
    for _ in range(mails):
        await store.append(ann, inbox, MAIL)
    await store.mailbox_id(bob)
    await grant(store, ann, inbox, rights, bob)
    return ann, bob, inbox


async def listed(store: MailStore, user: MailAccount, owner: MailAccount) -> list[pb.SharedMailbox]:
    """What this owner shares with the user; other tests' owners share with anyone."""
    answer = await store.accounts.ListShared(pb.ListSharedRequest(), metadata=user.metadata)
    return [each for each in answer.mailboxes if each.account_id == owner.id.bytes]


async def rows(store: MailStore, metadata: Metadata, mailbox_id: bytes) -> dict[int, tuple[int, int, int]]:
    found: dict[int, tuple[int, int, int]] = {}
    request = mailbox_pb2.LoadMailboxRequest(mailbox_id=mailbox_id)
    async for page in store.mailbox.LoadMailbox(request, metadata=metadata):
        found |= rows_by_uid(page.rows)
    return found


async def flags(store: MailStore, metadata: Metadata, mailbox_id: bytes) -> list[int]:
    return [row[0] for row in (await rows(store, metadata, mailbox_id)).values()]


async def change(
    store: MailStore,
    metadata: Metadata,
    mailbox_id: bytes,
    mode: STORE.Mode.ValueType,
    bits: int,
    keywords: Sequence[str] = (),
    since: int | None = None,
) -> mailbox_pb2.StoreFlagsResponse:
    request = STORE(
        mailbox_id=mailbox_id, uids=ALL, mode=mode, flags=bits, keywords=keywords, unchanged_since=since
    )
    return await store.mailbox.StoreFlags(request, metadata=metadata)


async def test_a_guest_finds_what_is_shared_and_nothing_else(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN)
    (found,) = await listed(store, bob, ann)
    assert (found.account_id, found.mailbox.id, found.mailbox.name) == (ann.id.bytes, inbox, "INBOX")
    assert (found.rights, found.mailbox.unseen, found.mailbox.recent) == (7, 2, 0)
    assert not await listed(store, ann, ann)
    carol = store.account("carol")
    assert not await listed(store, carol, ann)
    sent = await store.mailbox_id(ann, "Sent")
    for metadata, mailbox_id in ((at(carol, ann), inbox), (at(bob, ann), sent), (bob.metadata, inbox)):
        with pytest.raises(MailboxNotFoundError):
            await rows(store, metadata, mailbox_id)


async def test_what_anyone_may_all_may_together_with_what_they_may(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, Right.INSERT)
    await grant(store, ann, inbox, READING, None)
    (found,) = await listed(store, bob, ann)
    assert found.rights == READING | Right.INSERT
    assert len(await rows(store, at(store.account("carol"), ann), inbox)) == 2
    answer = await store.accounts.GetRights(pb.GetRightsRequest(mailbox_id=inbox), metadata=ann.metadata)
    assert [(each.account_id, each.rights) for each in answer.grants] == [
        (b"", READING),
        (bob.id.bytes, Right.INSERT),
    ]


async def test_each_reader_has_seen_what_it_has_seen(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN)
    await change(store, ann.metadata, inbox, STORE.MODE_ADD, SEEN)
    assert await flags(store, at(bob, ann), inbox) == [0, 0]
    stored = await change(store, at(bob, ann), inbox, STORE.MODE_ADD, SEEN)
    assert list(stored.rows.flags) == [SEEN, SEEN]
    assert list(stored.rows.modseqs) == [stored.modseq] * 2
    assert store.hooks.changed[-1] == (ann.id, stored.modseq)
    await change(store, ann.metadata, inbox, STORE.MODE_REMOVE, SEEN)
    assert await flags(store, at(bob, ann), inbox) == [SEEN, SEEN]
    assert await flags(store, ann.metadata, inbox) == [0, 0]
    (found,) = await listed(store, bob, ann)
    assert found.mailbox.unseen == 0
    assert (await store.mailboxes(ann))["INBOX"].unseen == 2
    assert await store.counters_are_right(ann)


async def test_a_guest_s_other_sessions_learn_what_it_has_seen(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN)
    before = max(row[2] for row in (await rows(store, at(bob, ann), inbox)).values())
    stored = await change(store, at(bob, ann), inbox, STORE.MODE_ADD, SEEN)
    request = mailbox_pb2.GetChangesRequest(mailbox_id=inbox, since_modseq=stored.modseq - 1)
    changes = await store.mailbox.GetChanges(request, metadata=at(bob, ann))
    assert [(row[0], row[2]) for row in rows_by_uid(changes.rows).values()] == [(SEEN, stored.modseq)] * 2
    assert stored.modseq > before
    # To the owner nothing has changed.
    changes = await store.mailbox.GetChanges(request, metadata=ann.metadata)
    assert all(row[0] == 0 and row[2] < stored.modseq for row in rows_by_uid(changes.rows).values())


@pytest.mark.parametrize(
    ("rights", "mode", "bits", "guest_has", "owner_has"),
    [
        (Right.SEEN, STORE.MODE_ADD, SEEN | FLAGGED, SEEN | ANSWERED, ANSWERED),
        (Right.WRITE, STORE.MODE_ADD, SEEN | FLAGGED | DELETED, FLAGGED | ANSWERED, FLAGGED | ANSWERED),
        (Right.DELETE_MESSAGES, STORE.MODE_ADD, FLAGGED | DELETED, DELETED | ANSWERED, DELETED | ANSWERED),
        (Right.DELETE_MESSAGES, STORE.MODE_REPLACE, DELETED, DELETED | ANSWERED, DELETED | ANSWERED),
        (Right.WRITE, STORE.MODE_REPLACE, FLAGGED, FLAGGED, FLAGGED),
        (Right.WRITE | Right.SEEN, STORE.MODE_REPLACE, SEEN, SEEN, 0),
        (Right.WRITE | Right.SEEN, STORE.MODE_REMOVE, ANSWERED | SEEN, 0, 0),
    ],
)
async def test_a_guest_changes_what_it_may(
    store: MailStore, rights: Right, mode: STORE.Mode.ValueType, bits: int, guest_has: int, owner_has: int
) -> None:
    ann, bob, inbox = await shared(store, READING | rights, mails=1)
    await change(store, ann.metadata, inbox, STORE.MODE_ADD, ANSWERED)
    await change(store, at(bob, ann), inbox, mode, bits)
    assert await flags(store, at(bob, ann), inbox) == [guest_has]
    assert await flags(store, ann.metadata, inbox) == [owner_has]
    assert await store.counters_are_right(ann)


@pytest.mark.parametrize(
    ("rights", "mode", "bits", "keywords"),
    [
        (Right(0), STORE.MODE_ADD, SEEN, ()),
        (Right(0), STORE.MODE_REPLACE, 0, ()),
        (Right.SEEN, STORE.MODE_ADD, DELETED, ("$x",)),
        (Right.DELETE_MESSAGES, STORE.MODE_REMOVE, SEEN | FLAGGED, ()),
    ],
)
async def test_a_guest_that_may_change_none_of_the_flags_is_refused(
    store: MailStore, rights: Right, mode: STORE.Mode.ValueType, bits: int, keywords: Sequence[str]
) -> None:
    ann, bob, inbox = await shared(store, READING | rights, mails=1)
    with pytest.raises(NotPermittedError):
        await change(store, at(bob, ann), inbox, mode, bits, keywords)


async def test_keywords_take_the_right_to_write(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN | Right.WRITE, mails=1)
    stored = await change(store, at(bob, ann), inbox, STORE.MODE_ADD, 0, ["$Work"])
    assert [keyword.name for keyword in stored.keywords] == ["$Work"]
    await grant(store, ann, inbox, READING | Right.SEEN, bob)
    stored = await change(store, at(bob, ann), inbox, STORE.MODE_REPLACE, SEEN)
    assert list(stored.rows.keywords) == [1]


async def test_a_condition_holds_for_a_guest_s_own_marks(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN | Right.WRITE)
    known = max(row[2] for row in (await rows(store, at(bob, ann), inbox)).values())
    stored = await change(store, at(bob, ann), inbox, STORE.MODE_ADD, SEEN | FLAGGED, since=known)
    assert (list(stored.rows.flags), list(stored.modified)) == ([SEEN | FLAGGED] * 2, [])
    stored = await change(store, at(bob, ann), inbox, STORE.MODE_REMOVE, SEEN | FLAGGED, since=known)
    assert [(each.first, each.last) for each in stored.modified] == [(1, 2)]
    assert await flags(store, at(bob, ann), inbox) == [SEEN | FLAGGED] * 2


async def test_appending_takes_the_right_and_leaves_out_other_flags(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN | Right.INSERT, mails=0)
    request = mailbox_pb2.AppendMessageRequest(
        id=new_id().bytes, mailbox_id=inbox, flags=SEEN | FLAGGED, keywords=["$x"], content=inline(MAIL)
    )
    request.internal_date.GetCurrentTime()
    await store.mailbox.AppendMessage(request, metadata=at(bob, ann))
    assert await flags(store, at(bob, ann), inbox) == [SEEN]
    assert await flags(store, ann.metadata, inbox) == [0]
    assert await store.counters_are_right(ann)
    await grant(store, ann, inbox, READING, bob)
    request.id = new_id().bytes
    with pytest.raises(NotPermittedError):
        await store.mailbox.AppendMessage(request, metadata=at(bob, ann))


async def test_expunging_takes_the_right(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.DELETE_MESSAGES)
    await change(store, at(bob, ann), inbox, STORE.MODE_ADD, DELETED)
    request = mailbox_pb2.ExpungeMessagesRequest(mailbox_id=inbox)
    with pytest.raises(NotPermittedError):
        await store.mailbox.ExpungeMessages(request, metadata=at(bob, ann))
    await grant(store, ann, inbox, READING | Right.EXPUNGE, bob)
    expunged = await store.mailbox.ExpungeMessages(request, metadata=at(bob, ann))
    assert [(each.first, each.last) for each in expunged.expunged] == [(1, 2)]


async def transfer(
    store: MailStore,
    user: MailAccount,
    source: tuple[MailAccount, bytes],
    target: tuple[MailAccount, bytes],
    *,
    move: bool = False,
) -> pb.TransferMessagesResponse:
    request = pb.TransferMessagesRequest(
        source=pb.MailboxPlace(account_id=source[0].id.bytes, mailbox_id=source[1]),
        uids=ALL,
        target=pb.MailboxPlace(account_id=target[0].id.bytes, mailbox_id=target[1]),
        move=move,
        operation_id=new_id().bytes,
    )
    answer = await store.accounts.TransferMessages(request, metadata=user.metadata)
    assert await store.accounts.TransferMessages(request, metadata=user.metadata) == answer
    return answer


async def test_copies_take_along_what_their_maker_has_seen(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN | Right.INSERT)
    await change(store, ann.metadata, inbox, STORE.MODE_ADD, SEEN | ANSWERED)
    mine = await store.mailbox_id(bob, "Archive")
    copied = await transfer(store, bob, (ann, inbox), (bob, mine))
    assert ([*copied.source], [*copied.target]) == ([mailbox_pb2.UidRange(first=1, last=2)],) * 2
    assert await flags(store, bob.metadata, mine) == [ANSWERED, ANSWERED]
    await change(store, at(bob, ann), inbox, STORE.MODE_ADD, SEEN)
    await transfer(store, bob, (ann, inbox), (bob, mine))
    assert await flags(store, bob.metadata, mine) == [ANSWERED] * 2 + [SEEN | ANSWERED] * 2
    await transfer(store, bob, (bob, mine), (ann, inbox))
    assert await flags(store, at(bob, ann), inbox) == [SEEN | ANSWERED] * 2 + [0] * 2 + [SEEN] * 2
    assert await flags(store, ann.metadata, inbox) == [SEEN | ANSWERED] * 2 + [0] * 4
    for account in (ann, bob):
        assert await store.counters_are_right(account)


async def test_moving_away_takes_the_rights_to_delete(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.EXPUNGE)
    mine = await store.mailbox_id(bob, "Archive")
    with pytest.raises(NotPermittedError):
        await transfer(store, bob, (ann, inbox), (bob, mine), move=True)
    await grant(store, ann, inbox, READING | Right.EXPUNGE | Right.DELETE_MESSAGES, bob)
    moved = await transfer(store, bob, (ann, inbox), (bob, mine), move=True)
    assert {account for account, _ in store.hooks.changed[-2:]} == {ann.id, bob.id}
    assert moved.source_modseq
    assert (await store.mailboxes(ann))["INBOX"].messages == 0
    assert (await store.mailboxes(bob))["Archive"].messages == 2
    with pytest.raises(NotPermittedError):
        await transfer(store, bob, (bob, mine), (ann, inbox), move=True)


async def test_guests_add_to_what_their_host_may_keep(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.INSERT)
    full = store.account("ann", ann.id, Quota(messages=2))
    await grant(store, full, inbox, READING | Right.INSERT, bob)
    mine = await store.mailbox_id(bob)
    await store.append(bob, mine, MAIL)
    with pytest.raises(OverQuotaError):
        await transfer(store, bob, (bob, mine), (ann, inbox))
    await transfer(store, bob, (ann, inbox), (bob, mine))


async def test_modseqs_of_hosts_are_for_their_guests(store: MailStore) -> None:
    ann, bob, _ = await shared(store, READING)
    carol = store.account("carol")
    request = pb.GetSharedModseqsRequest(
        capabilities=[bob.token, carol.token, "nonsense"], account_ids=[ann.id.bytes] * 3
    )
    modseqs = (await store.accounts.GetSharedModseqs(request, metadata=bob.metadata)).modseqs
    assert modseqs[0] == store.hooks.changed[-1][1]
    assert list(modseqs[1:]) == [0, 0]


async def test_what_is_not_about_one_mailbox_is_not_for_guests(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, Right(0x7FF) & ~(64 | 128 | 1024))
    metadata = at(bob, ann)
    calls: list[tuple[Any, Any]] = [
        (store.mailbox.ListMailboxes, mailbox_pb2.ListMailboxesRequest()),
        (store.mailbox.CreateMailbox, mailbox_pb2.CreateMailboxRequest(name="New")),
        (store.mailbox.DeleteMailbox, mailbox_pb2.DeleteMailboxRequest(mailbox_id=inbox)),
        (store.mailbox.RenameMailbox, mailbox_pb2.RenameMailboxRequest(mailbox_id=inbox, new_name="New")),
        (store.mailbox.SetSubscription, mailbox_pb2.SetSubscriptionRequest(name="New")),
        (store.accounts.GetUsage, pb.GetUsageRequest()),
        (store.accounts.GetRights, pb.GetRightsRequest(mailbox_id=inbox)),
        (store.accounts.GetAnnotations, pb.GetAnnotationsRequest()),
    ]
    for call, request in calls:
        with pytest.raises(NotPermittedError):
            await call(request, metadata=metadata)
    with pytest.raises(InvalidRequestError):
        await rows(store, (*bob.metadata, ("postroom-host", "nonsense")), inbox)


async def test_reading_calls_are_for_guests_who_may_read(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING)
    carol = store.account("carol")
    reads = mailbox_pb2.ReadMessagesRequest(
        mailbox_id=inbox, reads=[mailbox_pb2.MessageRange(uid=1, length=1_000)]
    )
    octets = b"".join(
        [piece.chunk.octets async for piece in store.mailbox.ReadMessages(reads, metadata=at(bob, ann))]
    )
    assert octets == MAIL
    claimed = mailbox_pb2.ClaimRecentRequest(mailbox_id=inbox)
    recent = (await store.mailbox.ClaimRecent(claimed, metadata=at(bob, ann))).recent
    assert recent.first > recent.last
    own = (await store.mailbox.ClaimRecent(claimed, metadata=ann.metadata)).recent
    assert (own.first, own.last) == (1, 2)
    streams: list[tuple[Any, Any]] = [
        (store.mailbox.ReadMessages, reads),
        (store.mailbox.FetchFacts, mailbox_pb2.FetchFactsRequest(mailbox_id=inbox, uids=ALL)),
    ]
    for stream, request in streams:
        with pytest.raises(MailboxNotFoundError):
            _ = [piece async for piece in stream(request, metadata=at(carol, ann))]
    search = mailbox_pb2.SearchTextRequest(mailbox_id=inbox, uids=ALL)
    with pytest.raises(MailboxNotFoundError):
        await store.mailbox.SearchText(search, metadata=at(carol, ann))


async def test_marks_of_messages_that_are_gone_are_forgotten(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN, mails=3)
    await change(store, at(bob, ann), inbox, STORE.MODE_ADD, SEEN)
    request = mailbox_pb2.ExpungeMessagesRequest(
        mailbox_id=inbox, uids=[mailbox_pb2.UidRange(first=2, last=3)], regardless=True
    )
    await store.mailbox.ExpungeMessages(request, metadata=ann.metadata)
    (found,) = await listed(store, bob, ann)
    assert (found.mailbox.messages, found.mailbox.unseen) == (1, 0)
    statement = "SELECT count(*) FROM mailstore.seen_by_guest WHERE mailbox_id = encode($1, 'hex')::uuid"
    assert await store.fetchval(statement, inbox) == 1


async def test_between_two_mailboxes_of_a_host_flags_stay_what_they_are(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING | Right.SEEN)
    sent = await store.mailbox_id(ann, "Sent")
    await grant(store, ann, sent, READING | Right.SEEN | Right.INSERT, bob)
    await change(store, ann.metadata, inbox, STORE.MODE_ADD, SEEN | FLAGGED)
    await transfer(store, bob, (ann, inbox), (ann, sent))
    assert await flags(store, ann.metadata, sent) == [0, 0]
    await change(store, at(bob, ann), inbox, STORE.MODE_ADD, SEEN)
    await transfer(store, bob, (ann, inbox), (ann, sent))
    assert await flags(store, at(bob, ann), sent) == [0, 0, SEEN, SEEN]
    assert await flags(store, ann.metadata, sent) == [0] * 4
    assert await store.counters_are_right(ann)


async def test_facts_do_not_say_what_the_owner_has_seen(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING, mails=1)
    await change(store, ann.metadata, inbox, STORE.MODE_ADD, SEEN | FLAGGED)
    request = mailbox_pb2.FetchFactsRequest(mailbox_id=inbox, uids=ALL)
    for metadata, expected in ((ann.metadata, SEEN | FLAGGED), (at(bob, ann), FLAGGED)):
        pages = [page async for page in store.mailbox.FetchFacts(request, metadata=metadata)]
        assert [facts.flags for page in pages for facts in page.facts] == [expected]


async def test_annotations_of_a_shared_mailbox_are_shared_or_each_one_s_own(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING)

    async def annotate(metadata: Metadata, entry: str, value: bytes) -> None:
        request = pb.SetAnnotationsRequest(mailbox_id=inbox, set=[pb.Annotation(entry=entry, value=value)])
        await store.accounts.SetAnnotations(request, metadata=metadata)

    async def read(metadata: Metadata) -> dict[str, bytes]:
        request = pb.GetAnnotationsRequest(mailbox_ids=[inbox])
        (found,) = (await store.accounts.GetAnnotations(request, metadata=metadata)).annotations
        return {each.entry: each.value for each in found.annotations}

    await annotate(ann.metadata, "/private/comment", b"ann")
    await annotate(at(bob, ann), "/private/comment", b"bob")
    await annotate(at(bob, ann), "/shared/comment", b"both")
    assert await read(ann.metadata) == {"/private/comment": b"ann", "/shared/comment": b"both"}
    assert await read(at(bob, ann)) == {"/private/comment": b"bob", "/shared/comment": b"both"}
    await grant(store, ann, inbox, Right.LOOKUP, bob)
    with pytest.raises(NotPermittedError):
        await read(at(bob, ann))


async def test_rights_are_given_taken_and_bounded(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING)
    for rights, mode in [(Right.INSERT, pb.SetRightsRequest.MODE_ADD), (2, pb.SetRightsRequest.MODE_REMOVE)]:
        request = pb.SetRightsRequest(
            mailbox_id=inbox, grant=pb.Grant(account_id=bob.id.bytes, rights=rights), mode=mode
        )
        await store.accounts.SetRights(request, metadata=ann.metadata)
    (found,) = await listed(store, bob, ann)
    assert found.rights == Right.LOOKUP | Right.INSERT
    for wrong in (Right.ADMINISTER, Right.CREATE, Right.DELETE_MAILBOX):
        with pytest.raises(NotPermittedError):
            await grant(store, ann, inbox, wrong, bob)
    with pytest.raises(NotPermittedError):
        await grant(store, ann, inbox, READING, ann)
    with pytest.raises(InvalidRequestError):
        await grant(store, ann, inbox, 2_048, bob)
    with pytest.raises(MailboxNotFoundError):
        await grant(store, bob, inbox, READING, bob)
    await grant(store, ann, inbox, 0, bob)
    assert not await listed(store, bob, ann)
    for _ in range(200):
        await grant(store, ann, inbox, READING, store.account())
    with pytest.raises(LimitError):
        await grant(store, ann, inbox, READING, store.account())


async def test_rights_and_marks_go_with_the_mailbox(store: MailStore) -> None:
    ann, bob, _ = await shared(store, 0)
    made = mailbox_pb2.CreateMailboxRequest(name="Work")
    work = (await store.mailbox.CreateMailbox(made, metadata=ann.metadata)).mailbox.id
    await store.append(ann, work, MAIL)
    await grant(store, ann, work, READING | Right.SEEN, bob)
    await change(store, at(bob, ann), work, STORE.MODE_ADD, SEEN)
    renamed = mailbox_pb2.RenameMailboxRequest(mailbox_id=work, new_name="Play")
    await store.mailbox.RenameMailbox(renamed, metadata=ann.metadata)
    assert await flags(store, at(bob, ann), work) == [SEEN]
    deleted = mailbox_pb2.DeleteMailboxRequest(mailbox_id=work)
    await store.mailbox.DeleteMailbox(deleted, metadata=ann.metadata)
    for table in ("mailbox_right", "seen_by_guest"):
        statement = f"SELECT count(*) FROM mailstore.{table} WHERE mailbox_id = encode($1, 'hex')::uuid"
        assert await store.fetchval(statement, work) == 0


async def test_other_tenants_have_no_part_in_it(store: MailStore) -> None:
    ann, bob, inbox = await shared(store, READING)
    await grant(store, ann, inbox, READING, None)
    await store.execute(
        "UPDATE mailstore.mailbox_right SET tenant_id = $2 WHERE mailbox_id = encode($1, 'hex')::uuid",
        inbox,
        new_id(),
    )
    assert not await listed(store, bob, ann)
    with pytest.raises(MailboxNotFoundError):
        await rows(store, at(bob, ann), inbox)


def test_ranges_without_holes() -> None:
    assert without([(1, 9)], [(1, 2), (4, 5), (9, 9)]) == [(3, 3), (6, 8)]
    assert without([(1, 3), (7, 9)], [(2, 8)]) == [(1, 1), (9, 9)]
    assert without([(1, 3)], [(1, 3)]) == []
    assert without([(5, 6)], [(1, 2)]) == [(5, 6)]
