"""SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314).

Who owns a mailbox always has all rights there, and those to create, delete and administer nobody else has.
"""

from typing import Final
from uuid import UUID

from mail_access.imap.context import Context, Done
from mail_access.imap.refusals import NO_NEGATIVE_RIGHTS, NO_SUCH_USER, CommandRefusedError
from mail_access.imap.sharing import Located, locate
from postroom_wire.imap import acl
from postroom_wire.imap.acl import (
    ALL_RIGHTS,
    ANYONE,
    NO_RIGHTS,
    DeleteAcl,
    GetAcl,
    ListRights,
    MyRights,
    Rights,
    SetAcl,
)
from postroom_wire.imap.mailbox_name import MailboxName

_GRANTABLE: Final = ALL_RIGHTS & ~(Rights.CREATE | Rights.DELETE_MAILBOX | Rights.ADMINISTER)
# s3.5
_KNOWING: Final = (
    Rights.LOOKUP | Rights.READ | Rights.INSERT | Rights.CREATE | Rights.DELETE_MAILBOX | Rights.ADMINISTER
)


async def set_acl(context: Context, command: SetAcl) -> Done:
    """SETACL."""
    located = await _administered(context, command.mailbox)
    grantee = await _grantee(context, command.identifier)
    rights, sign = command.rights, command.sign
    if grantee == located.login.account_id and (sign > 0 or (rights == ALL_RIGHTS and not sign)):
        return Done(b"SETACL completed")  # the owner has them anyhow
    await _change(context, located, grantee, rights, sign)
    return Done(b"SETACL completed")


async def delete_acl(context: Context, command: DeleteAcl) -> Done:
    """DELETEACL."""
    located = await _administered(context, command.mailbox)
    grantee = await _grantee(context, command.identifier)
    await _change(context, located, grantee, NO_RIGHTS, 0)
    return Done(b"DELETEACL completed")


async def get_acl(context: Context, command: GetAcl) -> Done:
    """GETACL: the owner first. Who is gone is left out."""
    located = await _administered(context, command.mailbox)
    accounts = context.resources.accounts
    grants = await accounts.rights(located.login, located.id)
    known = {grantee for grantee, _ in grants if grantee is not None}
    addresses = await accounts.addresses(context.login, known) if known else {}
    entries = [(located.login.address, ALL_RIGHTS)]
    for grantee, rights in grants:
        if (identifier := ANYONE if grantee is None else addresses.get(grantee)) is not None:
            entries.append((identifier, Rights(rights)))
    context.output.write(acl.acl(command.mailbox, entries))
    return Done(b"GETACL completed")


async def list_rights(context: Context, command: ListRights) -> Done:
    """LISTRIGHTS."""
    located = await _administered(context, command.mailbox)
    is_owner = await _grantee(context, command.identifier) == located.login.account_id
    required, optional = (ALL_RIGHTS, NO_RIGHTS) if is_owner else (NO_RIGHTS, _GRANTABLE)
    context.output.write(acl.list_rights(command.mailbox, command.spelling, required, optional))
    return Done(b"LISTRIGHTS completed")


async def my_rights(context: Context, command: MyRights) -> Done:
    """MYRIGHTS."""
    located, _ = await locate(context, command.mailbox)
    located.require(_KNOWING)
    context.output.write(acl.my_rights(command.mailbox, located.rights))
    return Done(b"MYRIGHTS completed")


async def _administered(context: Context, name: MailboxName) -> Located:
    located, _ = await locate(context, name)
    located.require(Rights.ADMINISTER)
    return located


async def _grantee(context: Context, identifier: str) -> UUID | None:
    """The account of an identifier, None for anyone. Raises `CommandRefusedError`."""
    if identifier == ANYONE:
        return None
    if identifier.startswith("-"):
        raise CommandRefusedError(NO_NEGATIVE_RIGHTS)
    found = await context.resources.accounts.account_of(context.login, identifier)
    if found is None:
        raise CommandRefusedError(NO_SUCH_USER)
    return found


async def _change(
    context: Context, located: Located, grantee: UUID | None, rights: Rights, sign: int
) -> None:
    modseq = await context.resources.accounts.set_rights(
        located.login, located.id, grantee, int(rights), sign
    )
    context.wrote(modseq, located.login.account_id)
    context.resources.mailboxes.hint(located.login.account_id, modseq)
