"""Mailboxes and paths: RFC 5321 s4.1.2, with the UTF-8 of RFC 6531 s3.3.

A value that can be made is valid, so what is written into a command can never carry a line end.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

LOCAL_PART_MAX: Final = 64  # octets, as written on the wire: RFC 5321 s4.5.3.1.1
DOMAIN_MAX: Final = 255  # octets: RFC 5321 s4.5.3.1.2
PATH_MAX: Final = 256  # octets with the angle brackets: RFC 5321 s4.5.3.1.3

# UTF8-non-ascii of RFC 6531 s3.3, less C1 controls, the two Unicode line ends and lone surrogates.
_U: Final = r"\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
_ATEXT: Final = rf"[A-Za-z0-9!#$%&'*+\-/=?^_`{{|}}~{_U}]"
# Dot-string = Atom *("." Atom)
_DOT_STRING: Final = rf"{_ATEXT}+(?:\.{_ATEXT}+)*"
# Quoted-string = DQUOTE *QcontentSMTP DQUOTE
_QUOTED_STRING: Final = rf'"(?:[ !#-\[\]-~{_U}]|\\[ -~])*"'
# sub-domain = Let-dig [Ldh-str] / U-label; the closing alphanumeric is checked by the look-behind.
_SUB_DOMAIN: Final = rf"[A-Za-z0-9{_U}][A-Za-z0-9{_U}-]{{0,62}}(?<!-)"
# At-domain *( "," At-domain ) ":", accepted and ignored: RFC 5321 s4.1.1.3
_A_D_L: Final = r"@[^\s<>:,@]+(?:,@[^\s<>:,@]+)*:"

_LOCAL_TEXT: Final = re.compile(rf"[\x20-\x7e{_U}]*")
_DOT_STRING_RE: Final = re.compile(_DOT_STRING)
_DOMAIN_RE: Final = re.compile(rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*")
_MAILBOX_RE: Final = re.compile(rf"({_DOT_STRING}|{_QUOTED_STRING})@([^\x00-\x20<>@]+)")
_PATH_RE: Final = re.compile(rf"<(?:{_A_D_L})?({_DOT_STRING}|{_QUOTED_STRING})@([^\x00-\x20<>@]+)>")
_POSTMASTER_RE: Final = re.compile(r"<postmaster>", re.IGNORECASE)


class AddressError(ValueError):
    """The text is no address that RFC 5321 allows, or it is longer than its limits."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox. `local_part` is without quotes and escapes; `domain` is a domain name or `[literal]`.

    Both keep the case in which they came. Raises `AddressError` for what cannot be written in a path.
    """

    local_part: str
    domain: str

    def __post_init__(self) -> None:
        local_part = _written(self.local_part)
        check_domain(self.domain)
        size = _size(local_part)
        if size > LOCAL_PART_MAX:
            raise AddressError("the local part is longer than 64 octets")
        if size + _size(self.domain) + 3 > PATH_MAX:  # "<", "@" and ">"
            raise AddressError("the path is longer than 256 octets")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The mailbox of a whole text such as `ann@example.com` or `"ann lee"@[192.0.2.1]`."""
        if (found := _MAILBOX_RE.fullmatch(text)) is None:
            raise AddressError("not a mailbox")
        return cls(_unquoted(found[1]), found[2])

    @property
    def ascii(self) -> bool:
        """Whether it can be sent without SMTPUTF8."""
        return self.local_part.isascii() and self.domain.isascii()

    def __str__(self) -> str:
        return f"{_written(self.local_part)}@{self.domain}"


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The forward path `<Postmaster>` without a domain, which every server takes: RFC 5321 s4.5.1."""

    @property
    def ascii(self) -> bool:
        """Whether it can be sent without SMTPUTF8."""
        return True

    def __str__(self) -> str:
        return "Postmaster"


# None is the null reverse path `<>`, of a message that must not be answered by a bounce.
ReversePath: TypeAlias = Mailbox | None
ForwardPath: TypeAlias = Mailbox | Postmaster


def format_path(path: ReversePath | ForwardPath) -> str:
    """The path in its angle brackets, `<>` for None."""
    return "<>" if path is None else f"<{path}>"


def parse_reverse_path(text: str) -> tuple[ReversePath, str]:
    """The reverse path at the start of `text`, and what follows it. Raises `AddressError`."""
    if text.startswith("<>"):
        return None, text[2:]
    return _mailbox_path(text)


def parse_forward_path(text: str) -> tuple[ForwardPath, str]:
    """The forward path at the start of `text`, and what follows it. Raises `AddressError`."""
    if (found := _POSTMASTER_RE.match(text)) is not None:
        return Postmaster(), text[found.end() :]
    return _mailbox_path(text)


def check_domain(domain: str) -> None:
    """Raise `AddressError` unless it is a domain name or an address literal (RFC 5321 s4.1.3)."""
    if not _DOMAIN_RE.fullmatch(domain) and not _is_address_literal(domain):
        raise AddressError("neither a domain nor an address literal")
    if _size(domain) > DOMAIN_MAX:
        raise AddressError("the domain is longer than 255 octets")


def _mailbox_path(text: str) -> tuple[Mailbox, str]:
    if (found := _PATH_RE.match(text)) is None:
        raise AddressError("not a path")
    return Mailbox(_unquoted(found[1]), found[2]), text[found.end() :]


def _is_address_literal(domain: str) -> bool:
    """address-literal = "[" ( IPv4-address-literal / IPv6-address-literal ) "]".

    General-address-literal is left out: no other kind was ever registered.
    """
    if not (domain.startswith("[") and domain.endswith("]")) or "%" in domain:
        return False
    try:
        if domain[:6].upper() == "[IPV6:":
            ipaddress.IPv6Address(domain[6:-1])
        else:
            ipaddress.IPv4Address(domain[1:-1])
    except ValueError:
        return False
    return True


def _unquoted(local_part: str) -> str:
    if not local_part.startswith('"'):
        return local_part
    return re.sub(r"\\(.)", r"\1", local_part[1:-1])


def _written(local_part: str) -> str:
    """The local part as it stands in a path, quoted only when it must be: RFC 5321 s4.1.2."""
    if _DOT_STRING_RE.fullmatch(local_part):
        return local_part
    if not _LOCAL_TEXT.fullmatch(local_part):
        raise AddressError("a local part holds no control characters")
    escaped = re.sub(r'(["\\])', r"\\\1", local_part)
    return f'"{escaped}"'


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
