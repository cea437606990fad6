"""Words for fuzzy searches (RFC 6203): of texts, weighed by their place, and of what is looked for."""

import re
from typing import Final

from mailstore.finding.terms import SearchField, SearchTerm

_MAX_WORDS: Final = 16
_WORD: Final = re.compile(r"[^\W_]+")
_MARKS: Final = re.compile("[\u0300-\u036f]+")
_PLACES: Final = {"SUBJECT": 0, "FROM": 1, "TO": 2, "CC": 2, "BCC": 2}
_WEIGHTS: Final = {"SUBJECT": "A", "FROM": "B", "TO": "C", "CC": "C", "BCC": "C"}


def plain(folded: str) -> str:
    """A folded text without its accents."""
    return folded if folded.isascii() else _MARKS.sub("", folded)


def places(lines: str) -> tuple[str, str, str]:
    """The words of subject, sender and recipients in a header's folded lines, which weigh differently."""
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for line in lines.split("\n"):
        name, _, value = line.partition(": ")
        if name in _PLACES:
            found[_PLACES[name]].append(value)
    subject, sender, recipients = (plain(" ".join(words)) for words in found)
    return subject, sender, recipients


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
