"""A message as a multi-line response, in any chunks (RFC 1939 s3, s7)."""

from typing import Final

_CR: Final = b"\r"
_BLANK_LINE: Final = b"\r\n\r\n"


class MultiLineEncoder:
    """Chunks of a message in, dot-stuffed lines out.

    A bare LF becomes CRLF: a client that takes it for a line end could else read a message's line of one
    dot as the end of the response. With `lines`, what follows that many lines of the body is left out
    (TOP).
    """

    def __init__(self, lines: int | None = None) -> None:
        self.finished = False
        """Whether no more octets are wanted."""
        self._lines = lines
        self._line_start = True
        self._carriage_return = False
        self._in_header = lines is not None
        # As if a line break stood before the message: an empty first line ends the header at once.
        self._tail = b"\r\n"

    def feed(self, chunk: bytes) -> bytes:
        """The response's octets for the next octets of the message."""
        if self.finished:
            return b""
        data = _CR + chunk if self._carriage_return else chunk
        self._carriage_return = data.endswith(_CR)
        if self._carriage_return:  # its LF may come with the next chunk
            data = data[:-1]
        if data.count(b"\n") != data.count(b"\r\n"):
            data = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if self._lines is not None:
            data = self._cut(data, self._lines)
        return self._stuff(data)

    def finish(self) -> bytes:
        """The end of the response."""
        rest = _CR if self._carriage_return and not self.finished else b""
        if rest or not self._line_start:
            return rest + b"\r\n.\r\n"
        return b".\r\n"

    def _stuff(self, data: bytes) -> bytes:
        if not data:
            return b""
        stuffed = data.replace(b"\n.", b"\n..")
        if self._line_start and data.startswith(b"."):
            stuffed = b"." + stuffed
        self._line_start = data.endswith(b"\n")
        return stuffed

    def _cut(self, data: bytes, lines: int) -> bytes:
        """The header, and as many lines of the body as are still wanted."""
        start = 0
        if self._in_header:
            seen = self._tail + data
            blank = seen.find(_BLANK_LINE)
            if blank < 0:
                self._tail = seen[-len(_BLANK_LINE) + 1 :]
                return data
            self._in_header = False
            start = blank + len(_BLANK_LINE) - len(self._tail)
        here = data.count(b"\n", start)
        if here < lines:
            self._lines = lines - here
            return data
        self.finished = True
        for _ in range(lines):
            start = data.index(b"\n", start) + 1
        return data[:start]
