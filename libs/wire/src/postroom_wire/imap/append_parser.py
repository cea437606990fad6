"""APPEND and REPLACE, which are read in pieces: each ends with the mark of a literal that is streamed.

Several messages at once are MULTIAPPEND (RFC 3502), messages of several parts CATENATE (RFC 4469), literals
with NUL are of BINARY (RFC 3516), messages with UTF-8 in their headers of RFC 6855, and REPLACE is RFC 8508.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from postroom_wire.imap.commands import Append, Replace
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.errors import MESSAGE_TOO_BIG, TOO_MANY_ITEMS
from postroom_wire.imap.events import AppendMessageEnded, AppendMessageStarted, AppendUrl
from postroom_wire.imap.flags import RECENT, Flag
from postroom_wire.imap.limits import Limits
from postroom_wire.imap.message_limit import message_limit, too_many
from postroom_wire.imap.sequence import STAR

AppendPiece: TypeAlias = AppendMessageStarted | AppendUrl | AppendMessageEnded

# Which commands are read here; behind their names there may be a literal that spells the mailbox.
HEAD: Final = re.compile(rb"(?i:APPEND|(?:UID )?REPLACE [0-9*]+) ")

# url = "URL" SP astring, whose literal is held and not streamed   (RFC 4469 s5)
HELD_URL: Final = re.compile(rb"[ (](?i:URL) \{[0-9]+\+?\}\Z")


class AnnouncedLiteral(NamedTuple):
    """A literal that is part of a message: literal / literal8."""

    size: int
    synchronizing: bool


class _Place(Enum):
    MESSAGE = "append-message"
    PART = "cat-part"
    AFTER_LITERAL = "what follows a message of one literal"
    AFTER_UTF8 = "what follows a message of one utf8-literal"
    AFTER_PART = "what follows a cat-part"
    AFTER_UTF8_PART = "what follows a utf8-literal among cat-parts"
    AFTER_MESSAGE = "the end, or another message"


def parse_append_command(cursor: Cursor) -> Append | Replace:
    """append = "APPEND" SP mailbox 1*append-message   (RFC 3502), up to the messages for an `AppendReader`.

    replace = "REPLACE" SP seq-number SP mailbox append-message   (RFC 8508 s5)
    """
    name = cursor.command_name()
    cursor.sp()
    if name == b"APPEND":
        return Append(cursor.mailbox())
    uid = name == b"UID"
    if uid:
        cursor.command_name()
        cursor.sp()
    message = STAR if cursor.accept(b"*") else cursor.nz_number()
    cursor.sp()
    return Replace(message, cursor.mailbox(), uid)


class AppendReader:
    """Reads the messages of one command, piece by piece. All raise `RemoteProtocolError` without a tag."""

    def __init__(self, limits: Limits, *, single: bool) -> None:
        self.literal: AnnouncedLiteral | None = None
        """What the last piece ended with; None when it was the end of the command."""
        self._limits, self._single = limits, single
        self._place = _Place.MESSAGE
        self._messages = 0
        self._parts = 0
        self._size = 0
        self._total = 0
        self._ended = False
        self._steps: Final[dict[_Place, Callable[[Cursor], AppendPiece | None]]] = {
            _Place.MESSAGE: self._message,
            _Place.PART: self._part,
            _Place.AFTER_LITERAL: self._after_literal,
            _Place.AFTER_UTF8: self._after_utf8,
            _Place.AFTER_PART: self._after_part,
            _Place.AFTER_UTF8_PART: self._after_utf8_part,
            _Place.AFTER_MESSAGE: self._after_message,
        }

    def read(self, cursor: Cursor) -> list[AppendPiece]:
        """A piece, up to the mark of the literal or to the command's end."""
        self.literal = None
        pieces: list[AppendPiece] = []
        while self.literal is None and not self._ended:
            piece = self._steps[self._place](cursor)
            if piece is not None:
                pieces.append(piece)
        return pieces

    def _message(self, cursor: Cursor) -> AppendMessageStarted:
        """append-message = [SP flag-list] [SP date-time] SP append-data   (RFC 4466 s6)."""
        self._messages += 1
        if self._messages > self._limits.max_append_messages:
            code = message_limit(self._limits.max_append_messages)
            raise cursor.wrong("fewer messages", too_many(code))
        self._parts = self._size = 0
        cursor.sp()
        flags: tuple[Flag, ...] = ()
        if cursor.next_is(b"("):
            # Clients that copy mail between servers send \Recent along; it means nothing (RFC 3501 s2.3.2).
            flags = tuple(flag for flag in cursor.flag_list() if flag != RECENT)
            cursor.sp()
        date_time = None
        if cursor.next_is(b'"'):
            date_time = cursor.date_time()
            cursor.sp()
        if cursor.accept_word(b"CATENATE"):
            cursor.sp()
            cursor.expect(b"(")
            self._place = _Place.PART
            return AppendMessageStarted(flags, date_time, None)
        utf8 = cursor.accept_word(b"UTF8")
        self._place = _Place.AFTER_LITERAL
        if utf8:
            self._utf8_literal(cursor)
            self._place = _Place.AFTER_UTF8
        else:
            self._literal(cursor)
        return AppendMessageStarted(flags, date_time, self._size, utf8)

    def _part(self, cursor: Cursor) -> AppendUrl | None:
        """cat-part = text-literal / url / utf8-literal   (RFC 4469 s5, RFC 6855 s4)."""
        self._parts += 1
        if self._parts > self._limits.max_append_parts:
            raise cursor.wrong("fewer parts", TOO_MANY_ITEMS)
        self._place = _Place.AFTER_PART
        if cursor.accept_word(b"URL"):
            cursor.sp()
            return AppendUrl(cursor.astring())
        if cursor.accept_word(b"UTF8"):
            self._utf8_literal(cursor)
            self._place = _Place.AFTER_UTF8_PART
        else:
            cursor.expect_word(b"TEXT")
            cursor.sp()
            self._literal(cursor)
        return None

    def _after_literal(self, _cursor: Cursor) -> AppendMessageEnded:
        self._place = _Place.AFTER_MESSAGE
        return AppendMessageEnded()

    def _after_utf8(self, cursor: Cursor) -> AppendMessageEnded:
        cursor.expect(b")")
        return self._after_literal(cursor)

    def _after_part(self, cursor: Cursor) -> AppendMessageEnded | None:
        if cursor.accept(b" "):
            self._place = _Place.PART
            return None
        return self._after_utf8(cursor)

    def _after_utf8_part(self, cursor: Cursor) -> None:
        cursor.expect(b")")
        self._place = _Place.AFTER_PART

    def _after_message(self, cursor: Cursor) -> None:
        if cursor.at_end:
            self._ended = True
        elif self._single:
            raise cursor.wrong("the end")
        else:
            self._place = _Place.MESSAGE

    def _utf8_literal(self, cursor: Cursor) -> None:
        """utf8-literal = "UTF8" SP "(" literal8 ")"   (RFC 6855 s4), from after its name to its mark."""
        cursor.sp()
        cursor.expect(b"(")
        if not cursor.next_is(b"~"):
            raise cursor.wrong("literal8")
        self._literal(cursor)

    def _literal(self, cursor: Cursor) -> None:
        """literal / literal8, up to its CRLF   (RFC 3516 s7, RFC 7888 s8)."""
        cursor.accept(b"~")
        cursor.expect(b"{")
        size = cursor.number()
        synchronizing = not cursor.accept(b"+")
        cursor.expect(b"}")
        cursor.end()
        self._size += size
        self._total += size
        if self._size > self._limits.append_limit or self._total > self._limits.append_total:
            raise cursor.wrong("a smaller message", MESSAGE_TOO_BIG)
        self.literal = AnnouncedLiteral(size, synchronizing)
