"""Mailboxes of others, below "Other Users/" and their owner's address (RFC 2342 s5, RFC 4314)."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from mail_access.imap.context import Context, id_of
from mail_access.imap.refusals import NO_MAILBOX, NOT_PERMITTED, CommandRefusedError
from mail_access.login import Login
from postroom.mailstore.v1 import mailbox_pb2
from postroom_runtime.logs import log
from postroom_wire.imap.acl import ALL_RIGHTS, NO_RIGHTS, Rights
from postroom_wire.imap.errors import Refusal
from postroom_wire.imap.mailbox_name import DELIMITER, MailboxName, MailboxNameError

ROOT: Final = "Other Users"
PREFIX: Final = ROOT + DELIMITER


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
    accounts, login = context.resources.accounts, context.login
    shared = await accounts.shared(login)
    addresses = await accounts.addresses(login, {id_of(each.account_id) for each in shared}) if shared else {}
    for each in shared:
        host = id_of(each.account_id)
        if (address := addresses.get(host)) is None:  # an account that is gone
            continue
        try:
            name = MailboxName.of(f"{PREFIX}{address}{DELIMITER}{each.mailbox.name}", utf8=context.utf8)
        except MailboxNameError:  # too long with its prefix
            log.warning("mailbox_name_hidden")
            continue
        yield Located(name, each.mailbox, login.at(host), Rights(each.rights) or NO_RIGHTS)
