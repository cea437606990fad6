"""The view of one mailbox that all its sessions in this process share, kept current by the store's changes.

Only `refresh` adds messages, always from the store's journal in its order: so UIDs ascend, whoever wrote.
What a session changed itself is taken over at once by `stored` and `expunged`, which may come before or
after the same news from the journal.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final
from uuid import UUID

from mail_access.login import Login, LoginEndedError
from mail_access.mailbox_rows import MailboxRows, WordChange
from mail_access.packed_rows import unpack, unpack_flags
from mail_access.store import MailStore, ranges_of
from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import MailboxNotFoundError, UnavailableError
from postroom_runtime import metrics
from postroom_wire.imap.flags import Flag, FlagNames
from postroom_wire.imap.view import SessionView

_REFRESHES: Final = metrics.counter("views_refreshes_total", "Refreshed mailboxes by way.", ["way"])


class Reader:
    """One session at an open mailbox. `wake` is called when there may be something to tell.

    `settled` is the mailbox's MODSEQ up to which the client knows all or was told all.
    """

    __slots__ = ("login", "settled", "view", "wake")

    def __init__(self, login: Login, view: SessionView, wake: Callable[[], None], settled: int) -> None:
        self.login = login
        self.settled = settled
        self.view = view
        self.wake = wake


class OpenMailbox:
    """One mailbox in memory. `modseq` is the account's, up to which the rows are complete."""

    def __init__(self, store: MailStore, mailbox_id: UUID) -> None:
        self.id = mailbox_id
        self.rows = MailboxRows()
        self.names = FlagNames()
        self.modseq = 0
        self.hinted = 0
        """The highest MODSEQ that anybody told us of."""
        self.highest_modseq = 1
        """Of the mailbox's last change up to `modseq` (RFC 7162 s3.1.2.1)."""
        self.uid_validity = 0
        self.uid_next = 1
        self.gone = False
        """The mailbox was deleted, or all its UIDs are others now."""
        self.renewed = False
        """It is the latter: whoever opens it again begins anew."""
        self._store = store
        self._readers: set[Reader] = set()
        self._refreshing = asyncio.Lock()
        self._keywords: dict[int, Flag] = {}

    @property
    def stale(self) -> bool:
        """Whether there are changes that are not here yet."""
        return self.hinted > self.modseq and not self.gone

    @property
    def logins(self) -> list[Login]:
        """Those in whose name it can be read."""
        return [reader.login for reader in self._readers]

    def hint(self, modseq: int) -> bool:
        """Take note of a MODSEQ; whether it is news."""
        self.hinted = max(self.hinted, modseq)
        return self.stale

    def attach(self, login: Login, wake: Callable[[], None]) -> Reader:
        """A session's place, which knows all messages of now."""
        reader = Reader(login, self.rows.uids.attach(), wake, self.highest_modseq)
        self._readers.add(reader)
        return reader

    def detach(self, reader: Reader) -> None:
        """The session has left; any number of times."""
        self._readers.discard(reader)
        self.rows.uids.detach(reader.view)

    async def refresh(self, login: Login, modseq: int) -> None:
        """Be complete up to this MODSEQ at least, and wake the sessions that have something to tell.

        Raises `PostroomError`, `MailboxNotFoundError` when the mailbox is gone, and `LoginEndedError`.
        """
        self.hint(modseq)
        async with self._refreshing:
            if not self.modseq:
                await self._load(login)
            elif self.modseq < modseq and not self.gone:
                await self._follow(login, modseq)
        if self.gone:
            raise MailboxNotFoundError("the mailbox was deleted")

    async def refresh_for_all(self) -> None:
        """`refresh` up to what was hinted, in the name of any session. Raises `PostroomError`."""
        for login in self.logins:
            try:
                await self.refresh(login, self.hinted)
                return
            except LoginEndedError:
                continue
            except MailboxNotFoundError:
                return

    def stored(
        self, stored: mailbox_pb2.StoreFlagsResponse, by: SessionView, change: WordChange | None = None
    ) -> None:
        """Take over what a session of ours changed; the others are told, and it of more than its `change`."""
        self._take_keywords(stored.keywords)
        if stored.HasField("changed"):
            self.rows.flag(unpack_flags(stored.changed), stored.modseq, by, change)
        else:  # an older store
            self.rows.apply(stored.rows, by, change)
        self._advance(stored.modseq, changed=bool(stored.changed.uids or stored.rows.uids))
        self._wake()

    def expunged(self, ranges: Iterable[mailbox_pb2.UidRange], modseq: int) -> None:
        """Take over what a session of ours expunged."""
        gone = ranges_of(ranges)
        self.rows.remove(gone)
        self._advance(modseq, changed=bool(gone))
        self._wake()

    def deleted(self) -> None:
        """The mailbox is no more; its sessions look."""
        self.gone = True
        for reader in self._readers:
            reader.wake()

    def _advance(self, modseq: int, *, changed: bool) -> None:
        """Our own change is the next one: then there is nothing between that we do not know."""
        self.hint(modseq)
        if modseq == self.modseq + 1:
            self.modseq = modseq
            if changed:
                self.highest_modseq = modseq

    async def _load(self, login: Login) -> None:
        """Take over the whole mailbox, the first time or again."""
        _REFRESHES.labels("load").inc()
        before = set(self.rows.uids.array)
        modseq = highest = 0
        async for page in self._pages(login):
            if page.HasField("mailbox"):
                self._check_validity(page.mailbox.uid_validity)
                modseq, highest = page.modseq, page.mailbox.highest_modseq
                self.uid_validity, self.uid_next = page.mailbox.uid_validity, page.mailbox.uid_next
            self._take_keywords(page.keywords)
            rows = unpack(page.packed) if page.HasField("packed") else page.rows
            self.rows.apply(rows)
            if before:
                before.difference_update(rows.uids)
        if not modseq:
            raise UnavailableError("the mailbox came without its MODSEQ")
        self.rows.remove((uid, uid) for uid in before)
        self.rows.trim()
        self._complete(modseq, highest)

    async def _pages(self, login: Login) -> AsyncGenerator[mailbox_pb2.LoadMailboxResponse]:
        try:
            async with aclosing(self._store.load_mailbox(login, self.id)) as pages:
                async for page in pages:
                    yield page
        except MailboxNotFoundError:
            self.deleted()
            raise

    async def _follow(self, login: Login, modseq: int) -> None:
        """Take over what changed, page by page: what was told so far needs not be told again."""
        _REFRESHES.labels("changes").inc()
        since, after_uid, more = self.modseq, 0, True
        while more:
            try:
                changes = await self._store.get_changes(login, self.id, since, after_uid)
            except MailboxNotFoundError:  # it is not shared with the user any more (RFC 4314)
                self.deleted()
                return
            since, after_uid, more = changes.modseq, changes.after_uid, changes.more
            if changes.deleted:
                self.deleted()
                return
            self._check_validity(changes.uid_validity)
            if changes.reload:
                await self._load(login)
                break
            self._take_changes(changes)
        if self.modseq < modseq:
            raise UnavailableError("the store has not come so far")

    def _check_validity(self, uid_validity: int) -> None:
        """Raises `MailboxNotFoundError` when the UIDs here are no more: no session can go on with them."""
        if self.uid_validity and uid_validity not in (0, self.uid_validity):  # 0: of an older store
            self.renewed = True
            self.deleted()
            raise MailboxNotFoundError("the mailbox has another UIDVALIDITY")

    def _take_changes(self, changes: mailbox_pb2.GetChangesResponse) -> None:
        self._take_keywords(changes.keywords)
        self.rows.remove(ranges_of(changes.vanished))
        self.rows.apply(changes.rows)
        self.uid_next = max(self.uid_next, changes.uid_next)
        # An older store does not tell the mailbox's own.
        self._complete(changes.modseq, changes.highest_modseq or changes.modseq)

    def _complete(self, modseq: int, highest: int) -> None:
        self.modseq = max(self.modseq, modseq)
        self.highest_modseq = max(self.highest_modseq, highest)
        self.hint(modseq)
        self.uid_next = max(self.uid_next, self.rows.uids.last + 1)
        self._wake()

    def _take_keywords(self, keywords: Sequence[mailbox_pb2.Keyword]) -> None:
        known = {keyword.bit: Flag(keyword.name) for keyword in keywords}
        if known.keys() - self._keywords.keys():
            self._keywords = {**self._keywords, **known}
            self.names = FlagNames(self._keywords)

    def _wake(self) -> None:
        for reader in self._readers:
            if reader.view.has_updates(expunges=True):
                reader.wake()
