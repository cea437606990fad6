"""URLs that name a message or a part of one in the same account (RFC 5092, RFC 4469 s3)."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import RemoteProtocolError
from postroom_wire.imap.fetch_att import parse_section
from postroom_wire.imap.mailbox_name import MailboxName, MailboxNameError
from postroom_wire.imap.section import Section

# imessagepart without scheme and server; a mailbox that is left out is the selected one (RFC 4469 s3):
# "/" enc-mailbox [";UIDVALIDITY=" nz-number] ["/"] ";UID=" nz-number ["/;SECTION=" enc-section]
_MESSAGE_PART: Final = re.compile(
    rb"(?:/(?P<mailbox>[^;/?#][^;?#]*?)(?i:;UIDVALIDITY=(?P<validity>[1-9][0-9]{0,9}))?/|/?)"
    rb"(?i:;UID=)(?P<uid>[1-9][0-9]{0,9})(?:/(?i:;SECTION=)(?P<section>[^;?#]+))?"
)
_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MAX_NUMBER: Final = 2**32 - 1


class ImapUrlError(ValueError):
    """The URL names no message, or not one of this account."""


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """A message or a part of it; `mailbox` is None for the selected one."""

    mailbox: MailboxName | None
    uid_validity: int | None
    uid: int
    section: Section


def parse_message_url(url: bytes) -> MessageUrl:
    """What a relative URL names. Raises `ImapUrlError`."""
    found = _MESSAGE_PART.fullmatch(url)
    if found is None or _PERCENT.search(url):
        raise ImapUrlError("not the form of a URL of a message")
    uid, validity = int(found["uid"]), int(found["validity"] or b"1")
    if max(uid, validity) > _MAX_NUMBER:
        raise ImapUrlError("a number of more than 32 bits")
    return MessageUrl(
        mailbox=None if found["mailbox"] is None else _mailbox(found["mailbox"]),
        uid_validity=None if found["validity"] is None else validity,
        uid=uid,
        section=_section(unquote_to_bytes(found["section"] or b"")),
    )


def _mailbox(encoded: bytes) -> MailboxName:
    """enc-mailbox: UTF-8, percent-encoded (RFC 5092 s8)."""
    try:
        return MailboxName.of(unquote_to_bytes(encoded).decode("utf-8"))
    except (UnicodeDecodeError, MailboxNameError):
        raise ImapUrlError("no name of a mailbox") from None


def _section(octets: bytes) -> Section:
    cursor = Cursor(b"[" + octets + b"]")
    try:
        section = parse_section(cursor)
        cursor.end()
    except RemoteProtocolError:
        raise ImapUrlError("no section of a message") from None
    return section
