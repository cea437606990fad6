"""The mailboxes that users' sessions watch without having them selected (RFC 5465).

There is one catalogue in this process for each user with such sessions: the mailboxes as they were listed
last. A wake-up of an account that is in it has them listed again, once for all of the user's sessions, and
these are given the differences as news. A wake-up may be lost, so all catalogues are compared with the store
from time to time.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import uniform
from typing import Final
from uuid import UUID

from mail_access.account_store import AccountStore
from mail_access.limits import DEFAULT_LIMITS, Limits
from mail_access.login import Login, LoginEndedError
from mail_access.mailbox_news import Known, News, differences
from mail_access.store import MailStore
from postroom_contracts.errors import LimitError, MailboxNotFoundError, NotPermittedError, PostroomError
from postroom_contracts.ids import parse_id
from postroom_runtime import metrics
from postroom_runtime.bus import Bus, Subscription, changed_subject
from postroom_runtime.logs import log
from postroom_wire.imap.acl import Rights

MAX_MAILBOXES: Final = 2_000
"""Of one user, with those of others."""
MAX_NEWS: Final = 4_000
"""What may have changed before a session tells it."""
_MAX_ENTRIES: Final = 20_000
"""Annotations of one user's mailboxes."""
_ANNOTATED_AT_ONCE: Final = 50

_WATCHED: Final = metrics.gauge("watching_catalogues", "Users with sessions that watch their mailboxes.")


class Watch:
    """One session's part in its user's catalogue. `wake` is called when there is something to `take`."""

    __slots__ = ("_catalogue", "_news", "login", "overflowed", "wake", "wants_annotations", "wants_shared")

    def __init__(
        self, catalogue: "_Catalogue", login: Login, wake: Callable[[], None], wants: tuple[bool, bool]
    ) -> None:
        self.login, self.wake = login, wake
        self.wants_shared, self.wants_annotations = wants
        self.overflowed = False
        """There was more news than is kept: the watch is of no more use."""
        self._catalogue = catalogue
        self._news: list[News] = []

    @property
    def mailboxes(self) -> Mapping[bytes, Known]:
        """As they were listed last, by id."""
        return self._catalogue.mailboxes

    @property
    def subscribed(self) -> frozenset[str]:
        """The names that the user has subscribed to, mailboxes or not."""
        return self._catalogue.subscribed

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell."""
        return self.overflowed or bool(self._news)

    def take(self) -> list[News]:
        """What has changed since this was called last, in order."""
        news, self._news = self._news, []
        return news

    def give(self, news: News) -> None:
        """For the catalogue only."""
        if self.overflowed or sum(map(len, self._news)) + len(news) > MAX_NEWS:
            self.overflow()
            return
        self._news.append(news)
        self.wake()

    def overflow(self) -> None:
        """For the catalogue only: nothing is kept any more."""
        self._news.clear()
        self.overflowed = True
        self.wake()

    async def leave(self) -> None:
        """End it, once."""
        await self._catalogue.leave(self)


class Watches:
    """All catalogues of this process; `run` keeps them current."""

    def __init__(
        self, store: MailStore, accounts: AccountStore, bus: Bus, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.store, self.accounts, self.bus = store, accounts, bus
        self._limits = limits
        self._catalogues: dict[UUID, _Catalogue] = {}
        self._stale: asyncio.Queue[_Catalogue] = asyncio.Queue()

    @property
    def users(self) -> int:
        """How many have sessions that watch."""
        return len(self._catalogues)

    async def enter(
        self, login: Login, wake: Callable[[], None], *, shared: bool, annotations: bool
    ) -> Watch:
        """Watch from now on the user's own mailboxes, with `shared` those of others too.

        Raises `PostroomError`, `LimitError` when they are too many, and `LoginEndedError`.
        """
        catalogue = self._catalogues.get(login.account_id)
        if catalogue is None:
            catalogue = self._catalogues[login.account_id] = _Catalogue(self, login.account_id)
            _WATCHED.inc()
        watch = Watch(catalogue, login, wake, (shared, annotations))
        catalogue.watches.add(watch)
        try:
            await catalogue.refresh()
        except BaseException:
            await watch.leave()
            raise
        watch.take()  # what is new to the others
        return watch

    async def run(self) -> None:
        """Refresh what is stale, and look for changes that nobody told of, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.refreshes_at_once):
                group.create_task(self._refresh_stale())
            group.create_task(self._check_periodically())

    async def check(self) -> None:
        """Compare all catalogues with the store. Raises `PostroomError`."""
        catalogues = [each for each in self._catalogues.values() if each.login is not None]
        for start in range(0, len(catalogues), self._limits.accounts_in_one_check):
            some = catalogues[start : start + self._limits.accounts_in_one_check]
            modseqs = await self.store.get_modseqs([await _token(each.login) for each in some])
            for catalogue, modseq in zip(some, modseqs, strict=False):
                if modseq > catalogue.modseq or catalogue.shares:
                    self.mark(catalogue)

    def forget(self, catalogue: "_Catalogue") -> None:
        """For a catalogue only: nobody watches any more."""
        if self._catalogues.get(catalogue.user_id) is catalogue:
            del self._catalogues[catalogue.user_id]
            _WATCHED.dec()

    def mark(self, catalogue: "_Catalogue") -> None:
        """For a catalogue too: it is to be refreshed behind."""
        if not catalogue.stale:
            catalogue.stale = True
            self._stale.put_nowait(catalogue)

    async def _refresh_stale(self) -> None:
        while True:
            catalogue = await self._stale.get()
            catalogue.stale = False
            try:
                await catalogue.refresh()
            except LimitError:
                catalogue.overflow()
            except (PostroomError, LoginEndedError) as error:
                log.warning("watching_late", error=repr(error))
                delay = self._limits.refresh_again_seconds * uniform(0.5, 1.5)
                asyncio.get_running_loop().call_later(delay, self.mark, catalogue)
            except Exception:  # noqa: BLE001  # the boundary of a user: one harms no other
                log.exception("watching_broken")
                catalogue.overflow()

    async def _check_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._limits.check_seconds * uniform(0.75, 1.25))
            try:
                await self.check()
            except PostroomError as error:
                log.warning("watching_check_failed", error=error.name)


class _Catalogue:
    """The mailboxes of one user. `modseq` is the user's account's, of the last time that they were listed."""

    def __init__(self, watches: Watches, user_id: UUID) -> None:
        self.user_id = user_id
        self.watches: set[Watch] = set()
        self.stale = False
        self.modseq = -1
        self.mailboxes: dict[bytes, Known] = {}
        self.subscribed: frozenset[str] = frozenset()
        self._all = watches
        self._annotations: dict[bytes, dict[str, int]] = {}
        self._subscriptions: dict[UUID, Subscription] = {}
        self._refreshing = asyncio.Lock()

    @property
    def login(self) -> Login | None:
        """Of any session that still has one."""
        return next((watch.login for watch in self.watches if not watch.login.ended), None)

    @property
    def shares(self) -> bool:
        """Whether what others share is in it."""
        return any(watch.wants_shared for watch in self.watches)

    async def refresh(self) -> None:
        """List the mailboxes, and give the sessions what changed. Raises as `Watches.enter`."""
        async with self._refreshing:
            if (login := self.login) is None:
                return
            await self._subscribe({self.user_id})
            listed = await self._all.store.list_mailboxes(login)
            mailboxes = {each.id: Known(each.name, self.user_id, each) for each in listed.mailboxes}
            if self.shares:
                mailboxes.update(await self._shared(login))
            if len(mailboxes) > MAX_MAILBOXES:
                raise LimitError("too many mailboxes to watch")
            subscribed = frozenset([each.name for each in listed.mailboxes if each.subscribed]).union(
                listed.subscribed_absent
            )
            entries = await self._changed_entries(login, mailboxes)
            self._take(mailboxes, subscribed, listed.modseq, entries)

    def overflow(self) -> None:
        """No session can rely on it any more."""
        for watch in self.watches:
            watch.overflow()

    async def leave(self, watch: Watch) -> None:
        """A session less."""
        self.watches.discard(watch)
        if self.watches:
            return
        self._all.forget(self)
        async with self._refreshing:
            if not self.watches:
                for subscription in self._subscriptions.values():
                    await subscription.unsubscribe()
                self._subscriptions.clear()

    def _take(
        self,
        mailboxes: dict[bytes, Known],
        subscribed: frozenset[str],
        modseq: int,
        annotations: tuple[tuple[Known | None, tuple[str, ...]], ...],
    ) -> None:
        """It was listed: be so from now on."""
        news = News(
            self.modseq,
            modseq,
            differences(self.mailboxes, mailboxes),
            self.subscribed ^ subscribed,
            annotations,
        )
        is_first, self.modseq = self.modseq < 0, modseq
        self.mailboxes, self.subscribed = mailboxes, subscribed
        if news and not is_first:
            for watch in self.watches:
                watch.give(news)

    async def _shared(self, login: Login) -> dict[bytes, Known]:
        """What others share; changes there are listened to before they could be missed."""
        while True:
            shared = await self._all.accounts.named_shared(login)
            hosts = {parse_id(each.account_id) for _, each in shared}
            if not await self._subscribe(hosts | {self.user_id}):
                break
        return {
            each.mailbox.id: Known(name, parse_id(each.account_id), each.mailbox, Rights(each.rights))
            for name, each in shared
        }

    async def _subscribe(self, accounts: set[UUID]) -> bool:
        """Listen to these accounts; whether there were new ones among them."""
        fresh = accounts - self._subscriptions.keys()
        for account_id in fresh:
            subject = changed_subject(account_id)
            self._subscriptions[account_id] = await self._all.bus.subscribe(subject, self._changed)
        return bool(fresh)

    def _changed(self, subject: str, payload: bytes) -> None:
        """A wake-up; see `OpenMailboxes`."""
        if subject == changed_subject(self.user_id) and payload.isdigit() and 0 < int(payload) <= self.modseq:
            return
        self._all.mark(self)

    async def _changed_entries(
        self, login: Login, mailboxes: Mapping[bytes, Known]
    ) -> tuple[tuple[Known | None, tuple[str, ...]], ...]:
        """Which annotations have other values; only mailboxes that changed are asked about."""
        if not any(watch.wants_annotations for watch in self.watches):
            self._annotations.clear()
            return ()
        for mailbox_id in self._annotations.keys() - mailboxes.keys() - {b""}:
            del self._annotations[mailbox_id]
        found: list[tuple[Known | None, tuple[str, ...]]] = []
        for place, entries in await self._read_annotations(login, mailboxes):
            mailbox_id = b"" if place is None else place.mailbox.id
            before = self._annotations.get(mailbox_id)
            self._annotations[mailbox_id] = entries
            changed = () if before is None else _changed_keys(before, entries)
            if changed:
                found.append((place, changed))
        if sum(map(len, self._annotations.values())) > _MAX_ENTRIES:
            raise LimitError("too many annotations to watch")
        return tuple(found)

    async def _read_annotations(
        self, login: Login, mailboxes: Mapping[bytes, Known]
    ) -> list[tuple[Known | None, dict[str, int]]]:
        """A hash of each value: of the account, and of mailboxes that changed."""
        accounts = self._all.accounts
        read: list[tuple[Known | None, dict[str, int]]] = []
        read += [(None, _hashes(each)) for each in await accounts.annotations(login, [], [], -1)]
        changed = [
            known
            for mailbox_id, known in mailboxes.items()
            if mailbox_id not in self._annotations or known != self.mailboxes.get(mailbox_id)
        ]
        own = [known for known in changed if known.account_id == self.user_id]
        groups = [own[at : at + _ANNOTATED_AT_ONCE] for at in range(0, len(own), _ANNOTATED_AT_ONCE)]
        groups += [
            [known] for known in changed if known.account_id != self.user_id and known.has(Rights.LOOKUP)
        ]
        for group in groups:
            ids = [known.mailbox.id for known in group]
            with suppress(MailboxNotFoundError, NotPermittedError):  # gone since; the next look knows
                values = await accounts.annotations(login.at(group[0].account_id), ids, [], -1)
                read += zip(group, map(_hashes, values), strict=True)
        return read


def _hashes(values: Mapping[str, bytes]) -> dict[str, int]:
    return {entry: hash(value) for entry, value in values.items()}


def _changed_keys(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


async def _token(login: Login | None) -> str:
    with suppress(LoginEndedError, PostroomError):
        return await login.token() if login is not None else ""
    return ""
