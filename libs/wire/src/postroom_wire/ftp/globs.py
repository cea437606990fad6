"""Patterns of names, as in `LIST *.txt`: `*`, `?`, `[a-z]`, `[!a-z]`, and `\\` before any of these."""

import re
from dataclasses import dataclass, field
from typing import Final

_WILD: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern for one segment of a path; a leading dot of a name is matched by a dot only.

    The parts between stars are of fixed length and are looked for one after another, so that no pattern makes
    a match take longer than the product of its length and the name's.
    """

    pattern: str
    _parts: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = tuple(re.compile(part, re.DOTALL) for part in _translate(self.pattern))
        object.__setattr__(self, "_parts", parts)

    @staticmethod
    def is_wild(text: str) -> bool:
        """Whether `text` holds a wildcard at all."""
        return not _WILD.isdisjoint(text)

    def matches(self, name: str) -> bool:
        """Whether the whole name fits."""
        if name.startswith(".") and not self.pattern.startswith("."):
            return False
        if len(self._parts) == 1:
            return self._parts[0].fullmatch(name) is not None
        first, *between, last = self._parts
        if (found := first.match(name)) is None:
            return False
        at = found.end()
        for part in between:
            if (found := part.search(name, at)) is None:
                return False
            at = found.end()
        return any(last.fullmatch(name, start) for start in range(at, len(name) + 1))


def _translate(pattern: str) -> list[str]:
    """The parts between the stars as regular expressions without repetition."""
    parts, at = [""], 0
    while at < len(pattern):
        character, at = pattern[at], at + 1
        match character:
            case "*":
                if len(parts) == 1 or parts[-1]:
                    parts.append("")
            case "?":
                parts[-1] += "."
            case "[" if (end := pattern.find("]", at + 1 + pattern.startswith("!", at))) >= 0:
                parts[-1] += _character_class(pattern[at:end])
                at = end + 1
            case "\\" if at < len(pattern):
                parts[-1] += re.escape(pattern[at])
                at += 1
            case _:
                parts[-1] += re.escape(character)
    return parts


def _character_class(body: str) -> str:
    negated = body.startswith("!")
    characters, ranges = body[negated:], ""
    while characters:
        if characters[1:2] == "-" and len(characters) > 2:
            low, high, characters = characters[0], characters[2], characters[3:]
            if low <= high:
                ranges += f"{re.escape(low)}-{re.escape(high)}"
        else:
            ranges += re.escape(characters[0])
            characters = characters[1:]
    if not ranges:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{ranges}]"
