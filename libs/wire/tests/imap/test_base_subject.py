"""Base subjects (RFC 5256 s2.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.base_subject import base_subject

SUBJECTS = {
    "": ("", False),
    "plans": ("plans", False),
    " \t plans \r\n of\tours ": ("plans of ours", False),
    "Re: plans": ("plans", True),
    "RE : plans": ("plans", True),
    "Fw: plans": ("plans", True),
    "fwd: plans": ("plans", True),
    "fwdd: plans": ("fwdd: plans", False),
    "Re[2]: plans": ("plans", True),
    "re [list] : plans": ("plans", True),
    "[list] Re: plans": ("plans", True),
    "[list] [other] Re: [list] plans": ("plans", True),
    "[list] plans": ("plans", False),
    "[list]": ("[list]", False),
    "[list] [other]": ("[other]", False),
    "Re: [list]": ("[list]", True),
    "plans (fwd)": ("plans", True),
    "plans (FWD) (fwd) ": ("plans", True),
    "(fwd)": ("", True),
    "Re:": ("", True),
    "Re: re: FW: plans": ("plans", True),
    "[fwd: plans]": ("plans", True),
    "[Fwd: Re: [list] plans (fwd)] (fwd)": ("plans", True),
    "[fwd: [fwd: plans]]": ("plans", True),
    "[fwd: plans] x": ("x", False),
    "Reply: plans": ("Reply: plans", False),
    "rest: plans": ("rest: plans", False),
    "plans re: ours": ("plans re: ours", False),
    "Re: Ärger": ("Ärger", True),
    "[a[b] plans": ("[a[b] plans", False),
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_artifacts_are_taken_off(subject: str) -> None:
    assert base_subject(subject) == SUBJECTS[subject]


pieces = st.sampled_from(["re", "Fwd", "[", "]", ":", " ", "(fwd)", "[fwd:", "x", "[a]", "\t"])


@given(pieces=st.lists(pieces, max_size=12))
def test_a_base_subject_is_its_own(pieces: list[str]) -> None:
    found = base_subject("".join(pieces)).text
    assert found == found.strip(" ")
    assert "  " not in found
    again = base_subject(found)
    assert again.text == found or again.text in found


def test_a_subject_made_to_be_slow_is_not() -> None:
    for piece in ("[", "[]", "re:", "[a]re:", "[fwd:", " ", "(fwd)", "[a] "):
        base_subject(piece * 1_000_000)
