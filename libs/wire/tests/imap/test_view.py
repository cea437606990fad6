"""A session's sequence numbers against a naive model (RFC 3501 s7.4.1, s5.5)."""

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from postroom_wire.imap.errors import LocalProtocolError, RemoteProtocolError
from postroom_wire.imap.sequence import STAR, NumberRanges, SequenceSet
from postroom_wire.imap.view import MailboxUids, without


class Model:
    """One session: the view, and beside it simply the list of what the client knows."""

    def __init__(self, mailbox: MailboxUids) -> None:
        self.view = mailbox.attach()
        self.known = list(mailbox.array)
        self.changed: set[int] = set()

    def told(self, live: list[int], *, expunges: bool) -> None:
        """Updates are exactly the difference, in an order that a client can follow."""
        news = self.view.has_updates(expunges=expunges)
        updates = self.view.updates(expunges=expunges)
        before = list(self.known)
        for number in updates.expunged:
            del self.known[number - 1]
        assert updates.expunged == sorted(updates.expunged, reverse=True)
        assert self.known == ([uid for uid in before if uid in live] if expunges else before)
        new = [uid for uid in live if uid not in before]
        self.known += new
        assert updates.exists == (len(self.known) if new else None)
        expected = [uid for uid in self.known if uid in self.changed and uid in live]
        assert updates.changed == [(self.known.index(uid) + 1, uid) for uid in expected]
        assert updates.vanished == [before[number - 1] for number in reversed(updates.expunged)]
        assert news or updates == ([], [], None, [])
        self.changed = set()
        assert not self.view.has_updates(expunges=expunges)


class Mailbox(RuleBasedStateMachine):
    """Messages come and go while some sessions look on, each told at its own times."""

    def __init__(self) -> None:
        super().__init__()
        self.mailbox = MailboxUids([2, 3, 5, 8])
        self.live = [2, 3, 5, 8]
        self.models = [Model(self.mailbox)]

    @rule(gaps=st.lists(st.integers(1, 3), min_size=1, max_size=4))
    def append(self, gaps: list[int]) -> None:
        for gap in gaps:
            uid = self.mailbox.last + gap
            self.mailbox.append([uid])
            self.live.append(uid)

    @rule(picks=st.sets(st.integers(0, 30), min_size=1, max_size=5))
    def remove(self, picks: set[int]) -> None:
        gone = {self.live[pick] for pick in picks if pick < len(self.live)}
        places = self.mailbox.remove(NumberRanges.of([*gone, 100_000]))
        indices = [at for place in places for at in range(place.start, place.stop)]
        assert indices == [at for at, uid in enumerate(self.live) if uid in gone]
        self.live = [uid for uid in self.live if uid not in gone]

    @rule(picks=st.sets(st.integers(0, 30), max_size=5), gaps=st.lists(st.integers(1, 3), max_size=3))
    def reload(self, picks: set[int], gaps: list[int]) -> None:
        self.live = [uid for at, uid in enumerate(self.live) if at not in picks]
        last = self.mailbox.last
        for gap in gaps:
            last += gap
            self.live.append(last)
        self.mailbox.reload(self.live)

    @rule(uids=st.sets(st.integers(1, 30), max_size=4), by=st.integers(0, 5))
    def change_flags(self, uids: set[int], by: int) -> None:
        actor = self.models[by] if by < len(self.models) else None
        self.mailbox.flags_changed(uids, actor.view if actor else None)
        for model in self.models:
            if model is not actor:
                model.changed |= uids

    @rule(which=st.integers(0, 5), expunges=st.booleans())
    def tell(self, which: int, expunges: bool) -> None:
        if which < len(self.models):
            self.models[which].told(self.live, expunges=expunges)

    @rule()
    def attach(self) -> None:
        if len(self.models) < 4:
            self.models.append(Model(self.mailbox))

    @rule(which=st.integers(0, 5))
    def detach(self, which: int) -> None:
        if which < len(self.models):
            self.mailbox.detach(self.models.pop(which).view)

    @rule(
        items=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=4),
        by_uid=st.booleans(),
    )
    def select(self, items: list[tuple[int, int]], by_uid: bool) -> None:
        wanted = SequenceSet(tuple(items))
        for model in self.models:
            known = model.known
            if not by_uid and not wanted.fits(len(known)):
                with pytest.raises(RemoteProtocolError):
                    model.view.select(wanted, by_uid=False)
                continue
            numbers = model.view.select(wanted, by_uid=by_uid)
            meant = wanted.resolve(max(known, default=0) if by_uid else len(known))
            expected = [
                (number, uid) for number, uid in enumerate(known, 1) if (uid if by_uid else number) in meant
            ]
            assert list(model.view.rows(numbers)) == expected
            self.check_runs(model, numbers)

    def check_runs(self, model: Model, numbers: NumberRanges) -> None:
        for run in model.view.runs(numbers):
            if run.start is None:
                assert list(run.uids) == model.known[run.sequence_number - 1 : run.sequence_number]
                assert run.uids[0] not in self.live
            else:
                assert self.live[run.start : run.start + len(run.uids)] == list(run.uids)

    @invariant()
    def every_number_has_its_uid(self) -> None:
        assert list(self.mailbox.array) == self.live
        for model in self.models:
            view = model.view
            assert view.exists == len(model.known)
            assert view.last_uid == max(model.known, default=0)
            assert [view.uid(number + 1) for number in range(view.exists)] == model.known
            assert list(view.rows(view.all)) == list(enumerate(model.known, 1))
            for uid in range(self.mailbox.last + 2):
                expected = model.known.index(uid) + 1 if uid in model.known else None
                assert view.sequence_number(uid) == expected
                assert view.is_gone(uid) is (uid in model.known and uid not in self.live)
            for number in (0, view.exists + 1):
                with pytest.raises(RemoteProtocolError):
                    view.uid(number)


TestMailbox = Mailbox.TestCase
TestMailbox.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_numbers_hold_during_a_fetch_and_move_afterwards() -> None:
    mailbox = MailboxUids([10, 20, 30, 40])
    view = mailbox.attach()
    mailbox.remove(NumberRanges.of([20]))
    mailbox.append([50])
    assert [view.uid(number) for number in (1, 2, 3, 4)] == [10, 20, 30, 40]
    assert view.updates(expunges=False) == ([], [], 5, [])
    assert view.uid(5) == 50
    assert view.updates(expunges=True) == ([2], [20], None, [])
    assert [view.uid(number) for number in (1, 2, 3, 4)] == [10, 30, 40, 50]


def test_a_message_that_came_and_went_untold_was_never_there() -> None:
    mailbox = MailboxUids([1])
    view = mailbox.attach()
    mailbox.append([2, 3])
    mailbox.remove(NumberRanges.of([2, 3]))
    assert not view.has_updates(expunges=True)
    assert view.updates(expunges=True) == ([], [], None, [])


def test_of_a_range_of_uids_those_count_that_were_told() -> None:
    mailbox = MailboxUids([1, 3, 5, 7])
    view = mailbox.attach()
    mailbox.remove(NumberRanges(((3, 3),)))
    mailbox.append([8, 9])
    assert [view.count(1, 9), view.count(2, 5), view.count(8, 9)] == [4, 2, 0]
    view.updates(expunges=True)
    assert [view.count(1, 9), view.count(2, 5), view.count(8, 9)] == [5, 1, 2]


def test_only_what_neither_side_has_is_known_to_be_gone() -> None:
    mailbox = MailboxUids([10, 20, 30, 40])
    view = mailbox.attach()
    mailbox.remove(NumberRanges.of([20, 30]))
    mailbox.append([50])
    asked = NumberRanges(((5, 19), (21, 29), (31, 60)))
    assert view.without_known(asked) == NumberRanges(
        ((5, 9), (11, 19), (21, 29), (31, 39), (41, 49), (51, 60))
    )
    assert view.untold
    assert view.without_known(NumberRanges.of([20, 30])) == NumberRanges()
    view.updates(expunges=True)
    assert not view.untold
    assert view.without_known(NumberRanges.of([20, 30])) == NumberRanges.of([20, 30])


def test_an_empty_mailbox_has_no_numbers() -> None:
    view = MailboxUids().attach()
    everything = SequenceSet(((1, 4294967295), (STAR, 1)))
    assert not view.all
    assert view.last_uid == 0
    assert not view.select(everything, by_uid=True)
    with pytest.raises(RemoteProtocolError):
        view.select(everything, by_uid=False)
    assert view.runs(NumberRanges(((1, 4294967295),))) == []


def test_a_huge_set_over_a_huge_mailbox_is_one_run() -> None:
    mailbox = MailboxUids(range(5, 500_005))
    view = mailbox.attach()
    numbers = view.select(SequenceSet(((1, 4294967295), (STAR, 1))), by_uid=True)
    (run,) = view.runs(numbers)
    assert (run.sequence_number, run.start, len(run.uids)) == (1, 0, 500_000)


def test_an_expunge_of_everything_is_told_from_the_end() -> None:
    mailbox = MailboxUids(range(1, 50_001))
    view = mailbox.attach()
    mailbox.remove(NumberRanges(((1, 4294967295),)))
    assert view.exists == 50_000
    assert view.updates(expunges=True).expunged == list(range(50_000, 0, -1))
    assert view.exists == 0


@pytest.mark.parametrize("uids", [[5], [4], [6, 6], [7, 6]])
def test_a_uid_that_comes_late_is_our_own_bug(uids: list[int]) -> None:
    with pytest.raises(LocalProtocolError):
        MailboxUids([5]).append(uids)


def test_the_uid_of_an_expunged_message_does_not_come_again() -> None:
    mailbox = MailboxUids([5])
    mailbox.remove(NumberRanges.of([5]))
    with pytest.raises(LocalProtocolError):
        mailbox.append([5])


@pytest.mark.parametrize("uids", [[3, 4, 5], [2, 7], [4, 5], [3, 5, 6]])
def test_a_reload_with_a_uid_between_the_others_is_our_own_bug(uids: list[int]) -> None:
    mailbox = MailboxUids([3, 5, 6])
    mailbox.remove(NumberRanges.of([6]))
    with pytest.raises(LocalProtocolError):
        mailbox.reload(uids)


@given(size=st.integers(0, 20), picks=st.sets(st.integers(0, 19)))
def test_parallel_arrays_follow_the_removed_indices(size: int, picks: set[int]) -> None:
    indices = sorted(pick for pick in picks if pick < size)
    places = list(NumberRanges.of(indices).slices(range(size)))
    kept = without(array("Q", range(size)), places)
    assert list(kept) == [at for at in range(size) if at not in indices]
    assert kept.typecode == "Q"


def test_what_is_saved_means_the_messages_that_are_still_there() -> None:
    mailbox = MailboxUids([3, 5, 6, 8])
    view = mailbox.attach()
    view.saved = array("I", [3, 5, 8])
    result = SequenceSet((), saved=True)
    assert list(view.select(result, by_uid=False)) == [1, 2, 4]
    assert list(view.select(result, by_uid=True)) == [1, 2, 4]
    assert list(view.select(SequenceSet(((3, 3),), saved=True), by_uid=False)) == [1, 2, 3, 4]
    mailbox.remove(NumberRanges.of([5]))
    assert list(view.select(result, by_uid=False)) == [1, 4]  # RFC 5182 s2.1, though its number is not gone
    view.updates(expunges=True)
    assert list(view.select(result, by_uid=True)) == [1, 3]
    assert not mailbox.attach().saved
