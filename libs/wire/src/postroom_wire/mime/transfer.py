"""Content transfer encodings, streaming and tolerant (RFC 2045 s6)."""

import binascii
import re
from typing import Final, Protocol

_NOT_BASE64: Final = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
)
_TRAILING_SPACE: Final = (b" \n", b" \r\n", b"\t\n", b"\t\r\n")
_MAX_CARRIED: Final = 1_024
"""Quoted-printable lines have at most 76 characters (s6.7); longer ones are cut anywhere but in "=XX"."""
_BASE64_LINE: Final = 57
_MAX_QP_LINE: Final = 76
_QP_SPECIAL: Final = re.compile(rb"[^\t !-<>-~]")


class Decoder(Protocol):
    """Encoded octets in, decoded octets out; never raises."""

    def feed(self, chunk: bytes) -> bytes:
        """What can be decoded now."""
        ...

    def finish(self) -> bytes:
        """What was kept back."""
        ...


class Identity:
    """7bit, 8bit, binary, and every encoding that we do not know."""

    def feed(self, chunk: bytes) -> bytes:
        """The chunk."""
        return chunk

    def finish(self) -> bytes:
        """Nothing."""
        return b""


class Base64Decoder:
    """Ignores what is not in the alphabet; what follows the padding is not data (s6.8)."""

    def __init__(self) -> None:
        self._carried = b""
        self._ended = False

    def feed(self, chunk: bytes) -> bytes:
        """What can be decoded now."""
        if self._ended:
            return b""
        data = self._carried + chunk.translate(None, _NOT_BASE64)
        padding = data.find(b"=")
        if padding >= 0:
            self._ended, self._carried = True, b""
            return _quanta(data[:padding])
        whole = len(data) & ~3
        self._carried = data[whole:]
        return binascii.a2b_base64(data[:whole])

    def finish(self) -> bytes:
        """What was kept back."""
        data, self._carried = self._carried, b""
        return _quanta(data)


class QuotedPrintableDecoder:
    """Leaves what is not well formed as it is; white space at the end of a line is not data (s6.7 rule 3)."""

    def __init__(self) -> None:
        self._carried = b""

    def feed(self, chunk: bytes) -> bytes:
        """What can be decoded now."""
        data = self._carried + chunk
        end = data.rfind(b"\n") + 1
        if len(data) - end > _MAX_CARRIED:
            end = len(data)
            escape = data.rfind(b"=", end - 2)
            end = end if escape < 0 else escape
        self._carried = data[end:]
        return binascii.a2b_qp(_without_trailing_space(data[:end]))

    def finish(self) -> bytes:
        """What was kept back."""
        data, self._carried = self._carried, b""
        return _unquoted(data)


def decoder(encoding: str) -> Decoder:
    """A decoder for a Content-Transfer-Encoding in lower case."""
    match encoding:
        case "base64":
            return Base64Decoder()
        case "quoted-printable":
            return QuotedPrintableDecoder()
        case _:
            return Identity()


def decode_transfer(octets: bytes, encoding: str) -> bytes:
    """The same for octets at hand."""
    match encoding:
        case "base64":
            return decode_base64(octets)
        case "quoted-printable":
            return _unquoted(octets)
        case _:
            return octets


def decode_base64(octets: bytes) -> bytes:
    """base64 without regard to what is not in its alphabet, up to the first padding."""
    return _quanta(octets.translate(None, _NOT_BASE64).partition(b"=")[0])


def encode_base64(octets: bytes) -> bytes:
    """base64 in CRLF lines of 76 characters."""
    return b"".join(
        binascii.b2a_base64(octets[at : at + _BASE64_LINE], newline=False) + b"\r\n"
        for at in range(0, len(octets), _BASE64_LINE)
    )


def encode_quoted_printable(octets: bytes) -> bytes:
    """Quoted-printable of text whose lines end with CRLF; lines of at most 76 characters.

    A "." or "From " at the start of a line is quoted too: relays are known to alter them (RFC 2049 s3).
    """
    return b"\r\n".join(_quoted_line(line) for line in octets.split(b"\r\n"))


def _quanta(data: bytes) -> bytes:
    """Decode alphabet characters only; one alone at the end carries no octet."""
    rest = len(data) % 4
    if rest == 1:
        data, rest = data[:-1], 0
    return binascii.a2b_base64(data + b"=" * (4 - rest) if rest else data)


def _unquoted(data: bytes) -> bytes:
    return binascii.a2b_qp(_without_trailing_space(data).rstrip(b" \t"))


def _without_trailing_space(data: bytes) -> bytes:
    """Strip the lines that have a line break; the rest may go on."""
    if not any(space in data for space in _TRAILING_SPACE):
        return data
    *lines, rest = data.split(b"\n")
    return b"\n".join((*map(_stripped, lines), rest))


def _stripped(line: bytes) -> bytes:
    return line[:-1].rstrip(b" \t") + b"\r" if line.endswith(b"\r") else line.rstrip(b" \t")


def _quoted_line(line: bytes) -> bytes:
    quoted = _QP_SPECIAL.sub(lambda found: b"=%02X" % found[0][0], line)
    if quoted.endswith((b" ", b"\t")):
        quoted = quoted[:-1] + b"=%02X" % quoted[-1]
    if quoted.startswith((b".", b"From ")):
        quoted = b"=%02X" % quoted[0] + quoted[1:]
    if len(quoted) <= _MAX_QP_LINE:
        return quoted
    return b"=\r\n".join(_soft_lines(quoted))


def _soft_lines(quoted: bytes) -> list[bytes]:
    """Cut before column 76, never within "=XX"."""
    lines: list[bytes] = []
    at, size = 0, _MAX_QP_LINE - 1
    while len(quoted) - at > _MAX_QP_LINE:
        end = at + size
        escape = quoted.rfind(b"=", end - 2, end)
        end = end if escape < 0 else escape
        lines.append(quoted[at:end])
        at = end
    return [*lines, quoted[at:]]
