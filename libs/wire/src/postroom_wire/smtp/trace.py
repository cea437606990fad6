"""Trace information: the lines that a server puts on top of a message (RFC 5321 s4.4)."""

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from postroom_wire.smtp.addresses import AddressError, ForwardPath, ReversePath, check_domain, format_path
from postroom_wire.smtp.errors import LocalProtocolError

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ATOM: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+")
_HEADER_END: Final = re.compile(rb"\A\r\n|\r\n\r\n")
_RECEIVED: Final = re.compile(rb"(?:\A|\r\n)received[ \t]*:", re.IGNORECASE)
_LOOKED_AT: Final = 1_000  # a whole line of RFC 5321 s4.5.3.1.6
# field-name = 1*ftext (RFC 5322 s2.2); white space before the colon is of old (RFC 5322 s4.5.8)
_FIELD_START: Final = re.compile(rb"[!-9;-~]++[ \t]*+:")
# "From ", who sent it, and a time of day; the others have a ">" from each mailbox that they were in
_MBOX_LINE: Final = re.compile(rb">*+From [^ ]++ .*?[0-9]:[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Trace:
    """What goes into one `Received:` line.

    `helo` is the session's, `peer_address` the IP address, `protocol` the session's `with_protocol`, `id` our
    queue id (an atom), `when` an aware instant. `peer_name` is the name that DNS gives the peer, if it was
    asked and agrees. `recipient` is for a message to exactly one, else they would learn of each other (s7.2).
    """

    helo: str
    peer_address: str
    by: str
    protocol: str
    id: str
    when: datetime
    peer_name: str | None = None
    recipient: ForwardPath | None = None


def received_line(trace: Trace) -> bytes:
    """The folded `Received:` line with its CRLF.

    Raises `LocalProtocolError` when the id is no atom or the instant is naive, `ValueError` for a peer
    address that is no IP address.
    """
    if not _ATOM.fullmatch(trace.id):
        raise LocalProtocolError("the id is no atom")
    literal = address_literal(trace.peer_address)
    name = f"{trace.peer_name} " if trace.peer_name and _is_domain(trace.peer_name) else ""
    line = f"Received: from {trace.helo} ({name}{literal})\r\n"
    line += f"\tby {trace.by} with {trace.protocol} id {trace.id}"
    # Without SMTPUTF8 a header is ASCII
    if trace.recipient is not None and (trace.recipient.ascii or trace.protocol.startswith("UTF8")):
        line += f"\r\n\tfor {format_path(trace.recipient)}"
    return f"{line};\r\n\t{format_date_time(trace.when)}\r\n".encode()


def protocol_word(*, esmtp: bool, lmtp: bool, tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """The word for the `with` clause of `Received:` (RFC 3848, RFC 6531 s4.3)."""
    if not esmtp:
        return "SMTP"
    word = ("UTF8" if smtputf8 else "" if lmtp else "E") + ("LMTP" if lmtp else "SMTP")
    return word + ("S" if tls else "") + ("A" if authenticated else "")


def return_path_line(reverse_path: ReversePath) -> bytes:
    """The `Return-Path:` line with its CRLF, of final delivery only."""
    return f"Return-Path: {format_path(reverse_path)}\r\n".encode()


def format_date_time(when: datetime) -> str:
    """date-time of RFC 5322 s3.3 in the instant's own zone. Raises `LocalProtocolError` for a naive one."""
    if (offset := when.utcoffset()) is None:
        raise LocalProtocolError("the instant has no time zone")
    return _date_time(when.replace(microsecond=0, tzinfo=None), offset)


def trace_separator(start: bytes) -> bytes | None:
    """What goes between the trace lines and a content that begins so; None when more of it must be seen.

    Nothing, where the content begins with a header field or an empty line. An empty line, where it begins
    with text: the text would be taken for more of our header. The separator line of a mailbox file stays in
    the header, as a field. A whole line is always enough.
    """
    if _FIELD_START.match(start, 0, _LOOKED_AT):
        return b""
    line, end, _ = start[:_LOOKED_AT].partition(b"\r\n")
    if not end and len(start) < _LOOKED_AT:
        return None
    if not line:
        return b""
    return b"X-Mailbox-Line: " if _MBOX_LINE.match(line) else b"\r\n"


def count_received(content: bytes) -> int:
    """How many servers the message has passed, for the detection of loops (RFC 5321 s6.3).

    `content` begins with the header; what follows the header is not counted.
    """
    end = _HEADER_END.search(content)
    header = content if end is None else content[: end.start()]
    return sum(1 for _ in _RECEIVED.finditer(header))


@lru_cache(maxsize=1024)
def address_literal(text: str) -> str:
    """An IP address as RFC 5321 s4.1.3 writes it. Raises `ValueError`."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


@lru_cache(maxsize=8)
def _date_time(local: datetime, offset: timedelta) -> str:
    """Many messages come within one second. Not of an aware instant: equal ones may be in different zones."""
    minutes = int(offset.total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    day = f"{_DAYS[local.weekday()]}, {local.day} {_MONTHS[local.month - 1]} {local.year:04d}"
    return f"{day} {local:%H:%M:%S} {sign}{hours:02d}{minutes:02d}"


def _is_domain(name: str) -> bool:
    try:
        check_domain(name)
    except AddressError:
        return False
    return name.isascii()
