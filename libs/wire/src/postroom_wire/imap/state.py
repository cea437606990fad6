"""Which command is legal when, and where it leads (RFC 3501 s3).

A session is not authenticated, authenticated, with a mailbox selected, or over. `TRANSITIONS` is the whole of
it: what is absent is refused with BAD and changes nothing. An OK moves along `TRANSITIONS`, a NO along
`AFTER_NO`, where only SELECT and EXAMINE stand: when they fail, the mailbox selected before is left (s6.3.1).
"""

from enum import Enum
from typing import Final

from postroom_wire.imap.acl import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from postroom_wire.imap.commands import (
    Append,
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    Copy,
    Create,
    Delete,
    Enable,
    Examine,
    Expunge,
    Fetch,
    Id,
    Idle,
    List,
    Login,
    Logout,
    Lsub,
    Move,
    Namespace,
    Noop,
    Rename,
    Replace,
    Select,
    StartTls,
    Status,
    StatusItem,
    Store,
    Subscribe,
    Unauthenticate,
    Unselect,
    Unsubscribe,
)
from postroom_wire.imap.compress import Compress
from postroom_wire.imap.esearch import Search
from postroom_wire.imap.fetch_items import FetchAttribute
from postroom_wire.imap.metadata import GetMetadata, SetMetadata
from postroom_wire.imap.multisearch import MultiSearch
from postroom_wire.imap.notify import Notify, SelectedEvents
from postroom_wire.imap.quota import GetQuota, GetQuotaRoot, SetQuota
from postroom_wire.imap.search_context import CancelUpdate
from postroom_wire.imap.search_keys import ChangedSince, LeafKey, SequenceNumbers, leaves
from postroom_wire.imap.sorting import Sort
from postroom_wire.imap.threads import Thread


class State(Enum):
    """s3.1 to s3.4."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


_OPEN: Final = (State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED)
_ANY: Final[tuple[type[Command], ...]] = (Capability, Noop, Id)
_AUTHENTICATED: Final[tuple[type[Command], ...]] = (
    Enable,
    Namespace,
    Create,
    Delete,
    Rename,
    Subscribe,
    Unsubscribe,
    List,
    Lsub,
    Status,
    Append,
    Idle,
    Notify,
    MultiSearch,
    GetQuota,
    GetQuotaRoot,
    SetQuota,
    GetMetadata,
    SetMetadata,
    SetAcl,
    DeleteAcl,
    GetAcl,
    ListRights,
    MyRights,
)
_SELECTED: Final[tuple[type[Command], ...]] = (
    Replace,
    Check,
    Expunge,
    Search,
    CancelUpdate,
    Sort,
    Thread,
    Fetch,
    Store,
    Copy,
    Move,
)

TRANSITIONS: Final[dict[tuple[State, type[Command]], State]] = {
    **{(state, command): state for state in _OPEN for command in _ANY},
    **{(state, Logout): State.LOGOUT for state in _OPEN},
    (State.NOT_AUTHENTICATED, StartTls): State.NOT_AUTHENTICATED,
    (State.NOT_AUTHENTICATED, Login): State.AUTHENTICATED,
    (State.NOT_AUTHENTICATED, Authenticate): State.AUTHENTICATED,
    **{(State.AUTHENTICATED, command): State.AUTHENTICATED for command in _AUTHENTICATED},
    **{(State.SELECTED, command): State.SELECTED for command in (*_AUTHENTICATED, *_SELECTED)},
    (State.AUTHENTICATED, Select): State.SELECTED,
    (State.AUTHENTICATED, Examine): State.SELECTED,
    (State.SELECTED, Select): State.SELECTED,
    (State.SELECTED, Examine): State.SELECTED,
    (State.SELECTED, Close): State.AUTHENTICATED,
    (State.SELECTED, Unselect): State.AUTHENTICATED,
    (State.AUTHENTICATED, Compress): State.AUTHENTICATED,
    (State.SELECTED, Compress): State.SELECTED,
    (State.AUTHENTICATED, Unauthenticate): State.NOT_AUTHENTICATED,
    (State.SELECTED, Unauthenticate): State.NOT_AUTHENTICATED,
}

AFTER_NO: Final[dict[tuple[State, type[Command]], State]] = {
    (State.SELECTED, Select): State.AUTHENTICATED,
    (State.SELECTED, Examine): State.AUTHENTICATED,
}


def may_tell_expunges(command: Command) -> bool:
    """Whether EXPUNGE may be sent before this command's end (s7.4.1)."""
    match command:
        case Fetch(uid=uid) | Store(uid=uid):
            return uid
        case MultiSearch(key=key):
            return not any(_is_numbered(leaf) for leaf in leaves(key))
        case Search(key=key, uid=uid) | Sort(key=key, uid=uid) | Thread(key=key, uid=uid):
            # RFC 7162 s3.2.10.2: nor while UID SEARCH looks at message numbers
            return uid and not any(_is_numbered(leaf) for leaf in leaves(key))
        case _:
            return True


def uses_message_numbers(command: Command) -> bool:
    """Whether it has message numbers in it or its answer has, which UIDONLY does away with (RFC 9586 s3)."""
    match command:
        case Fetch(uid=uid) | Store(uid=uid) | Copy(uid=uid) | Move(uid=uid) | Replace(uid=uid):
            return not uid
        case Search(key=key, uid=uid) | Sort(key=key, uid=uid) | Thread(key=key, uid=uid):
            return not uid or any(_is_numbered(leaf) for leaf in leaves(key))
        case MultiSearch(key=key):
            return any(_is_numbered(leaf) for leaf in leaves(key))
        case Select(parameters=parameters) | Examine(parameters=parameters):
            known = parameters.resynchronization
            return known is not None and bool(known.matches)
        case _:
            return False


def enables_condstore(command: Command) -> bool:
    """Whether from this command on the client is told MODSEQs (RFC 7162 s3.1)."""
    match command:
        case Select(parameters=parameters) | Examine(parameters=parameters):
            return parameters.condstore
        case Fetch(items=items) | Notify(selected=SelectedEvents(items=items)):
            return FetchAttribute.MODSEQ in items
        case Store(unchanged_since=unchanged_since):
            return unchanged_since is not None
        case Search(key=key) | Sort(key=key) | Thread(key=key) | MultiSearch(key=key):
            return any(isinstance(leaf, ChangedSince) for leaf in leaves(key))
        case Status(items=items) | List(status=items):
            return StatusItem.HIGHESTMODSEQ in items
        case _:
            return False


def _is_numbered(leaf: LeafKey) -> bool:
    """Whether a search key has message numbers; `$` alone has none."""
    return isinstance(leaf, SequenceNumbers) and bool(leaf.numbers.items)
