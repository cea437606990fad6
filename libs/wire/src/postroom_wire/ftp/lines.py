"""Parts the control connection into command lines: RFC 959 s5.3."""

from typing import Final, final

from postroom_wire.ftp.limits import Limits
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.standard_replies import BARE_LINE_FEED, ILLEGAL_OCTET, LINE_FLOOD, LINE_TOO_LONG
from postroom_wire.ftp.telnet import TelnetFilter

_CRLF: Final = b"\r\n"


@final
class LineReader:
    """Octets in, lines without their CRLF out, or the reply to one that cannot be a command.

    Only CRLF ends a line. A bare LF is no end of line (RFC 2640 s3.1 has it in pathnames), and to take it
    for one would let whoever can put an LF into a file name send commands; so the whole line is refused, at
    once, for the sake of the human with a terminal who waits for an answer.
    DEVIATION: RFC 2640 s3.1: CR NUL is not taken for a CR in a name; such a name could not be listed.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._telnet = TelnetFilter()
        self._buffer = bytearray()
        self._skipped: int | None = None  # octets of a refused line so far
        self._flooded = False

    def feed(self, octets: bytes) -> None:
        """Take the next chunk."""
        self._buffer += self._telnet.data(octets)

    def next_line(self) -> bytes | Reply | None:
        """The next line, the one reply to a line that is refused, or None when more octets are needed.

        After LINE_FLOOD there are no more lines.
        """
        if self._flooded:
            self._buffer.clear()
            return None
        if self._skipped is not None:
            return self._skip(self._skipped)
        end = self._buffer.find(b"\n", 0, self._limits.max_line)
        if end < 0:
            if len(self._buffer) < self._limits.max_line:
                return None
            self._skipped = 0
            return LINE_TOO_LONG
        if self._buffer[:end].endswith(b"\r"):
            line = bytes(self._buffer[: end - 1])
            del self._buffer[: end + 1]
            return ILLEGAL_OCTET if b"\0" in line or b"\r" in line else line
        del self._buffer[: end + 1]
        self._skipped = 0
        return BARE_LINE_FEED

    def _skip(self, skipped: int) -> bytes | Reply | None:
        """Drop the rest of a refused line, which has its reply already, and go on behind it."""
        room = self._limits.max_skipped - skipped
        end = self._buffer.find(_CRLF, 0, room + len(_CRLF))
        if end >= 0:
            del self._buffer[: end + len(_CRLF)]
            self._skipped = None
            return self.next_line()
        if len(self._buffer) >= room + len(_CRLF):
            self._flooded = True
            self._buffer.clear()
            return LINE_FLOOD
        # The CR of a CRLF may have come without its LF yet.
        gone = len(self._buffer) - self._buffer.endswith(b"\r")
        del self._buffer[:gone]
        self._skipped = skipped + gone
        return None
