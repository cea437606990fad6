"""What sessions that act at the same time did: whether one history of the account explains all of it.

Nothing is known of the order of commands that overlap. What holds for any order is checked here: a UID is
given out once and in no gap, a message is moved once, nothing is gone that nobody removed, what a session set
alone is as it set it last, and whatever was acknowledged is seen by whoever asks afterwards.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from postroom_testing.imap_actions import Actor, Appended, Copied, Done
from postroom_testing.imap_memory import Flags, Place
from postroom_testing.mail_twins import Stored

Message: TypeAlias = tuple[Place, int]
"""A mailbox, and a UID there."""
Action: TypeAlias = Callable[[], Awaitable[Done | None]]
_REFUSALS = re.compile(rb"NO \[(EXPUNGEISSUED|TRYCREATE|NONEXISTENT|BADURL \S+|CANNOT|MODIFIED [\d:,]+)\]")
_STATUS = re.compile(rb"UIDNEXT (\d+) UIDVALIDITY (\d+)")


@dataclass
class Ledger:
    """What all sessions of an account were told of what they did."""

    created: set[Message] = field(default_factory=set[Message])
    moved: set[Message] = field(default_factory=set[Message])
    """Somebody moved it, or put another one in its place."""
    deletable: set[Message] = field(default_factory=set[Message])
    """Somebody wanted it deleted."""
    copies: list[tuple[Message, Message]] = field(default_factory=list[tuple[Message, Message]])
    uid_next: dict[Place, int] = field(default_factory=dict[Place, int])
    own: dict[tuple[int, str, Message], bool] = field(default_factory=dict[tuple[int, str, Message], bool])
    """Whether a flag that only the session of this number changes was set last."""
    seen: list[tuple[set[Message], set[Message]]] = field(
        default_factory=list[tuple[set[Message], set[Message]]]
    )
    """What was there for certain when a session asked, and what it knew then."""
    delivered: int = 0

    async def act(self, at: int, actor: Actor, action: Action) -> None:
        """Let a session do something, and note it."""
        created, moved, uid_next = set(self.created), set(self.moved), dict(self.uid_next)
        done = await action()
        if done is None:
            return
        assert done.answer.ok or _REFUSALS.match(done.answer.text), done
        self._note(at, actor, done, uid_next)
        mirror, verb = actor.mirror, done.text.partition(" ")[0]
        here = mirror.place
        known = {(here, uid) for uid in mirror.uids if uid is not None}
        if done.answer.ok and verb in {"SELECT", "EXAMINE", "NOOP", "CHECK"}:
            assert not known & moved, f"{done}: {known & moved} were moved before"
            if None not in mirror.uids:
                self.seen.append(({each for each in created if each[0] == here}, known))
        for (who, flag, (box, uid)), is_set in self.own.items():
            # What is gone but not told yet is told as it was when it went (RFC 2180 s4.1).
            may_be_gone = (box, uid) in self.deletable or (box, uid) in self.moved
            if who == at and box == here and uid in mirror.flags and not may_be_gone:
                assert (flag in mirror.flags[uid]) == is_set, f"{done}: UID {uid} has {flag} otherwise"

    def check(self, stored: dict[str, Stored]) -> None:
        """When all is quiet, with each mailbox as its owner has it."""
        places = {name: Place(name, box.uid_validity) for name, box in stored.items()}
        here = {(places[name], uid) for name, box in stored.items() for uid in box.flags}
        for source, target in self.copies:
            if source in self.deletable:
                self.deletable.add(target)
        lost = {place for place in self.created - here - self.moved if place not in self.deletable}
        assert not lost, f"{lost} are gone"
        assert not self.moved & here, f"{self.moved & here} were moved and are there"
        for name, box in stored.items():
            made = {uid for place, uid in self.created if place == places[name]}
            others = set(range(1, box.uid_next)) - made
            expected = self.delivered if name == "INBOX" else 0
            assert len(others) == expected, f"{name}: {others} beside {expected} deliveries"
            self._check_counters(name, box)
        for there, known in self.seen:
            missed = (there & here) - known
            assert not missed, f"{missed} were acknowledged and not seen"

    def check_own(self, who: int, place: Place, flags: dict[int, Flags]) -> None:
        """A mailbox, as the user has it whose session this is, is as the session left it."""
        for (own, flag, (box, uid)), is_set in self.own.items():
            if own == who and box == place and uid in flags:
                assert (flag in flags[uid]) == is_set, f"{who}'s last {flag} at UID {uid} of {box} was lost"

    def _check_counters(self, name: str, box: Stored) -> None:
        unseen, deleted = (
            sum((flag in flags) == wanted for flags in box.flags.values())
            for flag, wanted in (("\\Seen", False), ("\\Deleted", True))
        )
        assert box.counts == (len(box.flags), unseen, deleted), f"{name}: {box.counts} are counted"

    def _note(self, at: int, actor: Actor, done: Done, uid_next: dict[Place, int]) -> None:
        if found := _STATUS.search(b"".join(done.answer.untagged)):
            place = Place(done.box, int(found[2]))
            self.uid_next[place] = max(self.uid_next.get(place, 1), int(found[1]))
        if done.appended is not None:
            self._note_added(done, done.appended, uid_next)
        if done.copied is not None:
            self._note_copied(done, done.copied, uid_next)
        if "STORE" in done.text:
            self._note_stored(at, actor, done)

    def _note_added(self, done: Done, appended: Appended, uid_next: dict[Place, int]) -> None:
        place = Place(done.box, appended.uid_validity)
        for uid, (flags, _) in zip(appended.uids, done.messages, strict=True):
            self._note_created((place, uid), uid_next)
            if "\\Deleted" in flags:
                self.deletable.add((place, uid))
        if "REPLACE" in done.text:
            self._note_moved((done.place, done.targets[0]))

    def _note_copied(self, done: Done, copied: Copied, uid_next: dict[Place, int]) -> None:
        for source, uid in copied.pairs:
            target = (Place(done.box, copied.uid_validity), uid)
            self._note_created(target, uid_next)
            self.copies.append(((done.place, source), target))
            if "MOVE" in done.text:
                self._note_moved((done.place, source))

    def _note_stored(self, at: int, actor: Actor, done: Done) -> None:
        for uid in done.targets:
            message = (done.place, uid)
            if "\\Deleted" in done.flags:
                self.deletable.add(message)
            certain = done.silent or uid in actor.mirror.heard  # else it was gone meanwhile
            if certain and uid not in done.modified:
                for flag in done.flags & actor.own_flags:
                    self.own[at, flag, message] = done.mode == "+"

    def _note_moved(self, message: Message) -> None:
        assert message not in self.moved, f"{message} is moved twice"
        self.moved.add(message)

    def _note_created(self, message: Message, uid_next: dict[Place, int]) -> None:
        assert message not in self.created, f"{message} is given out twice"
        self.created.add(message)
        place, uid = message
        assert uid >= uid_next.get(place, 1), f"{message} came after UIDNEXT {uid_next[place]}"
