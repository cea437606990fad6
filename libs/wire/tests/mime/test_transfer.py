"""Transfer encodings: whole, in chunks, and broken (RFC 2045 s6.7, s6.8)."""

import base64
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime.transfer import (
    decode_transfer,
    decoder,
    encode_base64,
    encode_quoted_printable,
)

DECODED: Final = {
    "base64": {
        b"": b"",
        b"aGVsbG8=": b"hello",
        b"aGVs\r\nbG8=\r\n": b"hello",
        b"aGVsbG8": b"hello",
        b"aGVsbG": b"hell",
        b"aGVsb": b"hel",
        b"a G\xffV!s": b"hel",
        b"aGVsbG8=\r\n-- \r\nA footer of a list\r\n": b"hello",
        b"=": b"",
        b"====": b"",
    },
    "quoted-printable": {
        b"": b"",
        b"caf=C3=A9": b"caf\xc3\xa9",
        b"caf=c3=a9": b"caf\xc3\xa9",
        b"one=\r\ntwo": b"onetwo",
        b"one=\ntwo": b"onetwo",
        b"one= \t\r\ntwo": b"onetwo",
        b"one  \r\ntwo\t\ntwo \r\n": b"one\r\ntwo\ntwo\r\n",
        b"end \r\n \t": b"end\r\n",
        b"a=ZZb": b"a=ZZb",
        b"a==b": b"a=b",
        b"a\xe9b": b"a\xe9b",
    },
    "7bit": {b"a=C3 \r\n": b"a=C3 \r\n"},
    "x-unknown": {b"a=C3 \r\n": b"a=C3 \r\n"},
}


@pytest.mark.parametrize(
    ("encoding", "encoded"), [(encoding, encoded) for encoding, table in DECODED.items() for encoded in table]
)
def test_octets_are_decoded(encoding: str, encoded: bytes) -> None:
    assert decode_transfer(encoded, encoding) == DECODED[encoding][encoded]


@given(
    encoding=st.sampled_from(("base64", "quoted-printable", "7bit")),
    octets=st.lists(
        st.sampled_from((b"=", b"=C3", b"=\r\n", b" ", b"\t", b"\r\n", b"\n", b"\r", b"a", b"QUJD", b"=="))
        | st.binary(max_size=4),
        max_size=40,
    ).map(b"".join),
    cuts=st.sets(st.integers(0, 100)),
)
def test_decoding_does_not_depend_on_the_chunks(encoding: str, octets: bytes, cuts: set[int]) -> None:
    reader = decoder(encoding)
    edges = sorted({0, len(octets)} | {cut for cut in cuts if cut < len(octets)})
    decoded = b"".join(reader.feed(octets[a:b]) for a, b in pairwise(edges)) + reader.finish()
    assert decoded == decode_transfer(octets, encoding)


def test_a_line_without_end_is_not_kept() -> None:
    reader = decoder("quoted-printable")
    fed = b"".join(reader.feed(b"=C3=A9" * 50) for _ in range(1_000))
    assert len(fed) > 99_000
    assert (fed + reader.finish()) == b"\xc3\xa9" * 50_000


@given(st.binary(max_size=400))
def test_base64_is_the_same_after_encoding(octets: bytes) -> None:
    encoded = encode_base64(octets)
    assert encoded.replace(b"\r\n", b"") == base64.b64encode(octets)
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert decode_transfer(encoded, "base64") == octets


@given(st.lists(st.binary(max_size=120).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))))
def test_quoted_printable_is_the_same_after_encoding(lines: list[bytes]) -> None:
    octets = b"\r\n".join(lines)
    encoded = encode_quoted_printable(octets)
    assert encoded.isascii()
    assert all(len(line) <= 76 for line in encoded.split(b"\r\n"))
    assert decode_transfer(encoded, "quoted-printable") == octets


def test_lines_that_relays_alter_are_quoted() -> None:
    encoded = encode_quoted_printable(b".\r\nFrom me\r\nend ")
    assert encoded == b"=2E\r\n=46rom me\r\nend=20"
