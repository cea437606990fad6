"""Mail addresses and domains, kept and compared (RFC 5321 s4.1.2, RFC 6531 s3.3, RFC 5891 s4)."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import idna

from directory.limits import Limits
from postroom_contracts.errors import InvalidAddressError, InvalidRequestError

_LIMITS: Final = Limits()

# atext, RFC 5322 s3.2.3, and all of UTF8-non-ascii (RFC 6531 s3.3), which _check_local narrows.
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+"
_DOT_ATOM: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LDH_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_DOMAIN: Final = 253

SUBADDRESS_SEPARATOR: Final = "+"  # RFC 5233 s1: user+detail


@dataclass(frozen=True, slots=True)
class Address:
    """A local part as it is written (NFC, unquoted) at a domain in A-labels and lower case."""

    local_part: str
    domain: str

    @property
    def key(self) -> str:
        """What local parts are compared by. RFC 5321 s2.4 leaves their case to us: it does not count."""
        return unicodedata.normalize("NFC", self.local_part.casefold())

    @property
    def base_key(self) -> str:
        """The key without the subaddress; the same where there is none."""
        base, _, _ = self.key.partition(SUBADDRESS_SEPARATOR)
        return base or self.key

    def is_same(self, other: "Address") -> bool:
        """Whether both are one account's."""
        return (self.key, self.domain) == (other.key, other.domain)

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"


def clean(text: str, most: int = _LIMITS.request_text) -> str:
    """Any text of a request. Raises `InvalidRequestError` for NUL, lone surrogates and too many octets."""
    if "\x00" in text:
        raise InvalidRequestError("NUL")
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise InvalidRequestError("a lone surrogate") from None
    if size > most:
        raise InvalidRequestError(f"{size} octets, {most} at most")
    return text


def parse_address(text: str) -> Address:
    """Raises `InvalidAddressError`, or `InvalidRequestError` for what is no text."""
    local, at, domain = clean(text).rpartition("@")
    if not at:
        raise InvalidAddressError("no @")
    address = Address(_parse_local(local), parse_domain(domain))
    if len(str(address).encode()) > _LIMITS.address:
        raise InvalidAddressError("too long")
    return address


def parse_domain(text: str) -> str:
    """A domain in A-labels and lower case. Raises `InvalidAddressError`, `InvalidRequestError`."""
    domain = clean(text).removesuffix(".").lower()
    if not domain.isascii() or "xn--" in domain:
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise InvalidAddressError("not a domain") from None
    if len(domain) > _MAX_DOMAIN or _LDH_DOMAIN.fullmatch(domain) is None:
        raise InvalidAddressError("not a domain")
    return domain


def _parse_local(text: str) -> str:
    if (quoted := _QUOTED.fullmatch(text)) is not None:
        text = re.sub(r"\\(.)", r"\1", quoted[1])  # RFC 5321 s4.1.2: the quotes are not part of the name
    local = unicodedata.normalize("NFC", text)
    if _DOT_ATOM.fullmatch(local) is None or len(local.encode()) > _LIMITS.local_part:
        raise InvalidAddressError("not a local part that we serve")
    if not local.isascii() and any(unicodedata.category(character)[0] in "CZ" for character in local):
        raise InvalidAddressError("a local part with blanks or controls")
    return local
