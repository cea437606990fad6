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
from postroom_testing.mail_twins import Stored

Place: TypeAlias = tuple[int, int]
"""UIDVALIDITY and UID."""
Action: TypeAlias = Callable[[], Awaitable[Done | None]]
_REFUSALS = re.compile(rb"NO \[(EXPUNGEISSUED|TRYCREATE|NONEXISTENT|MODIFIED [\d:,]+)\]")
_STATUS = re.compile(rb"UIDNEXT (\d+) UIDVALIDITY (\d+)")


@dataclass
class Ledger:
    """What all sessions of an account were told of what they did."""

    created: set[Place] = field(default_factory=set[Place])
    moved: set[Place] = field(default_factory=set[Place])
    deletable: set[Place] = field(default_factory=set[Place])
    """Somebody wanted it deleted."""
    copies: list[tuple[Place, Place]] = field(default_factory=list[tuple[Place, Place]])
    uid_next: dict[int, int] = field(default_factory=dict[int, int])
    own: dict[tuple[int, Place], bool] = field(default_factory=dict[tuple[int, Place], bool])
    """Whether the keyword of the session of this number was set last."""
    seen: list[tuple[set[Place], set[Place]]] = field(default_factory=list[tuple[set[Place], set[Place]]])
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
        validity = mirror.uid_validity
        known = {(validity, uid) for uid in mirror.uids if uid is not None}
        if done.answer.ok and verb in {"SELECT", "EXAMINE", "NOOP", "CHECK"}:
            assert not known & moved, f"{done}: {known & moved} were moved before"
            if None not in mirror.uids:
                self.seen.append(({place for place in created if place[0] == validity}, known))
        for (who, (box, uid)), is_set in self.own.items():
            if who == at and box == validity and uid in mirror.flags:
                assert (f"$s{at}" in mirror.flags[uid]) == is_set, (
                    f"{done}: UID {uid}, which was set otherwise"
                )

    def check(self, stored: dict[str, Stored]) -> None:
        """When all is quiet."""
        here = {(box.uid_validity, uid) for box in stored.values() for uid in box.flags}
        for source, target in self.copies:
            if source in self.deletable:
                self.deletable.add(target)
        lost = {place for place in self.created - here - self.moved if place not in self.deletable}
        assert not lost, f"{lost} are gone"
        assert not self.moved & here, f"{self.moved & here} were moved and are there"
        for name in ("INBOX", "Box"):
            box = stored[name]
            made = {uid for validity, uid in self.created if validity == box.uid_validity}
            others = set(range(1, box.uid_next)) - made
            expected = self.delivered if name == "INBOX" else 0
            assert len(others) == expected, f"{name}: {others} beside {expected} deliveries"
            for uid, flags in box.flags.items():
                self._check_own((box.uid_validity, uid), flags)
        for there, known in self.seen:
            missed = (there & here) - known
            assert not missed, f"{missed} were acknowledged and not seen"

    def _check_own(self, place: Place, flags: frozenset[str]) -> None:
        for (who, where), is_set in self.own.items():
            if where == place:
                assert (f"$s{who}" in flags) == is_set, f"the last change of {who} at {place} was lost"

    def _note(self, at: int, actor: Actor, done: Done, uid_next: dict[int, int]) -> None:
        if found := _STATUS.search(b"".join(done.answer.untagged)):
            self._note_uid_next(int(found[2]), int(found[1]))
        match done.appended:
            case Appended(uid_validity, uid):
                self._note_created((uid_validity, uid), uid_next)
                if "\\Deleted" in done.flags:
                    self.deletable.add((uid_validity, uid))
            case None:
                pass
        match done.copied:
            case Copied(uid_validity, pairs):
                for source, uid in pairs:
                    self._note_created((uid_validity, uid), uid_next)
                    self.copies.append(((done.uid_validity, source), (uid_validity, uid)))
                    if "MOVE" in done.text:
                        place = (done.uid_validity, source)
                        assert place not in self.moved, f"{place} is moved twice"
                        self.moved.add(place)
            case None:
                pass
        if "STORE" in done.text:
            self._note_stored(at, done, actor.mirror.heard)

    def _note_stored(self, at: int, done: Done, heard: set[int]) -> None:
        for uid in done.targets:
            place = (done.uid_validity, uid)
            if "\\Deleted" in done.flags:
                self.deletable.add(place)
            certain = done.silent or uid in heard  # else it was gone meanwhile
            if f"$s{at}" in done.flags and certain and uid not in done.modified:
                self.own[at, place] = done.mode == "+"

    def _note_created(self, place: Place, uid_next: dict[int, int]) -> None:
        assert place not in self.created, f"{place} is given out twice"
        self.created.add(place)
        validity, uid = place
        assert uid >= uid_next.get(validity, 1), f"{place} came after UIDNEXT {uid_next[validity]}"

    def _note_uid_next(self, validity: int, uid_next: int) -> None:
        self.uid_next[validity] = max(self.uid_next.get(validity, 1), uid_next)
