"""Words for fuzzy searches (RFC 6203): of texts, weighed by their place, and of what is looked for."""

import re
from typing import Final

from mailstore.finding.terms import SearchField, SearchTerm

_MAX_WORDS: Final = 16
_WORD: Final = re.compile(r"[^\W_]+")
_MARKS: Final = re.compile("[\u0300-\u036f]+")
_WEIGHTS: Final = {"SUBJECT": "A", "FROM": "B", "TO": "C", "CC": "C", "BCC": "C"}


def plain(folded: str) -> str:
    """A folded text without its accents."""
    return folded if folded.isascii() else _MARKS.sub("", folded)


def query_of(term: SearchTerm) -> str:
    """The words of a term as a tsquery that takes their beginnings; empty where words are not kept."""
    weight = ""
    if term.field is SearchField.HEADER:
        if term.header_name not in _WEIGHTS:
            return ""
        weight = _WEIGHTS[term.header_name]
    elif term.field is SearchField.BODY:
        weight = "D"
    words = _WORD.findall(plain(term.value).lower())[:_MAX_WORDS]
    return " & ".join(f"'{word}':*{weight}" for word in words)
