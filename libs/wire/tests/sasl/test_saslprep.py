"""SASLprep: the examples of RFC 4013 s3, and what RFC 3454 asks of directions."""

import pytest

from postroom_wire.sasl import PreparationError, saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u3000b", "a b"),
        ("\u06271\u0628", "\u06271\u0628"),
        ("", ""),
    ],
)
def test_equal_texts_get_one_spelling(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text", ["\u0007", "\u06271", "\u0627a\u0628", "\ue000", "\ufffd", "\u200e", "\U000e0001"]
)
def test_what_is_prohibited_is_refused(text: str) -> None:
    with pytest.raises(PreparationError):
        saslprep(text)
