"""Cuts what the network brings into lines; every octet is looked at once, however it arrives."""

from typing import Final

from postroom_wire.smtp.errors import LocalProtocolError

_LF: Final = b"\n"


class LineTooLongError(Exception):
    """The line that has just ended was longer than the limit; it is gone, the next one follows."""


class BareLineFeedError(Exception):
    """The line that has just ended did so without a carriage return; it is gone."""


class LineBuffer:
    """Octets that were received and not yet taken.

    An overlong line is thrown away as it comes, so memory stays below the limits. Lines are framed at LF to
    find the way back after a wrong one, but only CRLF ends a good line (RFC 5321 s2.3.8).
    """

    def __init__(self, line_limit: int, buffer_limit: int) -> None:
        self._line_limit = line_limit
        self._buffer_limit = buffer_limit
        self._octets = bytearray()
        self._searched = 0
        self.discarded = 0
        """Octets of the running overlong line that were thrown away."""

    def __len__(self) -> int:
        return len(self._octets)

    def receive(self, data: bytes) -> None:
        """Add what came. Raises `LocalProtocolError` when the shell reads on beyond the bound."""
        if len(self._octets) + len(data) > self._buffer_limit:
            raise LocalProtocolError("reading goes on although nobody looks at what was read")
        self._octets += data

    def next_line(self) -> bytes | None:
        """The next line without its CRLF, None until it is complete.

        Raises `LineTooLongError` and `BareLineFeedError` once the wrong line has ended.
        """
        at = self._octets.find(_LF, self._searched)
        if at < 0:
            self._searched = len(self._octets)
            if self.discarded or self._searched > self._line_limit:
                self.discarded += self._searched
                self.clear()
            return None
        line = bytes(self._octets[: at + 1])
        del self._octets[: at + 1]
        self._searched = 0
        if self.discarded or len(line) > self._line_limit:
            self.discarded = 0
            raise LineTooLongError
        if not line.endswith(b"\r\n"):
            raise BareLineFeedError
        return line[:-2]

    def take_all(self) -> bytes:
        """Everything that was received, line ends or not."""
        octets = bytes(self._octets)
        self.clear()
        return octets

    def clear(self) -> None:
        """Forget what was received."""
        self._octets.clear()
        self._searched = 0
