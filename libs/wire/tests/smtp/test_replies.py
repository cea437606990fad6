"""Replies: how they are written, and that none of ours breaks a line or a limit."""

import re

import pytest

from postroom_wire.smtp import Reply, standard_replies

CONSTANTS = {name: value for name, value in vars(standard_replies).items() if isinstance(value, Reply)}


def test_each_line_carries_the_codes() -> None:
    assert Reply(250, "2.0.0", "OK").octets == b"250 2.0.0 OK\r\n"
    assert Reply(550, "5.7.1", "No\nReally").octets == b"550-5.7.1 No\r\n550 5.7.1 Really\r\n"
    assert Reply(354, None, "Go on").octets == b"354 Go on\r\n"
    assert Reply(334, None, "").octets == b"334 \r\n"
    assert Reply(250, "2.1.5", "änne").octets == "250 2.1.5 änne\r\n".encode()


@pytest.mark.parametrize("code", [-1, 0, 99, 199, 600, 1000])
def test_a_code_has_three_digits_from_2_to_5(code: int) -> None:
    with pytest.raises(ValueError, match="between"):
        Reply(code, None, "x")


@pytest.mark.parametrize(
    ("code", "enhanced"), [(250, "5.0.0"), (550, "5.0"), (354, "2.0.0"), (450, "4.1234.0"), (250, "2.0.0 ")]
)
def test_an_enhanced_code_fits_the_code(code: int, enhanced: str) -> None:
    with pytest.raises(ValueError, match="enhanced"):
        Reply(code, enhanced, "x")


@pytest.mark.parametrize("text", ["a\rb", "a\r\n250 b", "\0", "\x7f", "\x85", "\u2028", "\ud800"])
def test_a_text_cannot_break_a_line(text: str) -> None:
    with pytest.raises(ValueError, match="control"):
        Reply(250, None, text)


@pytest.mark.parametrize(
    ("code", "positive", "transient", "permanent"),
    [
        (250, True, False, False),
        (354, True, False, False),
        (450, False, True, False),
        (550, False, False, True),
    ],
)
def test_the_first_digit_is_the_kind(code: int, *, positive: bool, transient: bool, permanent: bool) -> None:
    reply = Reply(code, None, "x")
    assert (reply.positive, reply.transient, reply.permanent) == (positive, transient, permanent)


@pytest.mark.parametrize("name", CONSTANTS)
def test_our_constants_are_ascii_lines_within_the_limit(name: str) -> None:
    reply = CONSTANTS[name]
    assert re.fullmatch(rb"[2-5][0-9]{2} [ -~]+\r\n", reply.octets)
    assert len(reply.octets) <= 512  # RFC 5321 s4.5.3.1.5
    # RFC 2034 s3: all but the replies that only introduce something carry an enhanced code
    assert (reply.enhanced is None) == (reply.code == 354)


def test_a_reply_shows_as_one_line() -> None:
    assert str(Reply(550, "5.7.1", "No\nReally")) == "550 5.7.1 No Really"
    assert str(Reply(250, None, "x")) == "250 x"
