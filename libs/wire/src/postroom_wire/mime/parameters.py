"""Content-Type, Content-Disposition and their parameters (RFC 2045 s5.1, RFC 2183, RFC 2231)."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from postroom_wire.mime.charset import clean_line, decode_text
from postroom_wire.mime.encoded_word import decode_words

Parameters = tuple[tuple[bytes, bytes], ...]
"""Lower-case attribute and raw value, in order.

Continuations are joined (RFC 2231 s3). An attribute that ends with "*" has an extended value,
`charset'language'percent-encoded` (s4).
"""

# value = token / quoted-string; looser than the RFC: a token ends at white space or ";" only.
# Nothing that can fail stands after a part that may hold a ";", so a failure never looks at an octet again.
_PARAMETER: Final = re.compile(
    rb""";\s*+([^\s=;"()]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)("?)|([^;"\s]*+))""", re.DOTALL
)
_MEDIA_TYPE: Final = re.compile(rb"\s*+([!-'*+\-.0-9A-Z^-~]++)\s*+/\s*+([!-'*+\-.0-9A-Z^-~]++)")
_TOKEN: Final = re.compile(rb"\s*+([!-'*+\-.0-9A-Z^-~]++)")
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_SECTION: Final = re.compile(rb"([^*]+)\*(\d{1,4})(\*?)")
_NOT_ATTRIBUTE_CHAR: Final = re.compile(rb"[^!#$&+\-.0-9A-Z^-~]")


@dataclass(frozen=True, slots=True)
class Field:
    """A token (`text/plain`, `attachment`) in lower case with its parameters."""

    token: bytes
    parameters: Parameters = ()

    def raw(self, attribute: bytes) -> bytes | None:
        """The value of a parameter that is not extended."""
        for name, value in self.parameters:
            if name == attribute:
                return value
        return None

    def text(self, attribute: bytes) -> str | None:
        """The decoded value of a parameter.

        The extended form wins (RFC 6266 s4.3 says so for HTTP); encoded-words are decoded too, though RFC
        2047 s5 forbids them here, because many senders use them.
        """
        extended = self.raw(attribute + b"*")
        if extended is not None:
            return _decode_extended(extended)
        value = self.raw(attribute)
        return None if value is None else decode_words(value)


def parse_content_type(value: bytes, max_parameters: int) -> tuple[Field | None, bool]:
    """type "/" subtype with parameters, or None (then text/plain, RFC 2045 s5.2); and whether it was cut."""
    if (found := _MEDIA_TYPE.match(value)) is None:
        return None, False
    parameters, cut = _parameters(value, found.end(), max_parameters)
    return Field(b"%b/%b" % (found[1].lower(), found[2].lower()), parameters), cut


def parse_disposition(value: bytes, max_parameters: int) -> tuple[Field | None, bool]:
    """disposition-type with parameters, or None; and whether it was cut."""
    if (found := _TOKEN.match(value)) is None:
        return None, False
    parameters, cut = _parameters(value, found.end(), max_parameters)
    return Field(found[1].lower(), parameters), cut


def parse_token(value: bytes) -> bytes:
    """A lone token in lower case, such as a Content-Transfer-Encoding; empty if there is none."""
    found = _TOKEN.match(value)
    return found[1].lower() if found else b""


def _parameters(value: bytes, at: int, limit: int) -> tuple[Parameters, bool]:
    found: list[tuple[bytes, bytes]] = []
    sectioned = False
    for match in _PARAMETER.finditer(value, at):
        if len(found) == limit:
            return _joined(found) if sectioned else tuple(found), True
        name, quoted, _, token = match.groups()
        if quoted is None:
            quoted = token
        elif b"\\" in quoted:
            quoted = _QUOTED_PAIR.sub(rb"\1", quoted)
        sectioned = sectioned or b"*" in name
        found.append((name.lower(), quoted))
    return _joined(found) if sectioned else tuple(found), False


def _joined(found: list[tuple[bytes, bytes]]) -> Parameters:
    """Join `name*0`, `name*1*`, ... in the order of their numbers (RFC 2231 s3, s4.1)."""
    sections: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
    whole: list[tuple[bytes, bytes]] = []
    for name, value in found:
        if match := _SECTION.fullmatch(name):
            sections.setdefault(match[1], {}).setdefault(int(match[2]), (value, match[3] == b"*"))
        else:
            whole.append((name, value))
    return (*whole, *(_join(name, pieces) for name, pieces in sections.items()))


def _join(name: bytes, pieces: dict[int, tuple[bytes, bool]]) -> tuple[bytes, bytes]:
    values: list[tuple[bytes, bool]] = []
    while (piece := pieces.get(len(values))) is not None:  # a gap ends the value
        values.append(piece)
    if not any(extended for _, extended in values):
        return name, b"".join(value for value, _ in values)
    joined = b"".join(value if extended else percent_encode(value) for value, extended in values)
    return name + b"*", joined if values[0][1] else b"''" + joined


def percent_encode(value: bytes) -> bytes:
    """ext-octets for all that is no attribute-char (RFC 2231 s7)."""
    return _NOT_ATTRIBUTE_CHAR.sub(lambda found: b"%%%02X" % found[0][0], value)


def _decode_extended(value: bytes) -> str:
    """extended-other-values: [charset] "'" [language] "'" *(%XX / attribute-char)."""
    charset, quote, rest = value.partition(b"'")
    _, second, encoded = rest.partition(b"'")
    if not quote or not second:
        return clean_line(decode_text(unquote_to_bytes(value)))
    return clean_line(decode_text(unquote_to_bytes(encoded), charset.decode("ascii", "replace") or None))
