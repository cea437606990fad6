"""MODSEQs: flags stored on a condition, what vanished, and the mailbox's last change (RFC 7162)."""

import asyncio
from uuid import UUID

import pytest

from mailstore.mailboxes import rows
from mailstore.mailboxes.packed_rows import packed_pages
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import InvalidRequestError, MailboxNotFoundError
from postroom_contracts.ids import new_id
from postroom_testing.mail_store import MailAccount, MailStore

SEEN, FLAGGED, DELETED = 1, 4, 8
ADD = mailbox_pb2.StoreFlagsRequest.MODE_ADD
REMOVE = mailbox_pb2.StoreFlagsRequest.MODE_REMOVE
REPLACE = mailbox_pb2.StoreFlagsRequest.MODE_REPLACE
HELLO = b"Subject: hello\r\n\r\nHello.\r\n"
ALL = (1, 2**32 - 1)


class Box:
    """One mailbox of an account of its own, with some messages."""

    def __init__(self, store: MailStore, account: MailAccount, mailbox_id: bytes) -> None:
        self.store, self.account, self.id = store, account, mailbox_id

    async def flag(
        self,
        unchanged_since: int | None,
        flags: int = 0,
        keywords: tuple[str, ...] = (),
        mode: mailbox_pb2.StoreFlagsRequest.Mode.ValueType = ADD,
        uids: tuple[int, int] = ALL,
        operation_id: bytes = b"",
    ) -> mailbox_pb2.StoreFlagsResponse:
        request = mailbox_pb2.StoreFlagsRequest(
            mailbox_id=self.id,
            mode=mode,
            flags=flags,
            keywords=keywords,
            unchanged_since=unchanged_since,
            operation_id=operation_id,
            uids=[mailbox_pb2.UidRange(first=uids[0], last=uids[1])],
        )
        return await self.store.mailbox.StoreFlags(request, metadata=self.account.metadata)

    async def expunge(self, *uids: int) -> int:
        request = mailbox_pb2.ExpungeMessagesRequest(
            mailbox_id=self.id,
            uids=[mailbox_pb2.UidRange(first=uid, last=uid) for uid in uids],
            regardless=True,
        )
        return (await self.store.mailbox.ExpungeMessages(request, metadata=self.account.metadata)).modseq

    async def vanished(self, since: int, *ranges: tuple[int, int]) -> list[tuple[int, int]] | None:
        request = mailbox_pb2.GetVanishedRequest(
            mailbox_id=self.id,
            since_modseq=since,
            uids=[mailbox_pb2.UidRange(first=first, last=last) for first, last in ranges or (ALL,)],
        )
        answer = await self.store.mailbox.GetVanished(request, metadata=self.account.metadata)
        return None if answer.unknown else [(each.first, each.last) for each in answer.vanished]

    async def changes(self, since: int, limit: int = 0) -> mailbox_pb2.GetChangesResponse:
        request = mailbox_pb2.GetChangesRequest(mailbox_id=self.id, since_modseq=since, limit=limit)
        return await self.store.mailbox.GetChanges(request, metadata=self.account.metadata)

    async def highest(self) -> int:
        found = await self.store.mailboxes(self.account)
        return next(mailbox.highest_modseq for mailbox in found.values() if mailbox.id == self.id)


@pytest.fixture
async def box(store: MailStore) -> Box:
    account = store.account()
    inbox = await store.mailbox_id(account)
    for _ in range(4):
        await store.append(account, inbox, HELLO)
    return Box(store, account, inbox)


def ranges(found: mailbox_pb2.StoreFlagsResponse) -> list[tuple[int, int]]:
    return [(each.first, each.last) for each in found.modified]


async def test_only_messages_without_a_later_change_are_flagged(box: Box) -> None:
    before = await box.highest()
    other = await box.flag(None, FLAGGED, uids=(2, 3))
    answer = await box.flag(before, SEEN)
    assert (list(answer.rows.uids), ranges(answer)) == ([1, 4], [(2, 3)])
    assert set(answer.rows.modseqs) == {answer.modseq}
    again = await box.flag(other.modseq, SEEN)
    assert (list(again.rows.uids), ranges(again)) == ([2, 3], [(1, 1), (4, 4)])


async def test_a_change_that_changes_nothing_passes_and_leaves_the_modseq(box: Box) -> None:
    before = (await box.flag(None, SEEN)).modseq
    answer = await box.flag(before, SEEN)
    assert (list(answer.rows.uids), ranges(answer)) == ([], [])
    assert await box.highest() == before


async def test_when_all_fail_nothing_is_changed(box: Box) -> None:
    before = await box.highest()
    answer = await box.flag(1, SEEN)
    assert (list(answer.rows.uids), ranges(answer)) == ([], [(1, 4)])
    assert await box.highest() == before
    assert not (await box.changes(before)).rows.uids


async def test_zero_fails_for_every_flag_that_is_there(box: Box) -> None:
    """RFC 7162 s3.1.3, example 8: system flags always are."""
    await box.flag(None, keywords=("$MDNSent",), uids=(2, 2))
    sent = await box.flag(0, keywords=("$MDNSent",))
    assert (list(sent.rows.uids), ranges(sent)) == ([1, 3, 4], [(2, 2)])
    assert ranges(await box.flag(0, keywords=("$MDNSent",))) == [(1, 4)]
    assert ranges(await box.flag(0, SEEN)) == [(1, 4)]
    assert ranges(await box.flag(0, SEEN, ("$New",))) == [(1, 4)]
    assert ranges(await box.flag(0, keywords=("$New",), mode=REPLACE)) == [(1, 4)]
    assert ranges(await box.flag(0, keywords=("$New",), mode=REMOVE)) == []


async def test_of_two_who_compare_the_same_modseq_one_wins(box: Box) -> None:
    before = await box.highest()
    answers = await asyncio.gather(
        *(box.flag(before, FLAGGED, (f"$owner{n}",), uids=(1, 1)) for n in range(6))
    )
    assert sorted(ranges(answer) for answer in answers) == [[], *[[(1, 1)]] * 5]


async def test_who_asks_again_is_told_of_the_first_try(box: Box) -> None:
    before, operation = await box.highest(), new_id().bytes
    first = await box.flag(before, SEEN, operation_id=operation)
    assert await box.flag(before, SEEN, operation_id=operation) == first
    assert ranges(await box.flag(before, SEEN)) == [(1, 4)]


async def test_a_modseq_of_more_than_63_bits_is_refused(box: Box) -> None:
    with pytest.raises(InvalidRequestError):
        await box.flag(2**63, SEEN)
    with pytest.raises(InvalidRequestError):
        await box.vanished(2**63)


async def test_tombstones_tell_what_vanished_since(box: Box) -> None:
    start = await box.highest()
    first = await box.expunge(2)
    second = await box.expunge(3, 4)
    assert await box.vanished(start) == [(2, 4)]
    assert await box.vanished(first) == [(3, 4)]
    assert await box.vanished(start, (1, 2), (4, 9)) == [(2, 2), (4, 4)]
    assert await box.vanished(second) == []
    assert await box.highest() == second


async def test_what_moved_away_vanished(box: Box) -> None:
    start = await box.highest()
    archive = await box.store.mailbox_id(box.account, "Archive")
    request = mailbox_pb2.MoveMessagesRequest(
        mailbox_id=box.id, target_mailbox_id=archive, uids=[mailbox_pb2.UidRange(first=1, last=2)]
    )
    await box.store.mailbox.MoveMessages(request, metadata=box.account.metadata)
    assert await box.vanished(start) == [(1, 2)]
    assert await Box(box.store, box.account, archive).vanished(0) == []


async def test_below_its_floor_the_journal_knows_nothing(box: Box) -> None:
    gone = await box.expunge(2)
    async with box.store.database.connection() as connection:
        await connection.execute(
            "UPDATE mailstore.account_state SET change_floor = $2 WHERE account_id = $1",
            box.account.id,
            gone + 1,
        )
    assert await box.vanished(gone - 1) is None
    assert await box.vanished(gone) == []


async def test_others_do_not_see_what_vanished(box: Box) -> None:
    await box.expunge(2)
    stranger = Box(box.store, box.store.account(), box.id)
    await box.store.mailboxes(stranger.account)
    with pytest.raises(MailboxNotFoundError):
        await stranger.vanished(0)


async def test_changes_tell_the_last_one_of_the_mailbox(box: Box) -> None:
    start = await box.highest()
    archive = await box.store.mailbox_id(box.account, "Archive")
    flagged = (await box.flag(None, SEEN, uids=(1, 1))).modseq
    await box.store.append(box.account, archive, HELLO)
    changes = await box.changes(start)
    assert (changes.highest_modseq, changes.modseq > flagged) == (flagged, True)
    last = await box.expunge(4)
    page = await box.changes(start, limit=1)
    assert (page.more, page.modseq, page.highest_modseq) == (True, flagged, flagged)
    assert (await box.changes(page.modseq)).highest_modseq == last == await box.highest()


async def test_packed_rows_are_the_same_rows(box: Box) -> None:
    await box.flag(None, SEEN, ("$Work",), uids=(2, 3))
    async with box.store.database.connection() as connection:
        await connection.execute(
            "UPDATE mailstore.mailbox_message SET uid = 4294967295 WHERE account_id = $1 AND uid = 4",
            box.account.id,
        )
    loaded = packed_pages(box.store.database, box.account.id, UUID(bytes=box.id), 3)
    pages = [page async for page, _ in loaded]
    assert [len(page.uids) for page in pages] == [12, 4]
    request = mailbox_pb2.LoadMailboxRequest(mailbox_id=box.id)
    rows = mailbox_pb2.Rows()
    async for answer in box.store.mailbox.LoadMailbox(request, metadata=box.account.metadata):
        rows.MergeFrom(answer.rows)
    for column, size in (("uids", 4), ("flags", 2), ("keywords", 8), ("modseqs", 8), ("sizes", 8)):
        told = b"".join(getattr(page, column) for page in pages)
        assert told == b"".join(number.to_bytes(size, "big") for number in getattr(rows, column)), column
    dates = b"".join(page.internal_dates for page in pages)
    assert dates == b"".join(number.to_bytes(8, "big", signed=True) for number in rows.internal_dates)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_keyword_comes_with_the_rows_that_have_it(
    box: Box, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "PAGE_ROWS", 3)
    database, mailbox_id = box.store.database, UUID(bytes=box.id)
    if packed:
        loaded = packed_pages(database, box.account.id, mailbox_id, 3)
    else:
        loaded = rows.pages(database, box.account.id, mailbox_id)
    _, before = await anext(loaded)
    await box.flag(None, 0, ("$Late",), uids=(4, 4))
    _, after = await anext(loaded)
    await loaded.aclose()
    assert "$Late" not in before
    assert "$Late" in after


async def test_packed_rows_come_for_who_asks_for_them(box: Box) -> None:
    request = mailbox_pb2.LoadMailboxRequest(mailbox_id=box.id, packed=True)
    stream = box.store.mailbox.LoadMailbox(request, metadata=box.account.metadata)
    first, second = [answer async for answer in stream]
    assert first.HasField("mailbox")
    assert (len(second.packed.uids), second.HasField("rows")) == (16, False)
    archive = await box.store.mailbox_id(box.account, "Archive")
    request = mailbox_pb2.LoadMailboxRequest(mailbox_id=archive, packed=True)
    (only,) = [a async for a in box.store.mailbox.LoadMailbox(request, metadata=box.account.metadata)]
    assert only.HasField("mailbox")


async def test_changed_flags_come_as_octets_for_who_asks_for_them(box: Box) -> None:
    request = mailbox_pb2.StoreFlagsRequest(mailbox_id=box.id, mode=ADD, flags=SEEN, packed=True)
    request.uids.add(first=2, last=3)
    stored = await box.store.mailbox.StoreFlags(request, metadata=box.account.metadata)
    assert stored.changed == mailbox_pb2.ChangedFlags(uids=b"\0\0\0\2\0\0\0\3", flags=b"\0\1\0\1")
    assert not stored.HasField("rows")
    request.keywords.append("$Work")
    stored = await box.store.mailbox.StoreFlags(request, metadata=box.account.metadata)
    assert stored.changed.keywords == (b"\0" * 7 + b"\1") * 2
