"""Address lists (RFC 5322 s3.4, s4.4): what ENVELOPE shows of them, and their text.

A tolerant reader: what is not an address by the grammar still gives the nearest thing to one. Common forms
are one regular expression each; the rest goes token by token, within a budget.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from postroom_wire.mime.charset import decode_line
from postroom_wire.mime.encoded_word import decode_words

# mailbox = name-addr / addr-spec in their common forms, up to what separates it from the next one.
_COMMON: Final = re.compile(
    rb"""(?:(?:"((?:[^"\\]++|\\.)*+)"|([^"<>@,;:()\\\[\]]*+))[ \t]*+"""
    rb"""<([^"<>@,;:()\\\[\]\s]++)@([^"<>@,;:()\\\[\]\s]++)>"""
    rb"""|([^"<>@,;:()\\\[\]\s]++)@([^"<>@,;:()\\\[\]\s]++))[ \t]*+(?=[,;]|\Z)""",
    re.DOTALL,
)
_BETWEEN: Final = re.compile(rb"[\s,]*+")
_TOKEN: Final = re.compile(
    rb"""(?P<space>\s++)|"(?P<quoted>(?:[^"\\]++|\\.)*+)"?|(?P<literal>\[[^\[\]\\]*+\]?)"""
    rb"""|(?P<comment>\((?P<text>[^()\\]*+)\))|(?P<atom>(?:[^\s"\[()<>@,:;\\]|\\.)++)|(?P<special>.)""",
    re.DOTALL,
)
_PARENTHESIS: Final = re.compile(rb"[()]|\\.", re.DOTALL)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_TOKENS_AN_ADDRESS: Final = 16


class RawAddress(NamedTuple):
    """RFC 3501 s7.4.2 address structure, undecoded: a group's start has only a mailbox, its end nothing."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


_GROUP_END: Final = RawAddress(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox: decoded display name, local part without quoting, domain; empty where missing."""

    name: str
    mailbox: str
    host: str

    @property
    def address(self) -> str:
        """`local@domain`."""
        return f"{self.mailbox}@{self.host}" if self.host else self.mailbox


def parse_addresses(value: bytes, room: int) -> tuple[list[RawAddress], bool]:
    """Up to `room` addresses and group marks of an unfolded field value; and whether it was cut."""
    reader = _Reader(value, room)
    reader.read()
    return reader.found, reader.at < len(value)


def decode_addresses(found: list[RawAddress]) -> tuple[Address, ...]:
    """The mailboxes of a list, without its groups."""
    return tuple(
        Address(
            "" if raw.name is None else decode_words(raw.name),
            decode_line(raw.mailbox),
            decode_line(raw.host),
        )
        for raw in found
        if raw.mailbox is not None and raw.host is not None
    )


class _Reader:
    """Reads one field value from left to right; each step moves `at` on."""

    def __init__(self, value: bytes, room: int) -> None:
        self.found: list[RawAddress] = []
        self.at = 0
        self._value = value
        self._room = room
        self._tokens = room * _TOKENS_AN_ADDRESS
        self._in_group = False

    def read(self) -> None:
        """Fill `found` until the end or the bound."""
        value, found = self._value, self.found
        while True:
            between = _BETWEEN.match(value, self.at)
            self.at = between.end() if between else self.at
            if self.at >= len(value) or len(found) >= self._room or self._tokens <= 0:
                break
            if common := _COMMON.match(value, self.at):
                quoted, phrase, mailbox, host, bare_mailbox, bare_host = common.groups()
                if mailbox is None:
                    found.append(RawAddress(None, None, bare_mailbox, bare_host))
                else:
                    found.append(RawAddress(_name(quoted, phrase), None, mailbox, host))
                self.at = common.end()
            elif value.startswith(b";", self.at):
                self.at += 1
                self._tokens -= 1
                self._end_group()
            else:
                self._read_uncommon()
        self._end_group()

    def _end_group(self) -> None:
        if self._in_group:
            self.found.append(_GROUP_END)
        self._in_group = False

    def _read_uncommon(self) -> None:
        """One address token by token, or the start of a group."""
        mailbox = _Mailbox()
        while self.at < len(self._value) and self._tokens > 0:
            self._tokens -= 1
            token = _TOKEN.match(self._value, self.at)
            if token is None:  # cannot be: the last alternative takes any octet
                break
            special = token["special"]
            if special == b"(":
                mailbox.comment = self._read_comment()
                continue
            if mailbox.ends_before(special):
                break
            self.at = token.end()
            if special == b":" and mailbox.may_name_group():
                self._end_group()
                self._in_group = True
                self.found.append(RawAddress(None, None, mailbox.phrase(), None))
                return
            mailbox.take(token)
        if (raw := mailbox.raw()) is not None:
            self.found.append(raw)

    def _read_comment(self) -> bytes:
        """comment, with what it nests; an open one ends with the value."""
        depth, start = 0, self.at + 1
        for found in _PARENTHESIS.finditer(self._value, self.at):
            self._tokens -= 1
            depth += {b"(": 1, b")": -1}.get(found[0], 0)
            if depth == 0 or self._tokens <= 0:
                self.at = found.end()
                return self._value[start : found.start()]
        self.at = len(self._value)
        return self._value[start:]


class _Mailbox:
    """What has been seen of one mailbox: pieces before and within the angle brackets."""

    def __init__(self) -> None:
        self.comment: bytes | None = None
        self._outside: list[bytes] = []
        self._inside: list[bytes] | None = None
        self._open = False
        self._in_route = False
        self._has_word = False
        self._has_sign = False

    def ends_before(self, special: bytes | None) -> bool:
        """Whether this special begins something else; a source route within brackets has commas."""
        if special == b",":
            return not self._in_route
        return special == b";" and not self._open

    def may_name_group(self) -> bool:
        """Whether what has been seen can be a group's name."""
        return self._inside is None and self._has_word and not self._has_sign

    def take(self, token: re.Match[bytes]) -> None:
        """Add a token."""
        match token.lastgroup:
            case "quoted":
                self._has_word = True
                self._add(b'"' + _unquoted(token["quoted"]))
            case "special":
                self._take_special(token[0])
            case "space":
                self._add(b" ")
            case "literal" | "atom":
                self._has_word = True
                self._add(token[0])
            case _:
                self.comment = token["text"]

    def phrase(self) -> bytes:
        """The words outside the brackets."""
        return _words(self._outside)

    def raw(self) -> RawAddress | None:
        """The address, or None if nothing was seen."""
        if self._inside is None:
            return self._bare()
        route: bytes | None = None
        inside = [piece for piece in self._inside if piece != b" "]
        if inside[:1] == [b"@"] and b":" in inside:
            colon = inside.index(b":")
            route, inside = _joined(inside[:colon]), inside[colon + 1 :]
        mailbox, host = _addr_spec(inside)
        name = self.phrase() or self.comment
        if not (name or mailbox or host):
            return None
        return RawAddress(name or None, route, mailbox, host)

    def _bare(self) -> RawAddress | None:
        pieces = self._outside
        if b"@" not in pieces:
            words = self.phrase()
            return RawAddress(self.comment or None, None, words, b"") if words else None
        sign = pieces.index(b"@")
        start = sign
        while start and pieces[start - 1] == b" ":
            start -= 1
        while start and pieces[start - 1] != b" ":
            start -= 1
        mailbox, host = _addr_spec([piece for piece in pieces[start:] if piece != b" "])
        return RawAddress(_words(pieces[:start]) or self.comment or None, None, mailbox, host)

    def _take_special(self, special: bytes) -> None:
        match special:
            case b"<" if not self._inside:  # of two without a comma the first counts
                self._inside, self._open = [], True
            case b">":
                self._open = False
            case b"@":
                self._in_route = self._in_route or self._inside == []
                self._has_sign = True
                self._add(special)
            case b":" if self._open:
                self._in_route = False
                self._add(special)
            case b",":
                self._add(special)
            case _:
                pass

    def _add(self, piece: bytes) -> None:
        if self._open and self._inside is not None:
            self._inside.append(piece)
        elif self._inside is None:
            self._outside.append(piece)


def _name(quoted: bytes | None, phrase: bytes) -> bytes | None:
    if quoted is None:
        return phrase.strip() or None
    return _unquoted(quoted) or None


def _unquoted(quoted: bytes) -> bytes:
    return _QUOTED_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted


def _words(pieces: list[bytes]) -> bytes:
    """A phrase: its words with single spaces between them."""
    return b" ".join(_joined(pieces).split())


def _joined(pieces: list[bytes]) -> bytes:
    return b"".join(piece[1:] if piece.startswith(b'"') else piece for piece in pieces)


def _addr_spec(pieces: list[bytes]) -> tuple[bytes, bytes]:
    """local-part "@" domain, without the quoting."""
    if b"@" not in pieces:
        return _joined(pieces), b""
    sign = len(pieces) - 1 - pieces[::-1].index(b"@")
    return _joined(pieces[:sign]), _joined(pieces[sign + 1 :])
