"""A mailbox as a simple model has it, for each of its users: each has seen what it has seen (RFC 4314 s4)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from postroom_testing.imap_memory import Flags, HeardFlags
from postroom_testing.mail_twins import Stored

_SEEN: Flags = frozenset({"\\Seen"})


@dataclass
class UserView:
    """The messages as one user has them, by UID."""

    flags: dict[int, Flags] = field(default_factory=dict[int, Flags])
    modseqs: dict[int, int] = field(default_factory=dict[int, int])
    checked: dict[int, Flags] = field(default_factory=dict[int, Flags])
    """The flags when the store was looked at last."""
    history: dict[int, list[Flags]] = field(default_factory=dict[int, list[Flags]])
    """All flags that each message ever had, in their order."""

    @property
    def unseen(self) -> int:
        """How many messages the user has not seen."""
        return sum("\\Seen" not in flags for flags in self.flags.values())

    def check(self, there: Stored, top: int) -> None:
        """The store has the same; what changed has a MODSEQ above `top`, where the account was before."""
        assert there.flags == self.flags, f"{there.flags} in the store, {self.flags} expected"
        for uid, modseq in there.modseqs.items():
            if self.checked.get(uid) != self.flags[uid]:
                assert modseq > top, f"UID {uid} is {self.flags[uid]} at MODSEQ {modseq}, not above {top}"
                self.history.setdefault(uid, []).append(self.flags[uid])
            else:
                assert modseq == self.modseqs[uid] or modseq > top, f"MODSEQ of {uid} is {modseq}"
        self.checked, self.modseqs = dict(self.flags), there.modseqs

    def explain(self, heard: Iterable[HeardFlags], told_up_to: dict[int, int]) -> None:
        """Each message was told with flags that it had, and with none older than what was told before."""
        for uid, flags, _ in heard:
            history, start = self.history.get(uid, []), told_up_to.get(uid, 0)
            assert flags in history[start:], f"UID {uid} was told with {flags}, after {start} of {history}"
            told_up_to[uid] = history.index(flags, start)


@dataclass
class Box:
    """A mailbox; the first of its users owns it."""

    uid_validity: int
    views: dict[str, UserView]
    uid_next: int = 1
    tokens: dict[int, str] = field(default_factory=dict[int, str])
    """The subject of each message."""
    modseq: int = 0
    recent_from: int = 1
    recent: dict[int, object] = field(default_factory=dict[int, object])
    """Whom a message is \\Recent to."""

    @property
    def owner(self) -> str:
        """Whose it is."""
        return next(iter(self.views))

    @property
    def flags(self) -> dict[int, Flags]:
        """As the owner has them."""
        return self.views[self.owner].flags

    @property
    def deleted(self) -> list[int]:
        """The UIDs with \\Deleted."""
        return [uid for uid, flags in self.flags.items() if "\\Deleted" in flags]

    def add(self, uid: int, flags: Flags, token: str, user: str) -> None:
        """A new message of this user's: its UID is above all others, and nobody else has seen it."""
        assert uid >= self.uid_next, f"UID {uid} below UIDNEXT {self.uid_next}"
        self.uid_next = uid + 1
        for name, view in self.views.items():
            view.flags[uid] = flags if name == user else flags - _SEEN
        self.tokens[uid] = token

    def change(self, uid: int, flags: Flags, user: str) -> None:
        """A user gives a message these flags: of \\Seen it is its own, the others are everybody's."""
        for name, view in self.views.items():
            view.flags[uid] = flags if name == user else (flags - _SEEN) | (view.flags[uid] & _SEEN)

    def remove(self, uid: int) -> None:
        """A message goes."""
        for view in self.views.values():
            del view.flags[uid]
        del self.tokens[uid]

    def check(self, stored: dict[str, Stored], top: int) -> int:
        """The store has what this has for each user; gives the highest MODSEQ there."""
        mine = stored[self.owner]
        assert (mine.uid_validity, mine.uid_next) == (self.uid_validity, self.uid_next)
        unseen = self.views[self.owner].unseen
        assert mine.counts == (len(self.flags), unseen, len(self.deleted))
        before = [dict(view.modseqs) for view in self.views.values()]
        for user, view in self.views.items():
            try:
                view.check(stored[user], top)
            except AssertionError as error:
                raise AssertionError(f"as {user} has it: {error}") from error
        if [view.modseqs for view in self.views.values()] != before:
            assert mine.modseq > top, f"HIGHESTMODSEQ {mine.modseq} is not above {top}"
        assert mine.modseq >= max(
            [self.modseq, *(max(each.modseqs.values(), default=0) for each in self.views.values())]
        )
        self.modseq = mine.modseq
        return mine.modseq

    def claim(self, recent_from: int, selection: object | None) -> None:
        """What is not unclaimed any more is \\Recent to this selection."""
        assert self.recent_from <= recent_from <= self.uid_next
        claimed = range(self.recent_from, recent_from)
        assert selection is not None or not claimed, f"{claimed} are \\Recent to nobody"
        self.recent.update(dict.fromkeys(claimed, selection))
        self.recent_from = recent_from
