"""Header fields that we write: folded, encoded, without a way in for other fields (RFC 5322 s2.2)."""

import re
from collections.abc import Iterable
from typing import Final

from postroom_wire.mime.charset import clean_line
from postroom_wire.mime.encoded_word import encode_words
from postroom_wire.mime.parameters import percent_encode

_MAX_LINE: Final = 78
_MAX_WORD: Final = 900
"""Longer ones than a line may be (998, s2.1.1) cannot be folded; encoded-words can."""
_MAX_ADDRESS: Final = 320
_MAX_PARAMETER: Final = 60
_PHRASE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+")
# dot-atom and quoted-string, with UTF-8 (RFC 6532 s3.2).
_LOCAL_PART: Final = re.compile(
    r"""[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\U0010ffff]+(?:\.[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\x80-\U0010ffff]+)*"""
    r"""|"(?:[^"\\]|\\.)*\""""
)
_DOMAIN: Final = re.compile(r"""[^\s\x00-\x20\x7f@()<>,;:\\"\[\]]+|\[[A-Za-z0-9:.]+\]""")
_MSG_ID: Final = re.compile(r"<[!-;=?-~]{1,900}>")
_TOKEN: Final = re.compile(r"[!#-'*+\-.0-9A-Z^-z|~]+")
_ATTRIBUTE: Final = re.compile(r"(?:%[0-9A-F]{2}|[^%]){1,20}")


class HeaderError(ValueError):
    """What was to be written is no address, message identifier or token; the text is for the log."""


def write_fields(fields: Iterable[tuple[str, list[str]]]) -> bytes:
    """The header block with its closing empty line.

    A body is a list of pieces between which the line may be folded; each is ASCII (or, for addresses under
    RFC
    6532, UTF-8) and has no line break.
    """
    return "".join([*(_folded(name, pieces) for name, pieces in fields), "\r\n"]).encode()


def unstructured(text: str) -> list[str]:
    """Any text, as encoded-words where it is not printable ASCII (RFC 2047 s5)."""
    words = clean_line(text).split()
    if all(word.isascii() and "=?" not in word and len(word) <= _MAX_WORD for word in words):
        return words
    return encode_words(" ".join(words))


def mailbox(name: str, address: str) -> list[str]:
    """mailbox: display name and address; raises HeaderError where the address is none."""
    if len(address) > _MAX_ADDRESS:
        raise HeaderError("address too long")
    local, _, domain = address.rpartition("@")
    if not (_LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain)) or clean_line(address) != address:
        raise HeaderError("not an address")
    name = " ".join(clean_line(name).split())
    if not name:
        return [address]
    if not name.isascii() or "=?" in name or len(name) > _MAX_WORD:
        return [*encode_words(name), f"<{address}>"]
    if _PHRASE.fullmatch(name):
        return [*name.split(" "), f"<{address}>"]
    return [_quoted(name), f"<{address}>"]


def mailbox_list(mailboxes: Iterable[tuple[str, str]]) -> list[str]:
    """mailbox-list, of names and addresses."""
    pieces: list[str] = []
    for name, address in mailboxes:
        if pieces:
            pieces[-1] += ","
        pieces += mailbox(name, address)
    return pieces


def message_ids(identifiers: Iterable[str]) -> list[str]:
    """1*msg-id; raises HeaderError where one has no angle brackets or more than printable ASCII."""
    found = list(identifiers)
    if not all(map(_MSG_ID.fullmatch, found)):
        raise HeaderError("not a message identifier")
    return found


def parameterized(value: str, parameters: Iterable[tuple[str, str]]) -> list[str]:
    """A media type or disposition with parameters; raises HeaderError where it is none."""
    if not all(map(_TOKEN.fullmatch, value.split("/"))):
        raise HeaderError("not a token")
    pieces = [value]
    for attribute, text in parameters:
        for piece in _parameter(attribute, " ".join(clean_line(text).split())):
            pieces[-1] += ";"
            pieces.append(piece)
    return pieces


def _parameter(attribute: str, text: str) -> list[str]:
    """attribute "=" value, or the extended forms for what is long or not ASCII (RFC 2231 s3, s4)."""
    if _TOKEN.fullmatch(text) and len(text) <= _MAX_PARAMETER:
        return [f"{attribute}={text}"]
    if text.isascii() and len(text) <= _MAX_PARAMETER:
        return [f"{attribute}={_quoted(text)}"]
    encoded = "utf-8''" + percent_encode(text.encode()).decode("ascii")
    sections = _ATTRIBUTE.findall(encoded)
    if len(sections) == 1:
        return [f"{attribute}*={encoded}"]
    return [f"{attribute}*{number}*={section}" for number, section in enumerate(sections)]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _folded(name: str, pieces: list[str]) -> str:
    """s2.2.3: line breaks go before white space; lines have at most 78 characters if pieces allow it."""
    lines = [f"{name}:"]
    for number, piece in enumerate(pieces):
        if number and len(lines[-1]) + 1 + len(piece) > _MAX_LINE:
            lines.append("")
        lines[-1] += f" {piece}"
    return "\r\n".join(lines) + "\r\n"
