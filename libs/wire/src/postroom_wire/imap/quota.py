"""GETQUOTA, GETQUOTAROOT and SETQUOTA, and what answers them (RFC 9208)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.encoding import encode_astring, encode_mailbox
from postroom_wire.imap.mailbox_name import MailboxName

STORAGE_UNIT: Final = 1_024
"""Octets that STORAGE counts in (s5.1)."""
MAX_LIMIT: Final = 2**63 - 1
_MAX_RESOURCES: Final = 16


class Resource(Enum):
    """resource-name, those that we know."""

    STORAGE = b"STORAGE"
    MESSAGE = b"MESSAGE"


class ResourceUsage(NamedTuple):
    """quota-resource: usage and limit in the resource's unit."""

    resource: Resource
    usage: int
    limit: int


@dataclass(frozen=True, slots=True)
class GetQuota:
    """s4.1.1."""

    root: bytes


@dataclass(frozen=True, slots=True)
class GetQuotaRoot:
    """s4.1.2; the mailbox need not exist."""

    mailbox: MailboxName


@dataclass(frozen=True, slots=True)
class SetQuota:
    """s4.1.3; names of resources in upper case, of which the last one counts."""

    root: bytes
    limits: tuple[tuple[bytes, int], ...]


def parse_get_quota(cursor: Cursor) -> GetQuota:
    """getquota = "GETQUOTA" SP quota-root-name."""
    cursor.sp()
    return GetQuota(cursor.astring())


def parse_get_quota_root(cursor: Cursor) -> GetQuotaRoot:
    """getquotaroot = "GETQUOTAROOT" SP mailbox."""
    cursor.sp()
    return GetQuotaRoot(cursor.mailbox())


def parse_set_quota(cursor: Cursor) -> SetQuota:
    """setquota = "SETQUOTA" SP quota-root-name SP "(" [setquota-resource *(SP setquota-resource)] ")"."""
    cursor.sp()
    root = cursor.astring()
    cursor.sp()
    cursor.expect(b"(")
    limits: list[tuple[bytes, int]] = []
    if not cursor.next_is(b")"):
        limits.append(_set_quota_resource(cursor))
        while cursor.more(len(limits), _MAX_RESOURCES):
            limits.append(_set_quota_resource(cursor))
    cursor.expect(b")")
    return SetQuota(root, tuple(limits))


def quota(root: bytes, resources: Iterable[ResourceUsage]) -> bytes:
    """The QUOTA response (s4.2.1); what is not limited is left out."""
    listed = b" ".join(b"%b %d %d" % (each.resource.value, each.usage, each.limit) for each in resources)
    return b"* QUOTA " + encode_astring(root) + b" (" + listed + b")\r\n"


def quota_root(mailbox: MailboxName, roots: Sequence[bytes]) -> bytes:
    """The QUOTAROOT response (s4.2.2)."""
    return b"* QUOTAROOT " + b" ".join([encode_mailbox(mailbox), *map(encode_astring, roots)]) + b"\r\n"


def _set_quota_resource(cursor: Cursor) -> tuple[bytes, int]:
    # setquota-resource = resource-name SP resource-limit; resource-limit = number64
    name = cursor.atom().upper()
    cursor.sp()
    digits = cursor.digits()
    if len(digits) > 19 or (limit := int(digits)) > MAX_LIMIT:
        raise cursor.wrong("a 63-bit number")
    return name, limit
