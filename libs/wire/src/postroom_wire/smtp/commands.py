"""The commands of an SMTP client, parsed from whole lines: RFC 5321 s4.1.1 and the extensions' own."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from postroom_wire.smtp import standard_replies
from postroom_wire.smtp.addresses import (
    AddressError,
    ForwardPath,
    ReversePath,
    parse_forward_path,
    parse_reverse_path,
)
from postroom_wire.smtp.envelope import Body
from postroom_wire.smtp.errors import CommandError
from postroom_wire.smtp.replies import Reply


@dataclass(frozen=True, slots=True)
class Ehlo:
    """EHLO, or LHLO where the server speaks LMTP (RFC 2033)."""

    domain: str


@dataclass(frozen=True, slots=True)
class Helo:
    """HELO."""

    domain: str


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL: a transaction begins. The fields are those of `Envelope`."""

    reverse_path: ReversePath
    size: int | None = None
    body: Body | None = None
    smtputf8: bool = False
    auth: str | None = None


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT: one recipient more."""

    forward_path: ForwardPath


@dataclass(frozen=True, slots=True)
class Data:
    """DATA: the client wants to send the content."""


@dataclass(frozen=True, slots=True)
class Rset:
    """RSET: the transaction is dropped."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Vrfy:
    """VRFY."""


@dataclass(frozen=True, slots=True)
class Help:
    """HELP."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT."""


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS. `data_ahead` tells of octets that came with it: they are an attack (RFC 3207 s4.2) and are
    dropped as soon as it is accepted."""

    data_ahead: bool = False


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH. `initial_response` is still in BASE64; None when there was none."""

    mechanism: str
    initial_response: bytes | None


Command: TypeAlias = Ehlo | Helo | Mail | Rcpt | Data | Rset | Noop | Vrfy | Help | Quit | StartTls | Auth

# What may stand in the argument of EHLO. It goes into `Received:`, so nothing that is special there;
# underscores and a closing dot are common, and RFC 5321 s4.1.4 forbids refusing mail for a wrong name.
_HELO_DOMAIN: Final = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}")
# esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-"); esmtp-value = 1*(%d33-60 / %d62-126)
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
# xtext = *( xchar / hexchar ), RFC 3461 s4
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_SIZE: Final = re.compile(r"[0-9]{1,20}")  # size-value, RFC 1870 s3
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def split_line(line: bytes) -> tuple[str, bytes]:
    """The command's name in capitals, `UNKNOWN` when it is none of ours, and its argument.

    The line is without its CRLF; white space at its end is ignored (RFC 5321 s4.1.1).
    """
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    return _NAMES.get(verb.upper(), "UNKNOWN"), argument


def parse_command(verb: str, argument: bytes) -> Command:
    """The command of `split_line`. Raises `CommandError` with the reply to give."""
    if (parser := _PARSERS.get(verb)) is None:
        raise CommandError(standard_replies.UNKNOWN_COMMAND)
    try:
        text = argument.decode()
    except UnicodeDecodeError as error:
        raise CommandError(standard_replies.BAD_ARGUMENTS) from error
    if not text.isprintable() and _CONTROL.search(text):
        raise CommandError(standard_replies.BAD_CHARACTER)
    return parser(text)


def _parse_ehlo(argument: str) -> Ehlo:
    return Ehlo(_helo_domain(argument))


def _parse_helo(argument: str) -> Helo:
    return Helo(_helo_domain(argument))


def _helo_domain(argument: str) -> str:
    domain = argument.strip(" ")
    if not _HELO_DOMAIN.fullmatch(domain):
        raise CommandError(standard_replies.BAD_ARGUMENTS)
    return domain


def _parse_mail(argument: str) -> Mail:
    """mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]."""
    try:
        path, rest = parse_reverse_path(_after(argument, "FROM:"))
    except AddressError as error:
        raise CommandError(standard_replies.BAD_SENDER) from error
    size, body, smtputf8, auth = None, None, False, None
    for keyword, value in _parameters(rest).items():
        match keyword:
            case "SIZE":
                size = _parse_size(value)
            case "BODY":
                body = _parse_body(value)
            case "SMTPUTF8" if value is None:
                smtputf8 = True
            case "AUTH":
                auth = _parse_auth_parameter(value)
            case "SMTPUTF8":
                raise CommandError(standard_replies.BAD_ARGUMENTS)
            case _:
                raise CommandError(standard_replies.UNKNOWN_PARAMETER)
    if not smtputf8 and path is not None and not path.ascii:
        raise CommandError(standard_replies.SMTPUTF8_REQUIRED)
    return Mail(path, size, body, smtputf8, auth)


def _parse_rcpt(argument: str) -> Rcpt:
    """rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path )."""
    try:
        path, rest = parse_forward_path(_after(argument, "TO:"))
    except AddressError as error:
        raise CommandError(standard_replies.BAD_RECIPIENT) from error
    if _parameters(rest):
        raise CommandError(standard_replies.UNKNOWN_PARAMETER)
    return Rcpt(path)


def _after(argument: str, keyword: str) -> str:
    """What follows `FROM:` or `TO:`.

    DEVIATION: RFC 5321 s4.1.1.2: spaces after the colon are passed over, because many clients send one.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise CommandError(standard_replies.BAD_ARGUMENTS)
    return argument[len(keyword) :].lstrip(" ")


def _parameters(rest: str) -> dict[str, str | None]:
    """Mail-parameters = esmtp-param *(SP esmtp-param), each at most once."""
    if not rest:
        return {}
    if not rest.startswith(" "):
        raise CommandError(standard_replies.BAD_ARGUMENTS)
    found: dict[str, str | None] = {}
    for word in rest.split():
        parameter = _PARAMETER.fullmatch(word)
        if parameter is None or parameter[1].upper() in found:
            raise CommandError(standard_replies.BAD_ARGUMENTS)
        found[parameter[1].upper()] = parameter[2]
    return found


def _parse_size(value: str | None) -> int:
    if value is None or not _SIZE.fullmatch(value):
        raise CommandError(standard_replies.BAD_ARGUMENTS)
    return int(value)


def _parse_body(value: str | None) -> Body:
    try:
        return Body((value or "").upper())
    except ValueError as error:
        raise CommandError(standard_replies.BAD_ARGUMENTS) from error


def _parse_auth_parameter(value: str | None) -> str:
    """The value of AUTH= of RFC 4954 s5: an xtext or `<>`."""
    if value is None or not (value == "<>" or _XTEXT.fullmatch(value)):
        raise CommandError(standard_replies.BAD_ARGUMENTS)
    return value


def _parse_auth(argument: str) -> Auth:
    """auth-command = "AUTH" SP sasl-mech [SP initial-response]."""
    words = argument.split(" ")
    if len(words) > 2 or not words[0] or not argument.isascii():
        raise CommandError(standard_replies.BAD_ARGUMENTS)
    return Auth(words[0].upper(), words[1].encode() if len(words) == 2 else None)


def _parse_vrfy(argument: str) -> Vrfy:
    if not argument:
        raise CommandError(standard_replies.BAD_ARGUMENTS)
    return Vrfy()


def _parse_noop(_argument: str) -> Noop:
    return Noop()  # its argument is ignored, RFC 5321 s4.1.1.9


def _parse_help(_argument: str) -> Help:
    return Help()


def _bare(command: Command) -> Callable[[str], Command]:
    """A parser of a command that takes no argument."""

    def parse(argument: str) -> Command:
        if argument:
            raise CommandError(standard_replies.BAD_ARGUMENTS)
        return command

    return parse


def _refused(reply: Reply) -> Callable[[str], Command]:
    """A parser of a command that we know and do not do."""

    def parse(_argument: str) -> Command:
        raise CommandError(reply)

    return parse


_PARSERS: Final[dict[str, Callable[[str], Command]]] = {
    "EHLO": _parse_ehlo,
    "LHLO": _parse_ehlo,
    "HELO": _parse_helo,
    "MAIL": _parse_mail,
    "RCPT": _parse_rcpt,
    "DATA": _bare(Data()),
    "RSET": _bare(Rset()),
    "NOOP": _parse_noop,
    "VRFY": _parse_vrfy,
    "EXPN": _refused(standard_replies.NOT_IMPLEMENTED),
    "HELP": _parse_help,
    "QUIT": _bare(Quit()),
    "STARTTLS": _bare(StartTls()),
    "AUTH": _parse_auth,
    # A web page or a proxy made to talk to us: hang up before its body is taken for commands.
    "GET": _refused(standard_replies.NOT_SMTP),
    "POST": _refused(standard_replies.NOT_SMTP),
    "PUT": _refused(standard_replies.NOT_SMTP),
    "CONNECT": _refused(standard_replies.NOT_SMTP),
}
_NAMES: Final = {verb.encode(): verb for verb in _PARSERS}
