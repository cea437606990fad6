"""The commands of IMAP4rev1 and of the extensions that we advertise, as values (RFC 3501 s6)."""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from postroom_wire.imap.acl import DeleteAcl, GetAcl, ListRights, MyRights, SetAcl
from postroom_wire.imap.compress import Compress
from postroom_wire.imap.esearch import Search
from postroom_wire.imap.fetch_items import FetchItem
from postroom_wire.imap.flags import Flag
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.metadata import GetMetadata, SetMetadata
from postroom_wire.imap.multisearch import MultiSearch
from postroom_wire.imap.notify import Notify
from postroom_wire.imap.qresync import FetchModifiers, SelectParameters
from postroom_wire.imap.quota import GetQuota, GetQuotaRoot, SetQuota
from postroom_wire.imap.search_context import CancelUpdate
from postroom_wire.imap.sequence import SequenceSet
from postroom_wire.imap.sorting import Sort
from postroom_wire.imap.threads import Thread


@dataclass(frozen=True, slots=True)
class Capability:
    """s6.1.1."""


@dataclass(frozen=True, slots=True)
class Noop:
    """s6.1.2."""


@dataclass(frozen=True, slots=True)
class Logout:
    """s6.1.3."""


@dataclass(frozen=True, slots=True)
class Id:
    """RFC 2971 s3.1; None where the client said NIL."""

    parameters: tuple[tuple[bytes, bytes | None], ...] | None


@dataclass(frozen=True, slots=True)
class StartTls:
    """s6.2.1."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """s6.2.2; the mechanism in upper case, the initial response decoded (RFC 4959 s3)."""

    mechanism: bytes
    initial_response: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """s6.2.3."""

    user: bytes
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unauthenticate:
    """RFC 8437 s3."""


@dataclass(frozen=True, slots=True)
class Enable:
    """RFC 5161 s3.1; names in upper case."""

    capabilities: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Namespace:
    """RFC 2342 s5."""


@dataclass(frozen=True, slots=True)
class Select:
    """s6.3.1."""

    mailbox: MailboxName
    parameters: SelectParameters = SelectParameters()


@dataclass(frozen=True, slots=True)
class Examine:
    """s6.3.2."""

    mailbox: MailboxName
    parameters: SelectParameters = SelectParameters()


@dataclass(frozen=True, slots=True)
class Create:
    """s6.3.3; a trailing delimiter is taken away. `uses`: what the mailbox is for (RFC 6154 s3)."""

    mailbox: MailboxName
    uses: tuple[Flag, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """s6.3.4."""

    mailbox: MailboxName


@dataclass(frozen=True, slots=True)
class Rename:
    """s6.3.5."""

    source: MailboxName
    destination: MailboxName


@dataclass(frozen=True, slots=True)
class Subscribe:
    """s6.3.6."""

    mailbox: MailboxName


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """s6.3.7."""

    mailbox: MailboxName


class StatusItem(Enum):
    """status-att (s6.3.10, RFC 8438 s3, RFC 9051 s6.3.11)."""

    MESSAGES = b"MESSAGES"
    RECENT = b"RECENT"
    UIDNEXT = b"UIDNEXT"
    UIDVALIDITY = b"UIDVALIDITY"
    UNSEEN = b"UNSEEN"
    DELETED = b"DELETED"
    DELETED_STORAGE = b"DELETED-STORAGE"
    SIZE = b"SIZE"
    HIGHESTMODSEQ = b"HIGHESTMODSEQ"
    """RFC 7162 s3.1.7."""
    MAILBOXID = b"MAILBOXID"
    """RFC 8474 s4.3."""
    APPENDLIMIT = b"APPENDLIMIT"
    """RFC 7889 s3.1."""


class ListSelection(Enum):
    """list-select-opt (RFC 5258 s3.1, RFC 6154 s2)."""

    SUBSCRIBED = b"SUBSCRIBED"
    REMOTE = b"REMOTE"
    RECURSIVEMATCH = b"RECURSIVEMATCH"
    SPECIAL_USE = b"SPECIAL-USE"


class ListReturn(Enum):
    """return-option without arguments (RFC 5258 s3.2, RFC 6154 s2)."""

    SUBSCRIBED = b"SUBSCRIBED"
    CHILDREN = b"CHILDREN"
    SPECIAL_USE = b"SPECIAL-USE"
    MYRIGHTS = b"MYRIGHTS"
    """RFC 8440 s3."""


@dataclass(frozen=True, slots=True)
class List:
    """s6.3.8 and RFC 5258 s3; reference and patterns stay in modified UTF-7, see `ListPattern`.

    `returns` holds also what the selection implies; `status` is what STATUS is to tell of each mailbox
    (RFC 5819 s2), `metadata` the entries that METADATA is to tell (RFC 9590). An empty pattern asks for the
    delimiter, unless the command is `extended`.
    """

    reference: bytes
    patterns: tuple[bytes, ...]
    selection: frozenset[ListSelection] = frozenset()
    returns: frozenset[ListReturn] = frozenset()
    status: tuple[StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    extended: bool = False


@dataclass(frozen=True, slots=True)
class Lsub:
    """s6.3.9."""

    reference: bytes
    pattern: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """s6.3.10."""

    mailbox: MailboxName
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True)
class Append:
    """s6.3.11 without its messages, which are streamed."""

    mailbox: MailboxName


@dataclass(frozen=True, slots=True)
class Replace:
    """RFC 8508 s3.2, s3.3, without its message; `message` is a UID or a sequence number, or `STAR`."""

    message: int
    mailbox: MailboxName
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """s6.4.1."""


@dataclass(frozen=True, slots=True)
class Close:
    """s6.4.2."""


@dataclass(frozen=True, slots=True)
class Unselect:
    """RFC 3691 s2."""


@dataclass(frozen=True, slots=True)
class Expunge:
    """s6.4.3; with UIDs it is UID EXPUNGE (RFC 4315 s2.1)."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """s6.4.5; no item twice, and UID always among them for UID FETCH (s6.4.8)."""

    messages: SequenceSet
    items: tuple[FetchItem, ...]
    uid: bool = False
    modifiers: FetchModifiers = FetchModifiers()
    names_uid: bool = False
    """UID FETCH asks for the UID by name, too (RFC 9586 s3.3)."""


class StoreMode(Enum):
    """What STORE does with its flags."""

    REPLACE = b"FLAGS"
    ADD = b"+FLAGS"
    REMOVE = b"-FLAGS"


@dataclass(frozen=True, slots=True)
class Store:
    """s6.4.6."""

    messages: SequenceSet
    mode: StoreMode
    silent: bool
    flags: tuple[Flag, ...]
    uid: bool = False
    unchanged_since: int | None = None
    """RFC 7162 s3.1.3."""


@dataclass(frozen=True, slots=True)
class Copy:
    """s6.4.7."""

    messages: SequenceSet
    mailbox: MailboxName
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """RFC 6851 s3.1, s3.2."""

    messages: SequenceSet
    mailbox: MailboxName
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Idle:
    """RFC 2177 s3."""


Command: TypeAlias = (
    Capability
    | Noop
    | Logout
    | Id
    | StartTls
    | Authenticate
    | Login
    | Unauthenticate
    | Compress
    | Enable
    | Namespace
    | Select
    | Examine
    | Create
    | Delete
    | Rename
    | Subscribe
    | Unsubscribe
    | List
    | Lsub
    | Status
    | Append
    | Replace
    | Check
    | Close
    | Unselect
    | Expunge
    | Search
    | MultiSearch
    | CancelUpdate
    | Sort
    | Thread
    | Fetch
    | Store
    | Copy
    | Move
    | Idle
    | Notify
    | GetQuota
    | GetQuotaRoot
    | SetQuota
    | GetMetadata
    | SetMetadata
    | SetAcl
    | DeleteAcl
    | GetAcl
    | ListRights
    | MyRights
)
