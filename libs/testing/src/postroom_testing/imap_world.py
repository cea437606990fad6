"""A simple model of an account's mailboxes, for commands that come one at a time.

`World.expect` says what a command must have done and raises `AssertionError` when its answer, or what its
client knows now, is something else.
"""

import re
from typing import Final

from postroom_testing.imap_actions import GUEST, OWNER, Actor, Done
from postroom_testing.imap_box import Box, UserView
from postroom_testing.imap_memory import Flags, Place, uids_of
from postroom_testing.imap_mirror import Mirror
from postroom_testing.mail_twins import Stored

_STATUS_ITEM: Final = re.compile(rb"(\w+) (\d+)")
_ESEARCH_NUMBERS: Final = re.compile(rb'\* ESEARCH \(TAG "\w+"\)(?: UID)?(?: ALL ([\d:,]+))?')
_SEARCH_NUMBERS: Final = re.compile(rb"\* SEARCH((?: \d+)*)(?: \(MODSEQ \d+\))?")


class World:
    """The mailboxes of two users, of which one shares one with the other."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.validities: dict[str, set[int]] = {OWNER: set(), GUEST: set()}
        self.version = 0
        self.synced: dict[int, int] = {}
        """The version up to which a mirror, by its identity, knows all."""
        self.modseqs = {OWNER: 0, GUEST: 0}
        self._told_up_to: dict[int, tuple[Mirror, Box, dict[int, int]]] = {}

    def create(self, name: str, uid_validity: int, *users: str) -> None:
        """A new mailbox, whose UIDVALIDITY the account never had."""
        box = Box(uid_validity, {user: UserView() for user in users})
        assert uid_validity not in self.validities[box.owner]
        self.validities[box.owner].add(uid_validity)
        self.boxes[name] = box

    def box(self, place: Place) -> Box:
        """The mailbox that a session has selected."""
        box = self.boxes[place.box]
        assert box.uid_validity == place.uid_validity
        return box

    def check(self, stored: dict[str, dict[str, Stored]], actor: Actor | None = None) -> None:
        """The store has what the model has, for each user; MODSEQs rise for what changed.

        What an actor did may have made messages \\Recent to it.
        """
        tops = dict(self.modseqs)
        for name, box in self.boxes.items():
            before = box.modseq
            try:
                highest = box.check({user: stored[user][name] for user in box.views}, tops[box.owner])
                self._check_recent(box, stored[box.owner][name].recent_from, actor)
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error
            self.version += highest != before
            self.modseqs[box.owner] = max(self.modseqs[box.owner], highest)

    def _check_recent(self, box: Box, recent_from: int, actor: Actor | None) -> None:
        """Only a session that has the mailbox to itself or to change it, and knows \\Recent, claims it."""
        mirror = None if actor is None else actor.mirror
        if mirror is None or not mirror.selected or self.boxes[mirror.box] is not box:
            box.claim(recent_from, None)
            return
        takes = mirror.user == box.owner and not mirror.read_only and not mirror.rev2
        for uid, _, recent in mirror.heard_flags:
            if box.recent.get(uid) is mirror.selection:
                assert recent, f"UID {uid} is \\Recent no more"
            elif recent and not mirror.read_only:
                assert box.recent_from <= uid < recent_from, f"UID {uid} is \\Recent to somebody else"
        box.claim(recent_from, mirror.selection if takes else None)

    def explain(self, mirror: Mirror) -> None:
        """What a session was told of flags, up to now."""
        if mirror.selected:
            box = self.box(mirror.place)
            known = self._told_up_to.get(id(mirror))
            if known is None or known[1] is not box:
                known = self._told_up_to[id(mirror)] = (mirror, box, {})
            box.views[mirror.user].explain(mirror.heard_flags, known[2])
            mirror.heard_flags.clear()

    def agree(self, mirror: Mirror) -> None:
        """A session knows all that there is."""
        flags = self.box(mirror.place).views[mirror.user].flags
        assert mirror.uids == sorted(flags), f"{mirror.uids} known, {sorted(flags)} there"
        assert mirror.flags == flags, f"{mirror.flags} known, {flags} there"

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
                self._status(actor.mirror, done)
            case "IDLE" | "UNSELECT":
                assert done.answer.ok, done
            case "APPEND" | "REPLACE":
                self._added(actor.mirror, done, replaces=verb == "REPLACE")
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
        if not done.with_cache and not mirror.rev2:
            self._told_recent(mirror, box)

    def _told_recent(self, mirror: Mirror, box: Box) -> None:
        """All that nobody has claimed, and nothing of somebody else's mailbox."""
        recent = {uid for uid, _, recent in mirror.heard_flags if recent}
        here = {uid for uid in box.flags if uid >= box.recent_from and mirror.user == box.owner}
        assert recent == here, f"{recent} are \\Recent, {here} expected"
        assert mirror.recent_count == len(here), f"{mirror.recent_count} RECENT, {here} expected"

    def _status(self, mirror: Mirror, done: Done) -> None:
        box = self.boxes[done.box]
        (line,) = (line for line in done.answer.untagged if line.startswith(b"* STATUS "))
        told = {name.decode(): int(value) for name, value in _STATUS_ITEM.findall(line.rpartition(b"(")[2])}
        recent = box.uid_next - box.recent_from if mirror.user == box.owner else 0
        expected = {
            "MESSAGES": len(box.flags),
            "UNSEEN": box.views[mirror.user].unseen,
            "DELETED": len(box.deleted),
            "UIDNEXT": box.uid_next,
            "UIDVALIDITY": box.uid_validity,
        }
        expected |= {"HIGHESTMODSEQ": box.modseq} if mirror.condstore else {}
        expected |= {} if mirror.rev2 else {"RECENT": min(recent, len(box.flags))}
        assert told == expected, f"{line!r}, {expected} expected"

    def _expunged(self, mirror: Mirror, done: Done, verb: str) -> None:
        assert done.answer.ok, done
        box = self.box(done.place)
        if not done.read_only:
            for uid in box.deleted:
                if not done.by_uid or uid in done.targets:
                    box.remove(uid)
        if verb == "EXPUNGE":
            self._own_write(mirror, done)

    def _added(self, mirror: Mirror, done: Done, *, replaces: bool) -> None:
        box, target = (self.box(done.place) if done.targets else None), self.boxes[done.box]
        if box is not None and (replaces or done.header_of is not None):
            (uid,) = done.targets
            if replaces and target.owner != box.owner:
                assert b" NO [CANNOT] " in done.answer.tagged or uid not in box.flags, done
                return
            if uid not in box.flags:
                assert re.search(rb" NO \[(EXPUNGEISSUED|BADURL ;UID)", done.answer.tagged), done
                return
        assert done.answer.ok, done
        appended = done.appended
        assert appended is not None, f"{done} without APPENDUID"
        assert appended.uid_validity == target.uid_validity, done
        subject = None if done.header_of is None or box is None else box.tokens[done.header_of]
        for uid, (flags, token) in zip(appended.uids, done.messages, strict=True):
            target.add(uid, flags, subject or token, mirror.user)
        if replaces and box is not None:
            box.remove(done.targets[0])
        if replaces or box is target or done.place == Place(done.box, target.uid_validity):
            self._own_write(mirror, done)

    def _stored(self, mirror: Mirror, done: Done) -> None:
        box = self.box(done.place)
        view = box.views[mirror.user]
        here = [uid for uid in done.targets if uid in box.flags]
        failed = {uid for uid in here if done.since is not None and view.modseqs[uid] > done.since}
        self._maybe_gone(done, box)
        assert done.modified == failed, f"{done}: {failed} are newer"
        for uid in here:
            if uid not in failed:
                have = view.flags[uid]
                wanted = {"+": have | done.flags, "-": have - done.flags, "": done.flags}[done.mode]
                box.change(uid, wanted, mirror.user)
        for uid in here:
            if uid not in failed or not done.silent:
                assert mirror.flags[uid] == view.flags[uid], f"{done}: UID {uid} is {view.flags[uid]}"

    def _maybe_gone(self, done: Done, box: Box) -> None:
        """NO is right only where a message of the numbers is gone."""
        gone = [uid for uid in done.targets if uid not in box.flags]
        assert done.answer.ok or (gone and not done.by_uid), done
        assert done.answer.ok or b"EXPUNGE" in done.answer.tagged.upper(), done

    def _fetched(self, mirror: Mirror, done: Done) -> None:
        box = self.box(done.place)
        self._maybe_gone(done, box)
        subjects, view = done.subjects, box.views[mirror.user]
        for uid in done.targets:
            if uid not in box.flags:
                continue
            if "SUBJECT" in done.key:
                assert subjects.get(uid) == box.tokens[uid], f"{done}: UID {uid} is {box.tokens[uid]}"
            if done.key == "(BODY[TEXT])" and not done.read_only:
                box.change(uid, view.flags[uid] | {"\\Seen"}, mirror.user)
                assert "\\Seen" in mirror.flags[uid], f"{done}: UID {uid} is {view.flags[uid]}"
            if "FLAGS" in done.key:
                number = done.numbers.index(uid) + 1
                wanted = b"* %d UIDFETCH" % uid if done.uid_only else b"* %d FETCH" % number
                assert any(line.startswith(wanted) for line in done.answer.untagged), done

    def _searched(self, mirror: Mirror, done: Done) -> None:
        assert done.answer.ok, done
        numbers = _found(done, rev2=mirror.rev2)
        if self.synced.get(id(mirror)) != self.version:
            return
        box = self.box(done.place)
        flags_here = box.views[mirror.user].flags
        matching = {uid for uid, flags in flags_here.items() if _matches(flags, done.key)}
        if not done.by_uid:
            matching = {done.numbers.index(uid) + 1 for uid in matching}
        assert numbers == matching, f"{done}: {matching} match"

    def _copied(self, mirror: Mirror, done: Done, *, moved: bool) -> None:
        box, target = self.box(done.place), self.boxes[done.box]
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
            flags, token = box.views[mirror.user].flags[source], box.tokens[source]
            if moved:
                box.remove(source)
            target.add(uid, flags, token, mirror.user)
        if moved or target is box:
            self._own_write(mirror, done)

    def _own_write(self, mirror: Mirror, done: Done) -> None:
        """What this session did itself it knows at once, and whatever was there before."""
        assert mirror.place == done.place
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
