"""Messages as multi-line responses: nothing in them can end the response, and chunks do not matter."""

from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.pop3 import MultiLineEncoder

MAILS: Final = st.lists(
    st.sampled_from(
        (b"\r\n", b"\n", b"\r", b".", b"..", b"a", b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r\n\r\n", b"\0")
    )
    | st.binary(max_size=4),
    max_size=30,
).map(b"".join)


def encode(chunks: list[bytes], lines: int | None = None) -> bytes:
    encoder = MultiLineEncoder(lines)
    return b"".join(map(encoder.feed, chunks)) + encoder.finish()


def decode(response: bytes) -> bytes:
    """What a client makes of it (RFC 1939 s3)."""
    assert response.endswith((b"\r\n.\r\n", b".\r\n"))
    *lines, end, nothing = response.split(b"\r\n")
    assert (end, nothing) == (b".", b"")
    assert b"." not in lines
    assert not any(b"\n" in line for line in lines)
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


def canonical(mail: bytes) -> bytes:
    """The mail in CRLF lines."""
    mail = mail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return mail if mail.endswith(b"\r\n") or not mail else mail + b"\r\n"


@given(mail=MAILS, cuts=st.sets(st.integers(0, 120)))
def test_a_client_reads_the_mail_however_it_was_cut(mail: bytes, cuts: set[int]) -> None:
    edges = sorted({0, len(mail)} | {cut for cut in cuts if cut < len(mail)})
    response = encode([mail[a:b] for a, b in pairwise(edges)])
    assert response == encode([mail])
    assert decode(response) == canonical(mail)


@given(mail=MAILS, lines=st.integers(0, 5), cuts=st.sets(st.integers(0, 120)))
def test_the_top_is_the_header_and_some_lines(mail: bytes, lines: int, cuts: set[int]) -> None:
    edges = sorted({0, len(mail)} | {cut for cut in cuts if cut < len(mail)})
    response = encode([mail[a:b] for a, b in pairwise(edges)], lines)
    whole = canonical(mail)
    # An empty first line ends the header at once.
    header, blank, body = (b"\r\n" + whole).partition(b"\r\n\r\n")
    expected = (header + blank)[2:] + b"".join(line + b"\r\n" for line in body.split(b"\r\n")[:-1][:lines])
    assert decode(response) == expected


@pytest.mark.parametrize(
    ("mail", "lines", "response"),
    [
        (b"", None, b".\r\n"),
        (b".", None, b"..\r\n.\r\n"),
        (b"a", None, b"a\r\n.\r\n"),
        (b"a\r\n", None, b"a\r\n.\r\n"),
        (b"a\n.\nb", None, b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", None, b"a\r\n..\r\nb\r\n.\r\n"),
        (b"A: b\r\n", 0, b"A: b\r\n.\r\n"),
        (b"A: b\r\n\r\nx\r\ny\r\n", 0, b"A: b\r\n\r\n.\r\n"),
        (b"A: b\r\n\r\nx\r\ny\r\n", 1, b"A: b\r\n\r\nx\r\n.\r\n"),
        (b"A: b\r\n\r\nx\r\ny", 2, b"A: b\r\n\r\nx\r\ny\r\n.\r\n"),
        (b"\r\nx\r\ny\r\n", 1, b"\r\nx\r\n.\r\n"),
    ],
)
def test_a_mail_is_encoded(mail: bytes, lines: int | None, response: bytes) -> None:
    assert encode([mail], lines) == response


def test_no_more_is_wanted_than_the_top() -> None:
    encoder = MultiLineEncoder(1)
    encoder.feed(b"A: b\r\n\r\n")
    assert not encoder.finished
    assert encoder.feed(b"x\r\ny\r\nz") == b"x\r\n"
    assert encoder.finished
    assert encoder.feed(b"more\r\n") == b""
    assert encoder.finish() == b".\r\n"
