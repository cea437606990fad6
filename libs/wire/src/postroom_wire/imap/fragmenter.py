"""Octets in, complete commands out: knows lines and literals, and holds the limits (RFC 3501 s2.2.1, s4.3).

A command is its lines joined by its literals. Everything is bounded before it is stored. A literal that is
too big is refused by the command's tag; what a client sends of it without waiting (RFC 7888) is counted and
dropped, up to the end of that command, and the next command is read as if nothing had happened. The messages
of an APPEND are never stored here: they come out in chunks, and what is between them as events.

`receive_data` only stores, `next_event` takes one step. Ask for events until NEED_DATA before giving more
octets: then no more than one read is buffered. A pipelined command stays buffered until it is asked for.
"""

import re
from enum import Enum
from typing import Final

from postroom_wire.imap.append_parser import (
    HEAD,
    HELD_URL,
    AppendPiece,
    AppendReader,
    parse_append_command,
)
from postroom_wire.imap.commands import Replace
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import (
    COMMAND_TOO_LONG,
    LINE_TOO_LONG,
    LITERAL_TOO_BIG,
    TOO_MANY_ITEMS,
    LocalProtocolError,
    Refusal,
    RemoteProtocolError,
    Tag,
)
from postroom_wire.imap.events import (
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
from postroom_wire.imap.literal_mark import LiteralMark, literal_mark
from postroom_wire.imap.parser import TAG

_CRLF: Final = b"\r\n"
_APPEND: Final = re.compile(TAG.pattern + HEAD.pattern)
# Longer than any literal mark, so the end of a dropped line still shows whether a literal follows.
_TAIL: Final = 64


class _Phase(Enum):
    LINE = "a line of a command"
    RAW_LINE = "a line that is no command"
    LITERAL = "a literal"
    APPEND_ANNOUNCED = "the caller's word on messages"
    APPEND_TOLD = "what was said between messages"
    APPEND_CONTENT = "octets of a message"
    SKIPPED_LITERAL = "a literal of a refused command"
    SKIPPED_LINE = "a line of a refused command"
    CLOSED = "nothing"


class Fragmenter:
    """One connection's octets. Set `authenticated` after login: the limits differ."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.authenticated = False
        self.utf8 = False
        """Whether the client has enabled UTF-8."""
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._command = bytearray()
        self._literals = 0
        self._remaining = 0
        self._skipped = 0
        self._phase = _Phase.LINE
        self._tag: Tag | None = None
        self._append: AppendReader | None = None
        self._pieces: list[AppendPiece] = []

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
        while (event := self._step()) is None:
            pass
        return event

    def _step(self) -> FragmentEvent | NeedData | None:
        # A table of bound methods would cost each of thousands of sessions a kilobyte.
        match self._phase:
            case _Phase.LINE:
                return self._line()
            case _Phase.RAW_LINE:
                return self._raw_line()
            case _Phase.LITERAL:
                return self._literal()
            case _Phase.APPEND_TOLD:
                return self._append_told()
            case _Phase.APPEND_CONTENT:
                return self._append_content()
            case _Phase.SKIPPED_LITERAL:
                return self._skipped_literal()
            case _Phase.SKIPPED_LINE:
                return self._skipped_line()
            case _Phase.APPEND_ANNOUNCED:
                raise LocalProtocolError("the announced message is neither accepted nor refused")
            case _Phase.CLOSED:
                return NEED_DATA

    def accept_append(self) -> None:
        """Take the announced messages."""
        self._require_announced()
        self._phase = _Phase.APPEND_TOLD

    def refuse_append(self) -> None:
        """Do not take them; the caller writes the reason. Octets that come unasked are dropped."""
        self._require_announced()
        self._drop_append(self._open_append())

    def abandon_append(self) -> None:
        """Stop taking messages that were accepted: drop the rest of their command."""
        if self._append is None or self._phase is _Phase.APPEND_ANNOUNCED:
            raise LocalProtocolError("no message is under way")
        self._drop_append(self._append)

    def expect_line(self, tag: Tag) -> None:
        """The next line is not a command: DONE of IDLE, or an answer of AUTHENTICATE, under that tag."""
        if self._phase is not _Phase.LINE or self._command or self._append is not None:
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
            return self._refuse(LINE_TOO_LONG, literal_mark(line), line)
        mark = literal_mark(line)
        if len(self._command) + len(line) > self._limits.max_command:
            return self._refuse(COMMAND_TOO_LONG, mark, line)
        self._command += line
        if self._append is not None:
            return self._append_piece(self._append, mark)
        if mark is not None:
            return self._announced(mark)
        if (head := _APPEND.match(self._command)) is not None:
            return self._append_begun(head, None)
        complete = CommandComplete(bytes(self._command))
        self._forget_command()
        return complete

    def _announced(self, mark: LiteralMark) -> FragmentEvent | None:
        head = _APPEND.match(self._command)
        # A literal right after the name spells the mailbox.
        if head is None or (not self._literals and self._command.startswith(b"{", head.end())):
            return self._held(mark)
        if HELD_URL.search(self._command, head.end()) is not None:
            return self._held(mark)
        return self._append_begun(head, mark)

    def _held(self, mark: LiteralMark) -> FragmentEvent | None:
        """A literal that is part of its command."""
        if refusal := self._literal_refusal(mark):
            return self._refuse(refusal, mark)
        self._literals += 1
        self._command += _CRLF
        self._remaining = mark.size
        self._phase = _Phase.LITERAL
        return ContinuationRequest() if mark.synchronizing else None

    def _literal_refusal(self, mark: LiteralMark) -> Refusal | None:
        limits = self._limits
        if self._literals >= limits.max_literals:
            return TOO_MANY_ITEMS
        if mark.size > (limits.max_literal if self.authenticated else mark.limit_before_login(self._limits)):
            return LITERAL_TOO_BIG
        if len(self._command) + len(_CRLF) + mark.size > limits.max_command:
            return COMMAND_TOO_LONG
        return None

    def _append_begun(self, head: re.Match[bytes], mark: LiteralMark | None) -> FragmentEvent:
        """The first piece of an APPEND, which ends with the mark or with the command."""
        if mark is not None and not self.authenticated and mark.size > mark.limit_before_login(self._limits):
            return self._refuse(LITERAL_TOO_BIG, mark)
        cursor = Cursor(bytes(self._command[head.end(1) + 1 :]), self._limits, utf8=self.utf8)
        try:
            command = parse_append_command(cursor)
            reader = AppendReader(self._limits, single=isinstance(command, Replace))
            told = reader.read(cursor)
        except RemoteProtocolError as error:
            return self._refuse(error.refusal, mark, ended=True)
        tag = Tag(bytes(head[1]))
        self._forget_command()
        self._tag, self._append, self._phase = tag, reader, _Phase.APPEND_ANNOUNCED
        self._pieces.extend(told)
        return AppendStarted(tag, command)

    def _append_piece(self, reader: AppendReader, mark: LiteralMark | None) -> FragmentEvent | None:
        """What stands between two literals, or after the last one."""
        if mark is not None and HELD_URL.search(self._command):
            return self._held(mark)
        try:
            self._pieces.extend(reader.read(Cursor(bytes(self._command), self._limits, utf8=self.utf8)))
        except RemoteProtocolError as error:
            return self._refuse(error.refusal, mark, ended=True)
        self._command.clear()
        self._literals = 0
        self._phase = _Phase.APPEND_TOLD
        return None

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

    def _append_told(self) -> FragmentEvent | None:
        if self._pieces:
            return self._pieces.pop(0)
        literal = self._open_append().literal
        if literal is None:
            tag = self._open_tag()
            self._forget_command()
            return AppendEnded(tag)
        self._remaining = literal.size
        self._phase = _Phase.APPEND_CONTENT
        return ContinuationRequest() if literal.synchronizing else None

    def _append_content(self) -> FragmentEvent | NeedData | None:
        if not self._remaining:
            self._phase = _Phase.LINE
            return None
        taken = min(self._remaining, len(self._buffer), self._limits.max_append_chunk)
        if not taken:
            return NEED_DATA
        with memoryview(self._buffer) as view:
            octets = bytes(view[:taken])
        self._drop(taken)
        self._remaining -= taken
        return AppendContent(octets)

    def _drop_append(self, reader: AppendReader) -> None:
        """Drop what comes unasked of the literal and of the rest of the command."""
        phase, literal, remaining = self._phase, reader.literal, self._remaining
        self._forget_command()
        if phase in {_Phase.APPEND_ANNOUNCED, _Phase.APPEND_TOLD}:
            if literal is None or literal.synchronizing:
                return
            self._remaining, self._phase = literal.size, _Phase.SKIPPED_LITERAL
        elif phase is _Phase.LINE:
            self._phase = _Phase.SKIPPED_LINE
        else:
            self._remaining, self._phase = remaining, _Phase.SKIPPED_LITERAL

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
        mark = literal_mark(line)
        # A client that waits for our "+" has read the refusal instead: its command is over.
        if mark is None or mark.synchronizing:
            self._forget_command()
            return None
        return self._skip(mark) or self._count_skipped(len(line))

    def _refuse(
        self, refusal: Refusal, mark: LiteralMark | None, line: bytes = b"", *, ended: bool = False
    ) -> CommandRefused:
        """Refuse the command under way, of which `line` was not stored, and resynchronise.

        Without a mark the rest of an overlong line is dropped, unless the line has ended.
        """
        tag = self._tag
        if tag is None and (
            found := TAG.match((self._command or line or self._buffer)[: self._limits.max_line])
        ):
            tag = Tag(bytes(found[1]))
        self._forget_command()
        if (line or ended) and mark is None:
            return CommandRefused(tag, refusal)
        if mark is None:
            self._phase = _Phase.SKIPPED_LINE
            return CommandRefused(tag, refusal)
        fatal = self._skip(mark)
        return CommandRefused(tag, refusal, fatal=fatal is not None)

    def _skip(self, mark: LiteralMark) -> CommandRefused | None:
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
        self._append = None
        self._pieces.clear()
        self._phase = _Phase.LINE

    def _open_append(self) -> AppendReader:
        if self._append is None:
            raise LocalProtocolError("no message is under way")
        return self._append

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
