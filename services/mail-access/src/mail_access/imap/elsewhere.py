"""What NOTIFY tells of mailboxes that are not selected (RFC 5465 s5): LIST, STATUS and METADATA responses."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from mail_access.imap.context import Context, id_of
from mail_access.imap.listing import SPECIAL_USES, Listed, attributes
from mail_access.imap.notification import Notification
from mail_access.imap.sharing import Located, is_elsewhere
from mail_access.mailbox_news import Difference, Known, News
from mail_access.watching import Watch
from postroom_runtime.logs import log
from postroom_wire.imap import responses
from postroom_wire.imap.acl import Rights
from postroom_wire.imap.commands import ListReturn, StatusItem
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.flags import Flag
from postroom_wire.imap.mailbox_filter import FilterKind, MailboxFilter
from postroom_wire.imap.mailbox_name import DELIMITER, MailboxName, MailboxNameError
from postroom_wire.imap.metadata import changed_metadata
from postroom_wire.imap.notify import COUNTS, NO_ACCESS, Event, old_name

_NEEDED: Final = Rights.LOOKUP | Rights.READ
"""At every mailbox that is told of (s5)."""
_OWN_ONLY: Final = frozenset({FilterKind.PERSONAL, FilterKind.INBOXES})
_RETURNS: Final = frozenset({ListReturn.SUBSCRIBED})
_INBOX: Final = "INBOX"


class Elsewhere:
    """Tells one session of mailboxes as they were listed last. Made for one time."""

    def __init__(self, context: Context, notification: Notification, watch: Watch) -> None:
        self._context, self._notification, self._watch = context, notification, watch
        self._subscribed = watch.subscribed
        self._names: dict[str, str | None] = {}
        """What to LIST, and the name that it had before."""

    def tell(self, all_news: Sequence[News]) -> None:
        """What is new: names first, since then the client knows of what the rest is."""
        changed: dict[bytes, Difference] = {}
        for news in all_news:
            self._note_names(news)
            for each in news.differences:
                mailbox_id = _either(each).mailbox.id
                changed[mailbox_id] = Difference(changed.get(mailbox_id, each).before, each.after)
        lost = [known for each in changed.values() if (known := self._lost(each)) is not None]
        for name, old in self._names.items():
            self._list(name, old)
        for known in lost:
            self._list_no_access(known)
        for each in changed.values():
            self._tell_status(each)
        for news in all_news:
            for known, entries in news.annotations:
                self._tell_annotations(known, entries)

    def tell_state(self) -> None:
        """When NOTIFY was set: what cannot be told of, and STATUS where it is asked for (s3.1)."""
        for known in self._watch.mailboxes.values():
            events = self._events(known.name)
            if events and known.has(_NEEDED):
                self._tell_first_status(known, events)
            elif events and known.has(Rights.LOOKUP):
                self._list_no_access(known)

    def _events(self, name: str) -> frozenset[Event]:
        """What is wanted of a mailbox of that name, while it is not selected."""
        groups = self._notification.wanted.groups
        return frozenset[Event]().union(
            *(each.events for each in groups if self._holds(each.mailboxes, name))
        )

    def _holds(self, mailboxes: MailboxFilter, name: str) -> bool:
        if mailboxes.kind in _OWN_ONLY and is_elsewhere(MailboxName(name)):
            return False
        return mailboxes.holds(name, self._subscribed)

    def _note_names(self, news: News) -> None:
        """MailboxName and SubscriptionChange (s5.4, s5.5)."""
        renamed = _renamed(news)
        for each in news.differences:
            was, now = _visible(each.before), _visible(each.after)
            if was is not None and now is not None:
                if was.name != now.name and not _goes_along(was.name, now.name, renamed):
                    self._note(Event.MAILBOX_NAME, now.name, was.name)
            elif (known := now or was) is not None:
                self._note(Event.MAILBOX_NAME, known.name, renamed.get(known.name))
                if above := known.name.rpartition(DELIMITER)[0]:
                    self._note(Event.MAILBOX_NAME, above)
        self._subscribed = self._watch.subscribed | news.subscriptions  # those that end are told of, too
        for name in sorted(news.subscriptions):
            self._note(Event.SUBSCRIPTION_CHANGE, name)
        self._subscribed = self._watch.subscribed

    def _note(self, event: Event, name: str, old: str | None = None) -> None:
        if event in self._events(name) or (old is not None and event in self._events(old)):
            self._names[name] = old or self._names.get(name)

    def _lost(self, each: Difference) -> Known | None:
        """The mailbox when it may not be told of any more (s5.9)."""
        was, now, known_as = each.before, each.after, self._notification.no_access
        if now is not None and now.has(_NEEDED):
            if now.mailbox.id in known_as:
                known_as.discard(now.mailbox.id)
                self._names.setdefault(now.name, None)
            return None
        if was is None or not was.has(_NEEDED) or not (events := self._events(was.name)):
            return None
        if _visible(now) is not None:
            return now
        is_deleted = was.account_id == self._context.login.account_id
        return None if is_deleted or Event.MAILBOX_NAME in events else was

    def _tell_first_status(self, known: Known, events: frozenset[Event]) -> None:
        if not self._notification.wanted.status or self._is_selected(known):
            return
        mailbox = known.mailbox
        values: dict[StatusItem, int] = {}
        if events & COUNTS:
            values |= {StatusItem.MESSAGES: mailbox.messages, StatusItem.UIDNEXT: mailbox.uid_next}
        if Event.FLAG_CHANGE in events:
            values[StatusItem.HIGHESTMODSEQ] = mailbox.highest_modseq
        self._status(known, values)

    def _tell_status(self, each: Difference) -> None:
        """MessageNew, MessageExpunge and FlagChange (s5.1 to s5.3)."""
        was, now = each.before, each.after
        if now is None or not now.has(_NEEDED) or self._is_selected(now):
            return
        before = None if was is None or not was.has(_NEEDED) else was.mailbox
        mailbox, events = now.mailbox, self._events(now.name)
        with_modseq = Extension.CONDSTORE in self._context.enabled
        values: dict[StatusItem, int] = {}
        if before is None:
            came, flagged, seen = mailbox.messages > 0, False, False
        else:
            came = (before.messages, before.uid_next) != (mailbox.messages, mailbox.uid_next)
            flagged, seen = before.highest_modseq != mailbox.highest_modseq, before.unseen != mailbox.unseen
        if came and events & COUNTS:
            values |= {StatusItem.MESSAGES: mailbox.messages, StatusItem.UIDNEXT: mailbox.uid_next}
        if seen and Event.FLAG_CHANGE in events:
            values[StatusItem.UNSEEN] = mailbox.unseen
        if with_modseq and (values or (flagged and Event.FLAG_CHANGE in events)):
            values[StatusItem.HIGHESTMODSEQ] = mailbox.highest_modseq
        renewed = before is not None and before.uid_validity != mailbox.uid_validity
        if renewed and Event.FLAG_CHANGE in events:
            values[StatusItem.UIDNEXT] = mailbox.uid_next
        self._status(now, values)

    def _status(self, known: Known, values: Mapping[StatusItem, int]) -> None:
        """STATUS with UIDVALIDITY, when there is something to say."""
        if values and (name := self._name(known.name)) is not None:
            told = {**values, StatusItem.UIDVALIDITY: known.mailbox.uid_validity}
            self._context.output.write(responses.status(name, told))

    def _tell_annotations(self, known: Known | None, entries: Sequence[str]) -> None:
        """MailboxMetadataChange and ServerMetadataChange (s5.6, s5.7)."""
        output = self._context.output
        if known is None:
            if any(Event.SERVER_METADATA_CHANGE in each.events for each in self._notification.wanted.groups):
                output.write(changed_metadata(None, entries))
            return
        is_wanted = known.has(_NEEDED) and Event.MAILBOX_METADATA_CHANGE in self._events(known.name)
        if is_wanted and (name := self._name(known.name)) is not None:
            output.write(changed_metadata(name, entries))

    def _list(self, text: str, old_text: str | None) -> None:
        """One name as it is now; OLDNAME where it had another one."""
        if (name := self._name(text)) is None:
            return
        old = None if old_text is None else self._name(old_text)
        extended = () if old is None else (old_name(old),)
        self._context.output.write(responses.mailbox_list(self._attributes(name), name, extended))

    def _list_no_access(self, known: Known) -> None:
        self._notification.no_access.add(known.mailbox.id)
        if (name := self._name(known.name)) is not None:
            is_there = name.value in self._by_name
            found = [NO_ACCESS, *self._attributes(name)] if is_there else [NO_ACCESS]
            self._context.output.write(responses.mailbox_list(found, name))

    def _attributes(self, name: MailboxName) -> list[Flag]:
        known = self._by_name.get(name.value)
        listed = Listed(
            name, subscribed=name.value in self._subscribed, has_children=name.value in self._with_children
        )
        if known is not None:
            listed.mailbox, listed.use = known.mailbox, SPECIAL_USES.get(known.mailbox.special_use)
            if known.account_id != self._context.login.account_id:
                login = self._context.login.at(known.account_id)
                listed.shared, listed.use = Located(name, known.mailbox, login, known.rights), None
        return attributes(listed, _RETURNS)

    @cached_property
    def _by_name(self) -> dict[str, Known]:
        return {known.name: known for known in self._watch.mailboxes.values() if known.has(Rights.LOOKUP)}

    @cached_property
    def _with_children(self) -> set[str]:
        """The names that mailboxes are below of."""
        found: set[str] = set()
        for name in self._by_name:
            while (name := name.rpartition(DELIMITER)[0]) and name not in found:
                found.add(name)
        return found

    def _name(self, text: str) -> MailboxName | None:
        try:
            return MailboxName.of(text, utf8=self._context.utf8)
        except MailboxNameError:  # one that REST made and IMAP cannot say
            log.warning("mailbox_name_hidden")
            return None

    def _is_selected(self, known: Known) -> bool:
        selected = self._context.selected
        return selected is not None and selected.mailbox.id == id_of(known.mailbox.id)


def _either(each: Difference) -> Known:
    known = each.after or each.before
    if known is None:
        raise ValueError("a difference of nothing")
    return known


def _visible(known: Known | None) -> Known | None:
    """Who may not look a mailbox up has none (s5.4)."""
    return known if known is not None and known.has(Rights.LOOKUP) else None


def _renamed(news: News) -> dict[str, str]:
    """The old names of mailboxes that were renamed, by the new ones.

    Of INBOX the messages went to a new mailbox, and no other change does both (s5.4).
    """
    pairs = [(each.before, each.after) for each in news.differences]
    found = {now.name: was.name for was, now in pairs if was and now and was.name != now.name}
    inbox = next((pair for pair in pairs if pair[1] is not None and pair[1].name == _INBOX), None)
    if news.until - news.since == 1 and inbox is not None and inbox[0] is not None:
        moved = inbox[0].mailbox.messages
        found |= {
            now.name: _INBOX
            for was, now in pairs
            if was is None and now and now.mailbox.messages == moved > 0
        }
    return found


def _goes_along(was: str, now: str, renamed: Mapping[str, str]) -> bool:
    """Whether a mailbox has another name because one above it has (s5.4)."""
    above_was, above_now = was, now
    while above_now := above_now.rpartition(DELIMITER)[0]:
        above_was = renamed.get(above_now, "")
        if above_was and was == above_was + now[len(above_now) :]:
            return True
    return False
