"""What IMAP clients keep of what they were told, each for itself and all together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

Flags = frozenset[str]


def uids_of(text: bytes | str) -> list[int]:
    """The UIDs of a set such as `1:3,7`, in its order."""
    found: list[int] = []
    for piece in (text if isinstance(text, str) else text.decode("ascii")).split(","):
        first, _, last = piece.partition(":")
        found.extend(range(int(first), int(last or first) + 1))
    return found


def uid_set(uids: Iterable[int]) -> str:
    """As a client writes it."""
    return ",".join(str(uid) for uid in uids)


class Place(NamedTuple):
    """A mailbox, by the name that all its users know it by, since UIDVALIDITY is one account's alone."""

    box: str
    uid_validity: int


class HeardFlags(NamedTuple):
    """Flags of a message as a response told them."""

    uid: int
    flags: Flags
    recent: bool


def literal(octets: bytes, flags: str) -> bytes:
    """A message as APPEND takes it, without waiting for the server (RFC 7888)."""
    return f"({flags}) {{{len(octets)}+}}\r\n".encode() + octets


@dataclass
class Told:
    """What all clients of some mailboxes were told."""

    flags: dict[tuple[str, Place, int, int], Flags] = field(
        default_factory=dict[tuple[str, Place, int, int], Flags]
    )
    """As a user has them, of a message at a MODSEQ."""
    recent: dict[tuple[Place, int], object] = field(default_factory=dict[tuple[Place, int], object])
    """Whom a message is \\Recent to."""

    def hear(self, user: str, place: Place, uid: int, modseq: int, flags: Flags) -> None:
        """A message has one set of flags at one MODSEQ, whichever of a user's sessions is told."""
        key = (user, place, uid, modseq)
        before = self.flags.setdefault(key, flags)
        assert before == flags, f"{key} was told with {set(before)} and with {set(flags)}"

    def hear_recent(self, selection: object, place: Place, uid: int) -> None:
        """A message is \\Recent to one selection that may change the mailbox (RFC 3501 s2.3.2)."""
        first = self.recent.setdefault((place, uid), selection)
        assert first is selection, f"UID {uid} of {place} is \\Recent to two sessions"


@dataclass
class Cache:
    """What a client keeps of a mailbox when it goes away (RFC 7162 s6)."""

    uid_validity: int
    modseq: int
    flags: dict[int, Flags]
    uids: list[int]
    box: str = ""

    @property
    def names_uids(self) -> bool:
        """Whether it says which UIDs it knows, at every other MODSEQ; then it is told of these alone."""
        return bool(self.uids) and self.modseq % 2 == 1
