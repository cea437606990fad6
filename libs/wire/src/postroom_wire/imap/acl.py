"""Access control: SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS, and what answers them (RFC 4314)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.encoding import encode_astring, encode_mailbox
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.sasl.saslprep import saslprep

ANYONE: Final = "anyone"
"""The identifier of everybody (s2)."""


class Rights(IntFlag):
    """s2.1, in the order in which they are told."""

    LOOKUP = 1
    READ = 2
    SEEN = 4
    WRITE = 8
    INSERT = 16
    POST = 32
    CREATE = 64
    DELETE_MAILBOX = 128
    DELETE_MESSAGES = 256
    EXPUNGE = 512
    ADMINISTER = 1024


NO_RIGHTS: Final = Rights(0)
ALL_RIGHTS: Final = Rights(2047)
CHANGING: Final = Rights.SEEN | Rights.WRITE | Rights.INSERT | Rights.DELETE_MESSAGES | Rights.EXPUNGE
"""With any of them a mailbox is not read-only (s5.2)."""

_LETTERS: Final[Mapping[int, Rights]] = dict(zip(b"lrswipkxtea", Rights, strict=True))
# s2.1.1: what older clients say and are told
_CREATE: Final = Rights.CREATE | Rights.DELETE_MAILBOX
_DELETE: Final = Rights.DELETE_MESSAGES | Rights.EXPUNGE
_VIRTUAL: Final[Mapping[int, Rights]] = {ord("c"): _CREATE, ord("d"): _DELETE}
_KNOWN: Final = {**_LETTERS, **_VIRTUAL}


@dataclass(frozen=True, slots=True)
class SetAcl:
    """s3.1; `sign` is +1 for rights to add, -1 for some to take away, 0 for all that there are to be."""

    mailbox: MailboxName
    identifier: str
    rights: Rights
    sign: int = 0


@dataclass(frozen=True, slots=True)
class DeleteAcl:
    """s3.2."""

    mailbox: MailboxName
    identifier: str


@dataclass(frozen=True, slots=True)
class GetAcl:
    """s3.3."""

    mailbox: MailboxName


@dataclass(frozen=True, slots=True)
class ListRights:
    """s3.4; `spelling` is the identifier as the client wrote it."""

    mailbox: MailboxName
    identifier: str
    spelling: bytes


@dataclass(frozen=True, slots=True)
class MyRights:
    """s3.5."""

    mailbox: MailboxName


def parse_set_acl(cursor: Cursor) -> SetAcl:
    """setacl = "SETACL" SP mailbox SP identifier SP mod-rights."""
    mailbox = _mailbox(cursor)
    identifier, _ = _identifier(cursor)
    cursor.sp()
    text = cursor.astring()
    sign = {b"+": 1, b"-": -1}.get(text[:1], 0)
    rights = NO_RIGHTS
    for letter in text[1:] if sign else text:
        if letter not in _KNOWN:  # s3.1: never ignored
            raise cursor.wrong("rights")
        rights |= _KNOWN[letter]
    return SetAcl(mailbox, identifier, rights, sign)


def parse_delete_acl(cursor: Cursor) -> DeleteAcl:
    """deleteacl = "DELETEACL" SP mailbox SP identifier."""
    mailbox = _mailbox(cursor)
    return DeleteAcl(mailbox, _identifier(cursor)[0])


def parse_get_acl(cursor: Cursor) -> GetAcl:
    """getacl = "GETACL" SP mailbox."""
    return GetAcl(_mailbox(cursor))


def parse_list_rights(cursor: Cursor) -> ListRights:
    """listrights = "LISTRIGHTS" SP mailbox SP identifier."""
    mailbox = _mailbox(cursor)
    return ListRights(mailbox, *_identifier(cursor))


def parse_my_rights(cursor: Cursor) -> MyRights:
    """myrights = "MYRIGHTS" SP mailbox."""
    return MyRights(_mailbox(cursor))


def encode_rights(rights: Rights) -> bytes:
    """The letters, with the virtual ones for older clients (s2.1.1); `""` for none."""
    letters = bytes(letter for letter, right in _KNOWN.items() if rights & right)
    return letters or b'""'


def acl(mailbox: MailboxName, entries: Iterable[tuple[str, Rights]]) -> bytes:
    """The ACL response (s3.6)."""
    pairs = (
        encode_astring(identifier.encode()) + b" " + encode_rights(rights) for identifier, rights in entries
    )
    return b"* ACL " + b" ".join((encode_mailbox(mailbox), *pairs)) + b"\r\n"


def list_rights(mailbox: MailboxName, identifier: bytes, required: Rights, optional: Rights) -> bytes:
    """The LISTRIGHTS response (s3.7); no rights are tied to others."""
    name = encode_mailbox(mailbox)
    letters = (bytes((letter,)) for letter, right in _KNOWN.items() if optional & right)
    parts = (name, encode_astring(identifier), encode_rights(required), *letters)
    return b"* LISTRIGHTS " + b" ".join(parts) + b"\r\n"


def my_rights(mailbox: MailboxName, rights: Rights) -> bytes:
    """The MYRIGHTS response (s3.8)."""
    return b"* MYRIGHTS " + encode_mailbox(mailbox) + b" " + encode_rights(rights) + b"\r\n"


def _mailbox(cursor: Cursor) -> MailboxName:
    cursor.sp()
    return cursor.mailbox()


def _identifier(cursor: Cursor) -> tuple[str, bytes]:
    # s3: prepared, and refused with BAD when that fails or leaves nothing
    cursor.sp()
    spelling = cursor.astring()
    try:
        identifier = saslprep(spelling.decode())
    except ValueError as error:  # of the octets or of their preparation
        raise cursor.wrong("identifier") from error
    if not identifier:
        raise cursor.wrong("identifier")
    return identifier, spelling
