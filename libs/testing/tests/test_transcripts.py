from collections.abc import Sequence

import pytest

from postroom_testing.transcripts import chunks, every_cut, run_at_every_cut, side

ECHO = """
    C: one
    S: ONE
    C: two\\x20words
    S: TWO WORDS"""


def shout(pieces: Sequence[bytes]) -> bytes:
    return b"".join(pieces).upper()


def shout_by_piece(pieces: Sequence[bytes]) -> bytes:
    """An engine with the fault that the runner is to find: it takes a chunk for a line."""
    return b"".join(piece.upper() for piece in pieces if piece.endswith(b"\r\n"))


def test_each_side_is_its_lines() -> None:
    assert side(ECHO, "C") == b"one\r\ntwo words\r\n"
    assert side(ECHO, "S") == b"ONE\r\nTWO WORDS\r\n"


def test_escapes_are_octets_and_a_last_backslash_takes_the_line_end_away() -> None:
    assert (
        side("C: a\\r\\n\\0\\xffb\\\\\nC: bare\\n\\\nC: next", "C") == b"a\r\n\x00\xffb\\\r\nbare\nnext\r\n"
    )


def test_every_cut_keeps_the_octets() -> None:
    cuts = list(every_cut(b"abc"))
    assert cuts == [[b"abc"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]
    assert chunks(b"abc", {0, 1, 9}) == [b"a", b"bc"]


def test_an_engine_that_depends_on_the_cuts_is_found() -> None:
    run_at_every_cut(ECHO, shout)
    with pytest.raises(AssertionError, match="cut as"):
        run_at_every_cut(ECHO, shout_by_piece)
