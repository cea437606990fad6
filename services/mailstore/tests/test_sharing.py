"""Mailboxes that others may use, each with its own idea of what is seen (RFC 4314)."""

from collections.abc import Sequence

import pytest

from mailstore.mailboxes.guests import without
from mailstore.mailboxes.sharing import Right
from postroom.mailstore.v1 import account_pb2 as pb
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import (
    MailboxNotFoundError,
    NotPermittedError,
)
from postroom_contracts.ids import new_id
from postroom_testing.mail_sharing import (
    ALL,
    ANSWERED,
    DELETED,
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
from postroom_testing.mail_store import MailStore, inline, rows_by_uid

READING = Right.LOOKUP | Right.READ


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
    request = STORE(mailbox_id=inbox, uids=ALL, mode=STORE.MODE_ADD, flags=SEEN | FLAGGED)
    request.unchanged_since = known
    stored = await store.mailbox.StoreFlags(request, metadata=at(bob, ann))
    assert (list(stored.rows.flags), list(stored.modified)) == ([SEEN | FLAGGED] * 2, [])
    request.mode = STORE.MODE_REMOVE
    stored = await store.mailbox.StoreFlags(request, metadata=at(bob, ann))
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


def test_ranges_without_holes() -> None:
    assert without([(1, 9)], [(1, 2), (4, 5), (9, 9)]) == [(3, 3), (6, 8)]
    assert without([(1, 3), (7, 9)], [(2, 8)]) == [(1, 1), (9, 9)]
    assert without([(1, 3)], [(1, 3)]) == []
    assert without([(5, 6)], [(1, 2)]) == [(5, 6)]
