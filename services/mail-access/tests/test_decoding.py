"""Decoding of parts as they stream (RFC 3516), however their octets come."""

import base64
from collections.abc import AsyncGenerator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail_access.content import Piece, ReadRange
from mail_access.imap import decoding
from postroom_wire.imap.section import Partial
from postroom_wire.mime import decode_transfer

OCTETS = bytes(range(256)) * 6


async def _each(pieces: Sequence[bytes]) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def _pieces(*pieces: Piece) -> AsyncGenerator[Piece]:
    for piece in pieces:
        yield piece


async def _decoded(encoded: bytes, encoding: str, cuts: set[int], partial: Partial | None) -> bytes:
    edges = sorted({0, len(encoded)} | {cut for cut in cuts if cut < len(encoded)})
    pieces = [encoded[start:end] for start, end in pairwise(edges)]
    return b"".join([each async for each in decoding.decoded(_each(pieces), encoding, partial)])


@given(
    st.sampled_from(["base64", "quoted-printable", "8bit"]),
    st.sets(st.integers(1, 2_000), max_size=5),
    st.none() | st.builds(Partial, st.integers(0, 2_000), st.integers(1, 2_000)),
)
async def test_decoded_octets_do_not_depend_on_cuts(
    encoding: str, cuts: set[int], partial: Partial | None
) -> None:
    encoded = base64.encodebytes(OCTETS) if encoding == "base64" else b"a=\r\n=41  \r\n" * 150
    whole = decode_transfer(encoded, encoding)
    if partial is not None:
        whole = whole[partial.offset : partial.offset + partial.length]
    assert await _decoded(encoded, encoding, cuts, partial) == whole


async def test_blocks_end_at_the_same_octets_in_each_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_BLOCK", 7)
    encoded = b"x" * 1_500 + b"   \r\n"  # a line that is too long is decoded in pieces
    readings = [await _decoded(encoded, "quoted-printable", {cut}, None) for cut in (1, 1_050, 1_502)]
    assert readings[0] == readings[1] == readings[2]


async def test_what_is_measured_is_what_comes() -> None:
    assert await decoding.measure(_each([b"ab", b"", b"c\0", b"d"])) == (5, True)
    assert await decoding.measure(_each([])) == (0, False)


@pytest.mark.parametrize(
    "pieces",
    [
        [Piece(1, b"", last=True)],
        [Piece(1, b"abc", last=True)],
        [Piece(1, b"abcde", last=True)],
        [Piece(1, b"abc", last=False)],
        [Piece(0, b"abcd", last=True)],
        [],
    ],
)
async def test_octets_that_are_fewer_or_more_than_announced_are_none(pieces: list[Piece]) -> None:
    with pytest.raises(decoding.GoneError):
        await decoding.whole(1, ReadRange(9, 0, 4), _pieces(*pieces))
