"""All mailboxes that are open in this process.

Wake-ups of an account are subscribed to before the first of its mailboxes is loaded, so that no change falls
between. A wake-up may be lost: every account is compared with the store from time to time, all of them in one
call. A mailbox is dropped when its last session leaves.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from random import uniform
from typing import Final
from uuid import UUID

from mail_access.limits import DEFAULT_LIMITS, Limits
from mail_access.login import Login, LoginEndedError
from mail_access.open_mailbox import OpenMailbox, Reader
from mail_access.store import MailStore
from postroom_contracts.errors import MailboxNotFoundError, PostroomError
from postroom_runtime import metrics
from postroom_runtime.bus import Bus, Subscription, changed_subject
from postroom_runtime.logs import log

_OPEN: Final = metrics.gauge("views_open_mailboxes", "Mailboxes that are held in memory.")


_Key = tuple[UUID, UUID]
"""A mailbox, and the user whose view it is: each has its own idea of what is seen (RFC 4314)."""


class _Account:
    """The open mailboxes of one account, and its subscription."""

    def __init__(self) -> None:
        self.mailboxes: dict[_Key, OpenMailbox] = {}
        self.users: dict[_Key, int] = {}
        self.subscription: Subscription | None = None
        self.subscribing = asyncio.Lock()


class Place:
    """Somebody's place at an open mailbox."""

    __slots__ = ("_key", "_mailboxes", "mailbox", "reader")

    def __init__(self, mailboxes: "OpenMailboxes", mailbox: OpenMailbox, reader: Reader, key: _Key) -> None:
        self.mailbox, self.reader = mailbox, reader
        self._mailboxes, self._key = mailboxes, key

    async def leave(self) -> None:
        """Give it back, once."""
        self.mailbox.detach(self.reader)
        await self._mailboxes.give_back(self.reader.login.account_id, self._key)


class OpenMailboxes:
    """Opens and drops them; `run` keeps them current."""

    def __init__(
        self,
        store: MailStore,
        bus: Bus,
        limits: Limits = DEFAULT_LIMITS,
        shared_modseqs: Callable[[Sequence[Login]], Awaitable[Sequence[int]]] | None = None,
    ) -> None:
        self._store, self._bus, self._limits = store, bus, limits
        self._shared_modseqs = shared_modseqs
        self._accounts: dict[UUID, _Account] = {}
        self._stale: asyncio.Queue[OpenMailbox] = asyncio.Queue()
        self._queued: set[OpenMailbox] = set()

    async def enter(self, login: Login, mailbox_id: UUID, modseq: int, wake: Callable[[], None]) -> "Place":
        """A place at a mailbox that is complete up to `modseq`; leave it in the end.

        Raises `PostroomError`, `MailboxNotFoundError` when it is gone, and `LoginEndedError`.
        """
        account = self._accounts.setdefault(login.account_id, _Account())
        key = mailbox_id, login.user_id
        account.users[key] = account.users.get(key, 0) + 1
        mailbox = self._mailbox(account, key)
        try:
            await self._subscribe(login.account_id, account)
            try:
                await mailbox.refresh(login, modseq)
            except MailboxNotFoundError:
                if not mailbox.renewed:
                    raise
                mailbox = self._mailbox(account, key)
                await mailbox.refresh(login, modseq)
        except BaseException:
            await self.give_back(login.account_id, key)
            raise
        return Place(self, mailbox, mailbox.attach(login, wake), key)

    @asynccontextmanager
    async def open(
        self, login: Login, mailbox_id: UUID, modseq: int, wake: Callable[[], None]
    ) -> AsyncGenerator[tuple[OpenMailbox, Reader]]:
        """The same for a block."""
        place = await self.enter(login, mailbox_id, modseq, wake)
        try:
            yield place.mailbox, place.reader
        finally:
            await place.leave()

    async def give_back(self, account_id: UUID, key: _Key) -> None:
        """For `Place` only: somebody has left this mailbox."""
        account = self._accounts[account_id]
        account.users[key] -= 1
        if account.users[key]:
            return
        del account.users[key], account.mailboxes[key]
        _OPEN.dec()
        if not account.users:
            del self._accounts[account_id]
            if account.subscription is not None:
                await account.subscription.unsubscribe()

    def hint(self, account_id: UUID, modseq: int) -> None:
        """The account has changed: its open mailboxes are refreshed behind."""
        if (account := self._accounts.get(account_id)) is not None:
            for mailbox in account.mailboxes.values():
                if mailbox.hint(modseq):
                    self._enqueue(mailbox)

    async def run(self) -> None:
        """Refresh what is stale, and look for changes that nobody told of, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.refreshes_at_once):
                group.create_task(self._refresh_stale())
            group.create_task(self._check_periodically())

    async def check(self) -> None:
        """Compare all open mailboxes with the store. Raises `PostroomError`."""
        logins = [found for account in self._accounts.values() if (found := _any_login(account)) is not None]
        for start in range(0, len(logins), self._limits.accounts_in_one_check):
            some = logins[start : start + self._limits.accounts_in_one_check]
            owners = [login for login in some if not login.is_guest]
            modseqs = await self._store.get_modseqs([await _token(login) for login in owners])
            for login, modseq in zip(owners, modseqs, strict=False):
                self.hint(login.account_id, modseq)
            guests = [login for login in some if login.is_guest]
            if guests and self._shared_modseqs is not None:
                for login, modseq in zip(guests, await self._shared_modseqs(guests), strict=False):
                    self.hint(login.account_id, modseq)

    def _mailbox(self, account: _Account, key: _Key) -> OpenMailbox:
        """The view, or a fresh one: the sessions at one whose UIDs are no more leave by themselves."""
        mailbox = account.mailboxes.get(key)
        if mailbox is None:
            _OPEN.inc()
        if mailbox is None or mailbox.renewed:
            mailbox = account.mailboxes[key] = OpenMailbox(self._store, key[0])
        return mailbox

    async def _subscribe(self, account_id: UUID, account: _Account) -> None:
        async with account.subscribing:
            if account.subscription is None:
                account.subscription = await self._bus.subscribe(changed_subject(account_id), self._changed)

    def _changed(self, subject: str, payload: bytes) -> None:
        """A wake-up: `postroom.changed.<account_id>` with the MODSEQ in decimal."""
        try:
            self.hint(UUID(subject.rpartition(".")[2]), int(payload))
        except ValueError:
            log.warning("wake_up_malformed", subject=subject)

    def _enqueue(self, mailbox: OpenMailbox) -> None:
        if mailbox not in self._queued:
            self._queued.add(mailbox)
            self._stale.put_nowait(mailbox)

    async def _refresh_stale(self) -> None:
        while True:
            mailbox = await self._stale.get()
            self._queued.discard(mailbox)
            if not mailbox.stale:
                continue
            try:
                await mailbox.refresh_for_all()
            except PostroomError as error:
                log.warning("refresh_failed", error=error.name)
            except Exception:  # noqa: BLE001  # the boundary of a mailbox: one that is broken harms no other
                log.exception("refresh_broken")
            if mailbox.stale and mailbox.logins:
                delay = self._limits.refresh_again_seconds * uniform(0.5, 1.5)
                asyncio.get_running_loop().call_later(delay, self._enqueue, mailbox)

    async def _check_periodically(self) -> None:
        while True:
            await asyncio.sleep(self._limits.check_seconds * uniform(0.75, 1.25))
            try:
                await self.check()
            except PostroomError as error:
                log.warning("check_failed", error=error.name)
            except Exception:  # noqa: BLE001  # the next check is another one
                log.exception("check_broken")


def _any_login(account: _Account) -> Login | None:
    """The owner's where there is one: a guest's rights may have ended."""
    logins = [login for mailbox in account.mailboxes.values() for login in mailbox.logins if not login.ended]
    return min(logins, key=lambda login: login.is_guest, default=None)


async def _token(login: Login) -> str:
    with suppress(LoginEndedError, PostroomError):
        return await login.token()
    return ""
