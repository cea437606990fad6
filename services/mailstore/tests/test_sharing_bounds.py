"""What guests have no part in, what is private, and what goes with a shared mailbox (RFC 4314)."""

from typing import Any

import pytest

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
from postroom_testing.mail_sharing import (
    ALL,
    FLAGGED,
    MAIL,
    SEEN,
    STORE,
    at,
    change,
    flags,
    grant,
    listed,
    rows,
    shared,
    transfer,
)
from postroom_testing.mail_store import MailStore

READING = Right.LOOKUP | Right.READ


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
    assert modseqs[0] == [modseq for whose, modseq in store.hooks.changed if whose == ann.id][-1]
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
