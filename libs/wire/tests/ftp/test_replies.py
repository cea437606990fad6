"""Replies and the constants among them."""

import pytest

from postroom_wire.ftp import Reply
from postroom_wire.ftp import standard_replies as replies
from postroom_wire.ftp.parser import VERBS

_ALL = {name: reply for name, reply in vars(replies).items() if isinstance(reply, Reply)}


def test_one_line_has_a_space_behind_its_code() -> None:
    assert Reply(200, "Fine").octets == b"200 Fine\r\n"


def test_many_lines_begin_and_end_with_the_code_and_none_between_can_pass_for_the_end() -> None:
    reply = Reply(123, "First line\nSecond line\n123 A line beginning with numbers\nThe last line")
    assert reply.octets == (
        b"123-First line\r\n Second line\r\n 123 A line beginning with numbers\r\n123 The last line\r\n"
    )


@pytest.mark.parametrize("text", ["a\rb", "a\0b", "a\ud800"])
def test_a_text_that_would_break_the_wire_is_a_bug_of_ours(text: str) -> None:
    with pytest.raises(ValueError, match="no NUL"):
        Reply(200, text)


@pytest.mark.parametrize("code", [99, 600])
def test_codes_have_three_digits(code: int) -> None:
    with pytest.raises(ValueError, match="between 100 and 599"):
        Reply(code, "x")


@pytest.mark.parametrize("name", _ALL)
def test_constants_are_one_line_of_ascii(name: str) -> None:
    assert _ALL[name].octets.isascii()
    assert _ALL[name].octets.count(b"\r\n") == 1


def test_the_network_protocol_reply_has_the_form_that_machines_read() -> None:
    """RFC 2428 s2: the list in parentheses, none of them in the text before."""
    for reply, number in ((replies.USE_PROTOCOL_1, "1"), (replies.USE_PROTOCOL_2, "2")):
        assert reply.code == 522
        assert reply.text.endswith(f"({number})")
        assert reply.text.count("(") == 1


def test_every_command_of_the_issue_is_understood() -> None:
    wanted = (
        "USER PASS AUTH PBSZ PROT PORT EPRT PASV EPSV LIST NLST MLSD MLST RETR STOR APPE REST DELE MKD RMD "
        "RNFR RNTO CWD CDUP PWD SIZE MDTM FEAT OPTS TYPE MODE STRU NOOP ABOR QUIT"
    )
    assert {word.encode() for word in wanted.split()} <= VERBS.keys()
