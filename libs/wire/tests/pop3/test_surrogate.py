"""Internationalized messages for clients that take ASCII only (RFC 6856 s2.1, RFC 6858)."""

from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.pop3.surrogate import ContentEncoder

MAIL = """From: Jürgen <jürgen@example.com>
To: "Doe, Jane" <jane@example.com>, Zoë <zoe@example.com>,
 büro@example.com
Subject: Grüße aus\r
 Köln
Date: Mon, 23 Nov 2026 12:00:00 +0000
X-Note: für später
Message-ID: <1@example.com>

Schöne Grüße
""".replace("\r\n", "\n").replace("\n", "\r\n")


def said(mail: bytes, *, utf8: bool = False, lines: int | None = None, step: int = 0) -> bytes:
    """The response's lines, for a message that comes in pieces."""
    encoder = ContentEncoder(lines, utf8=utf8)
    step = step or len(mail) or 1
    found = b"".join(encoder.feed(mail[start : start + step]) for start in range(0, len(mail), step))
    return found + encoder.finish()


@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_the_header_is_rewritten_and_the_body_stays(step: int) -> None:
    surrogate = said(MAIL.encode(), step=step).removesuffix(b".\r\n")
    header, _, body = surrogate.partition(b"\r\n\r\n")
    assert header.isascii()
    assert body == "Schöne Grüße\r\n".encode()
    found = message_from_bytes(surrogate, policy=policy.default)
    assert not found.defects
    assert found["Subject"] == "Grüße aus Köln"
    assert [str(each.addr_spec) for each in found["To"].addresses] == ["jane@example.com", "zoe@example.com"]
    assert found["To"].groups[-1].display_name == "büro@example.com"
    assert found["From"].groups[0].display_name == "Jürgen jürgen@example.com"
    assert not found["From"].groups[0].addresses
    assert (found["X-Note"], found["Message-ID"]) == (None, "<1@example.com>")


@pytest.mark.parametrize("step", [0, 1, 5])
def test_with_utf8_the_message_comes_as_it_is(step: int) -> None:
    assert said(MAIL.encode(), utf8=True, step=step) == MAIL.encode() + b".\r\n"


def test_top_counts_lines_of_the_body() -> None:
    surrogate = said(MAIL.encode(), lines=0)
    assert surrogate.isascii()
    assert surrogate.endswith(b"\r\n\r\n.\r\n")


def test_the_blank_line_stays_where_the_last_field_goes() -> None:
    assert said("A: b\r\nX: ü\r\n\r\nü\r\n".encode()) == "A: b\r\n\r\nü\r\n.\r\n".encode()
    assert said("X: ü\r\n\r\nhello\r\n".encode()) == b"\r\nhello\r\n.\r\n"


def test_a_body_alone_is_not_looked_at() -> None:
    assert said("\r\nSubject: ü\r\n\r\n".encode()) == "\r\nSubject: ü\r\n\r\n.\r\n".encode()


def test_octets_that_are_no_utf8_are_what_they_always_were() -> None:
    assert said(b"Subject: caf\xe9\r\n\r\nx\r\n") == b"Subject: caf\xe9\r\n\r\nx\r\n.\r\n"


def test_a_header_without_end_is_not_held() -> None:
    encoder = ContentEncoder(None, utf8=False)
    chunk = "X: ü\r\n".encode() * 1_000
    sizes = [len(encoder.feed(chunk)) for _ in range(100)]
    assert sum(sizes) > 99 * len(chunk) - 262_144
    assert encoder.feed("\r\nü\r\n".encode()).endswith("?\r\n\r\nü\r\n".encode())


_PIECES = [b"From: ", b"a", "ü".encode(), b"\xff", b"\r\n", b"\n", b" ", b"@", b",", b":"]


@given(st.lists(st.sampled_from(_PIECES)))
def test_any_header_gives_the_same_wherever_it_is_cut(pieces: list[bytes]) -> None:
    mail = b"".join(pieces)
    assert said(mail, step=1) == said(mail)
    assert said(mail).endswith(b".\r\n")
