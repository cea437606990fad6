"""How a user's mailboxes differ from what they were: what a session that watches them is given (RFC 5465)."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from postroom.mailstore.v1 import mailbox_pb2
from postroom_wire.imap.acl import ALL_RIGHTS, Rights


@dataclass(frozen=True, slots=True)
class Known:
    """A mailbox as it was listed, by the name that the user has for it."""

    name: str
    account_id: UUID
    mailbox: mailbox_pb2.Mailbox
    rights: Rights = ALL_RIGHTS

    def has(self, rights: Rights) -> bool:
        """Whether the user has all of these rights."""
        return self.rights & rights == rights


@dataclass(frozen=True, slots=True)
class Difference:
    """One mailbox before and after; None where it was, or is, not there for the user."""

    before: Known | None
    after: Known | None


@dataclass(frozen=True, slots=True)
class News:
    """What changed between two MODSEQs of the user's account, and meanwhile in others."""

    since: int
    until: int
    differences: tuple[Difference, ...]
    subscriptions: frozenset[str]
    """The names that are subscribed now and were not, or the other way around."""
    annotations: tuple[tuple[Known | None, tuple[str, ...]], ...]
    """The entries that changed, of a mailbox or of the account itself."""

    @property
    def account_ids(self) -> set[UUID]:
        """Whose mailboxes these are, as far as they are mailboxes."""
        places = [known for each in self.differences for known in (each.before, each.after)]
        places += [known for known, _ in self.annotations]
        return {known.account_id for known in places if known is not None}

    def __len__(self) -> int:
        return len(self.differences) + len(self.subscriptions) + len(self.annotations)


def differences(before: Mapping[bytes, Known], after: Mapping[bytes, Known]) -> tuple[Difference, ...]:
    """The mailboxes that are not as they were; the gone ones first, since names are taken over."""
    gone = [Difference(was, None) for mailbox_id, was in before.items() if mailbox_id not in after]
    others = [
        Difference(was, now)
        for mailbox_id, now in after.items()
        if (was := before.get(mailbox_id)) is None or was != now
    ]
    return (*gone, *others)
