"""Random commands of an IMAP client, from small numbers that a test draws, and what became of each."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from postroom_testing.imap_client import Answer
from postroom_testing.imap_memory import Cache, Flags, Place, literal, uid_set, uids_of
from postroom_testing.imap_mirror import Mirror

OWNER: Final = "owner"
GUEST: Final = "guest"
BOXES: Final = {OWNER: ("INBOX", "Box"), GUEST: ("Own", "Box")}
"""The mailboxes of each user, by the names that this model has for them; Box is the owner's."""
FLAGS: Final = ("\\Seen", "\\Flagged", "\\Deleted", "$Work")
_ITEMS: Final = (
    "(UID FLAGS)",
    "(FLAGS)",
    "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
    "(UID FLAGS MODSEQ)",
    "(BODY[TEXT])",
)
_KEYS: Final = ("ALL", "SEEN", "UNFLAGGED", "DELETED", "KEYWORD $Work")
_APPENDED = re.compile(rb"\[APPENDUID (\d+) ([\d:,]+)\]")
_COPIED = re.compile(rb"\[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]")
_MODIFIED = re.compile(rb"\[MODIFIED ([\d:,]+)\]")
_SUBJECT = re.compile(rb"\* (\d+) (?:UID)?FETCH .*\r\nSubject: (\S+)\r\n", re.DOTALL)


NOWHERE: Final = Place("", 0)


class Step(NamedTuple):
    """A kind of command, and numbers that say which one it is."""

    kind: str
    who: int
    a: int
    b: int
    c: int


class Appended(NamedTuple):
    """APPENDUID."""

    uid_validity: int
    uids: list[int]


class NewMessage(NamedTuple):
    """A message that a session adds."""

    flags: Flags
    token: str
    """Its subject."""


class Copied(NamedTuple):
    """COPYUID."""

    uid_validity: int
    pairs: list[tuple[int, int]]


@dataclass
class Done:
    """A command that was answered."""

    text: str
    answer: Answer
    place: Place = NOWHERE
    """The mailbox that was selected before."""
    targets: list[int] = field(default_factory=list[int])
    """The UIDs that it named, as its client knows them."""
    by_uid: bool = False
    box: str = ""
    mode: str = ""
    flags: Flags = frozenset()
    silent: bool = False
    since: int | None = None
    key: str = ""
    messages: list[NewMessage] = field(default_factory=list[NewMessage])
    """What was to be added."""
    header_of: int | None = None
    """The UID of the message whose header the added one has."""
    with_cache: bool = False
    read_only: bool = False
    uid_only: bool = False
    """Numbers in its answer are UIDs (RFC 9586)."""
    numbers: list[int | None] = field(default_factory=list[int | None])
    """The UID of each sequence number when the command was sent."""

    @property
    def appended(self) -> Appended | None:
        """Where an appended message went."""
        for line in (*self.answer.untagged, self.answer.tagged):
            if found := _APPENDED.search(line):
                return Appended(int(found[1]), uids_of(found[2]))
        return None

    @property
    def copied(self) -> Copied | None:
        """Where messages were copied or moved."""
        for line in (*self.answer.untagged, self.answer.tagged):
            if found := _COPIED.search(line):
                source, target = uids_of(found[2]), uids_of(found[3])
                assert len(source) == len(target), line
                return Copied(int(found[1]), list(zip(source, target, strict=True)))
        return None

    @property
    def modified(self) -> set[int]:
        """The UIDs that failed a condition."""
        found = _MODIFIED.search(self.answer.tagged)
        if found is None:
            return set()
        numbers = uids_of(found[1])
        if self.by_uid:
            return set(numbers)
        return {uid for number in numbers if (uid := self.numbers[number - 1]) is not None}

    @property
    def subjects(self) -> dict[int, str]:
        """The Subject by UID of the messages that were fetched so."""
        found = (_SUBJECT.match(line) for line in self.answer.untagged)
        by_number = {int(each[1]): each[2].decode() for each in found if each is not None}
        if self.uid_only:
            return by_number
        uids = ((self.numbers[number - 1], token) for number, token in by_number.items())
        return {uid: token for uid, token in uids if uid is not None}


@dataclass
class Actor:
    """A client that does what steps say."""

    mirror: Mirror
    names: dict[str, str] = field(default_factory=dict[str, str])
    """What its user calls a mailbox, where that is something else."""
    caches: dict[Place, Cache] = field(default_factory=dict[Place, Cache])
    """What it keeps of mailboxes that it left."""
    token: str = "m"
    count: int = 0
    flags: tuple[str, ...] = FLAGS
    own_flags: Flags = frozenset()
    """Those of them that nobody else changes."""
    peeks: bool = False
    """Whether it marks nothing as \\Seen by reading."""
    replaces: bool = True
    """Whether it sets all flags of a message at once, whatever others did."""
    idle_seconds: float = 0.0

    @property
    def boxes(self) -> tuple[str, str]:
        """The mailboxes of its user."""
        return BOXES[self.mirror.user]

    def name(self, box: str) -> str:
        """What its user calls this mailbox."""
        return self.names.get(box, box)

    def keep(self) -> None:
        """Keep what is known of the selected mailbox."""
        if self.mirror.qresync and (cache := self.mirror.cache) is not None:
            self.caches[self.mirror.place] = cache

    async def act(self, step: Step) -> Done | None:
        """Do it; None where it means nothing now."""
        self.mirror.heard_flags.clear()
        done = await self._act(step)
        if self.mirror.selected:
            self.keep()
        return done

    async def _act(self, step: Step) -> Done | None:
        mirror = self.mirror
        match step.kind:
            case "select":
                return await self.select(self.boxes[step.a % 2], step)
            case "append" | "multiappend":
                return await self._append(step)
            case "status":
                return await self._status(self.boxes[step.a % 2])
            case "noop" | "check" if step.kind == "noop" or mirror.selected:
                return await self._plain(step.kind.upper())
            case "idle" if mirror.selected:
                return await self._idle()
            case "close" | "unselect" if mirror.selected:
                self.keep()
                done = await self._plain(step.kind.upper())
                mirror.forget()
                return done
            case "expunge" if mirror.selected and not mirror.read_only:
                return await self._plain("EXPUNGE")
            case _ if mirror.uids and None not in mirror.uids:
                return await self._on_messages(step)
            case _:
                return None

    async def select(self, box: str, step: Step) -> Done:
        """SELECT, sometimes with what was kept, which may be of another mailbox of the same account."""
        caches = [each for each in self.caches.values() if self.mirror.user == OWNER or each.box == box]
        cache = caches[step.c % len(caches)] if caches and step.c else None
        return await self.come_back(box, cache, read_only=step.b % 5 == 4)

    async def come_back(self, box: str, cache: Cache | None, *, read_only: bool) -> Done:
        """SELECT with this."""
        mirror, before = self.mirror, self.mirror.place
        answer = await mirror.select(self.name(box), read_only=read_only, cache=cache, box=box)
        verb = "EXAMINE" if read_only else "SELECT"
        done = Done(f"{verb} {box} {cache}", answer, before, box=box, with_cache=cache is not None)
        done.read_only = read_only
        return done

    async def _append(self, step: Step) -> Done:
        """APPEND of one message or of some (RFC 3502)."""
        box = self.boxes[step.a % 2]
        added = [self._new_message(step, at) for at in range(1 + step.c % 3 if step.kind[0] == "m" else 1)]
        before = self.mirror.place
        literals = b" ".join(literal(octets, " ".join(sorted(each.flags))) for each, octets in added)
        answer = await self.mirror.send_messages(f"APPEND {self.name(box)} ".encode() + literals)
        done = Done(f"APPEND {box}", answer, before, box=box, messages=[each for each, _ in added])
        done.text += f" {[set(each.flags) for each in done.messages]}"
        return done

    def _new_message(self, step: Step, at: int = 0) -> tuple[NewMessage, bytes]:
        flags = frozenset({self.flags[(step.b + at) % len(self.flags)]} if (step.c + at) % 2 else ())
        self.count += 1
        token = f"{self.token}{self.count}"
        return NewMessage(flags, token), f"Subject: {token}\r\n\r\nbody of {token}\r\n".encode()

    async def _status(self, box: str) -> Done:
        items = "MESSAGES UNSEEN DELETED UIDNEXT UIDVALIDITY"
        items += " HIGHESTMODSEQ" if self.mirror.condstore else ""
        items += "" if self.mirror.rev2 else " RECENT"
        return await self._plain(f"STATUS {self.name(box)} ({items})", box=box)

    async def _plain(self, text: str, *, box: str = "") -> Done:
        before, numbers = self.mirror.place, [*self.mirror.uids]
        read_only = self.mirror.read_only
        answer = await self.mirror.command(text)
        return Done(text, answer, before, box=box, numbers=numbers, read_only=read_only)

    async def _idle(self) -> Done:
        mirror = self.mirror
        before = mirror.place
        tag = mirror.client.send_command("IDLE")
        if self.idle_seconds:
            await asyncio.sleep(self.idle_seconds)
        mirror.client.send(b"DONE\r\n")
        answer = await mirror.hear_answer(tag, "IDLE")
        await mirror.fill()
        return Done("IDLE", answer, before)

    async def _on_messages(self, step: Step) -> Done | None:
        mirror = self.mirror
        numbers = [*mirror.uids]
        known = [uid for uid in numbers if uid is not None]
        by_uid = step.c % 2 == 1 or mirror.uid_only
        first, last = step.a % len(known), step.b % len(known)
        places = sorted({first, last}) if step.c % 4 < 2 else range(min(first, last), max(first, last) + 1)
        targets = [known[at] for at in places]
        named = uid_set(targets) if by_uid else uid_set(at + 1 for at in places)
        done = Done("", _NOTHING, mirror.place, targets, by_uid, numbers=numbers)
        done.read_only, done.uid_only = mirror.read_only, mirror.uid_only
        uid = "UID " if by_uid else ""
        match step.kind:
            case "fetch":
                items = _ITEMS[(step.a + step.b) % (len(_ITEMS) - self.peeks if mirror.condstore else 3)]
                done.text, done.key = f"{uid}FETCH {named} {items}", items
            case "store" if not mirror.read_only:
                self._plan_store(done, step, f"{uid}STORE {named}")
            case "copy" | "move" if step.kind == "copy" or not mirror.read_only:
                done.box = self.boxes[(step.a + step.b + step.c) % 2]
                done.text = f"{uid}{step.kind.upper()} {named} {self.name(done.box)}"
            case "replace" | "catenate" if step.kind == "catenate" or not mirror.read_only:
                return await self._add_after(done, step)
            case "uid expunge" if not mirror.read_only:
                done.text, done.by_uid = f"UID EXPUNGE {uid_set(targets)}", True
            case "search":
                done.key = _KEYS[step.a % len(_KEYS)]
                done.text = f"{uid}SEARCH {done.key}"
            case _:
                return None
        done.answer = await mirror.command(done.text)
        if done.silent:
            mirror.stored((each for each in targets if each not in done.modified), done.mode, done.flags)
        return done

    async def _add_after(self, done: Done, step: Step) -> Done:
        """REPLACE (RFC 8508), or a message of text and another one's header (RFC 4469), or both."""
        done.box = self.boxes[(step.b + step.c) % 2]
        target, number = done.targets[0], done.numbers.index(done.targets[0]) + 1
        added, octets = self._new_message(step)
        done.targets, done.messages = [target], [added]
        parts = literal(octets, " ".join(sorted(added.flags)))
        if step.kind == "catenate" or step.a % 3 == 0:
            done.header_of = target
            flags = " ".join(sorted(added.flags)).encode()
            # A URL without a mailbox is of the selected one (RFC 4469 s3).
            parts = b"(%b) CATENATE (URL ;UID=%d/;SECTION=HEADER TEXT {4+}\r\ntext)" % (flags, target)
        if step.kind == "catenate":
            done.text = f"APPEND {self.name(done.box)}"
        else:
            done.text = f"UID REPLACE {target}" if done.by_uid else f"REPLACE {number}"
            done.text += f" {self.name(done.box)}"
        done.answer = await self.mirror.send_messages(done.text.encode() + b" " + parts)
        return done

    def _plan_store(self, done: Done, step: Step, start: str) -> None:
        done.mode = ("+", "-", "")[(step.a + step.c) % (3 if self.replaces else 2)]
        done.flags = frozenset({self.flags[step.b % len(self.flags)]})
        done.silent = step.c % 3 == 0
        if self.mirror.condstore and step.b % 3 == 0 and self.mirror.modseqs:
            seen = sorted(self.mirror.modseqs.values())
            done.since = seen[step.a % len(seen)]
        condition = "" if done.since is None else f" (UNCHANGEDSINCE {done.since})"
        silent = ".SILENT" if done.silent else ""
        done.text = f"{start}{condition} {done.mode}FLAGS{silent} ({' '.join(done.flags)})"


_NOTHING: Final = Answer([], b"")
