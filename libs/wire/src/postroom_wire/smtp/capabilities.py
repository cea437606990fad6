"""What a server offers in its reply to EHLO: RFC 5321 s4.1.1.1."""

from dataclasses import dataclass, field
from typing import Self

from postroom_wire.smtp.replies import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions that we can use; all off after HELO.

    `size` is None when SIZE was not offered, and 0 when it was offered without a limit (RFC 1870 s4).
    """

    domain: str = ""
    esmtp: bool = False
    pipelining: bool = False
    starttls: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    size: int | None = None
    auth: frozenset[str] = field(default_factory=frozenset[str])

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """What the positive reply to EHLO offers. Words that we do not know are passed over."""
        first, *lines = reply.lines
        offered: dict[str, list[str]] = {}
        for line in lines:
            # "AUTH=PLAIN LOGIN" is how servers older than RFC 2554 write it
            keyword, *words = line.upper().replace("=", " ", 1).split() or [""]
            offered.setdefault(keyword, []).extend(words)
        return cls(
            domain=first.partition(" ")[0],
            esmtp=True,
            pipelining="PIPELINING" in offered,
            starttls="STARTTLS" in offered,
            eight_bit_mime="8BITMIME" in offered,
            smtputf8="SMTPUTF8" in offered,
            size=_size(offered.get("SIZE")),
            auth=frozenset(offered.get("AUTH", ())),
        )


def _size(words: list[str] | None) -> int | None:
    if words is None:
        return None
    digits = words[0] if words else ""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 20 else 0
