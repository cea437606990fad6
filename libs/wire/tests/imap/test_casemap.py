"""The collation i;unicode-casemap (RFC 5051)."""

from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.casemap import casemap


def test_case_and_composition_do_not_matter() -> None:
    assert casemap("Straße") == casemap("sTRAße")
    assert casemap("É") == casemap("é") == casemap("e\u0301") == "E\u0301"
    assert casemap("ǆ") == casemap("Ǆ") == casemap("ǅ")  # s2: titlecase, then decomposed
    assert casemap("ﬁ") == "fi"  # it has no titlecase of one character
    assert casemap("\u0391\u0392") == casemap("\u03b1\u03b2")
    assert casemap("я") != casemap("ю")


@given(before=st.text(), text=st.text(), after=st.text())
def test_a_substring_stays_one(before: str, text: str, after: str) -> None:
    assert casemap(text) in casemap(before + text + after)
    assert casemap(before) + casemap(text) == casemap(before + text)


@given(text=st.text(st.characters(max_codepoint=127)))
def test_ascii_is_in_upper_case(text: str) -> None:
    assert casemap(text) == text.upper() == casemap(text.lower())
    assert casemap(text + "é") == text.upper() + "E\u0301"
