"""Message content on the wire: its end, its dots and its line ends (RFC 5321 s2.3.8, s4.1.1.4 and s4.5.2).

Both directions work on whole chunks with the search functions of `bytes`, never octet by octet in Python, and
never look at an octet again when more arrives: at most four octets are carried over from chunk to chunk.
"""

import re
from enum import Enum, auto
from typing import Final

_END: Final = b"\r\n.\r\n"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class ContentDefect(Enum):
    """Why a content is refused."""

    BARE_CR_OR_LF = auto()
    """A CR without LF, a LF without CR, or a NUL: the stuff that smuggled messages are made of."""
    LINE_TOO_LONG = auto()
    TOO_BIG = auto()


class ContentReader:
    """Takes the content that follows DATA and gives it back without its transparency dots.

    Only CRLF.CRLF ends it. From the first defect on nothing is given back, and the true end is still searched
    for. `defect` is the worst that was seen: bare line ends before size before lines, wherever they came.
    """

    __slots__ = (
        "_carried",
        "_line",
        "_line_limit",
        "_size_limit",
        "_started",
        "defect",
        "read",
        "rest",
        "size",
    )

    def __init__(self, size_limit: int, line_limit: int) -> None:
        self._size_limit = size_limit
        self._line_limit = line_limit
        self._carried = b"\r\n"  # the end of the DATA line counts: `.CRLF` may come first
        self._started = False
        self._line = 0
        self.size = 0
        """Octets given back so far (RFC 1870 s5: with CRLFs, without dots that were doubled)."""
        self.read = 0
        """Octets taken so far, refused ones as well."""
        self.rest: bytes | None = None
        """What followed the end, None until the end was seen."""
        self.defect: ContentDefect | None = None

    def feed(self, data: bytes) -> bytes:
        """Take a chunk, give back the content that is certain by now. Not to be called after the end."""
        self.read += len(data)
        octets = self._carried + data
        dot = octets.find(b"\r\n.")  # most content has only the last one, so this is one search for both
        end = octets.find(_END, dot) if dot >= 0 else -1
        if end >= 0:
            piece, self.rest = octets[: end + 2], octets[end + 5 :]
        else:
            keep = _unfinished(octets)
            piece, self._carried = octets[:keep], octets[keep:]
        if not piece or self.defect is ContentDefect.BARE_CR_OR_LF:
            return b""
        return self._checked(piece, dotted=0 <= dot < len(piece) - 2)

    def _checked(self, piece: bytes, *, dotted: bool) -> bytes:
        # Every CR that ends a piece would have been carried over, so each pair is whole within its piece.
        text = piece.replace(b"\r\n", b"")
        if b"\n" in text or b"\r" in text or b"\0" in text:
            self.defect = ContentDefect.BARE_CR_OR_LF
            return b""
        content = piece.replace(b"\r\n.", b"\r\n") if dotted else piece
        if not self._started:
            self._started = True
            content = content[2:]
        self.size += len(content)
        if self.size > self._size_limit:
            self.defect = ContentDefect.TOO_BIG
        elif self.defect is None and not self._lines_fit(content):
            self.defect = ContentDefect.LINE_TOO_LONG
        return content if self.defect is None else b""

    def _lines_fit(self, content: bytes) -> bool:
        """Leap from line to line in steps of the limit: a leap without a line end in reach is too long."""
        start = -self._line
        while len(content) - start > self._line_limit:
            last = content.rfind(b"\n", max(start, 0), max(start + self._line_limit, 0))
            if last < 0:
                return False
            start = last + 1
        last = content.rfind(b"\n")
        self._line = len(content) - last - 1 if last >= 0 else self._line + len(content)
        return True


class ContentWriter:
    """Makes any octets fit to follow DATA, in any chunking: CRLF line ends, doubled dots, the true end.

    A lone CR or LF becomes CRLF, so what leaves can smuggle nothing into a lax server.
    """

    __slots__ = ("_at_line_start", "_carried")

    def __init__(self) -> None:
        self._at_line_start = True
        self._carried = b""

    def write(self, data: bytes) -> bytes:
        """The octets to send for this chunk."""
        octets = self._carried + data if self._carried else data
        self._carried = b""
        if octets.endswith(b"\r"):  # its LF may come with the next chunk
            octets, self._carried = octets[:-1], b"\r"
        return self._encoded(octets)

    def finish(self) -> bytes:
        """The octets that end the content: a CRLF when the last line has none, and the dot."""
        octets, self._carried = self._encoded(self._carried), b""
        return octets + (b".\r\n" if self._at_line_start else _END)

    def _encoded(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        pairs = octets.count(b"\r\n")
        if octets.count(b"\n") != pairs or octets.count(b"\r") != pairs:
            octets = _LINE_END.sub(b"\r\n", octets)
        dotted = octets.replace(b"\r\n.", b"\r\n..")
        if self._at_line_start and octets.startswith(b"."):
            dotted = b"." + dotted
        self._at_line_start = octets.endswith(b"\r\n")
        return dotted


def _unfinished(octets: bytes) -> int:
    """Where the longest beginning of `_END` starts with which `octets` ends; their length if none does."""
    for size in (4, 3, 2, 1):
        if octets.endswith(_END[:size]):
            return len(octets) - size
    return len(octets)
