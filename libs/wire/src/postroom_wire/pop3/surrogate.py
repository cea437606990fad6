"""Messages with addresses and header fields in UTF-8, for clients that take ASCII only (RFC 6856 s2.1).

Their header is rewritten in the way of RFC 6858, which is short of what RFC 6857 would do: addresses that are
not ASCII become groups without members, text becomes encoded-words, other fields go. The body stays.
"""

import re
from typing import Final

from postroom_wire.mime.addresses import Address, decode_addresses, parse_addresses
from postroom_wire.mime.encoded_word import encode_words
from postroom_wire.mime.header_writer import HeaderError, mailbox, unstructured, write_fields
from postroom_wire.pop3.multi_line import MultiLineEncoder

_HELD: Final = 262_144
"""A header that is longer is not rewritten by fields."""
_ADDRESSES: Final = 1_000
_END_OCTETS: Final = 4
_END: Final = re.compile(rb"\r?\n\r?\n")
_FIELD: Final = re.compile(rb"(?<=\n)(?=[^ \t\r\n])")
_NAME: Final = re.compile(rb"([!-9;-~]{1,200})[ \t]*:")
_OF_ADDRESSES: Final = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "resent-")
    for name in ("from", "sender", "reply-to", "to", "cc", "bcc")
)
_OF_TEXT: Final = frozenset({"subject", "comments", "keywords", "content-description"})
_NOT_ASCII: Final = bytes(number if number < 0x80 else ord("?") for number in range(256))


class ContentEncoder:
    """Chunks of a message in, the lines of its response out: as it is with `utf8`, else in ASCII's dress."""

    def __init__(self, lines: int | None, *, utf8: bool) -> None:
        self._lines = MultiLineEncoder(lines)
        self._header = None if utf8 else _Header()

    @property
    def finished(self) -> bool:
        """Whether no more octets are wanted."""
        return self._lines.finished

    def feed(self, chunk: bytes) -> bytes:
        """The response's octets for the next octets of the message."""
        return self._lines.feed(chunk if self._header is None else self._header.feed(chunk))

    def finish(self) -> bytes:
        """The end of the response."""
        rest = b"" if self._header is None else self._header.finish()
        return self._lines.feed(rest) + self._lines.finish()


class _Header:
    """Holds a message's header until it is whole."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._over = False
        self._too_long = False

    def feed(self, chunk: bytes) -> bytes:
        """What may be said now."""
        if self._over:
            return chunk
        self._held += chunk
        # An empty first line ends the header at once.
        found = _END.search(b"\n" + self._held)
        if found is not None:
            self._over = True
            end = max(found.end() - 1, 0)
            header, rest = bytes(self._held[:end]), bytes(self._held[end:])
            self._held.clear()
            return self._said(header) + rest
        if len(self._held) <= _HELD:
            return b""
        self._too_long = True
        some = bytes(self._held[:-_END_OCTETS])  # the end of the header may begin with the rest
        del self._held[:-_END_OCTETS]
        return some.translate(_NOT_ASCII)

    def finish(self) -> bytes:
        """What is left of a message without a body."""
        rest = bytes(self._held)
        self._held.clear()
        return self._said(rest)

    def _said(self, header: bytes) -> bytes:
        if header.isascii():
            return header
        if self._too_long:
            return header.translate(_NOT_ASCII)
        return b"".join(map(_surrogate, _FIELD.split(header)))


def _surrogate(field: bytes) -> bytes:
    """One field, with its line breaks, or whatever stands in its place."""
    if field.isascii():
        return field
    try:
        text = field.decode("utf-8")
    except UnicodeDecodeError:
        return field  # no internationalized message (RFC 6532 s3.1), but what POP3 always had to carry
    if (found := _NAME.match(field)) is None:
        return b""
    name, value = found[1].decode("ascii"), text[found.end() :]
    # The blank line that ends the header comes with its last field.
    end = b"\r\n" if _END.search(field) else b""
    if name.lower() in _OF_ADDRESSES:
        return _written(name, _mailboxes(value)) + end
    return (_written(name, unstructured(value)) if name.lower() in _OF_TEXT else b"") + end


def _written(name: str, pieces: list[str]) -> bytes:
    return write_fields([(name, pieces)]).removesuffix(b"\r\n")


def _mailboxes(value: str) -> list[str]:
    """RFC 6858 s2.1: an address that is not ASCII becomes a group, whose name says what it was."""
    found, _ = parse_addresses(" ".join(value.split()).encode(), _ADDRESSES)
    pieces: list[str] = []
    for address in decode_addresses(found):
        if pieces:
            pieces[-1] += ","
        pieces += _mailbox(address)
    return pieces


def _mailbox(address: Address) -> list[str]:
    text = f"{address.mailbox}@{address.host}"
    try:
        if text.isascii():
            return mailbox(address.name, text)
    except HeaderError:
        pass
    words = encode_words(f"{address.name} {text}".strip())
    return [*words[:-1], words[-1] + ":;"]
