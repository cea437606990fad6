"""Responses in wire form (RFC 3501 s7), all but FETCH."""

import binascii
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.commands import StatusItem
from postroom_wire.imap.encoding import NIL, encode_mailbox, encode_nstring, encode_quoted, encode_string
from postroom_wire.imap.errors import Condition, Refusal, Tag, check_text
from postroom_wire.imap.flags import Flag, encode_flags
from postroom_wire.imap.mailbox_name import DELIMITER, MailboxName

# mbx-list-flags: RFC 3501 s7.2.2, RFC 5258 s3, RFC 3348 s3, RFC 6154 s2
NO_INFERIORS: Final = Flag("\\Noinferiors")
NO_SELECT: Final = Flag("\\Noselect")
NON_EXISTENT: Final = Flag("\\NonExistent")
SUBSCRIBED: Final = Flag("\\Subscribed")
HAS_CHILDREN: Final = Flag("\\HasChildren")
HAS_NO_CHILDREN: Final = Flag("\\HasNoChildren")
USE_ARCHIVE: Final = Flag("\\Archive")
USE_DRAFTS: Final = Flag("\\Drafts")
USE_JUNK: Final = Flag("\\Junk")
USE_SENT: Final = Flag("\\Sent")
USE_TRASH: Final = Flag("\\Trash")


def tagged(tag: Tag, condition: Condition, text: bytes, code: bytes | None = None) -> bytes:
    """response-tagged: the end of a command."""
    return Refusal(condition, text, code).encode(tag)


def untagged(condition: Condition, text: bytes, code: bytes | None = None) -> bytes:
    """resp-cond-state without a tag."""
    return Refusal(condition, text, code).encode(None)


def greeting(text: bytes, capabilities: Iterable[bytes]) -> bytes:
    """The first line, which says the capabilities as well and so saves a round trip (s7.1)."""
    return untagged(Condition.OK, text, capability_code(capabilities))


def bye(text: bytes, code: bytes | None = None) -> bytes:
    """resp-cond-bye: the connection is closed after it."""
    return b"* BYE " + (b"" if code is None else b"[" + code + b"] ") + check_text(text) + b"\r\n"


def continuation(text: bytes) -> bytes:
    """continue-req with a text."""
    return b"+ " + check_text(text) + b"\r\n"


def challenge(octets: bytes) -> bytes:
    """continue-req with a SASL challenge; the space stays when that is empty (RFC 4959 s4)."""
    return b"+ " + binascii.b2a_base64(octets, newline=False) + b"\r\n"


def capability_code(capabilities: Iterable[bytes]) -> bytes:
    """capability-data, for a response code too."""
    return b"CAPABILITY " + b" ".join(capabilities)


def capability(capabilities: Iterable[bytes]) -> bytes:
    """The CAPABILITY response (s7.2.1)."""
    return b"* " + capability_code(capabilities) + b"\r\n"


def enabled(capabilities: Iterable[bytes]) -> bytes:
    """The ENABLED response (RFC 5161 s3.2)."""
    return b" ".join((b"* ENABLED", *capabilities)) + b"\r\n"


def flags(names: Iterable[Flag]) -> bytes:
    """The FLAGS response (s7.2.6)."""
    return b"* FLAGS " + encode_flags(names) + b"\r\n"


def exists(count: int) -> bytes:
    """The EXISTS response (s7.3.1)."""
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """The RECENT response (s7.3.2)."""
    return b"* %d RECENT\r\n" % count


def expunges(sequence_numbers: Iterable[int]) -> bytes:
    """EXPUNGE responses in the order given (s7.4.1)."""
    return "".join([f"* {number} EXPUNGE\r\n" for number in sequence_numbers]).encode("ascii")


def mailbox_list(attributes: Iterable[Flag], name: MailboxName, extended: Sequence[bytes] = ()) -> bytes:
    """The LIST response (s7.2.2) with its mbox-list-extended-items, in wire form (RFC 5258 s6)."""
    return b"* LIST " + _mailbox_list(attributes, encode_mailbox(name), extended)


def child_info(criteria: Iterable[bytes]) -> bytes:
    """CHILDINFO: mailboxes below meet these selection options (RFC 5258 s3.5)."""
    return b'"CHILDINFO" (' + b" ".join(encode_quoted(each) for each in criteria) + b")"


def lsub(attributes: Iterable[Flag], name: MailboxName) -> bytes:
    """The LSUB response (s7.2.3)."""
    return b"* LSUB " + _mailbox_list(attributes, encode_mailbox(name))


def hierarchy_delimiter(command: bytes = b"LIST") -> bytes:
    """The answer to an empty pattern: the delimiter and the root (s6.3.8)."""
    return b"* " + command + b" " + _mailbox_list((NO_SELECT,), b'""')


def status(name: MailboxName, values: Mapping[StatusItem, int | bytes]) -> bytes:
    """The STATUS response (s7.2.4); a value that is no number is an object id (RFC 8474 s4.3)."""
    items = b" ".join(
        b"%b (%b)" % (item.value, value) if isinstance(value, bytes) else b"%b %d" % (item.value, value)
        for item, value in values.items()
    )
    return b"* STATUS " + encode_mailbox(name) + b" (" + items + b")\r\n"


@dataclass(frozen=True, slots=True)
class NamespacePrefix:
    """One namespace: the prefix of its names, in modified UTF-7, and its delimiter."""

    prefix: bytes = b""
    delimiter: bytes = DELIMITER.encode("ascii")


def namespace(
    personal: Sequence[NamespacePrefix],
    others: Sequence[NamespacePrefix] = (),
    shared: Sequence[NamespacePrefix] = (),
) -> bytes:
    """The NAMESPACE response (RFC 2342 s6)."""
    return b"* NAMESPACE " + b" ".join(_namespace(names) for names in (personal, others, shared)) + b"\r\n"


def server_id(parameters: Mapping[bytes, bytes | None] | None) -> bytes:
    """The ID response (RFC 2971 s3.2)."""
    if not parameters:
        return b"* ID NIL\r\n"
    pairs = b" ".join(
        encode_string(name) + b" " + encode_nstring(value) for name, value in parameters.items()
    )
    return b"* ID (" + pairs + b")\r\n"


def _namespace(prefixes: Sequence[NamespacePrefix]) -> bytes:
    if not prefixes:
        return NIL
    one = (b"(%b %b)" % (encode_string(n.prefix), encode_quoted(n.delimiter)) for n in prefixes)
    return b"(" + b"".join(one) + b")"


def _mailbox_list(attributes: Iterable[Flag], name: bytes, extended: Sequence[bytes] = ()) -> bytes:
    delimiter = encode_quoted(DELIMITER.encode("ascii"))
    items = b" (" + b" ".join(extended) + b")" if extended else b""
    return encode_flags(attributes) + b" " + delimiter + b" " + name + items + b"\r\n"
