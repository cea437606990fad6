"""Replies with their enhanced status codes: RFC 5321 s4.2, RFC 2034, RFC 3463."""

import re
from dataclasses import dataclass, field
from typing import Final

# status-code = class "." subject "." detail, RFC 3463 s2
_ENHANCED: Final = re.compile(r"([245])\.(?:0|[1-9]\d{0,2})\.(?:0|[1-9]\d{0,2})")
# textstring = 1*(%d09 / %d32-126), and UTF-8 where SMTPUTF8 allows it; a line feed parts our lines.
_TEXT: Final = re.compile(r"[\t\n\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]*")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply, encoded once when it is made, so that a constant costs nothing to send again.

    `text` may hold several lines parted by line feeds. The enhanced code, when there is one, stands on every
    line and its class is that of `code`. A wrong code or a control character raises `ValueError`: what a peer
    reads is made of constants and checked ids, never of exception text.
    """

    code: int
    enhanced: str | None
    text: str
    octets: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError("a reply code lies between 200 and 599")
        if not _TEXT.fullmatch(self.text):
            raise ValueError("a reply's text holds no control characters")
        prefix = ""
        if self.enhanced is not None:
            found = _ENHANCED.fullmatch(self.enhanced)
            if found is None or int(found[1]) != self.code // 100:
                raise ValueError("the enhanced code does not fit the reply code")
            prefix = f"{self.enhanced} "
        *before, last = self.lines
        encoded = "".join(f"{self.code}-{prefix}{line}\r\n" for line in before)
        object.__setattr__(self, "octets", f"{encoded}{self.code} {prefix}{last}\r\n".encode())

    @property
    def lines(self) -> list[str]:
        """The text's lines, at least one."""
        return self.text.split("\n")

    @property
    def positive(self) -> bool:
        """Whether it is a completion or an intermediate reply (2yz or 3yz)."""
        return self.code < 400

    @property
    def transient(self) -> bool:
        """Whether the same may succeed later (4yz)."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """Whether the same will fail again (5yz)."""
        return self.code >= 500

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, *self.lines) if part)
