"""Which function does which command."""

from typing import Final

from mail_access.imap import (
    acl,
    authenticating,
    enabling,
    fetching,
    flagging,
    listing,
    metadata,
    moving,
    multisearch,
    naming,
    notifying,
    quota,
    search_contexts,
    searching,
    selecting,
    sorting,
)
from mail_access.imap.context import Context, Done
from mail_access.imap.updates import claim_recent
from postroom_wire.imap import responses
from postroom_wire.imap.acl import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from postroom_wire.imap.commands import (
    Capability,
    Check,
    Close,
    Copy,
    Create,
    Delete,
    Enable,
    Examine,
    Expunge,
    Fetch,
    Id,
    List,
    Login,
    Lsub,
    Move,
    Namespace,
    Noop,
    Rename,
    Select,
    Status,
    Store,
    Subscribe,
    Unselect,
    Unsubscribe,
)
from postroom_wire.imap.enabling import Extension
from postroom_wire.imap.esearch import Search
from postroom_wire.imap.metadata import GetMetadata, SetMetadata
from postroom_wire.imap.multisearch import MultiSearch
from postroom_wire.imap.notify import Notify
from postroom_wire.imap.quota import GetQuota, GetQuotaRoot, SetQuota
from postroom_wire.imap.search_context import CancelUpdate
from postroom_wire.imap.sorting import Sort
from postroom_wire.imap.state import enables_condstore
from postroom_wire.imap.threads import Thread

_Plain = Capability | Noop | Check | Id | Enable | Login | Notify
_Naming = Create | Delete | Rename | Subscribe | Unsubscribe
_Listing = List | Lsub | Status | Namespace
_Selecting = Select | Examine | Close | Unselect
_Finding = Search | MultiSearch | CancelUpdate | Sort | Thread
_Messages = Fetch | Store | Copy | Move | Expunge
_Account = GetQuota | GetQuotaRoot | SetQuota | GetMetadata | SetMetadata
_Acl = SetAcl | DeleteAcl | GetAcl | ListRights | MyRights
OneAnswer = _Plain | _Naming | _Listing | _Selecting | _Finding | _Messages | _Account | _Acl
"""The commands that are one question and one answer; the others are dialogues."""

_SERVER: Final[dict[bytes, bytes | None]] = {b"name": b"Postroom"}


async def perform(context: Context, command: OneAnswer) -> Done:
    """Do it. Raises `CommandRefusedError`, `RemoteProtocolError`, `PostroomError`, `LoginEndedError`."""
    context.check_numbers(command)
    if enables_condstore(command):
        context.enabled |= {Extension.CONDSTORE}
    match command:
        case Search() | MultiSearch() | CancelUpdate() | Sort() | Thread():
            return await _finding(context, command)
        case Fetch() | Store() | Copy() | Move() | Expunge():
            return await _messages(context, command)
        case Select() | Examine() | Close() | Unselect():
            return await _selecting(context, command)
        case List() | Lsub() | Status() | Namespace():
            return await _listing(context, command)
        case Create() | Delete() | Rename() | Subscribe() | Unsubscribe():
            return await _naming(context, command)
        case GetQuota() | GetQuotaRoot() | SetQuota() | GetMetadata() | SetMetadata():
            return await _account(context, command)
        case SetAcl() | DeleteAcl() | GetAcl() | ListRights() | MyRights():
            return await _acl(context, command)
        case Capability() | Noop() | Check() | Id() | Enable() | Login() | Notify():
            return await _plain(context, command)


async def _plain(context: Context, command: _Plain) -> Done:
    match command:
        case Capability():
            context.output.write(responses.capability(authenticating.capability_list(context)))
            return Done(b"CAPABILITY completed")
        case Noop() | Check():
            await selecting.look(context)
            return Done(b"NOOP completed" if isinstance(command, Noop) else b"CHECK completed")
        case Id():
            context.output.write(responses.server_id(_SERVER))
            return Done(b"ID completed")
        case Enable():
            return enabling.enable(context, command)
        case Login():
            return await authenticating.login(context, command)
        case Notify():
            return await notifying.notify(context, command)


async def _naming(context: Context, command: _Naming) -> Done:
    match command:
        case Create(name, uses):
            return await naming.create(context, name, uses)
        case Delete(name):
            return await naming.delete(context, name)
        case Rename(source, destination):
            return await naming.rename(context, source, destination)
        case Subscribe(name):
            return await naming.subscribe(context, name, subscribed=True)
        case Unsubscribe(name):
            return await naming.subscribe(context, name, subscribed=False)


async def _listing(context: Context, command: _Listing) -> Done:
    match command:
        case List():
            return await listing.list_mailboxes(context, command)
        case Lsub():
            return await listing.lsub(context, command)
        case Status():
            return await listing.status(context, command)
        case Namespace():
            return listing.namespace(context)


async def _account(context: Context, command: _Account) -> Done:
    match command:
        case GetQuota():
            return await quota.get_quota(context, command)
        case GetQuotaRoot():
            return await quota.get_quota_root(context, command)
        case SetQuota():
            return await quota.set_quota(context, command)
        case GetMetadata():
            return await metadata.get_metadata(context, command)
        case SetMetadata():
            return await metadata.set_metadata(context, command)


async def _acl(context: Context, command: _Acl) -> Done:
    match command:
        case SetAcl():
            return await acl.set_acl(context, command)
        case DeleteAcl():
            return await acl.delete_acl(context, command)
        case GetAcl():
            return await acl.get_acl(context, command)
        case ListRights():
            return await acl.list_rights(context, command)
        case MyRights():
            return await acl.my_rights(context, command)


async def _selecting(context: Context, command: _Selecting) -> Done:
    match command:
        case Select() | Examine():
            return await selecting.select(context, command)
        case Close():
            return await selecting.close(context)
        case Unselect():
            return await selecting.unselect(context)


async def _finding(context: Context, command: _Finding) -> Done:
    if context.selected is not None:
        await claim_recent(context, context.selected)
    match command:
        case Search():
            return await searching.search(context, command)
        case MultiSearch():
            return await multisearch.multisearch(context, command)
        case CancelUpdate():
            return search_contexts.cancel(context, command)
        case Sort():
            return await sorting.sort(context, command)
        case Thread():
            return await sorting.thread(context, command)


async def _messages(context: Context, command: _Messages) -> Done:
    if context.selected is not None:
        await claim_recent(context, context.selected)
    match command:
        case Fetch():
            return await fetching.fetch(context, command)
        case Store():
            return await flagging.store(context, command)
        case Copy():
            return await moving.copy(context, command)
        case Move():
            return await moving.move(context, command)
        case Expunge():
            return await moving.expunge(context, command)
