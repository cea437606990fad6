"""Mailboxes of others, below "Other Users/" and their owner's address (RFC 2342 s5, RFC 4314)."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mail_access.account_store import OTHERS_PREFIX, OTHERS_ROOT
from mail_access.imap.context import Context, id_of
from mail_access.imap.refusals import NO_MAILBOX, NOT_PERMITTED, CommandRefusedError
from mail_access.login import Login
from postroom.mailstore.v1 import mailbox_pb2
from postroom_runtime.logs import log
from postroom_wire.imap.acl import ALL_RIGHTS, NO_RIGHTS, Rights
from postroom_wire.imap.errors import Refusal
from postroom_wire.imap.mailbox_name import MailboxName, MailboxNameError

ROOT: Final = OTHERS_ROOT
PREFIX: Final = OTHERS_PREFIX


@dataclass(frozen=True, slots=True)
class Located:
    """A mailbox as the user has it: `login` is the user where it is kept, at home or as a guest."""

    name: MailboxName
    mailbox: mailbox_pb2.Mailbox
    login: Login
    rights: Rights = ALL_RIGHTS

    @property
    def id(self) -> UUID:
        """The mailbox's."""
        return id_of(self.mailbox.id)

    @property
    def is_shared(self) -> bool:
        """Whether it is somebody else's."""
        return self.login.is_guest

    def require(self, rights: Rights) -> None:
        """Raises `CommandRefusedError` without one of these rights; s6: without any nothing is said of it."""
        if not self.rights & rights:
            raise CommandRefusedError(NOT_PERMITTED if self.rights & Rights.LOOKUP else NO_MAILBOX)


def is_elsewhere(name: MailboxName) -> bool:
    """Whether a name is one of others' mailboxes, or of the place where they are."""
    return name.value == ROOT or name.value.startswith(PREFIX)


def require_own(*names: MailboxName) -> None:
    """For what only an owner does. Raises `CommandRefusedError`."""
    if any(map(is_elsewhere, names)):
        raise CommandRefusedError(NOT_PERMITTED)


async def locate(context: Context, name: MailboxName, missing: Refusal = NO_MAILBOX) -> tuple[Located, int]:
    """The mailbox of that name as it is now, and the MODSEQ of the account that keeps it.

    Raises `CommandRefusedError` with `missing`.
    """
    if not is_elsewhere(name):
        mailbox, modseq = await context.find(name, missing)
        return Located(name, mailbox, context.login), modseq
    async for located in shared_mailboxes(context):
        if located.name == name:
            (modseq,) = await context.resources.accounts.shared_modseqs([located.login])
            return located, modseq
    raise CommandRefusedError(missing)


async def shared_mailboxes(context: Context) -> AsyncGenerator[Located]:
    """All that others share with the user, whatever the rights."""
    login = context.login
    for text, each in await context.resources.accounts.named_shared(login):
        try:
            name = MailboxName.of(text, utf8=context.utf8)
        except MailboxNameError:  # too long with its prefix
            log.warning("mailbox_name_hidden")
            continue
        yield Located(name, each.mailbox, login.at(id_of(each.account_id)), Rights(each.rights) or NO_RIGHTS)
