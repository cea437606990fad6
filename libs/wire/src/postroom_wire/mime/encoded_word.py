"""Text of header fields: encoded-words both ways (RFC 2047, with the language of RFC 2231 s5)."""

import binascii
import re
from collections.abc import Iterator
from typing import Final

from postroom_wire.mime.charset import clean_line, decode_line, decode_text
from postroom_wire.mime.transfer import decode_base64

# encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="
# Looser than s2: spaces within encoded-text are common in Q and do no harm.
_ENCODED_WORD: Final = re.compile(rb"=\?([^?*\s]{1,64})(?:\*[^?\s]{0,64})?\?([BbQq])\?([^?]*)\?=")
_MAX_ENCODED_WORD: Final = 75
_OVERHEAD: Final = len("=?utf-8?b??=")
# s5: between quotes this much is safe in a phrase as well as in unstructured text.
_Q_LITERAL: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


def decode_words(value: bytes) -> str:
    """The text of a field value (already unfolded) as one line; broken encoded-words stay as they are."""
    if b"=?" not in value:
        return decode_line(value)
    return clean_line("".join(_pieces(value)))


def encode_words(text: str) -> list[str]:
    """The text as encoded-words in UTF-8 of at most 75 characters each (s2); no character is cut in two."""
    octets_left = _MAX_ENCODED_WORD - _OVERHEAD
    q_size = sum(1 if octet in _Q_LITERAL or octet == 0x20 else 3 for octet in text.encode())
    in_base64 = q_size > (len(text.encode()) + 2) // 3 * 4
    words: list[str] = []
    piece, used = "", 0
    for character in text:
        size = len(character.encode()) if in_base64 else len(_q(character))
        full = (used + size + 2) // 3 * 4 if in_base64 else used + size
        if full > octets_left:
            words.append(_encoded_word(piece, in_base64=in_base64))
            piece, used = "", 0
        piece += character
        used += size
    words.append(_encoded_word(piece, in_base64=in_base64))
    return words


def _pieces(value: bytes) -> Iterator[str]:
    """Text between encoded-words, and runs of encoded-words in one charset.

    s6.2: white space between adjacent encoded-words is not shown. Their octets are joined first, because
    senders cut characters in two, against s5.
    """
    at, charset, octets = 0, b"", b""
    for found in _ENCODED_WORD.finditer(value):
        between = value[at : found.start()]
        adjacent = bool(charset) and not between.strip()
        label = found[1].lower()
        if not adjacent or label != charset:
            if charset:
                yield decode_text(octets, charset.decode("ascii", "replace"))
            if not adjacent:
                yield decode_text(between)
            charset, octets = label, b""
        octets += _decoded(found[2], found[3])
        at = found.end()
    if charset:
        yield decode_text(octets, charset.decode("ascii", "replace"))
    yield decode_text(value[at:])


def _decoded(encoding: bytes, encoded: bytes) -> bytes:
    if encoding in b"Bb":
        return decode_base64(encoded)
    return binascii.a2b_qp(encoded, header=True)


def _q(text: str) -> str:
    """encoded-text in the Q encoding (s4.2)."""
    return "".join(
        "_" if octet == 0x20 else chr(octet) if octet in _Q_LITERAL else f"={octet:02X}"
        for octet in text.encode()
    )


def _encoded_word(text: str, *, in_base64: bool) -> str:
    if in_base64:
        return f"=?utf-8?b?{binascii.b2a_base64(text.encode(), newline=False).decode()}?="
    return f"=?utf-8?q?{_q(text)}?="
