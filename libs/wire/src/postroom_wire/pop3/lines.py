"""Cuts what the network brings into lines; every octet is looked at once, however it arrives."""

from typing import Final

from postroom_wire.pop3.errors import LocalProtocolError

_LF: Final = b"\n"


class LineTooLongError(Exception):
    """The line that has just ended was longer than the limit; it is gone, the next one follows."""


class BareLineFeedError(Exception):
    """The line that has just ended did so without a carriage return; it is gone."""


class LineBuffer:
    """Octets that were received and not yet taken; an overlong line is thrown away as it comes."""

    def __init__(self, line_limit: int, buffer_limit: int) -> None:
        self._line_limit = line_limit
        self._buffer_limit = buffer_limit
        self._octets = bytearray()
        self._searched = 0
        self._overlong = False

    def receive(self, data: bytes) -> None:
        """Add what came; raises LocalProtocolError when the shell reads on beyond the bound."""
        if len(self._octets) + len(data) > self._buffer_limit:
            raise LocalProtocolError("reading goes on although nobody looks at what was read")
        self._octets += data

    def next_line(self) -> bytes | None:
        """The next line without its CRLF (RFC 1939 s3), None until it is complete.

        Raises LineTooLongError and BareLineFeedError once the wrong line has ended.
        """
        at = self._octets.find(_LF, self._searched)
        if at < 0:
            self._searched = len(self._octets)
            if self._overlong or self._searched > self._line_limit:
                self.clear()
                self._overlong = True
            return None
        line = bytes(self._octets[: at + 1])
        del self._octets[: at + 1]
        self._searched = 0
        if self._overlong or len(line) > self._line_limit:
            self._overlong = False
            raise LineTooLongError
        if not line.endswith(b"\r\n"):
            raise BareLineFeedError
        return line[:-2]

    def clear(self) -> None:
        """Forget what was received."""
        self._octets.clear()
        self._searched = 0
        self._overlong = False
