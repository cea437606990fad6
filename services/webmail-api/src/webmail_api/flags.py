"""Flags in documents: system flags in RFC 8621's form (`$seen`), keywords as they are (RFC 8621 s4.1.1)."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

SYSTEM_FLAGS: Final[Mapping[str, int]] = {
    "$seen": 1,
    "$answered": 2,
    "$flagged": 4,
    "$deleted": 8,
    "$draft": 16,
}

# flag-keyword = atom (RFC 3501 s9)
_KEYWORD: Final = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z^_`a-z|~]{1,100}")


def _check(text: str) -> str:
    if _KEYWORD.fullmatch(text) is None:
        raise ValueError("not a flag")
    return text.lower() if text.lower() in SYSTEM_FLAGS else text


Flag = Annotated[str, AfterValidator(_check), Field(examples=["$seen"])]
Flags = Annotated[list[Flag], Field(max_length=68)]


def split(flags: Iterable[str]) -> tuple[int, list[str]]:
    """System flags as bits, and keywords."""
    system, keywords = 0, list[str]()
    for flag in flags:
        if (bit := SYSTEM_FLAGS.get(flag)) is not None:
            system |= bit
        else:
            keywords.append(flag)
    return system, keywords


def names(system: int, keywords: int, known: Mapping[int, str]) -> list[str]:
    """The flags of a message; `known` are the account's keywords by their bit."""
    named = [name for name, bit in SYSTEM_FLAGS.items() if system & bit]
    return named + [name for bit, name in sorted(known.items()) if keywords >> bit & 1]
