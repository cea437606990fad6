"""What SORT and THREAD compare of a message (RFC 5256, RFC 5957), from what the scanner found."""

import datetime as dt
import json
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypedDict, cast

from postroom_wire.imap.base_subject import base_subject
from postroom_wire.imap.casemap import casemap

_MAX_KEY: Final = 500
"""Characters of a key; what differs beyond is in the mailbox's order."""

# msg-id = "<" id-left "@" id-right ">", whose id-left may be quoted
_MSG_ID: Final = re.compile(r'<(?:"((?:[^"\\]|\\.)*)"|([^"@]+))@([^@]+)>')
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


class _Address(TypedDict):
    name: str
    address: str


_Summary = TypedDict(
    "_Summary",
    {
        "message_id": str | None,
        "in_reply_to": list[str],
        "references": list[str],
        "subject": str,
        "from": list[_Address],
        "to": list[_Address],
        "cc": list[_Address],
    },
)


@dataclass(frozen=True, slots=True)
class SortKeys:
    """One message's keys, folded; message ids are hashes of 64 bits."""

    sent_at: dt.datetime | None
    subject: str
    is_reply: bool
    from_mailbox: str
    to_mailbox: str
    cc_mailbox: str
    from_name: str
    to_name: str
    own_id: int | None
    reference_ids: list[int]


def sort_keys(summary: bytes, sent_at: dt.datetime | None) -> SortKeys:
    """The keys of a message, from the summary and the date in its row."""
    found = cast("_Summary", json.loads(summary))  # what was stored is ours
    subject = base_subject(found["subject"])
    return SortKeys(
        sent_at=sent_at,
        subject=_key(subject.text),
        is_reply=subject.is_reply,
        from_mailbox=_mailbox(found["from"]),
        to_mailbox=_mailbox(found["to"]),
        cc_mailbox=_mailbox(found["cc"]),
        from_name=_display(found["from"]),
        to_name=_display(found["to"]),
        own_id=hash_of(found["message_id"] or ""),
        reference_ids=_references(found),
    )


def hash_of(message_id: str) -> int | None:
    """A number for a message id, the same for each way to quote it; None for what is none."""
    valid = _MSG_ID.fullmatch(message_id)
    if valid is None:
        return None
    left = valid[2] if valid[1] is None else _QUOTED_PAIR.sub(r"\1", valid[1])
    digest = blake2b(f"{left}@{valid[3]}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _references(found: _Summary) -> list[int]:
    """The references, else the first of In-Reply-To (RFC 5256 s3)."""
    references = [number for each in found["references"] if (number := hash_of(each)) is not None]
    if references:
        return references
    parents = (number for each in found["in_reply_to"] if (number := hash_of(each)) is not None)
    return [parent for parent in (next(parents, None),) if parent is not None]


# DEVIATION: RFC 5256 s3: of a list that begins with a group the first address counts, not the group's name.
def _mailbox(addresses: list[_Address]) -> str:
    """addr-mailbox of the first address."""
    if not addresses:
        return ""
    mailbox, _, host = addresses[0]["address"].rpartition("@")
    return _key(mailbox or host)


def _display(addresses: list[_Address]) -> str:
    """The display sort value of the first address (RFC 5957 s3)."""
    return _key(addresses[0]["name"] or addresses[0]["address"]) if addresses else ""


def _key(text: str) -> str:
    return casemap(text[:_MAX_KEY])
