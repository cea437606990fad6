"""Paths in an account's tree: absolute, without anything that could lead elsewhere."""

import unicodedata
from dataclasses import dataclass

from filestore.limits import DEFAULT_LIMITS, Limits
from postroom_contracts.errors import InvalidNameError


@dataclass(frozen=True, slots=True)
class TreePath:
    """The names from the root down; none for the root itself."""

    names: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, limits: Limits = DEFAULT_LIMITS) -> "TreePath":
        """From `/`, `/a/b`. Names are kept as they are: no case folding, no Unicode normalisation.

        Raises `InvalidNameError` for what is relative, has empty names, `.` or `..`, control characters, or
        is over a limit.
        """
        if not text.startswith("/"):
            raise InvalidNameError("a path begins with a slash")
        if text == "/":
            return cls()
        names = tuple(text[1:].split("/"))
        if len(names) > limits.depth:
            raise InvalidNameError("the path is too deep")
        for name in names:
            check_name(name, limits)
        if len(text.encode()) > limits.path:
            raise InvalidNameError("the path is too long")
        return cls(names)

    @property
    def is_root(self) -> bool:
        """Whether it has no name."""
        return not self.names

    @property
    def name(self) -> str:
        """The last name; empty for the root."""
        return self.names[-1] if self.names else ""

    def __str__(self) -> str:
        return "/" + "/".join(self.names)


def check_name(name: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Raise `InvalidNameError` for what no file or directory may be called."""
    if name in {"", ".", ".."} or "/" in name:
        raise InvalidNameError("not a name")
    # Control characters (NUL and line ends among them) break listings; surrogates are no text.
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        raise InvalidNameError("a name has no control characters")
    if len(name.encode()) > limits.name:
        raise InvalidNameError("the name is too long")
