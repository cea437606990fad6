"""The store's rows as octets, taken over without a look at each number."""

import sys
from array import array
from dataclasses import dataclass

from postroom.mailstore.v1 import mailbox_pb2


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows as `mailbox_pb2.Rows` has them, in arrays of the view's own types."""

    uids: "array[int]"
    flags: "array[int]"
    keywords: "array[int]"
    modseqs: "array[int]"
    sizes: "array[int]"
    internal_dates: "array[int]"


@dataclass(frozen=True, slots=True)
class FlagColumns:
    """The messages that one change gave other flags, and these."""

    uids: "array[int]"
    flags: "array[int]"
    keywords: "array[int]"


def unpack(packed: mailbox_pb2.PackedRows) -> Columns:
    """The columns of a page."""
    return Columns(
        uids=_column("I", packed.uids),
        flags=array("B", packed.flags[1::2]),  # all flags are in the lower octet
        keywords=_column("Q", packed.keywords),
        modseqs=_column("Q", packed.modseqs),
        sizes=_column("Q", packed.sizes),
        internal_dates=_column("q", packed.internal_dates),
    )


def unpack_flags(changed: mailbox_pb2.ChangedFlags) -> FlagColumns:
    """The columns of a change."""
    uids = _column("I", changed.uids)
    return FlagColumns(
        uids=uids,
        flags=array("B", changed.flags[1::2]),
        keywords=_column("Q", changed.keywords or bytes(8 * len(uids))),
    )


def _column(typecode: str, octets: bytes) -> "array[int]":
    column: array[int] = array(typecode)
    column.frombytes(octets)
    if sys.byteorder == "little":
        column.byteswap()
    return column
