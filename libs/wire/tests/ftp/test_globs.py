"""Patterns in LIST and NLST."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.ftp import Glob


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "a.txt.gz", False),
        ("a*b*c", "aXbYbZc", True),
        ("a*b*c", "aXcYb", False),
        ("a**", "a", True),
        ("ab*ba", "aba", False),
        ("?", "é", True),
        ("?", "", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[]]", "]", True),
        ("[!]]", "a", True),
        ("[z-a]", "m", False),
        ("[", "[", True),
        ("[^a]", "^", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a.c", "abc", False),
        ("*", ".hidden", False),
        (".*", ".hidden", True),
        ("a[&&b]", "a&", True),
    ],
)
def test_a_pattern_fits_as_in_a_shell(pattern: str, name: str, fits: bool) -> None:
    assert Glob(pattern).matches(name) is fits


@given(st.text("ab*?[]!-", max_size=8), st.text("ab]!-", max_size=6))
def test_patterns_mean_what_they_mean_elsewhere(pattern: str, name: str) -> None:
    assert Glob(pattern).matches(name) is fnmatch.fnmatchcase(name, pattern)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_a_pattern(pattern: str, name: str) -> None:
    assert Glob(pattern).matches(name) in {True, False}


def test_no_pattern_takes_long() -> None:
    """Backtracking would not end within a lifetime."""
    assert not Glob("*a" * 100 + "b").matches("a" * 255)
    assert not Glob("*?a" * 60 + "b").matches("a" * 255)


def test_wildcards_are_told_from_plain_names() -> None:
    assert [text for text in ("a", "a*", "a?", "[a]", "a]") if Glob.is_wild(text)] == ["a*", "a?", "[a]"]
