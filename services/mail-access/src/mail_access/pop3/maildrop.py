"""The maildrop: INBOX as it was at the login (RFC 1939 s4)."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import overload
from uuid import UUID

from mail_access.login import Login
from mail_access.packed_rows import unpack
from mail_access.store import MailStore
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.ids import parse_id
from postroom_wire.pop3 import Message

_INBOX = "INBOX"


class MaildropTooBigError(Exception):
    """The maildrop has more messages than we hold for a session."""


class Snapshot(Sequence[Message]):
    """The messages by ascending UID: message number 1 is at index 0. Never changes once it is loaded."""

    def __init__(self, mailbox_id: UUID, uid_validity: int) -> None:
        self.mailbox_id = mailbox_id
        self._uid_validity = uid_validity
        self._uids = array("I")
        self._sizes = array("Q")

    def __len__(self) -> int:
        return len(self._uids)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequence[Message]": ...
    def __getitem__(self, index: int | slice) -> "Message | Sequence[Message]":
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return Message(self._sizes[index], f"{self._uid_validity}.{self._uids[index]}")

    def uid(self, number: int) -> int:
        """The UID of a message number."""
        return self._uids[number - 1]

    def uids(self, numbers: Iterable[int]) -> list[int]:
        """The UIDs of message numbers."""
        return [self._uids[number - 1] for number in numbers]

    def take(self, page: mailbox_pb2.LoadMailboxResponse) -> None:
        """Add the next page."""
        rows = unpack(page.packed) if page.HasField("packed") else page.rows
        self._uids.extend(rows.uids)
        self._sizes.extend(rows.sizes)


async def load_snapshot(store: MailStore, login: Login, most: int, arrives: Callable[[], None]) -> Snapshot:
    """All of INBOX as of one instant; `arrives` is called when the first page is there.

    Raises `MaildropTooBigError` for more than `most` messages, `LoginEndedError` and `PostroomError`.
    """
    inbox = (await store.find_mailbox(login, _INBOX)).mailbox
    if inbox.messages > most:
        raise MaildropTooBigError
    snapshot = Snapshot(parse_id(inbox.id), inbox.uid_validity)
    async with aclosing(store.load_mailbox(login, snapshot.mailbox_id)) as pages:
        async for page in pages:
            arrives()
            snapshot.take(page)
            if len(snapshot) > most:
                raise MaildropTooBigError
    return snapshot
