"""Mailbox names: rules, modified UTF-7 both ways or UTF-8, and LIST patterns (RFC 3501 s5.1, s6.3.8)."""

import binascii
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

DELIMITER: Final = "/"
MAX_NAME: Final = 1_024
"""Octets of a name in UTF-8."""
MAX_LEVELS: Final = 32
MAX_PATTERN: Final = 2_048
"""Octets of LIST's reference and pattern together; a longer one matches nothing."""

_FORBIDDEN_CATEGORIES: Final = {"Cc", "Cs", "Zl", "Zp"}
_PLAIN: Final = re.compile(r"[^\x20-\x7e]+|&")
_SHIFTED: Final = re.compile(rb"&([A-Za-z0-9+,]*)-|[\x20-\x25\x27-\x7e]+")
_INBOX: Final = "INBOX"


class MailboxNameError(ValueError):
    """Not a name that a mailbox of ours can have."""


@dataclass(frozen=True, slots=True)
class MailboxName:
    """A valid name in Unicode, levels separated by `/`.

    A first level INBOX is folded to upper case (s5.1). Use `MailboxName.of`, which does so. `utf8`: on the
    wire it is UTF-8, to a client that has enabled it (RFC 6855 s3, RFC 9051 s5.1), else modified UTF-7.
    """

    value: str
    utf8: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        levels = self.value.split(DELIMITER)
        if not all(levels) or len(levels) > MAX_LEVELS:
            raise MailboxNameError("empty level or too many levels")
        if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in self.value):
            raise MailboxNameError("control character or surrogate")
        if len(self.value.encode("utf-8")) > MAX_NAME:
            raise MailboxNameError("too long")
        if levels[0] != _INBOX and _is_inbox(levels[0]):
            raise MailboxNameError("INBOX is spelled in upper case")

    @classmethod
    def of(cls, name: str, *, utf8: bool = False) -> "MailboxName":
        """The mailbox of that name. Raises `MailboxNameError`."""
        first, slash, rest = name.partition(DELIMITER)
        return cls(_INBOX + slash + rest if _is_inbox(first) else name, utf8)

    @classmethod
    def decode(cls, octets: bytes, *, utf8: bool = False) -> "MailboxName":
        """From what a client sent: modified UTF-7 unless it has enabled UTF-8. Raises `MailboxNameError`.

        A name with 8-bit octets is UTF-8 in either case (RFC 6855 s3).
        """
        if not utf8 and octets.isascii():
            return cls.of(decode_modified_utf7(octets))
        try:
            return cls.of(octets.decode("utf-8"), utf8=utf8)
        except UnicodeDecodeError as error:
            raise MailboxNameError("not UTF-8") from error

    def encode(self) -> bytes:
        """As the client is told of it."""
        return self.value.encode("utf-8") if self.utf8 else encode_modified_utf7(self.value)

    @property
    def is_net_unicode(self) -> bool:
        """Whether it is in the one form that new names must have in UTF-8 (RFC 9051 s5.1, RFC 5198 s2)."""
        return not self.utf8 or unicodedata.is_normalized("NFC", self.value)

    @property
    def is_inbox(self) -> bool:
        """Whether it is INBOX itself."""
        return self.value == _INBOX

    def ancestors(self) -> "tuple[MailboxName, ...]":
        """The names above it, outermost first; they need not exist."""
        levels = self.value.split(DELIMITER)
        return tuple(MailboxName(DELIMITER.join(levels[:end]), self.utf8) for end in range(1, len(levels)))


def encode_modified_utf7(name: str) -> bytes:
    """s5.1.3: printable US-ASCII stands for itself, `&` is `&-`, the rest is UTF-16 in modified base64."""
    return _PLAIN.sub(_shift, name).encode("ascii")


def decode_modified_utf7(octets: bytes) -> str:
    """The inverse; raises `MailboxNameError` on every spelling but the one that we would send.

    So a name has one spelling, and a client cannot make two mailboxes that it cannot tell apart.
    """
    pieces: list[str] = []
    at = 0
    while at < len(octets):
        found = _SHIFTED.match(octets, at)
        if found is None:
            raise MailboxNameError("not modified UTF-7")
        pieces.append(_unshift(found[1]) if octets[at : at + 1] == b"&" else found[0].decode("ascii"))
        at = found.end()
    name = "".join(pieces)
    if encode_modified_utf7(name) != octets:
        raise MailboxNameError("not the shortest modified UTF-7")
    return name


class ListPattern:
    """LIST's reference and mailbox pattern: `*` is anything, `%` anything but the delimiter.

    Both stay as the client sent them, and the name is compared in the form that it is told of. All places in
    the pattern that the name can have reached are bits of one integer: linear in the name, no backtracking.
    """

    def __init__(self, reference: bytes, pattern: bytes) -> None:
        # s6.3.8: a pattern from the root does not take the reference.
        whole = pattern if pattern.startswith(DELIMITER.encode("ascii")) else reference + pattern
        self._possible = len(whole) <= MAX_PATTERN
        whole = re.sub(rb"[%*]*\*[%*]*", b"*", re.sub(rb"%+", b"%", whole)) if self._possible else b""
        self._steps = [0] * 256
        self._stars = self._percents = 0
        for at, octet in enumerate(whole):
            if octet == ord("*"):
                self._stars |= 1 << at
            elif octet == ord("%"):
                self._percents |= 1 << at
            else:
                self._steps[octet] |= 1 << at
        self._end = 1 << len(whole)

    def matches(self, name: MailboxName) -> bool:
        """Whether the pattern matches all of the name; INBOX in any case (s6.3.8)."""
        if not self._possible:
            return False
        inbox = name.is_inbox or name.value.startswith(_INBOX + DELIMITER)
        wild = self._stars | self._percents
        reached = 1 | (1 & wild) << 1
        for at, octet in enumerate(name.encode()):
            step = self._steps[octet]
            if inbox and at < len(_INBOX):
                step |= self._steps[octet | 0x20]
            stays = self._stars if octet == ord(DELIMITER) else wild
            reached = (reached & step) << 1 | reached & stays
            reached |= (reached & wild) << 1
            if not reached:
                return False
        return bool(reached & self._end)


def _is_inbox(level: str) -> bool:
    # Only ASCII folds: upper() makes an I of the dotless i (U+0131), too.
    return level.isascii() and level.upper() == _INBOX


def _shift(found: re.Match[str]) -> str:
    if found[0] == "&":
        return "&-"
    coded = binascii.b2a_base64(found[0].encode("utf-16-be"), newline=False).rstrip(b"=")
    return "&" + coded.replace(b"/", b",").decode("ascii") + "-"


def _unshift(coded: bytes) -> str:
    if not coded:
        return "&"
    try:
        octets = binascii.a2b_base64(coded.replace(b",", b"/") + b"=" * (-len(coded) % 4))
        return octets.decode("utf-16-be")
    except ValueError as error:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise MailboxNameError("not UTF-16 in modified base64") from error
