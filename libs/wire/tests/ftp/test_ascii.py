"""TYPE A both ways."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.ftp import AsciiDecoder, AsciiEncoder

_TEXTS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\xc3\xa9"]), max_size=40).map(b"".join)
_CUTS = st.sets(st.integers(1, 80))


def cut(octets: bytes, cuts: set[int]) -> list[bytes]:
    edges = [0, *sorted(at for at in cuts if at < len(octets)), len(octets)]
    return [octets[a:b] for a, b in pairwise(edges)]


def encode(chunks: list[bytes]) -> bytes:
    encoder = AsciiEncoder()
    return b"".join(encoder.encode(chunk) for chunk in chunks)


def decode(chunks: list[bytes]) -> bytes:
    decoder = AsciiDecoder()
    return b"".join(decoder.decode(chunk) for chunk in chunks) + decoder.finish()


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (b"", b""),
        (b"a\nb", b"a\r\nb"),
        (b"\n\n", b"\r\n\r\n"),
        (b"a\r\nb\n", b"a\r\nb\r\n"),
        (b"a\r", b"a\r"),
        (b"\r\r\n", b"\r\r\n"),
    ],
)
def test_line_feeds_are_sent_as_crlf(stored: bytes, sent: bytes) -> None:
    assert encode([stored]) == sent


@pytest.mark.parametrize(
    ("received", "stored"),
    [(b"", b""), (b"a\r\nb", b"a\nb"), (b"a\rb\r", b"a\rb\r"), (b"a\nb", b"a\nb"), (b"\r\r\n\n", b"\r\n\n")],
)
def test_crlf_is_stored_as_a_line_feed(received: bytes, stored: bytes) -> None:
    assert decode([received]) == stored


@given(_TEXTS, _CUTS)
def test_conversion_does_not_depend_on_where_the_chunks_end(text: bytes, cuts: set[int]) -> None:
    assert encode(cut(text, cuts)) == encode([text])
    assert decode(cut(text, cuts)) == decode([text])


@given(_TEXTS, _CUTS, _CUTS)
def test_a_text_survives_the_way_there_and_back(text: bytes, there: set[int], back: set[int]) -> None:
    stored = text.replace(b"\r\n", b"")
    while b"\r\n" in stored:
        stored = stored.replace(b"\r\n", b"")
    assert decode(cut(encode(cut(stored, there)), back)) == stored
    assert decode(cut(encode(cut(text, there)), back)) == text.replace(b"\r\n", b"\n")


def test_an_empty_chunk_does_not_part_a_crlf() -> None:
    assert decode([b"a\r", b"", b"\nb"]) == b"a\nb"
    assert encode([b"a\r", b"", b"\nb"]) == b"a\r\nb"
