"""The rules of the grammar that many commands share (RFC 3501 s9), over one complete command."""

import binascii
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, TypeVar

from postroom_wire.imap.dates import DATE_TEXT, DATE_TIME, date_of, date_time_of
from postroom_wire.imap.errors import (
    BAD_BASE64,
    BAD_FLAG,
    BAD_MAILBOX_NAME,
    BAD_STRING,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    UNKNOWN_COMMAND,
    Refusal,
    RemoteProtocolError,
)
from postroom_wire.imap.flags import RECENT, Flag, fold, system_flag
from postroom_wire.imap.limits import DEFAULT_LIMITS, Limits
from postroom_wire.imap.mailbox_name import MailboxName, MailboxNameError
from postroom_wire.imap.sequence import STAR, SequenceSet

MAX_NUMBER: Final = 4_294_967_295
MAX_NUMBER64: Final = 2**63 - 1
_MAX_DIGITS: Final = len(str(MAX_NUMBER64))

# ATOM-CHAR = <any CHAR except atom-specials>
_ATOM: Final = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+")

# ASTRING-CHAR = ATOM-CHAR / resp-specials
_ASTRING: Final = re.compile(rb"[!#$&'+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")

# list-char = ATOM-CHAR / list-wildcards / resp-specials
_LIST_CHARS: Final = re.compile(rb"[!#$%&'*+,\-./0-9:;<=>?@A-Z\[\]^_`a-z|}~]+")

# quoted = DQUOTE *QUOTED-CHAR DQUOTE
# Octets above 127 are let through: clients send UTF-8 passwords so; what they mean is the caller's to say.
_QUOTED: Final = re.compile(rb'"([^\x00\r\n"\\]*(?:\\["\\][^\x00\r\n"\\]*)*)"')
_ESCAPED: Final = re.compile(rb"\\(.)")

# literal = "{" number ["+"] "}" CRLF *CHAR8   (RFC 7888 s8)
_LITERAL: Final = re.compile(rb"\{([0-9]{1,10})\+?\}\r\n")

_NIL: Final = re.compile(rb"(?i:NIL)")
_NUMBER: Final = re.compile(rb"[0-9]+")
_NZ_NUMBER: Final = re.compile(rb"[1-9][0-9]*")

# sequence-set = (seq-number / seq-range) *("," sequence-set)
# sequence-set =/ seq-last-command   (RFC 5182 s3: "$"; after others only at the end)
_SEQUENCE_SET: Final = re.compile(rb"(?:[1-9][0-9]*|\*)(?:[:,](?:[1-9][0-9]*|\*))*(?:,\$)?|\$")

# base64 = *(4base64-char) [base64-terminal]
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

# The names of fetch items, options and search keys are all of this form.
_WORD: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9.\-]*")

_COMMAND_NAME: Final = re.compile(rb"[A-Za-z]+")

_Value = TypeVar("_Value")


class Cursor:
    """A place in one complete command. Each method is the ABNF rule of its name.

    `utf8`: the client has enabled it, so quoted strings and mailbox names are (RFC 6855 s3, RFC 9051 s4.3).
    All raise `RemoteProtocolError` without a tag, and then the cursor is of no more use.
    """

    def __init__(self, data: bytes, limits: Limits = DEFAULT_LIMITS, *, utf8: bool = False) -> None:
        self.limits = limits
        self._utf8 = utf8
        self._data = data
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether the command ends here."""
        return self._at == len(self._data)

    def end(self) -> None:
        """The end of the command; its last CRLF was taken off."""
        if not self.at_end:
            raise self.wrong("the end")

    def wrong(self, rule: str, refusal: Refusal = SYNTAX_ERROR) -> RemoteProtocolError:
        """The error of something else being where the rule should match."""
        return RemoteProtocolError(refusal, f"expected {rule} at octet {self._at}")

    def next_is(self, octets: bytes) -> bool:
        """Whether these octets come next; takes nothing."""
        return self._data.startswith(octets, self._at)

    def skip_rest(self) -> None:
        """Take all that is left of a command that is refused for what it says, not for its form."""
        self._at = len(self._data)

    @property
    def digit_next(self) -> bool:
        """Whether a digit comes next."""
        return self._data[self._at : self._at + 1].isdigit()

    def accept(self, octets: bytes) -> bool:
        """Take these octets if they come next."""
        if not self._data.startswith(octets, self._at):
            return False
        self._at += len(octets)
        return True

    def expect(self, octets: bytes) -> None:
        """Take these octets."""
        if not self.accept(octets):
            raise self.wrong(repr(octets))

    def sp(self) -> None:
        """SP: exactly one space (s9, note 2)."""
        self.expect(b" ")

    def more(self, count: int, maximum: int) -> bool:
        """Whether `SP` and another list item follow; refuses item number `maximum` + 1."""
        if not self.accept(b" "):
            return False
        if count >= maximum:
            raise self.wrong(f"at most {maximum} items", TOO_MANY_ITEMS)
        return True

    def command_name(self) -> bytes:
        """The name of a command, in upper case."""
        found = _COMMAND_NAME.match(self._data, self._at)
        if found is None:
            raise self.wrong("a command", UNKNOWN_COMMAND)
        self._at = found.end()
        return found[0].upper()

    def word(self) -> bytes:
        """A keyword of the grammar, in upper case."""
        return self._take(_WORD, "keyword")[0].upper()

    def accept_word(self, word: bytes) -> bool:
        """Take this keyword if it comes next."""
        found = _WORD.match(self._data, self._at)
        if found is None or found[0].upper() != word:
            return False
        self._at = found.end()
        return True

    def expect_word(self, word: bytes) -> None:
        """Take this keyword."""
        if not self.accept_word(word):
            raise self.wrong(repr(word))

    def word_of(self, table: Mapping[bytes, _Value]) -> _Value:
        """The value that a keyword stands for."""
        start = self._at
        value = table.get(self.word())
        if value is None:
            self._at = start
            raise self.wrong("a known keyword")
        return value

    def atom(self) -> bytes:
        """1*ATOM-CHAR."""
        return self._take(_ATOM, "atom")[0]

    def astring(self) -> bytes:
        """1*ASTRING-CHAR / string."""
        if self.next_is(b'"') or self.next_is(b"{"):
            return self.string()
        return self._take(_ASTRING, "astring")[0]

    def string(self) -> bytes:
        """quoted / literal."""
        if not self.next_is(b"{"):
            return self._quoted(_ESCAPED.sub(rb"\1", self._take(_QUOTED, "string")[1]))
        size = int(self._take(_LITERAL, "literal")[1])
        value = self._data[self._at : self._at + size]
        if len(value) != size or b"\x00" in value:  # CHAR8 has no NUL
            raise self.wrong("literal")
        self._at += size
        return value

    def literal8(self) -> bytes:
        """ "~" literal, of any octets (RFC 4466 s3)."""
        self.expect(b"~")
        size = int(self._take(_LITERAL, "literal8")[1])
        value = self._data[self._at : self._at + size]
        if len(value) != size:
            raise self.wrong("literal8")
        self._at += size
        return value

    def nstring(self) -> bytes | None:
        """string / nil."""
        return None if self.nil() else self.string()

    def nil(self) -> bool:
        """Take NIL if it comes next."""
        found = _NIL.match(self._data, self._at)
        if found is None:
            return False
        self._at = found.end()
        return True

    def number(self) -> int:
        """1*DIGIT, unsigned 32-bit."""
        return self._bounded(self._take(_NUMBER, "number")[0])

    def nz_number(self) -> int:
        """digit-nz *DIGIT, unsigned 32-bit."""
        return self._bounded(self._take(_NZ_NUMBER, "nz-number")[0])

    def number64(self) -> int:
        """1*DIGIT, unsigned 63-bit (RFC 9051 s9)."""
        digits = self.digits()
        if len(digits.lstrip(b"0")) > _MAX_DIGITS or (value := int(digits[-_MAX_DIGITS:])) > MAX_NUMBER64:
            raise self.wrong("a 63-bit number")
        return value

    def digits(self) -> bytes:
        """1*DIGIT, of any length."""
        return self._take(_NUMBER, "digits")[0]

    def sequence_set(self) -> SequenceSet:
        """(seq-number / seq-range) *("," sequence-set) / seq-last-command."""
        items: list[tuple[int, int]] = []
        saved = False
        for item in self._take(_SEQUENCE_SET, "sequence-set")[0].split(b","):
            if item == b"$":
                saved = True
                continue
            ends = item.split(b":")
            if len(ends) > 2:
                raise self.wrong("seq-range")
            items.append((self._seq_number(ends[0]), self._seq_number(ends[-1])))
        return SequenceSet(tuple(items), saved)

    def mailbox(self) -> MailboxName:
        """ "INBOX" / astring."""
        return self.mailbox_name(self.astring())

    def mailbox_name(self, octets: bytes) -> MailboxName:
        """The name that an astring spells."""
        try:
            return MailboxName.decode(octets, utf8=self._utf8)
        except MailboxNameError as error:
            raise self.wrong("mailbox", BAD_MAILBOX_NAME) from error

    def new_mailbox(self, octets: bytes) -> MailboxName:
        """The name of a mailbox to be."""
        name = self.mailbox_name(octets)
        if not name.is_net_unicode:
            raise self.wrong("Net-Unicode", BAD_MAILBOX_NAME)
        return name

    def list_mailbox(self) -> bytes:
        """1*list-char / string."""
        if self.next_is(b'"') or self.next_is(b"{"):
            return self.string()
        return self._take(_LIST_CHARS, "list-mailbox")[0]

    def flag_keyword(self) -> Flag:
        """atom."""
        return Flag(self.atom().decode("ascii"))

    def flag(self) -> Flag:
        """A system flag that can be set, or flag-keyword."""
        if not self.accept(b"\\"):
            return self.flag_keyword()
        name = "\\" + self.atom().decode("ascii")
        if name.lower() == fold(RECENT):
            return RECENT
        known = system_flag(name)
        if known is None:  # s2.3.2: a flag that begins with "\" is a system flag, and we have no others
            raise self.wrong("flag", BAD_FLAG)
        return known

    def flag_list(self) -> tuple[Flag, ...]:
        """ "(" [flag *(SP flag)] ")"."""
        self.expect(b"(")
        flags = () if self.next_is(b")") else self.flags()
        self.expect(b")")
        return flags

    def flags(self) -> tuple[Flag, ...]:
        """flag *(SP flag), each once."""
        flags = [self.flag()]
        while self.more(len(flags), self.limits.max_flags):
            flags.append(self.flag())
        return tuple({fold(flag): flag for flag in flags}.values())

    def date(self) -> date:
        """date-text / DQUOTE date-text DQUOTE."""
        quoted = self.accept(b'"')
        found = self._take(DATE_TEXT, "date")
        if quoted:
            self.expect(b'"')
        try:
            return date_of(found)
        except ValueError as error:
            raise self.wrong("date") from error

    def date_time(self) -> datetime:
        """date-time, in UTC."""
        try:
            return date_time_of(self._take(DATE_TIME, "date-time"))
        except ValueError as error:
            raise self.wrong("date-time") from error

    def base64(self) -> bytes:
        """What base64 encodes; perhaps nothing."""
        return self.decode_base64(self._take(_BASE64, "base64")[0])

    def decode_base64(self, octets: bytes) -> bytes:
        """What exactly these octets encode."""
        if not _BASE64.fullmatch(octets):
            raise self.wrong("base64", BAD_BASE64)
        return binascii.a2b_base64(octets)

    def _quoted(self, octets: bytes) -> bytes:
        """Of whom has enabled UTF-8 it must be that (RFC 6855 s3)."""
        if self._utf8 and not octets.isascii():
            try:
                octets.decode("utf-8")
            except UnicodeDecodeError as error:
                raise self.wrong("UTF-8", BAD_STRING) from error
        return octets

    def _seq_number(self, octets: bytes) -> int:
        return STAR if octets == b"*" else self._bounded(octets)

    def _bounded(self, digits: bytes) -> int:
        # The length first: int() of a long string is slow, and refused beyond 4,300 digits.
        if len(digits) > 10 or (value := int(digits)) > MAX_NUMBER:
            raise self.wrong("a 32-bit number")
        return value

    def _take(self, pattern: re.Pattern[bytes], rule: str) -> re.Match[bytes]:
        found = pattern.match(self._data, self._at)
        if found is None:
            raise self.wrong(rule)
        self._at = found.end()
        return found
