"""Reads the replies of a server: RFC 5321 s4.2, with the codes of RFC 2034."""

import re
from typing import Final

from postroom_wire.smtp.errors import RemoteProtocolError
from postroom_wire.smtp.limits import ClientLimits
from postroom_wire.smtp.lines import BareLineFeedError, LineBuffer, LineTooLongError
from postroom_wire.smtp.replies import Reply

# Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
_REPLY_LINE: Final = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED: Final = re.compile(r"([245]\.(?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2}))(?: |$)")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


class ReplyReader:
    """Joins reply lines to replies, within the limits. What cannot be printed becomes `?`."""

    def __init__(self, limits: ClientLimits) -> None:
        self._limits = limits
        self._buffer = LineBuffer(limits.reply_line, limits.buffer)
        self._code = 0
        self._lines: list[str] = []

    def receive(self, data: bytes) -> None:
        """Add what came."""
        self._buffer.receive(data)

    @property
    def empty(self) -> bool:
        """Whether nothing was received beyond the replies that were taken."""
        return not len(self._buffer) and not self._lines

    def next_reply(self) -> Reply | None:
        """The next whole reply, None until there is one. Raises `RemoteProtocolError`."""
        while (line := self._next_line()) is not None:
            if (found := _REPLY_LINE.fullmatch(line)) is None:
                raise RemoteProtocolError("not a reply line")
            code, text = int(found[1]), (found[3] or b"").decode(errors="replace")
            if self._lines and code != self._code:
                raise RemoteProtocolError("the code changes within a reply")
            self._code = code
            self._lines.append(_UNPRINTABLE.sub("?", text))
            if len(self._lines) > self._limits.reply_lines:
                raise RemoteProtocolError("too many lines in a reply")
            if found[2] != b"-":
                lines, self._lines = self._lines, []
                return _reply(code, lines)
        return None

    def _next_line(self) -> bytes | None:
        try:
            line = self._buffer.next_line()
        except LineTooLongError as error:
            raise RemoteProtocolError("reply line too long") from error
        except BareLineFeedError as error:
            raise RemoteProtocolError("reply line ends with a bare line feed") from error
        if self._buffer.discarded:
            raise RemoteProtocolError("reply line too long")
        return line


def _reply(code: int, lines: list[str]) -> Reply:
    """The reply, its enhanced code taken from the first line, where it fits the code, and cut from all."""
    found = _ENHANCED.match(lines[0])
    if found is None or int(found[1][0]) != code // 100:
        return Reply(code, None, "\n".join(lines))
    enhanced = found[1]
    texts = (line.removeprefix(enhanced).removeprefix(" ") for line in lines)
    return Reply(code, enhanced, "\n".join(texts))
