"""Sets of UIDs as ascending, disjoint ranges: what requests name and what the journal keeps."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import asyncpg

from postroom.mailstore.v1 import mailbox_pb2
from postroom_contracts.errors import InvalidRequestError

Ranges: TypeAlias = Sequence[tuple[int, int]]
"""First and last UID of each range."""

# OFFSET 0 makes each range one look into the index. Left to itself the planner, which knows nothing of a
# mailbox that has just grown, reads the whole mailbox and compares every row with every range.
IN_RANGES = """
unnest($3::bigint[], $4::bigint[]) AS r(first, last) CROSS JOIN LATERAL (
    SELECT * FROM mailstore.mailbox_message
    WHERE account_id = $1 AND mailbox_id = $2 AND uid BETWEEN r.first AND r.last OFFSET 0
) AS m
"""
"""What to select from, as `m`: messages of account $1 and mailbox $2 in the ranges of `bounds`, $3 and $4."""

MAX_UID = 2**32 - 1
MAX_RANGES = 100_000


def parse_ranges(ranges: Iterable[mailbox_pb2.UidRange]) -> list[tuple[int, int]]:
    """The ranges of a request, ascending and disjoint. Raises InvalidRequestError."""
    found = sorted((each.first, each.last) for each in ranges)
    if len(found) > MAX_RANGES or any(first < 1 or first > last for first, last in found):
        raise InvalidRequestError("no such UID ranges")
    return merge(found)


def merge(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ascending ranges that overlap or touch."""
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def compress(uids: Iterable[int]) -> list[tuple[int, int]]:
    """The ranges of ascending UIDs."""
    ranges: list[tuple[int, int]] = []
    first = last = -1
    for uid in uids:
        if uid > last + 1 or first < 0:
            if first >= 0:
                ranges.append((first, last))
            first = uid
        last = uid
    if first >= 0:
        ranges.append((first, last))
    return ranges


def multirange(ranges: Ranges) -> "list[asyncpg.Range[int]]":
    """The ranges as Postgres keeps them: the upper bound is beyond the last UID."""
    return [asyncpg.Range(first, last + 1) for first, last in ranges]


def from_multirange(ranges: "Iterable[asyncpg.Range[int]]") -> list[tuple[int, int]]:
    """The reverse of `multirange`."""
    return [(each.lower or 0, (each.upper or 0) - 1) for each in ranges]


def range_messages(ranges: Ranges) -> list[mailbox_pb2.UidRange]:
    """The ranges as the contract has them."""
    return [mailbox_pb2.UidRange(first=first, last=last) for first, last in ranges]


def bounds(ranges: Ranges) -> tuple[list[int], list[int]]:
    """First and last UIDs as two columns, for `unnest`."""
    return [first for first, _ in ranges], [last for _, last in ranges]
