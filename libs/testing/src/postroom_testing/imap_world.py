"""A simple model of an account's mailboxes, for commands that come one at a time.

`World.expect` says what a command must have done and raises `AssertionError` when its answer, or what its
client knows now, is something else.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from postroom_testing.imap_actions import Actor, Appended, Done
from postroom_testing.imap_mirror import Flags, Mirror, uids_of
from postroom_testing.mail_twins import Stored

_STATUS_ITEM: Final = re.compile(rb"(\w+) (\d+)")
_ESEARCH_NUMBERS: Final = re.compile(rb'\* ESEARCH \(TAG "\w+"\)(?: UID)?(?: ALL ([\d:,]+))?')
_SEARCH_NUMBERS: Final = re.compile(rb"\* SEARCH((?: \d+)*)(?: \(MODSEQ \d+\))?")


@dataclass
class Box:
    """A mailbox: flags and subject of each message by UID."""

    uid_validity: int
    uid_next: int = 1
    flags: dict[int, Flags] = field(default_factory=dict[int, Flags])
    tokens: dict[int, str] = field(default_factory=dict[int, str])
    modseqs: dict[int, int] = field(default_factory=dict[int, int])
    modseq: int = 0

    def add(self, uid: int, flags: Flags, token: str) -> None:
        """A new message: its UID is above all others."""
        assert uid >= self.uid_next, f"UID {uid} below UIDNEXT {self.uid_next}"
        self.uid_next = uid + 1
        self.flags[uid], self.tokens[uid] = flags, token

    def remove(self, uid: int) -> tuple[Flags, str]:
        """A message goes."""
        self.modseqs.pop(uid, None)
        return self.flags.pop(uid), self.tokens.pop(uid)

    @property
    def deleted(self) -> list[int]:
        """The UIDs with \\Deleted."""
        return [uid for uid, flags in self.flags.items() if "\\Deleted" in flags]


class World:
    """The account."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.validities: set[int] = set()
        self.version = 0
        self.synced: dict[int, int] = {}
        """The version up to which a mirror, by its identity, knows all."""
        self.modseq = 0

    def create(self, name: str, uid_validity: int) -> None:
        """A new mailbox, whose UIDVALIDITY the account never had."""
        assert uid_validity not in self.validities
        self.validities.add(uid_validity)
        self.boxes[name] = Box(uid_validity)

    def box(self, uid_validity: int) -> Box:
        """The mailbox that a session has selected."""
        return next(box for box in self.boxes.values() if box.uid_validity == uid_validity)

    def check(self, stored: dict[str, Stored]) -> None:
        """The store has what the model has; MODSEQs rise for what changed, and for nothing else."""
        top = self.modseq
        for name, box in self.boxes.items():
            there = stored[name]
            assert there.uid_validity == box.uid_validity, name
            assert there.flags == box.flags, f"{name}: {there.flags} in the store, {box.flags} expected"
            assert there.uid_next == box.uid_next, name
            unseen = sum("\\Seen" not in flags for flags in box.flags.values())
            assert there.counts == (len(box.flags), unseen), name
            for uid, modseq in there.modseqs.items():
                assert modseq == box.modseqs.get(uid) or modseq > top, f"{name}: MODSEQ of {uid} is {modseq}"
                self.modseq = max(self.modseq, modseq)
            assert there.modseq >= max([box.modseq, *there.modseqs.values()]), name
            if there.modseqs != box.modseqs or there.modseq != box.modseq:
                self.version += 1
            box.modseqs, box.modseq = there.modseqs, there.modseq
            self.modseq = max(self.modseq, there.modseq)

    def agree(self, mirror: Mirror) -> None:
        """A session knows all that there is."""
        box = self.box(mirror.uid_validity)
        assert mirror.uids == sorted(box.flags), f"{mirror.uids} known, {sorted(box.flags)} there"
        assert mirror.flags == box.flags, f"{mirror.flags} known, {box.flags} there"

    def expect(self, actor: Actor, done: Done) -> None:
        """What the command did."""
        verb = done.text.removeprefix("UID ").partition(" ")[0]
        match verb:
            case "SELECT" | "EXAMINE":
                self._selected(actor.mirror, done)
            case "NOOP" | "CHECK":
                assert done.answer.ok, done
                if actor.mirror.selected:
                    self.agree(actor.mirror)
            case "STATUS":
                self._status(done, with_modseq=actor.mirror.condstore)
            case "IDLE" | "UNSELECT":
                assert done.answer.ok, done
            case "APPEND":
                self._appended(actor.mirror, done)
            case _:
                self._expect_of_messages(actor, done, verb)

    def _expect_of_messages(self, actor: Actor, done: Done, verb: str) -> None:
        match verb:
            case "CLOSE" | "EXPUNGE":
                self._expunged(actor.mirror, done, verb)
            case "STORE":
                self._stored(actor.mirror, done)
            case "FETCH":
                self._fetched(actor.mirror, done)
            case "SEARCH":
                self._searched(actor.mirror, done)
            case _:
                self._copied(actor.mirror, done, moved=verb == "MOVE")

    def _selected(self, mirror: Mirror, done: Done) -> None:
        box = self.boxes[done.box]
        assert done.answer.ok, done
        assert (mirror.uid_validity, mirror.uid_next) == (box.uid_validity, box.uid_next)
        if mirror.condstore:
            assert mirror.modseq == box.modseq, f"HIGHESTMODSEQ {mirror.modseq}, which is {box.modseq}"
        self.agree(mirror)

    def _status(self, done: Done, *, with_modseq: bool) -> None:
        box = self.boxes[done.box]
        (line,) = (line for line in done.answer.untagged if line.startswith(b"* STATUS "))
        told = {name.decode(): int(value) for name, value in _STATUS_ITEM.findall(line.rpartition(b"(")[2])}
        unseen = sum("\\Seen" not in flags for flags in box.flags.values())
        expected = {
            "MESSAGES": len(box.flags),
            "UNSEEN": unseen,
            "UIDNEXT": box.uid_next,
            "UIDVALIDITY": box.uid_validity,
        }
        assert told == expected | ({"HIGHESTMODSEQ": box.modseq} if with_modseq else {}), line

    def _expunged(self, mirror: Mirror, done: Done, verb: str) -> None:
        assert done.answer.ok, done
        box = self.box(done.uid_validity)
        if not done.read_only:
            for uid in box.deleted:
                if not done.by_uid or uid in done.targets:
                    box.remove(uid)
        if verb == "EXPUNGE":
            self._own_write(mirror, done)

    def _appended(self, mirror: Mirror, done: Done) -> None:
        box = self.boxes[done.box]
        assert done.answer.ok, done
        match done.appended:
            case Appended(uid_validity, uid):
                assert uid_validity == box.uid_validity
                box.add(uid, done.flags, done.token)
            case None:
                raise AssertionError(f"{done} without APPENDUID")
        if done.uid_validity == box.uid_validity:
            self.agree(mirror)

    def _stored(self, mirror: Mirror, done: Done) -> None:
        box = self.box(done.uid_validity)
        here = [uid for uid in done.targets if uid in box.flags]
        failed = {uid for uid in here if done.since is not None and box.modseqs[uid] > done.since}
        self._maybe_gone(done, box)
        assert done.modified == failed, f"{done}: {failed} are newer"
        for uid in here:
            if uid not in failed:
                have = box.flags[uid]
                box.flags[uid] = {"+": have | done.flags, "-": have - done.flags, "": done.flags}[done.mode]
        for uid in here:
            if uid not in failed or not done.silent:
                assert mirror.flags[uid] == box.flags[uid], f"{done}: UID {uid} is {box.flags[uid]}"

    def _maybe_gone(self, done: Done, box: Box) -> None:
        """NO is right only where a message of the numbers is gone."""
        gone = [uid for uid in done.targets if uid not in box.flags]
        assert done.answer.ok or (gone and not done.by_uid), done
        assert done.answer.ok or b"EXPUNGE" in done.answer.tagged.upper(), done

    def _fetched(self, mirror: Mirror, done: Done) -> None:
        box = self.box(done.uid_validity)
        self._maybe_gone(done, box)
        subjects = done.subjects
        for uid in done.targets:
            if uid not in box.flags:
                continue
            if "SUBJECT" in done.key:
                assert subjects.get(uid) == box.tokens[uid], f"{done}: UID {uid} is {box.tokens[uid]}"
            if done.key == "(BODY[TEXT])" and not done.read_only:
                box.flags[uid] |= {"\\Seen"}
                assert "\\Seen" in mirror.flags[uid], f"{done}: UID {uid} is {box.flags[uid]}"
            if "FLAGS" in done.key:
                number = done.numbers.index(uid) + 1
                wanted = b"* %d UIDFETCH" % uid if done.uid_only else b"* %d FETCH" % number
                assert any(line.startswith(wanted) for line in done.answer.untagged), done

    def _searched(self, mirror: Mirror, done: Done) -> None:
        assert done.answer.ok, done
        numbers = _found(done, rev2=mirror.rev2)
        if self.synced.get(id(mirror)) != self.version:
            return
        box = self.box(done.uid_validity)
        matching = {uid for uid, flags in box.flags.items() if _matches(flags, done.key)}
        if not done.by_uid:
            matching = {done.numbers.index(uid) + 1 for uid in matching}
        assert numbers == matching, f"{done}: {matching} match"

    def _copied(self, mirror: Mirror, done: Done, *, moved: bool) -> None:
        box, target = self.box(done.uid_validity), self.boxes[done.box]
        self._maybe_gone(done, box)
        if not done.answer.ok:
            return
        copied, here = done.copied, [uid for uid in done.targets if uid in box.flags]
        if copied is None:
            assert not here, done
            return
        assert copied.uid_validity == target.uid_validity
        assert [source for source, _ in copied.pairs] == here, done
        for source, uid in copied.pairs:
            flags, token = box.flags[source], box.tokens[source]
            if moved:
                box.remove(source)
            target.add(uid, flags, token)
        if moved or target is box:
            self._own_write(mirror, done)

    def _own_write(self, mirror: Mirror, done: Done) -> None:
        """What this session did itself it knows at once, and whatever was there before."""
        assert mirror.uid_validity == done.uid_validity
        self.agree(mirror)


def _found(done: Done, *, rev2: bool) -> set[int]:
    """The numbers of SEARCH's answer, which is ESEARCH in IMAP4rev2 (RFC 9051 s6.4.4)."""
    wanted = _ESEARCH_NUMBERS if rev2 else _SEARCH_NUMBERS
    (found,) = (each for line in done.answer.untagged if (each := wanted.fullmatch(line)))
    if rev2:
        return set(uids_of(found[1])) if found[1] is not None else set()
    return {int(each) for each in found[1].split()}


def _matches(flags: Flags, key: str) -> bool:
    match key:
        case "SEEN":
            return "\\Seen" in flags
        case "UNFLAGGED":
            return "\\Flagged" not in flags
        case "DELETED":
            return "\\Deleted" in flags
        case "KEYWORD $Work":
            return "$Work" in flags
        case _:
            return True
