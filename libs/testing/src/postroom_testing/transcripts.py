"""Dialogues as tests: lines of `C:` and `S:`, run against an engine whose octets arrive cut everywhere."""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

Converse: TypeAlias = Callable[[Sequence[bytes]], bytes]
"""All that a fresh engine says when the peer's octets arrive in these chunks."""

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([rn0\\]))")
_PLAIN = {b"r": b"\r", b"n": b"\n", b"0": b"\x00", b"\\": b"\\"}


def side(transcript: str, who: str) -> bytes:
    """The octets that one side (`C` or `S`) sends.

    Each line ends in CRLF, unless it ends in a backslash; `\\r`, `\\n`, `\\0`, `\\\\` and `\\xNN` are octets.
    """
    lines = (line.strip() for line in transcript.strip().splitlines())
    return b"".join(_octets(line[len(who) + 2 :]) for line in lines if line.startswith(f"{who}:"))


def _octets(line: str) -> bytes:
    whole = not (line.endswith("\\") and not line.endswith("\\\\"))
    text = line.encode() if whole else line[:-1].encode()
    return _ESCAPE.sub(_unescape, text) + (b"\r\n" if whole else b"")


def _unescape(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        return bytes.fromhex(found[1].decode())
    return _PLAIN[found[2]]


def every_cut(octets: bytes) -> Iterator[list[bytes]]:
    """The octets whole, one by one, and cut once at each place."""
    yield [octets]
    yield [octets[place : place + 1] for place in range(len(octets))]
    for place in range(1, len(octets)):
        yield [octets[:place], octets[place:]]


def chunks(octets: bytes, cuts: set[int]) -> list[bytes]:
    """The octets cut at these places, for Hypothesis."""
    edges = sorted({0, len(octets)} | {cut for cut in cuts if 0 < cut < len(octets)})
    return [octets[start:end] for start, end in pairwise(edges)]


def run_at_every_cut(transcript: str, converse: Converse) -> None:
    """Raise `AssertionError` unless the engine says its side of the transcript, however the octets arrive."""
    expected = side(transcript, "S")
    for pieces in every_cut(side(transcript, "C")):
        if (said := converse(pieces)) != expected:
            raise AssertionError(f"cut as {pieces!r}\nsaid     {said!r}\nexpected {expected!r}")
