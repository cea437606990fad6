"""What FETCH can ask for (RFC 3501 s6.4.5), as values."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from postroom_wire.imap.encoding import encode_astring
from postroom_wire.imap.section import Partial, PartPath, Section


class FetchAttribute(Enum):
    """fetch-att without arguments; the value is its name in the response."""

    ENVELOPE = b"ENVELOPE"
    FLAGS = b"FLAGS"
    INTERNALDATE = b"INTERNALDATE"
    RFC822_SIZE = b"RFC822.SIZE"
    BODY = b"BODY"
    """BODYSTRUCTURE without extension data."""
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    UID = b"UID"
    MODSEQ = b"MODSEQ"
    """RFC 7162 s3.1.4.2."""
    EMAILID = b"EMAILID"
    """RFC 8474 s5.1."""
    THREADID = b"THREADID"
    """RFC 8474 s5.2."""
    SAVEDATE = b"SAVEDATE"
    """RFC 8514 s4.2."""
    PREVIEW = b"PREVIEW"
    """RFC 8970 s3; it is always at hand, so LAZY changes nothing."""


@dataclass(frozen=True, slots=True)
class FetchSection:
    """BODY[section]<partial> and the RFC822 items that stand for one.

    `label` is what the response calls it. `peek` is False where the fetch sets \\Seen (s6.4.5).
    """

    section: Section
    partial: Partial | None
    peek: bool
    label: bytes


@dataclass(frozen=True, slots=True)
class FetchBinary:
    """BINARY[part]<partial> (RFC 3516 s4.2): a part's octets without their transfer encoding.

    `label` and `peek` as in `FetchSection`; without a part it is the whole message as it is.
    """

    part: PartPath
    partial: Partial | None
    peek: bool
    label: bytes


@dataclass(frozen=True, slots=True)
class FetchBinarySize:
    """BINARY.SIZE[part] (RFC 3516 s4.2): how many octets `FetchBinary` would give."""

    part: PartPath
    label: bytes


FetchContent: TypeAlias = FetchSection | FetchBinary | FetchBinarySize
"""What is found by looking into the message."""

FetchItem: TypeAlias = FetchAttribute | FetchContent

FAST: Final = (FetchAttribute.FLAGS, FetchAttribute.INTERNALDATE, FetchAttribute.RFC822_SIZE)
ALL: Final = (*FAST, FetchAttribute.ENVELOPE)
FULL: Final = (*ALL, FetchAttribute.BODY)
MACROS: Final[dict[bytes, tuple[FetchItem, ...]]] = {b"ALL": ALL, b"FAST": FAST, b"FULL": FULL}


def binary_label(name: bytes, part: PartPath, partial: Partial | None = None) -> bytes:
    """The response's name of BINARY[part]<origin> or BINARY.SIZE[part] (RFC 3516 s4.3)."""
    origin = b"" if partial is None else b"<%d>" % partial.offset
    return name + b"[" + b".".join(b"%d" % number for number in part) + b"]" + origin


def section_label(section: Section, partial: Partial | None) -> bytes:
    """The response's name of BODY[section]<origin>; PEEK and the length are not repeated (s7.4.2)."""
    names = [b"%d" % number for number in section.part]
    if section.text is not None:
        names.append(section.text.value)
    spec = b".".join(names)
    if section.filtered:
        spec += b" (" + b" ".join(encode_astring(name) for name in section.fields) + b")"
    origin = b"" if partial is None else b"<%d>" % partial.offset
    return b"BODY[" + spec + b"]" + origin
