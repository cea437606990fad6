"""NOTIFY (RFC 5465): what a client wants to be told, and telling of mailboxes that are not selected."""

from typing import Final

from mail_access.imap.context import Context, Done
from mail_access.imap.elsewhere import Elsewhere
from mail_access.imap.notification import Notification
from mail_access.imap.refusals import TOO_MUCH_TO_NOTIFY, CommandRefusedError
from mail_access.imap.selecting import look
from mail_access.imap.sharing import is_elsewhere
from mail_access.imap.unasked import tell_updates
from mail_access.mailbox_news import News
from mail_access.watching import Watch
from postroom_contracts.errors import LimitError
from postroom_wire.imap import responses
from postroom_wire.imap.errors import Condition
from postroom_wire.imap.mailbox_filter import FilterKind
from postroom_wire.imap.notify import MESSAGE_EVENTS, NOTIFICATION_OVERFLOW, Event, Notify

_ANNOTATIONS: Final = frozenset({Event.MAILBOX_METADATA_CHANGE, Event.SERVER_METADATA_CHANGE})
_MAX_OWN: Final = 64
"""More changes at once were not all kept by `Context.wrote`."""


async def notify(context: Context, command: Notify) -> Done:
    """NOTIFY; SET tells first what has gathered (s3.1). Raises as all commands, and then all is as before."""
    if command.refused is not None:
        raise CommandRefusedError(command.refused)
    sets = command != Notify()
    if sets:
        await look(context)
    watch = await _watch(context, command)
    before, context.notification = context.notification, Notification(command, watch)
    try:
        if sets:
            await _tell_gathered(context, before)
    finally:
        if before is not None:
            await before.end()
    if watch is not None:
        Elsewhere(context, context.notification, watch).tell_state()
    return Done(b"NOTIFY completed")


async def tell_at_once(context: Context) -> None:
    """Between commands: all that is wanted, but that expunges wait where they are to be delayed (s6.1)."""
    if context.notification is None:
        return
    selected, wanted = context.selected, context.notification.wanted.selected
    if selected is not None and (
        selected.view.has_updates(expunges=not wanted.delayed) or selected.unfetched
    ):
        await tell_updates(context, expunges=not wanted.delayed, at_once=True)
    await tell_elsewhere(context)


async def tell_elsewhere(context: Context) -> None:
    """What is new of mailboxes that are not selected."""
    notification = context.notification
    if notification is None or notification.watch is None or not notification.watch.has_news:
        return
    if notification.watch.overflowed:  # s5.8: as if NOTIFY NONE had come
        context.notification = Notification(Notify())
        await notification.end()
        overflow = responses.untagged(Condition.OK, b"Too much to notify of", NOTIFICATION_OVERFLOW)
        context.output.write(overflow)
        return
    news = [each for each in notification.watch.take() if not _is_own(context, each)]
    if news:
        Elsewhere(context, notification, notification.watch).tell(news)
    await context.output.flow()


def _is_own(context: Context, news: News) -> bool:
    """Whether this session alone has made all of it, which then is not told (s5)."""
    account_id = context.login.account_id
    return (
        0 < news.until - news.since <= _MAX_OWN
        and news.account_ids <= {account_id}
        and all(context.has_written(modseq, account_id) for modseq in range(news.since + 1, news.until + 1))
    )


async def _watch(context: Context, command: Notify) -> Watch | None:
    """What is needed to tell of other mailboxes, if any are to be told of."""
    events = frozenset[Event]().union(*(group.events for group in command.groups))
    if not events:
        return None
    filters = [group.mailboxes for group in command.groups]
    shared = any(each.kind is FilterKind.SUBSCRIBED or any(map(is_elsewhere, each.names)) for each in filters)
    try:
        return await context.resources.watches.enter(
            context.login, context.connection.wake, shared=shared, annotations=bool(events & _ANNOTATIONS)
        )
    except LimitError:
        raise CommandRefusedError(TOO_MUCH_TO_NOTIFY) from None


async def _tell_gathered(context: Context, before: Notification | None) -> None:
    """The implicit NOOP: what is wanted from now on, and what was wanted until now."""
    now = context.notification
    if now is not None and now.wanted.selected.events < MESSAGE_EVENTS:
        context.notification = None
    try:
        await tell_updates(context, expunges=True)
        context.notification = before
        await tell_elsewhere(context)
    finally:
        context.notification = now
