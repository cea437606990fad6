"""The view that sessions share, when news come late, twice, out of order or not at all."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from mail_access.imap.context import Context, Selected
from mail_access.imap.synchronizing import resynchronize
from mail_access.login import Login
from mail_access.open_mailbox import OpenMailbox
from mail_access.store import MailStore, uid_ranges
from mail_access.views import OpenMailboxes, Place
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import MailboxNotFoundError, UnavailableError
from postroom_contracts.ids import new_id
from postroom_runtime.bus import Bus
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.qresync import Resynchronization
from postroom_wire.imap.sequence import NumberRanges

ACCOUNT = new_id()
ALICE = cast(Login, SimpleNamespace(account_id=ACCOUNT, ended=False))
MAILBOX = new_id()


class FakeStore(MailStore):
    """One mailbox: (flags, MODSEQ) of each UID, and the journal as (MODSEQ, UID)."""

    def __init__(self) -> None:
        self.messages: dict[int, tuple[int, int]] = {}
        self.journal: list[tuple[int, int]] = []
        self.modseq = 1
        self.uid_next = self.uid_validity = 1
        self.deleted = self.floor_passed = self.away = False
        self.page = 1_000_000
        """Messages in one answer."""
        self.between_pages: Callable[[], None] = lambda: None
        """What happens before the reader asks on."""
        self.loads = self.refreshes = 0

    def deliver(self, count: int = 1) -> None:
        self.modseq += 1
        for _ in range(count):
            self.messages[self.uid_next] = (0, self.modseq)
            self.journal.append((self.modseq, self.uid_next))
            self.uid_next += 1

    def store(self, uid: int, flags: int) -> mailbox_pb2.StoreFlagsResponse:
        self.modseq += 1
        self.messages[uid] = (flags, self.modseq)
        self.journal.append((self.modseq, uid))
        return mailbox_pb2.StoreFlagsResponse(modseq=self.modseq, rows=self.rows([uid]))

    def expunge(self, uid: int) -> mailbox_pb2.ExpungeMessagesResponse:
        self.modseq += 1
        del self.messages[uid]
        self.journal.append((self.modseq, uid))
        return mailbox_pb2.ExpungeMessagesResponse(modseq=self.modseq, expunged=uid_ranges([(uid, uid)]))

    def rows(self, uids: Iterable[int]) -> mailbox_pb2.Rows:
        rows = mailbox_pb2.Rows()
        for uid in uids:
            flags, modseq = self.messages[uid]
            rows.uids.append(uid)
            rows.flags.append(flags)
            rows.keywords.append(0)
            rows.modseqs.append(modseq)
            rows.sizes.append(100 * uid)
            rows.internal_dates.append(uid)
        return rows

    async def load_mailbox(
        self, login: Login, mailbox_id: UUID
    ) -> AsyncGenerator[mailbox_pb2.LoadMailboxResponse]:
        self.loads += 1
        uids = sorted(self.messages)
        yield mailbox_pb2.LoadMailboxResponse(
            mailbox=mailbox_pb2.Mailbox(
                uid_validity=self.uid_validity,
                uid_next=self.uid_next,
                highest_modseq=self.journal[-1][0] if self.journal else 0,
            ),
            modseq=self.modseq,
        )
        for start in range(0, len(uids), 2):
            yield mailbox_pb2.LoadMailboxResponse(rows=self.rows(uids[start : start + 2]))

    async def get_changes(
        self, login: Login, mailbox_id: UUID, since_modseq: int, after_uid: int = 0
    ) -> mailbox_pb2.GetChangesResponse:
        self.refreshes += 1
        if self.away:
            raise UnavailableError("away")
        left = [change for change in self.journal if change > (since_modseq + 1, after_uid)]
        told = sorted({uid for _, uid in left[: self.page]})
        answer = mailbox_pb2.GetChangesResponse(
            modseq=self.modseq,
            rows=self.rows(uid for uid in told if uid in self.messages),
            vanished=uid_ranges((uid, uid) for uid in told if uid not in self.messages),
            uid_next=self.uid_next,
            uid_validity=self.uid_validity,
            deleted=self.deleted,
            reload=self.floor_passed,
            highest_modseq=self.journal[-1][0] if self.journal else 0,
        )
        if len(left) > self.page:
            at, uid = left[self.page - 1]
            answer.modseq, answer.after_uid, answer.more = at - 1, uid, True
            answer.highest_modseq = max((m for m, _ in self.journal if m < at), default=0)
        self.between_pages()
        return answer

    async def get_vanished(
        self, login: Login, mailbox_id: UUID, since_modseq: int, uids: Iterable[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        gone = {uid for modseq, uid in self.journal if modseq > since_modseq and uid not in self.messages}
        return [(uid, uid) for uid in sorted(gone) if any(first <= uid <= last for first, last in uids)]

    async def get_modseqs(self, capabilities: Sequence[str]) -> Sequence[int]:
        return [self.modseq for _ in capabilities]


@pytest.fixture
def store() -> FakeStore:
    store = FakeStore()
    store.deliver(5)
    return store


@pytest.fixture
async def mailbox(store: FakeStore) -> OpenMailbox:
    mailbox = OpenMailbox(store, MAILBOX)
    await mailbox.refresh(ALICE, store.modseq)
    return mailbox


def content(mailbox: OpenMailbox) -> dict[int, int]:
    """The flags of each UID, checked against the columns beside."""
    view = mailbox.rows.uids.attach()
    rows = mailbox.rows.read(view, NumberRanges(((1, view.exists),)) if view.exists else NumberRanges())
    assert all(row.size == 100 * row.uid and row.date == row.uid for row in rows)
    return {row.uid: row.word for row in rows}


def truth(store: FakeStore) -> dict[int, int]:
    return {uid: flags for uid, (flags, _) in store.messages.items()}


async def test_it_holds_what_the_store_has(mailbox: OpenMailbox, store: FakeStore) -> None:
    assert content(mailbox) == truth(store)
    store.deliver(2)
    store.expunge(2)
    store.store(3, 9)
    await mailbox.refresh(ALICE, store.modseq)
    assert content(mailbox) == truth(store)
    assert store.loads == 1


async def test_own_changes_are_there_without_asking_the_store(mailbox: OpenMailbox, store: FakeStore) -> None:
    reader = mailbox.attach(ALICE, lambda: None)
    mailbox.stored(store.store(1, 1), reader.view)
    gone = store.expunge(4)
    mailbox.expunged(gone.expunged, gone.modseq)
    assert content(mailbox) == truth(store)
    assert not mailbox.stale
    await mailbox.refresh(ALICE, store.modseq)
    assert store.refreshes == 0


async def test_an_own_change_behind_a_foreign_one_does_not_hide_it(
    mailbox: OpenMailbox, store: FakeStore
) -> None:
    reader = mailbox.attach(ALICE, lambda: None)
    store.deliver()
    mailbox.stored(store.store(1, 1), reader.view)
    assert mailbox.stale
    await mailbox.refresh_for_all()
    assert content(mailbox) == truth(store)


async def test_news_that_come_late_or_twice_change_nothing(mailbox: OpenMailbox, store: FakeStore) -> None:
    reader = mailbox.attach(ALICE, lambda: None)
    late = store.store(1, 1)
    mailbox.stored(store.store(1, 3), reader.view)
    mailbox.stored(late, reader.view)
    expunged = store.expunge(1)
    mailbox.expunged(expunged.expunged, expunged.modseq)
    mailbox.stored(late, reader.view)
    await mailbox.refresh(ALICE, store.modseq)
    mailbox.expunged(expunged.expunged, expunged.modseq)
    assert content(mailbox) == truth(store)


async def test_a_reload_keeps_what_sessions_know(mailbox: OpenMailbox, store: FakeStore) -> None:
    reader = mailbox.attach(ALICE, lambda: None)
    store.expunge(2)
    store.deliver()
    store.store(5, 1)
    store.floor_passed = True
    await mailbox.refresh(ALICE, store.modseq)
    assert store.loads == 2
    assert content(mailbox) == truth(store)
    assert reader.view.exists == 5
    updates = reader.view.updates(expunges=True)
    assert (updates.expunged, updates.exists, updates.changed) == ([2], 5, [(4, 5)])


@pytest.mark.parametrize("seed", range(10))
async def test_many_changes_are_followed_in_pages_while_others_make_more(
    mailbox: OpenMailbox, store: FakeStore, seed: int
) -> None:
    random = Random(seed)

    def change() -> None:
        uid = random.choice([0, 0, *store.messages])
        match random.choice(["deliver", "store", "expunge"]) if uid else "deliver":
            case "store":
                store.store(uid, random.randrange(32))
            case "expunge":
                store.expunge(uid)
            case _:
                store.deliver(random.randint(1, 5))

    def change_sometimes() -> None:
        if store.refreshes < 20 and random.random() < 0.7:
            change()

    for _ in range(30):
        change()
    reader = mailbox.attach(ALICE, lambda: None)
    known = dict(enumerate(mailbox.rows.uids.array, 1))
    store.page, store.between_pages = random.randint(1, 4), change_sometimes
    await mailbox.refresh(ALICE, store.modseq)
    await mailbox.refresh(ALICE, store.modseq)
    assert content(mailbox) == truth(store)
    assert (store.loads, store.refreshes > 5) == (1, True)
    for number in reader.view.updates(expunges=True).expunged:
        known = dict(enumerate([uid for at, uid in known.items() if at != number], 1))
    assert [*known.values()] == [uid for uid in store.messages if uid <= 5]


async def test_a_page_that_did_not_come_is_asked_for_again(mailbox: OpenMailbox, store: FakeStore) -> None:
    def go_away() -> None:
        store.away = True

    store.deliver(7)
    store.page, store.between_pages = 3, go_away
    with pytest.raises(UnavailableError):
        await mailbox.refresh(ALICE, store.modseq)
    store.away, store.between_pages = False, lambda: None
    await mailbox.refresh(ALICE, store.modseq)
    assert content(mailbox) == truth(store)


async def test_sessions_are_woken_only_by_what_they_do_not_know(
    mailbox: OpenMailbox, store: FakeStore
) -> None:
    woken: list[str] = []
    mine = mailbox.attach(ALICE, lambda: woken.append("mine"))
    mailbox.attach(ALICE, lambda: woken.append("other"))
    mailbox.stored(store.store(1, 1), mine.view)
    assert woken == ["other"]


async def test_a_deleted_mailbox_wakes_everybody_and_is_refused(
    mailbox: OpenMailbox, store: FakeStore
) -> None:
    woken: list[str] = []
    mailbox.attach(ALICE, lambda: woken.append("other"))
    store.deleted = True
    store.deliver()
    with pytest.raises(MailboxNotFoundError):
        await mailbox.refresh(ALICE, store.modseq)
    assert woken == ["other"]
    assert mailbox.gone
    assert not mailbox.stale


async def test_a_refresh_that_failed_can_be_done_again(mailbox: OpenMailbox, store: FakeStore) -> None:
    store.deliver()
    store.away = True
    with pytest.raises(UnavailableError):
        await mailbox.refresh(ALICE, store.modseq)
    assert mailbox.stale
    store.away = False
    await mailbox.refresh(ALICE, store.modseq)
    assert content(mailbox) == truth(store)


class SilentBus:
    """A bus whose wake-ups are all lost."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def subscribe(self, subject: str, handler: Any) -> "SilentBus":
        self.subjects.append(subject)
        return self

    async def unsubscribe(self) -> None:
        self.subjects.pop()


async def test_lost_wake_ups_are_made_good_by_the_periodic_check(store: FakeStore) -> None:
    bus = SilentBus()
    mailboxes = OpenMailboxes(store, cast(Bus, bus))
    login = cast(Login, Named())
    async with mailboxes.open(login, MAILBOX, store.modseq, lambda: None) as (mailbox, _):
        assert bus.subjects == [f"postroom.changed.{ACCOUNT}"]
        store.deliver()
        assert not mailbox.stale
        await mailboxes.check()
        assert mailbox.stale
    assert bus.subjects == []


async def test_a_mailbox_is_shared_while_it_is_open_and_dropped_behind_the_last_session(
    store: FakeStore,
) -> None:
    mailboxes = OpenMailboxes(store, cast(Bus, SilentBus()))
    login = cast(Login, Named())
    async with mailboxes.open(login, MAILBOX, store.modseq, lambda: None) as (first, _):
        async with mailboxes.open(login, MAILBOX, store.modseq, lambda: None) as (second, _):
            assert first is second
        assert store.loads == 1
    async with mailboxes.open(login, MAILBOX, store.modseq, lambda: None) as (third, _):
        assert third is not first


@pytest.mark.parametrize("reload", [False, True])
async def test_another_uidvalidity_ends_the_view_and_who_comes_next_has_a_fresh_one(
    store: FakeStore, reload: bool
) -> None:
    mailboxes = OpenMailboxes(store, cast(Bus, SilentBus()))
    login, woken = cast(Login, Named()), list[str]()
    async with mailboxes.open(login, MAILBOX, store.modseq, lambda: woken.append("old")) as (old, _):
        store.messages = {1: (0, 2**40)}  # another message than the first one that had this UID
        store.modseq, store.uid_next, store.uid_validity, store.floor_passed = 2**40, 2, 2, reload
        async with mailboxes.open(login, MAILBOX, store.modseq, lambda: None) as (fresh, _):
            assert old.gone
            assert old.renewed
            assert woken == ["old"]
            assert fresh.uid_validity == 2
            assert content(fresh) == truth(store)
        assert len(old.logins) == 1
    async with mailboxes.open(login, MAILBOX, store.modseq, lambda: None) as (third, _):
        assert third is not fresh


class Named:
    """A login whose capability is always good."""

    account_id = user_id = ACCOUNT
    ended = is_guest = False

    async def token(self) -> str:
        return "capability"


class Guest(Named):
    """Somebody to whom the mailbox is shared."""

    user_id = new_id()
    is_guest = True


async def test_users_have_views_of_their_own_and_hosts_are_checked_for_guests(store: FakeStore) -> None:
    asked: list[Sequence[Login]] = []

    async def shared_modseqs(logins: Sequence[Login]) -> Sequence[int]:
        asked.append(logins)
        return [store.modseq]

    mailboxes = OpenMailboxes(store, cast(Bus, SilentBus()), shared_modseqs=shared_modseqs)
    owner, guest = cast(Login, Named()), cast(Login, Guest())
    async with mailboxes.open(guest, MAILBOX, store.modseq, lambda: None) as (shared, _):
        async with mailboxes.open(owner, MAILBOX, store.modseq, lambda: None) as (own, _):
            assert own is not shared
            store.deliver()
            await mailboxes.check()  # in the owner's name, while there is one
            assert (own.stale, shared.stale, asked) == (True, True, [])
            await mailboxes.check()
        await shared.refresh(guest, store.modseq)
        store.deliver()
        await mailboxes.check()
        assert (shared.stale, asked) == (True, [[guest]])


async def test_a_mailbox_that_is_broken_harms_no_other(store: FakeStore) -> None:
    class BrokenStore(FakeStore):
        async def get_changes(
            self, login: Login, mailbox_id: UUID, since_modseq: int, after_uid: int = 0
        ) -> mailbox_pb2.GetChangesResponse:
            if mailbox_id == MAILBOX:
                raise ZeroDivisionError
            return await super().get_changes(login, mailbox_id, since_modseq, after_uid)

    broken = BrokenStore()
    mailboxes = OpenMailboxes(broken, cast(Bus, SilentBus()))
    login = cast(Login, Named())
    told = asyncio.Event()
    async with (
        mailboxes.open(login, MAILBOX, 1, lambda: None) as (first, _),
        mailboxes.open(login, new_id(), 1, told.set) as (second, _),
    ):
        running = asyncio.create_task(mailboxes.run())
        broken.deliver()
        await mailboxes.check()
        async with asyncio.timeout(5):
            await told.wait()
        assert first.stale
        assert not second.stale
        assert not running.done()
        running.cancel()


async def test_its_highest_modseq_is_the_mailbox_s_and_not_the_account_s(
    mailbox: OpenMailbox, store: FakeStore
) -> None:
    assert mailbox.highest_modseq == 2
    store.modseq += 10  # in other mailboxes
    await mailbox.refresh(ALICE, store.modseq)
    assert (mailbox.modseq, mailbox.highest_modseq) == (12, 2)
    store.store(1, 1)
    await mailbox.refresh(ALICE, store.modseq)
    assert mailbox.highest_modseq == 13
    reader = mailbox.attach(ALICE, lambda: None)
    assert reader.settled == 13
    own = store.store(2, 1)
    mailbox.stored(own, reader.view)
    assert mailbox.highest_modseq == 14
    gone = store.expunge(2)
    mailbox.expunged(gone.expunged, gone.modseq)
    assert mailbox.highest_modseq == 15


async def test_an_own_change_behind_a_foreign_one_is_not_the_highest_that_is_complete(
    mailbox: OpenMailbox, store: FakeStore
) -> None:
    """RFC 7162 s6: a client that was told of it, and went, would miss the other."""
    reader = mailbox.attach(ALICE, lambda: None)
    before = mailbox.highest_modseq
    store.expunge(4)
    mailbox.stored(store.store(1, 1), reader.view)
    assert mailbox.highest_modseq == before < mailbox.rows.top_modseq
    await mailbox.refresh_for_all()
    assert mailbox.highest_modseq == mailbox.rows.top_modseq == store.modseq


async def test_changes_in_pages_are_complete_up_to_each_page(mailbox: OpenMailbox, store: FakeStore) -> None:
    seen: list[tuple[int, int]] = []
    for uid in (1, 2, 3):
        store.store(uid, 1)
    store.page = 1
    store.between_pages = lambda: seen.append((mailbox.modseq, mailbox.highest_modseq))
    await mailbox.refresh(ALICE, store.modseq)
    assert all(highest <= modseq for modseq, highest in seen)
    assert mailbox.highest_modseq == store.modseq


async def test_what_others_changed_in_a_row_of_ours_is_told(mailbox: OpenMailbox, store: FakeStore) -> None:
    own, other = mailbox.attach(ALICE, lambda: None), mailbox.attach(ALICE, lambda: None)
    store.store(1, 4)  # by another process, not heard of yet
    mailbox.stored(store.store(1, 5), own.view, lambda word: word | 1)
    assert own.view.updates(expunges=True).changed == [(1, 1)]
    assert other.view.updates(expunges=True).changed == [(1, 1)]
    mailbox.stored(store.store(1, 7), own.view, lambda word: word | 2)
    assert own.view.updates(expunges=True).changed == []


async def test_who_comes_back_is_told_what_a_page_took_away_before_its_modseq(
    mailbox: OpenMailbox, store: FakeStore
) -> None:
    """Rows of a page are read as they are by then, and what is gone by then goes with the page."""
    known = Resynchronization(store.uid_validity, mailbox.highest_modseq)
    store.expunge(2)
    mailbox.rows.remove([(2, 2)])
    assert not mailbox.stale
    reader = mailbox.attach(ALICE, lambda: None)
    said: list[bytes] = []
    output = SimpleNamespace(write=said.append)
    enabled = frozenset({Extension.CONDSTORE, Extension.QRESYNC})
    context = SimpleNamespace(
        enabled=enabled, output=output, reading=ALICE, resources=SimpleNamespace(store=store)
    )
    place = cast(Place, SimpleNamespace(mailbox=mailbox, reader=reader))
    selected = Selected(place, False, mailbox.names)
    await resynchronize(cast(Context, context), selected, known)
    assert said == [b"* VANISHED (EARLIER) 2\r\n"]
