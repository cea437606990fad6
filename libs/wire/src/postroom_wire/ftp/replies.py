"""Replies of one or many lines: RFC 959 s4.2."""

import re
from dataclasses import dataclass, field
from typing import Final

# What UTF-8 can carry, without NUL and CR; a line feed parts our lines.
_TEXT: Final = re.compile(r"[^\x00\r\ud800-\udfff]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, encoded once when it is made, so that a constant costs nothing to send again.

    `text` may hold several lines parted by line feeds. The lines between the first and the last are sent
    behind one space: RFC 2389 s3.2 and RFC 3659 s7.2 ask for it, and no such line can pass for the last one.
    A wrong code or a NUL, CR or surrogate raises `ValueError`: what a peer reads is made of constants and
    checked names, never of exception text.
    """

    code: int
    text: str
    octets: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 100 <= self.code <= 599:
            raise ValueError("a reply code lies between 100 and 599")
        if not _TEXT.fullmatch(self.text):
            raise ValueError("a reply's text holds no NUL, CR or surrogates")
        *before, last = self.text.split("\n")
        first = f"{self.code}-{before[0]}\r\n" if before else ""
        between = "".join(f" {line}\r\n" for line in before[1:])
        object.__setattr__(self, "octets", f"{first}{between}{self.code} {last}\r\n".encode())

    @property
    def preliminary(self) -> bool:
        """Whether another reply follows (1yz)."""
        return self.code < 200

    @property
    def positive(self) -> bool:
        """Whether the command was accepted (1yz, 2yz, 3yz)."""
        return self.code < 400

    @property
    def closes(self) -> bool:
        """Whether the control connection ends with this reply (221, 421)."""
        return self.code in {221, 421}

    def __str__(self) -> str:
        return " ".join((str(self.code), *self.text.split("\n")))
