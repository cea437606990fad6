"""From one complete command to its value (RFC 3501 s9 command); pure, and total: a value or a refusal."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.acl import (
    parse_delete_acl,
    parse_get_acl,
    parse_list_rights,
    parse_my_rights,
    parse_set_acl,
)
from postroom_wire.imap.commands import (
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
    Id,
    Idle,
    Login,
    Logout,
    Move,
    Namespace,
    Noop,
    Rename,
    Select,
    StartTls,
    Subscribe,
    Unauthenticate,
    Unselect,
    Unsubscribe,
)
from postroom_wire.imap.compress import parse_compress
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import NO_TAG, UNKNOWN_COMMAND, RemoteProtocolError, Tag
from postroom_wire.imap.fetch_parser import parse_fetch, parse_store
from postroom_wire.imap.limits import DEFAULT_LIMITS, Limits
from postroom_wire.imap.list_parser import parse_list, parse_lsub, parse_status
from postroom_wire.imap.mailbox_name import DELIMITER
from postroom_wire.imap.metadata import parse_get_metadata, parse_set_metadata
from postroom_wire.imap.multisearch import parse_multisearch
from postroom_wire.imap.notify import parse_notify
from postroom_wire.imap.qresync import select_params
from postroom_wire.imap.quota import parse_get_quota, parse_get_quota_root, parse_set_quota
from postroom_wire.imap.search_context import parse_cancel_update
from postroom_wire.imap.search_parser import parse_search, parse_uid_search
from postroom_wire.imap.sorting import parse_sort, parse_uid_sort
from postroom_wire.imap.special_use import create_params
from postroom_wire.imap.threads import parse_thread, parse_uid_thread

# tag = 1*<any ASTRING-CHAR except "+">
TAG: Final = re.compile(rb"([!#$&',\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+) ")

Parser = Callable[[Cursor], Command]


@dataclass(frozen=True, slots=True)
class TaggedCommand:
    """A command and the tag that its answer bears."""

    tag: Tag
    command: Command


def parse_command(octets: bytes, limits: Limits = DEFAULT_LIMITS, *, utf8: bool = False) -> TaggedCommand:
    """command = tag SP (command-any / ...), without its last CRLF, with its literals inside.

    Raises `RemoteProtocolError`, with the tag if there is one, and nothing else.
    """
    found = TAG.match(octets)
    if found is None:
        raise RemoteProtocolError(NO_TAG, "no tag")
    tag = Tag(found[1])
    cursor = Cursor(octets[found.end() :], limits, utf8=utf8)
    try:
        command = _parse_named(cursor)
        cursor.end()
    except RemoteProtocolError as error:
        raise RemoteProtocolError(error.refusal, error.detail, tag) from error
    return TaggedCommand(tag, command)


def _parse_named(cursor: Cursor) -> Command:
    name = cursor.command_name()
    if name != b"UID":
        return _find(_COMMANDS, name)(cursor)
    # uid = "UID" SP (copy / fetch / search / store / move / expunge)
    cursor.sp()
    return _find(_UID_COMMANDS, cursor.command_name())(cursor)


def _find(table: dict[bytes, Parser], name: bytes) -> Parser:
    parser = table.get(name)
    if parser is None:
        raise RemoteProtocolError(UNKNOWN_COMMAND, "unknown command")
    return parser


def parse_id(cursor: Cursor) -> Id:
    """id = "ID" SPACE ( "(" #(string SPACE nstring) ")" / nil )   (RFC 2971 s4)."""
    cursor.sp()
    if cursor.nil():
        return Id(None)
    cursor.expect(b"(")
    pairs: list[tuple[bytes, bytes | None]] = []
    if not cursor.next_is(b")"):
        pairs.append(_id_pair(cursor))
        while cursor.more(len(pairs), cursor.limits.max_id_pairs):
            pairs.append(_id_pair(cursor))
    cursor.expect(b")")
    return Id(tuple(pairs))


def parse_authenticate(cursor: Cursor) -> Authenticate:
    """authenticate = "AUTHENTICATE" SP auth-type [SP (base64 / "=")]   (RFC 4959 s7)."""
    cursor.sp()
    mechanism = cursor.atom().upper()
    if cursor.at_end:
        return Authenticate(mechanism, None)
    cursor.sp()
    return Authenticate(mechanism, b"" if cursor.accept(b"=") else cursor.base64())


def parse_login(cursor: Cursor) -> Login:
    """login = "LOGIN" SP userid SP password."""
    cursor.sp()
    user = cursor.astring()
    cursor.sp()
    return Login(user, cursor.astring())


def parse_enable(cursor: Cursor) -> Enable:
    """enable = "ENABLE" 1*(SP capability)   (RFC 5161 s4)."""
    cursor.sp()
    names = [cursor.atom().upper()]
    while cursor.more(len(names), cursor.limits.max_flags):
        names.append(cursor.atom().upper())
    return Enable(tuple(names))


def parse_create(cursor: Cursor) -> Create:
    """create = "CREATE" SP mailbox [create-params]; a trailing delimiter is only a declaration (s6.3.3)."""
    cursor.sp()
    name = cursor.new_mailbox(cursor.astring().removesuffix(DELIMITER.encode("ascii")))
    return Create(name, create_params(cursor))


def parse_rename(cursor: Cursor) -> Rename:
    """rename = "RENAME" SP mailbox SP mailbox."""
    cursor.sp()
    source = cursor.mailbox()
    cursor.sp()
    return Rename(source, cursor.new_mailbox(cursor.astring()))


def parse_uid_expunge(cursor: Cursor) -> Expunge:
    """uid-expunge = "UID" SP "EXPUNGE" SP sequence-set   (RFC 4315 s4)."""
    cursor.sp()
    return Expunge(cursor.sequence_set())


def _id_pair(cursor: Cursor) -> tuple[bytes, bytes | None]:
    name = cursor.string()
    cursor.sp()
    return name, cursor.nstring()


def _bare(command: Command) -> Parser:
    def parse(_cursor: Cursor) -> Command:
        return command

    return parse


def _with_mailbox(
    make: type[Delete] | type[Subscribe] | type[Unsubscribe],
) -> Parser:
    def parse(cursor: Cursor) -> Command:
        cursor.sp()
        return make(cursor.mailbox())

    return parse


def _select(make: type[Select] | type[Examine]) -> Parser:
    """select = "SELECT" SP mailbox [select-params]   (RFC 4466 s2.1)."""

    def parse(cursor: Cursor) -> Command:
        cursor.sp()
        return make(cursor.mailbox(), select_params(cursor))

    return parse


def _to_mailbox(make: type[Copy] | type[Move], *, uid: bool) -> Parser:
    def parse(cursor: Cursor) -> Command:
        cursor.sp()
        messages = cursor.sequence_set()
        cursor.sp()
        return make(messages, cursor.mailbox(), uid)

    return parse


def _append_without_message(cursor: Cursor) -> Command:
    # With what looks like a message these never come here: the fragmenter streams them.
    raise cursor.wrong("append-message")


_COMMANDS: Final[dict[bytes, Parser]] = {
    b"CAPABILITY": _bare(Capability()),
    b"NOOP": _bare(Noop()),
    b"LOGOUT": _bare(Logout()),
    b"ID": parse_id,
    b"STARTTLS": _bare(StartTls()),
    b"AUTHENTICATE": parse_authenticate,
    b"LOGIN": parse_login,
    b"UNAUTHENTICATE": _bare(Unauthenticate()),
    b"COMPRESS": parse_compress,
    b"ENABLE": parse_enable,
    b"NAMESPACE": _bare(Namespace()),
    b"SELECT": _select(Select),
    b"EXAMINE": _select(Examine),
    b"CREATE": parse_create,
    b"DELETE": _with_mailbox(Delete),
    b"RENAME": parse_rename,
    b"SUBSCRIBE": _with_mailbox(Subscribe),
    b"UNSUBSCRIBE": _with_mailbox(Unsubscribe),
    b"LIST": parse_list,
    b"LSUB": parse_lsub,
    b"STATUS": parse_status,
    b"APPEND": _append_without_message,
    b"REPLACE": _append_without_message,
    b"CHECK": _bare(Check()),
    b"CLOSE": _bare(Close()),
    b"UNSELECT": _bare(Unselect()),
    b"EXPUNGE": _bare(Expunge()),
    b"SEARCH": parse_search,
    b"ESEARCH": parse_multisearch,
    b"CANCELUPDATE": parse_cancel_update,
    b"SORT": parse_sort,
    b"THREAD": parse_thread,
    b"FETCH": lambda cursor: parse_fetch(cursor, uid=False),
    b"STORE": lambda cursor: parse_store(cursor, uid=False),
    b"COPY": _to_mailbox(Copy, uid=False),
    b"MOVE": _to_mailbox(Move, uid=False),
    b"IDLE": _bare(Idle()),
    b"NOTIFY": parse_notify,
    b"GETQUOTA": parse_get_quota,
    b"GETQUOTAROOT": parse_get_quota_root,
    b"SETQUOTA": parse_set_quota,
    b"GETMETADATA": parse_get_metadata,
    b"SETMETADATA": parse_set_metadata,
    b"SETACL": parse_set_acl,
    b"DELETEACL": parse_delete_acl,
    b"GETACL": parse_get_acl,
    b"LISTRIGHTS": parse_list_rights,
    b"MYRIGHTS": parse_my_rights,
}

_UID_COMMANDS: Final[dict[bytes, Parser]] = {
    b"REPLACE": _append_without_message,
    b"COPY": _to_mailbox(Copy, uid=True),
    b"MOVE": _to_mailbox(Move, uid=True),
    b"FETCH": lambda cursor: parse_fetch(cursor, uid=True),
    b"STORE": lambda cursor: parse_store(cursor, uid=True),
    b"SEARCH": parse_uid_search,
    b"SORT": parse_uid_sort,
    b"THREAD": parse_uid_thread,
    b"EXPUNGE": parse_uid_expunge,
}
