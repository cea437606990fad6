"""ENVELOPE in wire form (RFC 3501 s7.4.2)."""

from dataclasses import dataclass
from typing import Final

from postroom_wire.mime.addresses import RawAddress, parse_addresses
from postroom_wire.mime.fields import Fields, Scan, first_within, unfold
from postroom_wire.mime.imap_string import NIL, imap_nstring
from postroom_wire.mime.limits import Limit

_ADDRESS_FIELDS: Final = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a message's header says of its date, subject and parties; values as they stand, unfolded."""

    date: bytes | None
    subject: bytes | None
    in_reply_to: bytes | None
    message_id: bytes | None
    addresses: dict[bytes, list[RawAddress]]
    """By lower-case field name; a field that is missing or empty is missing."""

    def encode(self) -> bytes:
        """The parenthesized list; Sender and Reply-To default to From."""
        lists = self.addresses
        origin = lists.get(b"from")
        return b"(%b %b %b %b %b %b %b %b %b %b)" % (
            imap_nstring(self.date),
            imap_nstring(self.subject),
            _address_list(origin),
            _address_list(lists.get(b"sender", origin)),
            _address_list(lists.get(b"reply-to", origin)),
            _address_list(lists.get(b"to")),
            _address_list(lists.get(b"cc")),
            _address_list(lists.get(b"bcc")),
            imap_nstring(self.in_reply_to),
            imap_nstring(self.message_id),
        )


def read_envelope(scan: Scan, fields: Fields) -> Envelope:
    """The envelope facts of one header block."""
    addresses: dict[bytes, list[RawAddress]] = {}
    for name in _ADDRESS_FIELDS:
        if (values := fields.get(name)) is not None and (found := _read_addresses(scan, values)):
            addresses[name] = found
    return Envelope(
        date=first_within(scan, fields, b"date"),
        subject=first_within(scan, fields, b"subject"),
        in_reply_to=first_within(scan, fields, b"in-reply-to"),
        message_id=first_within(scan, fields, b"message-id"),
        addresses=addresses,
    )


def _read_addresses(scan: Scan, values: list[bytes]) -> list[RawAddress]:
    """All fields of one name together: RFC 5322 s3.6 allows one, RFC 7103 s7.5.1 is about more."""
    value = unfold(values[0]) if len(values) == 1 else b",".join(map(unfold, values))
    found, cut = parse_addresses(value, scan.limits.addresses - scan.addresses)
    if cut:
        scan.limited.add(Limit.ADDRESSES)
    scan.addresses += len(found)
    if len(value) <= scan.limits.value:
        return found
    return [_within(scan, address) for address in found]


def _within(scan: Scan, address: RawAddress) -> RawAddress:
    bound = scan.limits.value
    if all(text is None or len(text) <= bound for text in address):
        return address
    scan.limited.add(Limit.VALUE)
    return RawAddress(*(None if text is None else text[:bound] for text in address))


def _address_list(addresses: list[RawAddress] | None) -> bytes:
    if not addresses:
        return NIL
    return b"(%b)" % b"".join(
        b"(%b %b %b %b)"
        % (imap_nstring(name), imap_nstring(route), imap_nstring(mailbox), imap_nstring(host))
        for name, route, mailbox, host in addresses
    )
