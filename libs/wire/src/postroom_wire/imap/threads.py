"""THREAD (RFC 5256): the command, and the response that nests the threads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.search_keys import SearchKey
from postroom_wire.imap.search_parser import parse_criteria
from postroom_wire.imap.thread_algorithms import Algorithm, Place

_ALGORITHMS: Final = {algorithm.value: algorithm for algorithm in Algorithm}


@dataclass(frozen=True, slots=True)
class Thread:
    """RFC 5256 s3 BASE.6.4.THREAD."""

    algorithm: Algorithm
    key: SearchKey
    uid: bool = False


def parse_thread(cursor: Cursor, *, uid: bool = False) -> Thread:
    """thread = "THREAD" SP thread-alg SP search-criteria."""
    cursor.sp()
    algorithm = cursor.word_of(_ALGORITHMS)
    cursor.sp()
    key, _ = parse_criteria(cursor, None)
    return Thread(algorithm, key, uid)


def parse_uid_thread(cursor: Cursor) -> Thread:
    """The same after "UID" SP."""
    return parse_thread(cursor, uid=True)


def encode_threads(forest: Sequence[Place]) -> bytes:
    """thread-data = "THREAD" [SP 1*thread-list].

    A message that is not there (number 0) is left out, and so is the nesting that only one below it needs.
    """
    if not forest:
        return b"* THREAD\r\n"
    roots, children = _families(forest)
    words = ["* THREAD "]
    waiting: list[int | str] = []
    for root in reversed(roots):
        waiting += (")", root, "(")
    while waiting:
        place = waiting.pop()
        if isinstance(place, str):
            words.append(place)
            continue
        below = children[place]
        if number := forest[place].number:
            words.append(f"{number} " if below else f"{number}")
        if len(below) == 1:
            waiting.append(below[0])
            continue
        for child in reversed(below):
            waiting += (")", child, "(")
    return "".join(words).encode("ascii") + b"\r\n"


def _families(forest: Sequence[Place]) -> tuple[list[int], list[list[int]]]:
    """The roots, and the children of each place, by index."""
    roots: list[int] = []
    children: list[list[int]] = [[] for _ in forest]
    line: list[int] = []
    for at, place in enumerate(forest):
        del line[place.depth :]
        (children[line[-1]] if line else roots).append(at)
        line.append(at)
    return roots, children
