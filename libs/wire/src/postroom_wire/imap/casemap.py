"""The collation i;unicode-casemap (RFC 5051): what is equal and what sorts first.

RFC 5255 s4 (I18NLEVEL=1) wants it of SEARCH, SORT and THREAD.
"""

import unicodedata


def casemap(text: str) -> str:
    """The text in titlecase, each character by itself, and decomposed (s2); a substring stays one."""
    if text.isascii():
        return text.upper()
    return text.translate(_FOLDED)


class _Folded(dict[int, str]):
    """What each character becomes, found out once."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        title = character.title()
        if len(title) != 1:  # s2 has the simple mapping, from one character to one
            title = character
        folded = self[code] = unicodedata.normalize("NFKD", title)
        return folded


_FOLDED = _Folded()
