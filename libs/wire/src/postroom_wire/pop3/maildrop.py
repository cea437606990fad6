"""The messages of a session: a snapshot that only this session's marks change (RFC 1939 s4, s5)."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from postroom_wire.pop3.errors import LocalProtocolError

_UNIQUE_ID: Final = re.compile(r"[!-~]{1,70}")


class Message(NamedTuple):
    """Size in octets without dot-stuffing, and unique-id: 1 to 70 characters of 0x21 to 0x7E (s7)."""

    size: int
    unique_id: str


class Maildrop:
    """Message numbers count from 1 and stay as they are for the whole session."""

    def __init__(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if not _UNIQUE_ID.fullmatch(message.unique_id):
                raise LocalProtocolError("a unique-id that RFC 1939 s7 does not allow")
        self._messages = messages
        self._deleted: set[int] = set()

    def get(self, number: int) -> Message | None:
        """A message that is there and not marked."""
        if 1 <= number <= len(self._messages) and number not in self._deleted:
            return self._messages[number - 1]
        return None

    def mark(self, number: int) -> None:
        """DELE."""
        self._deleted.add(number)

    def unmark_all(self) -> None:
        """RSET."""
        self._deleted.clear()

    @property
    def marked(self) -> tuple[int, ...]:
        """The numbers to be removed, ascending."""
        return tuple(sorted(self._deleted))

    def totals(self) -> tuple[int, int]:
        """Messages that are not marked, and their octets."""
        sizes = [message.size for _, message in self._present()]
        return len(sizes), sum(sizes)

    def scan_listing(self) -> Iterator[bytes]:
        """The lines of LIST."""
        return (b"%d %d\r\n" % (number, message.size) for number, message in self._present())

    def unique_id_listing(self) -> Iterator[bytes]:
        """The lines of UIDL."""
        return (b"%d %b\r\n" % (number, message.unique_id.encode()) for number, message in self._present())

    def _present(self) -> Iterable[tuple[int, Message]]:
        return (pair for pair in enumerate(self._messages, 1) if pair[0] not in self._deleted)
