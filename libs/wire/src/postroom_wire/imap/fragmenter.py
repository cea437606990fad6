"""Octets in, complete commands out: knows lines and literals, and holds the limits (RFC 3501 s2.2.1, s4.3).

A command is its lines joined by its literals. Everything is bounded before it is stored. A literal that is
too big is refused by the command's tag; what a client sends of it without waiting (RFC 7888) is counted and
dropped, up to the end of that command, and the next command is read as if nothing had happened. The message
of an APPEND is never stored here: it comes out in chunks.

`receive_data` only stores, `next_event` takes one step. Ask for events until NEED_DATA before giving more
octets: then no more than one read is buffered. A pipelined command stays buffered until it is asked for.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from postroom_wire.imap.errors import (
    COMMAND_TOO_LONG,
    LINE_TOO_LONG,
    LITERAL_TOO_BIG,
    MESSAGE_TOO_BIG,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    LocalProtocolError,
    Refusal,
    RemoteProtocolError,
    Tag,
)
from postroom_wire.imap.events import (
    CONTINUE,
    NEED_DATA,
    AppendContent,
    AppendEnded,
    AppendStarted,
    CommandComplete,
    CommandRefused,
    ContinuationRequest,
    FragmentEvent,
    LineReceived,
    NeedData,
)
from postroom_wire.imap.limits import DEFAULT_LIMITS, Limits
from postroom_wire.imap.parser import TAG, parse_append_head

_CRLF: Final = b"\r\n"
_APPEND: Final = re.compile(TAG.pattern + rb"(?i:APPEND) ")
_MARK: Final = re.compile(rb"\{([0-9]+)(\+?)\}\Z")
_HUGE: Final = 1 << 63
# Longer than any literal mark, so the end of a dropped line still shows whether a literal follows.
_TAIL: Final = 64


class _Phase(Enum):
    LINE = "a line of a command"
    RAW_LINE = "a line that is no command"
    LITERAL = "a literal"
    APPEND_ANNOUNCED = "the caller's word on a message"
    APPEND_CONTENT = "a message"
    APPEND_TAIL = "the CRLF after a message"
    SKIPPED_LITERAL = "a literal of a refused command"
    SKIPPED_LINE = "a line of a refused command"
    CLOSED = "nothing"


@dataclass(frozen=True, slots=True)
class _Mark:
    """The announcement of a literal at the end of a line."""

    size: int
    synchronizing: bool


class Fragmenter:
    """One connection's octets. Set `authenticated` after login: the limits differ."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.authenticated = False
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._command = bytearray()
        self._literals = 0
        self._remaining = 0
        self._skipped = 0
        self._phase = _Phase.LINE
        self._tag: Tag | None = None
        self._synchronizing = False
        self._steps: dict[_Phase, Callable[[], FragmentEvent | NeedData | None]] = {
            _Phase.LINE: self._line,
            _Phase.RAW_LINE: self._raw_line,
            _Phase.LITERAL: self._literal,
            _Phase.APPEND_ANNOUNCED: self._append_announced,
            _Phase.APPEND_CONTENT: self._append_content,
            _Phase.APPEND_TAIL: self._append_tail,
            _Phase.SKIPPED_LITERAL: self._skipped_literal,
            _Phase.SKIPPED_LINE: self._skipped_line,
            _Phase.CLOSED: self._closed,
        }

    @property
    def stored(self) -> int:
        """How many octets are held now."""
        return len(self._buffer) + len(self._command)

    def receive_data(self, octets: bytes) -> None:
        """Store what came from the network."""
        if self._phase is not _Phase.CLOSED:
            self._buffer += octets

    def next_event(self) -> FragmentEvent | NeedData:
        """The next event, or NEED_DATA. Raises nothing that the peer can cause."""
        while (event := self._steps[self._phase]()) is None:
            pass
        return event

    def accept_append(self) -> bytes:
        """Take the announced message; write what this returns, if anything."""
        self._require_announced()
        self._phase = _Phase.APPEND_CONTENT
        return CONTINUE if self._synchronizing else b""

    def refuse_append(self) -> None:
        """Do not take it; the caller writes the reason. Octets that come unasked are dropped."""
        self._require_announced()
        if self._synchronizing:
            self._forget_command()
        else:
            self._phase = _Phase.SKIPPED_LITERAL

    def abandon_append(self) -> None:
        """Stop taking a message that was accepted: drop the rest of it and of its command."""
        if self._phase is _Phase.APPEND_CONTENT:
            self._phase = _Phase.SKIPPED_LITERAL
        elif self._phase is _Phase.APPEND_TAIL:
            self._phase = _Phase.SKIPPED_LINE
        else:
            raise LocalProtocolError("no message is under way")

    def expect_line(self, tag: Tag) -> None:
        """The next line is not a command: DONE of IDLE, or an answer of AUTHENTICATE, under that tag."""
        if self._phase is not _Phase.LINE or self._command:
            raise LocalProtocolError("a command is under way")
        self._tag = tag
        self._phase = _Phase.RAW_LINE

    def drop_buffered(self) -> int:
        """Forget what was sent ahead, and say how much: after STARTTLS nothing in clear may count."""
        dropped = len(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return dropped

    def _line(self) -> FragmentEvent | NeedData | None:
        line = self._take_line()
        if line is None:
            return self._refuse(LINE_TOO_LONG, None) if self._line_too_long() else NEED_DATA
        if len(line) > self._limits.max_line:
            return self._refuse(LINE_TOO_LONG, _mark(line), line)
        mark = _mark(line)
        if len(self._command) + len(line) > self._limits.max_command:
            return self._refuse(COMMAND_TOO_LONG, mark, line)
        self._command += line
        if mark is not None:
            return self._announced(mark)
        complete = CommandComplete(bytes(self._command))
        self._forget_command()
        return complete

    def _announced(self, mark: _Mark) -> FragmentEvent | None:
        head = _APPEND.match(self._command)
        # A literal right after "APPEND" spells the mailbox; the next one is the message.
        if head is not None and (self._literals or not self._command.startswith(b"{", head.end())):
            return self._append(head, mark)
        if refusal := self._literal_refusal(mark):
            return self._refuse(refusal, mark)
        self._literals += 1
        self._command += _CRLF
        self._remaining = mark.size
        self._phase = _Phase.LITERAL
        return ContinuationRequest() if mark.synchronizing else None

    def _literal_refusal(self, mark: _Mark) -> Refusal | None:
        limits = self._limits
        if self._literals >= limits.max_literals:
            return TOO_MANY_ITEMS
        if mark.size > (limits.max_literal if self.authenticated else self._early_limit(mark)):
            return LITERAL_TOO_BIG
        if len(self._command) + len(_CRLF) + mark.size > limits.max_command:
            return COMMAND_TOO_LONG
        return None

    def _early_limit(self, mark: _Mark) -> int:
        if mark.synchronizing:
            return self._limits.max_literal_before_login
        return self._limits.max_non_synchronizing_before_login

    def _append(self, head: re.Match[bytes], mark: _Mark) -> FragmentEvent:
        if not self.authenticated and mark.size > self._early_limit(mark):
            return self._refuse(LITERAL_TOO_BIG, mark)
        try:
            append = parse_append_head(bytes(self._command[head.end() :]), self._limits)
        except RemoteProtocolError as error:
            return self._refuse(error.refusal, mark)
        if mark.size > self._limits.append_limit:
            return self._refuse(MESSAGE_TOO_BIG, mark)
        tag = Tag(bytes(head[1]))
        self._forget_command()
        self._tag, self._remaining, self._synchronizing = tag, mark.size, mark.synchronizing
        self._phase = _Phase.APPEND_ANNOUNCED
        return AppendStarted(tag, append)

    def _literal(self) -> NeedData | None:
        taken = min(self._remaining, len(self._buffer))
        self._command += self._buffer[:taken]
        self._drop(taken)
        self._remaining -= taken
        if self._remaining:
            return NEED_DATA
        self._phase = _Phase.LINE
        return None

    def _raw_line(self) -> FragmentEvent | NeedData:
        line = self._take_line()
        if line is None and not self._line_too_long():
            return NEED_DATA
        tag, self._tag = self._tag, None
        if line is None:
            self._phase = _Phase.SKIPPED_LINE
            return CommandRefused(tag, LINE_TOO_LONG)
        self._phase = _Phase.LINE
        if len(line) > self._limits.max_line:
            return CommandRefused(tag, LINE_TOO_LONG)
        return LineReceived(line)

    def _append_announced(self) -> NeedData:
        raise LocalProtocolError("the announced message is neither accepted nor refused")

    def _append_content(self) -> FragmentEvent | NeedData | None:
        if not self._remaining:
            self._phase = _Phase.APPEND_TAIL
            return None
        taken = min(self._remaining, len(self._buffer), self._limits.max_append_chunk)
        if not taken:
            return NEED_DATA
        with memoryview(self._buffer) as view:
            octets = bytes(view[:taken])
        self._drop(taken)
        self._remaining -= taken
        return AppendContent(octets)

    def _append_tail(self) -> FragmentEvent | NeedData:
        if self._buffer.startswith(_CRLF):
            self._drop(len(_CRLF))
            tag = self._open_tag()
            self._forget_command()
            return AppendEnded(tag)
        if _CRLF.startswith(self._buffer):
            return NEED_DATA
        # A second message (MULTIAPPEND is not offered) or octets beyond the announced size.
        tag = self._open_tag()
        self._forget_command()
        self._phase = _Phase.SKIPPED_LINE
        return CommandRefused(tag, SYNTAX_ERROR)

    def _skipped_literal(self) -> NeedData | None:
        taken = min(self._remaining, len(self._buffer))
        self._drop(taken)
        self._remaining -= taken
        if self._remaining:
            return NEED_DATA
        self._phase = _Phase.SKIPPED_LINE
        return None

    def _skipped_line(self) -> FragmentEvent | NeedData | None:
        line = self._take_line()
        if line is None:
            surplus = max(0, len(self._buffer) - _TAIL)
            self._drop(surplus)
            return self._count_skipped(surplus) or NEED_DATA
        mark = _mark(line)
        # A client that waits for our "+" has read the refusal instead: its command is over.
        if mark is None or mark.synchronizing:
            self._forget_command()
            return None
        return self._skip(mark) or self._count_skipped(len(line))

    def _closed(self) -> NeedData:
        return NEED_DATA

    def _refuse(self, refusal: Refusal, mark: _Mark | None, line: bytes = b"") -> CommandRefused:
        """Refuse the command under way, of which `line` was not stored, and resynchronise.

        Without a mark the rest of an overlong line is dropped.
        """
        found = TAG.match((self._command or line or self._buffer)[: self._limits.max_line])
        tag = Tag(bytes(found[1])) if found else None
        self._forget_command()
        if line and mark is None:
            return CommandRefused(tag, refusal)
        if mark is None:
            self._phase = _Phase.SKIPPED_LINE
            return CommandRefused(tag, refusal)
        fatal = self._skip(mark)
        return CommandRefused(tag, refusal, fatal=fatal is not None)

    def _skip(self, mark: _Mark) -> CommandRefused | None:
        """Drop a literal that is coming unasked and the rest of its command."""
        self._command.clear()
        if mark.synchronizing:
            self._forget_command()
            return None
        self._remaining = mark.size
        self._phase = _Phase.SKIPPED_LITERAL
        return self._count_skipped(mark.size)

    def _count_skipped(self, octets: int) -> CommandRefused | None:
        self._skipped += octets
        if self._skipped <= self._limits.max_skipped:
            return None
        self._phase = _Phase.CLOSED
        self._buffer.clear()
        return CommandRefused(None, COMMAND_TOO_LONG, fatal=True)

    def _forget_command(self) -> None:
        self._command.clear()
        self._literals = 0
        self._remaining = 0
        self._skipped = 0
        self._tag = None
        self._phase = _Phase.LINE

    def _open_tag(self) -> Tag:
        if self._tag is None:
            raise LocalProtocolError("no message is under way")
        return self._tag

    def _require_announced(self) -> None:
        if self._phase is not _Phase.APPEND_ANNOUNCED:
            raise LocalProtocolError("no message is announced")

    def _line_too_long(self) -> bool:
        return len(self._buffer) > self._limits.max_line + 1  # its CR may be there already

    def _take_line(self) -> bytes | None:
        """The next line without its CRLF, or None; every octet is searched once."""
        end = self._buffer.find(_CRLF, self._searched)
        if end < 0:
            self._searched = max(0, len(self._buffer) - 1)
            return None
        with memoryview(self._buffer) as view:
            line = bytes(view[:end])
        self._drop(end + len(_CRLF))
        return line

    def _drop(self, octets: int) -> None:
        del self._buffer[:octets]
        self._searched = max(0, self._searched - octets)


def _mark(line: bytes) -> _Mark | None:
    """The literal that a line announces at its end, in whatever context (RFC 7888 s3)."""
    if not line.endswith(b"}"):
        return None
    found = _MARK.match(line, line.rfind(b"{"))
    if found is None:
        return None
    digits = found[1].lstrip(b"0")
    # int() of thousands of digits is slow, and then refused.
    size = _HUGE if len(digits) > 10 else int(digits or b"0")
    return _Mark(size, synchronizing=not found[2])
