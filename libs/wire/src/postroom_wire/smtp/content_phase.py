"""The server's part between DATA and the content's end."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.content import ContentDefect, ContentReader
from postroom_wire.smtp.events import ContentChunk, ContentEnd, ContentRefused, NeedData
from postroom_wire.smtp.limits import Limits
from postroom_wire.smtp.lines import LineBuffer
from postroom_wire.smtp.replies import Reply

_REFUSALS: Final = {
    ContentDefect.BARE_CR_OR_LF: standard_replies.BARE_CR_OR_LF,
    ContentDefect.LINE_TOO_LONG: standard_replies.TEXT_LINE_TOO_LONG,
    ContentDefect.TOO_BIG: standard_replies.MESSAGE_TOO_BIG,
}
_NEED_DATA: Final = NeedData()


@dataclass(frozen=True, slots=True)
class RefusalDue:
    """The refused content has come to its end, or we are tired of searching for it."""

    reply: Reply
    close: bool


ContentStep: TypeAlias = ContentChunk | ContentRefused | ContentEnd | RefusalDue | NeedData


class ContentPhase:
    """Reads one content from the buffer and leaves there what follows it."""

    def __init__(self, limits: Limits) -> None:
        self._reader = ContentReader(limits.message, limits.text_line)
        self._patience = limits.message + limits.discarded_message
        self._told = False

    def next_step(self, buffer: LineBuffer) -> ContentStep:
        """Chunks or a refusal as they arise, then `ContentEnd` or `RefusalDue` once."""
        reader = self._reader
        if reader.rest is None and len(buffer):
            piece = reader.feed(buffer.take_all())
            if reader.rest is not None:
                buffer.receive(reader.rest)
            if reader.defect is not None and not self._told:
                self._told = True
                return ContentRefused()
            if piece:
                return ContentChunk(piece)
        ended = reader.rest is not None
        if reader.defect is None:
            return ContentEnd(reader.size) if ended else _NEED_DATA
        if not ended and reader.read <= self._patience:
            return _NEED_DATA
        # DEVIATION: RFC 5321 s3.8: the server hangs up without a QUIT, because a peer that lets bare line
        # ends through may be smuggling, and then what follows was written by somebody else.
        close = not ended or reader.defect is ContentDefect.BARE_CR_OR_LF
        return RefusalDue(_REFUSALS[reader.defect], close)
