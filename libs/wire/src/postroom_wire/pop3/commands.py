"""Commands and their arguments (RFC 1939 s5 to s7, s9; RFC 2449 s5; RFC 2595 s4; RFC 5034 s4; RFC 6856)."""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from postroom_wire.pop3.errors import CommandError
from postroom_wire.pop3.replies import BAD_ARGUMENTS, UNKNOWN_COMMAND
from postroom_wire.sasl import PreparationError, saslprep

_MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class User:
    """USER name."""

    name: str


@dataclass(frozen=True, slots=True)
class Pass:
    """PASS string; the string is the rest of the line, spaces and all."""

    password: str

    def __repr__(self) -> str:
        return "Pass(...)"


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH [mechanism [initial-response]], RFC 5034 s4; without a mechanism it asks which there are."""

    mechanism: str | None = None
    initial_response: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Utf8:
    """UTF8, RFC 6856 s2.1."""


@dataclass(frozen=True, slots=True)
class Lang:
    """LANG [range], RFC 6856 s3.2."""

    language_range: str | None = None


@dataclass(frozen=True, slots=True)
class Stls:
    """STLS."""


@dataclass(frozen=True, slots=True)
class Capa:
    """CAPA."""


@dataclass(frozen=True, slots=True)
class Stat:
    """STAT."""


@dataclass(frozen=True, slots=True)
class List:
    """LIST [msg]."""

    number: int | None = None


@dataclass(frozen=True, slots=True)
class Uidl:
    """UIDL [msg]."""

    number: int | None = None


@dataclass(frozen=True, slots=True)
class Top:
    """TOP msg n."""

    number: int
    lines: int


@dataclass(frozen=True, slots=True)
class Retr:
    """RETR msg."""

    number: int


@dataclass(frozen=True, slots=True)
class Dele:
    """DELE msg."""

    number: int


@dataclass(frozen=True, slots=True)
class Rset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT."""


Command: TypeAlias = (
    User
    | Pass
    | Auth
    | Utf8
    | Lang
    | Stls
    | Capa
    | Stat
    | List
    | Uidl
    | Top
    | Retr
    | Dele
    | Rset
    | Noop
    | Quit
)

_BARE: Final[dict[bytes, Command]] = {
    b"AUTH": Auth(),
    b"UTF8": Utf8(),
    b"LANG": Lang(),
    b"STLS": Stls(),
    b"CAPA": Capa(),
    b"STAT": Stat(),
    b"LIST": List(),
    b"UIDL": Uidl(),
    b"RSET": Rset(),
    b"NOOP": Noop(),
    b"QUIT": Quit(),
}
_NUMBERED: Final[dict[bytes, type[List] | type[Uidl] | type[Retr] | type[Dele]]] = {
    b"LIST": List,
    b"UIDL": Uidl,
    b"RETR": Retr,
    b"DELE": Dele,
}
_KEYWORDS: Final = {*_BARE, *_NUMBERED, b"USER", b"PASS", b"TOP"}


def parse_command(line: bytes) -> Command:
    """The command of a line without its CRLF; raises CommandError."""
    keyword, _, rest = line.partition(b" ")
    keyword = keyword.upper()
    if keyword not in _KEYWORDS:
        raise CommandError(UNKNOWN_COMMAND)
    if keyword == b"PASS":
        return Pass(_text(rest))
    arguments = rest.split()
    match keyword, len(arguments):
        case b"USER", 1:
            return User(_text(arguments[0]))
        case b"AUTH", 1 | 2:
            return Auth(_ascii(arguments[0]), arguments[1] if len(arguments) == 2 else None)
        case b"LANG", 1:
            return Lang(_ascii(arguments[0]))
        case b"TOP", 2:
            return Top(_number(arguments[0]), _number(arguments[1]))
        case _, 0 if keyword in _BARE:
            return _BARE[keyword]
        case _, 1 if keyword in _NUMBERED:
            return _NUMBERED[keyword](_number(arguments[0]))
        case _:
            raise CommandError(BAD_ARGUMENTS)


def _number(argument: bytes) -> int:
    if not argument.isdigit() or len(argument) > _MAX_DIGITS:
        raise CommandError(BAD_ARGUMENTS)
    return int(argument)


def _ascii(argument: bytes) -> str:
    if not argument.isascii():
        raise CommandError(BAD_ARGUMENTS)
    return argument.decode("ascii")


def _text(argument: bytes) -> str:
    """UTF-8, which RFC 6856 s2.2 has for names and passwords; without what SASLprep prohibits."""
    try:
        text = argument.decode()
        saslprep(text)
    except (UnicodeDecodeError, PreparationError):
        raise CommandError(BAD_ARGUMENTS) from None
    if not text:
        raise CommandError(BAD_ARGUMENTS)
    return text
