"""The announcement of a literal at the end of a line (RFC 7888 s8, RFC 3516 s7)."""

import re
from dataclasses import dataclass
from typing import Final

from postroom_wire.imap.limits import Limits

_MARK: Final = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
_HUGE: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class LiteralMark:
    """Its size in octets; whether the client waits before it sends them."""

    size: int
    synchronizing: bool

    def limit_before_login(self, limits: Limits) -> int:
        """How large one like it may be from somebody unknown, in octets."""
        if self.synchronizing:
            return limits.max_literal_before_login
        return limits.max_non_synchronizing_before_login


def literal_mark(line: bytes) -> LiteralMark | None:
    """The literal that a line announces at its end, in whatever context (RFC 7888 s3)."""
    if not line.endswith(b"}"):
        return None
    found = _MARK.match(line, line.rfind(b"{"))
    if found is None:
        return None
    digits = found[1].lstrip(b"0")
    # int() of thousands of digits is slow, and then refused.
    size = _HUGE if len(digits) > 10 else int(digits or b"0")
    return LiteralMark(size, synchronizing=not found[2])
