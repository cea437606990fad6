"""SASLprep (RFC 4013): one spelling of names and passwords."""

import stringprep
import unicodedata
from typing import Final

# s2.3
_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class PreparationError(ValueError):
    """The text has characters that SASLprep prohibits, or mixes directions."""


def saslprep(text: str) -> str:
    """The prepared text, as a query: unassigned code points pass (RFC 3454 s7). Raises `PreparationError`."""
    # s2.1, s2.2
    mapped = "".join(
        " " if stringprep.in_table_c12(character) else character
        for character in text
        if not stringprep.in_table_b1(character)
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(in_table(character) for character in prepared for in_table in _PROHIBITED):
        raise PreparationError("a prohibited character")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 s6."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    ends_right = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    if any(map(stringprep.in_table_d2, text)) or not ends_right:
        raise PreparationError("directions are mixed")
