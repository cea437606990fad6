"""Random commands of an IMAP client, from small numbers that a test draws, and what became of each."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from postroom_testing.imap_client import Answer
from postroom_testing.imap_mirror import Cache, Flags, Mirror, uid_set, uids_of

BOXES: Final = ("INBOX", "Box")
FLAGS: Final = ("\\Seen", "\\Flagged", "\\Deleted", "$Work")
_ITEMS: Final = (
    "(UID FLAGS)",
    "(FLAGS)",
    "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
    "(UID FLAGS MODSEQ)",
    "(BODY[TEXT])",
)
_KEYS: Final = ("ALL", "SEEN", "UNFLAGGED", "DELETED", "KEYWORD $Work")
_APPENDED = re.compile(rb"\[APPENDUID (\d+) (\d+)\]")
_COPIED = re.compile(rb"\[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]")
_MODIFIED = re.compile(rb"\[MODIFIED ([\d:,]+)\]")
_SUBJECT = re.compile(rb"\* (\d+) (?:UID)?FETCH .*\r\nSubject: (\S+)\r\n", re.DOTALL)


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
    uid: int


class Copied(NamedTuple):
    """COPYUID."""

    uid_validity: int
    pairs: list[tuple[int, int]]


@dataclass
class Done:
    """A command that was answered."""

    text: str
    answer: Answer
    uid_validity: int = 0
    """Of the mailbox that was selected before."""
    targets: list[int] = field(default_factory=list[int])
    """The UIDs that it named, as its client knows them."""
    by_uid: bool = False
    box: str = ""
    mode: str = ""
    flags: Flags = frozenset()
    silent: bool = False
    since: int | None = None
    key: str = ""
    token: str = ""
    """The subject of an appended message."""
    read_only: bool = False
    uid_only: bool = False
    """Numbers in its answer are UIDs (RFC 9586)."""
    numbers: list[int | None] = field(default_factory=list[int | None])
    """The UID of each sequence number when the command was sent."""

    @property
    def appended(self) -> Appended | None:
        """Where an appended message went."""
        found = _APPENDED.search(self.answer.tagged)
        return None if found is None else Appended(int(found[1]), int(found[2]))

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
    caches: dict[int, Cache] = field(default_factory=dict[int, Cache])
    """What it keeps of mailboxes that it left, by UIDVALIDITY."""
    token: str = "m"
    count: int = 0
    flags: tuple[str, ...] = FLAGS
    replaces: bool = True
    """Whether it sets all flags of a message at once, whatever others did."""
    idle_seconds: float = 0.0

    def keep(self) -> None:
        """Keep what is known of the selected mailbox."""
        if self.mirror.qresync and (cache := self.mirror.cache) is not None:
            self.caches[cache.uid_validity] = cache

    async def act(self, step: Step) -> Done | None:
        """Do it; None where it means nothing now."""
        done = await self._act(step)
        if self.mirror.selected:
            self.keep()
        return done

    async def _act(self, step: Step) -> Done | None:
        mirror = self.mirror
        match step.kind:
            case "select":
                return await self.select(BOXES[step.a % 2], step)
            case "append":
                return await self._append(step)
            case "status":
                box = BOXES[step.a % 2]
                items = "MESSAGES UNSEEN UIDNEXT UIDVALIDITY"
                if mirror.condstore:
                    items += " HIGHESTMODSEQ"
                return await self._plain(f"STATUS {box} ({items})", box=box)
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
        """SELECT, sometimes with what was kept."""
        mirror, read_only = self.mirror, step.b % 5 == 4
        before = mirror.uid_validity
        cache = list(self.caches.values())[step.c % len(self.caches)] if self.caches and step.c else None
        answer = await mirror.select(box, read_only=read_only, cache=cache)
        name = "EXAMINE" if read_only else "SELECT"
        return Done(f"{name} {box} {cache}", answer, before, box=box)

    async def _append(self, step: Step) -> Done:
        box = BOXES[step.a % 2]
        flags = frozenset({self.flags[step.b % len(self.flags)]} if step.c % 2 else ())
        self.count += 1
        token = f"{self.token}{self.count}"
        octets = f"Subject: {token}\r\n\r\nbody of {token}\r\n".encode()
        before = self.mirror.uid_validity
        answer = await self.mirror.append(box, octets, " ".join(sorted(flags)))
        return Done(f"APPEND {box} {set(flags)}", answer, before, box=box, flags=flags, token=token)

    async def _plain(self, text: str, *, box: str = "") -> Done:
        before, numbers = self.mirror.uid_validity, [*self.mirror.uids]
        read_only = self.mirror.read_only
        answer = await self.mirror.command(text)
        return Done(text, answer, before, box=box, numbers=numbers, read_only=read_only)

    async def _idle(self) -> Done:
        mirror = self.mirror
        before = mirror.uid_validity
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
        done = Done("", _NOTHING, mirror.uid_validity, targets, by_uid, numbers=numbers)
        done.read_only, done.uid_only = mirror.read_only, mirror.uid_only
        uid = "UID " if by_uid else ""
        match step.kind:
            case "fetch":
                items = _ITEMS[(step.a + step.b) % (len(_ITEMS) if mirror.condstore else 3)]
                done.text, done.key = f"{uid}FETCH {named} {items}", items
            case "store" if not mirror.read_only:
                self._plan_store(done, step, f"{uid}STORE {named}")
            case "copy" | "move" if step.kind == "copy" or not mirror.read_only:
                done.box = BOXES[(step.a + step.b + step.c) % 2]
                done.text = f"{uid}{step.kind.upper()} {named} {done.box}"
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
