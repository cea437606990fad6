"""GETMETADATA and SETMETADATA (RFC 5464): annotations of mailboxes, of the account, and the house's own."""

from collections.abc import Mapping, Sequence

from mail_access.imap.context import Context, Done
from mail_access.imap.refusals import (
    NO_SUCH_USE,
    NOT_PERMITTED,
    TOO_MANY_ANNOTATIONS,
    VALUE_TOO_LONG,
    CommandRefusedError,
)
from mail_access.imap.sharing import locate
from mail_access.login import Login
from postroom_contracts.errors import InvalidNameError, LimitError
from postroom_wire.imap.acl import Rights
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.metadata import MAX_VALUE, GetMetadata, SetMetadata, long_entries, metadata

_SHARED = "/shared"


async def get_metadata(context: Context, command: GetMetadata) -> Done:
    """GETMETADATA: an entry without a value is told as NIL, unless more than it was asked for."""
    login, mailbox_ids = await _place(context, command.mailbox)
    (found,) = await context.resources.accounts.annotations(
        login, mailbox_ids, command.entries, command.depth
    )
    if command.mailbox is None:
        found.update(_of_the_house(context, command))
    values = named(found, command.entries if command.depth == 0 else sorted(found), command.max_size)
    if values:
        context.output.write(metadata(command.mailbox, values))
    longest = max(map(len, found.values()), default=0)
    if command.max_size is not None and longest > command.max_size:
        return Done(b"GETMETADATA completed", long_entries(longest))
    return Done(b"GETMETADATA completed")


async def set_metadata(context: Context, command: SetMetadata) -> Done:
    """SETMETADATA: all or nothing. What is shared by the whole house is not the user's to change."""
    if any(value is not None and len(value) > MAX_VALUE for _, value in command.values):
        raise CommandRefusedError(VALUE_TOO_LONG)
    login, mailbox_ids = await _place(context, command.mailbox)
    if command.mailbox is None and any(_is_shared(entry) for entry, _ in command.values):
        raise CommandRefusedError(NOT_PERMITTED)
    try:
        mailbox_id = mailbox_ids[0] if mailbox_ids else b""
        modseq = await context.resources.accounts.annotate(login, mailbox_id, command.values)
    except LimitError:
        raise CommandRefusedError(TOO_MANY_ANNOTATIONS) from None
    except InvalidNameError:
        raise CommandRefusedError(NO_SUCH_USE) from None
    context.wrote(modseq, login.account_id)
    context.resources.mailboxes.hint(login.account_id, modseq)
    return Done(b"SETMETADATA completed")


async def _place(context: Context, mailbox: MailboxName | None) -> tuple[Login, list[bytes]]:
    """Who asks about which mailbox; none for the account itself."""
    if mailbox is None:
        return context.login, []
    located, _ = await locate(context, mailbox)
    located.require(Rights.LOOKUP)
    return located.login, [located.mailbox.id]


def named(
    found: Mapping[str, bytes], entries: Sequence[str], max_size: int | None = None
) -> list[tuple[str, bytes | None]]:
    """The values of entries, None where there is none; those that are longer are left out."""
    return [
        (entry, found.get(entry))
        for entry in entries
        if max_size is None or len(found.get(entry, b"")) <= max_size
    ]


def _of_the_house(context: Context, command: GetMetadata) -> dict[str, bytes]:
    """The server's shared entries, which the settings say (s3.2.1.1)."""
    settings = context.resources.settings
    entries = {"/shared/comment": settings.metadata_comment, "/shared/admin": settings.metadata_admin}
    return {
        name: value.encode()
        for name, value in entries.items()
        if value and any(_is_wanted(name, entry, command.depth) for entry in command.entries)
    }


def _is_wanted(name: str, entry: str, depth: int) -> bool:
    return name == entry or (depth != 0 and entry == _SHARED)


def _is_shared(entry: str) -> bool:
    return entry == _SHARED or entry.startswith(_SHARED + "/")
