"""From a command line to a command: RFC 959 s5.3 and the extensions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postroom_wire.ftp import commands
from postroom_wire.ftp.addresses import (
    Address,
    parse_extended_port,
    parse_port,
    protocol_number,
    use_protocol_of,
)
from postroom_wire.ftp.commands import AnyCommand, Target
from postroom_wire.ftp.errors import RemoteProtocolError
from postroom_wire.ftp.facts import choose_facts
from postroom_wire.ftp.globs import Glob
from postroom_wire.ftp.limits import Limits
from postroom_wire.ftp.paths import FtpPath
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.standard_replies import (
    ARGUMENT_TOO_LONG,
    BAD_ARGUMENT,
    BAD_OPTION,
    MISSING_ARGUMENT,
    NO_ARGUMENT_ALLOWED,
    NOT_IMPLEMENTED,
    NOT_UTF8,
    PARAMETER_NOT_IMPLEMENTED,
    PASV_NEEDS_IPV4,
    PROT_UNSUPPORTED,
    UNKNOWN_COMMAND,
    UNKNOWN_MECHANISM,
)

MAX_OFFSET: Final = 2**63 - 1
"""The largest file position that a store can name."""

_DM: Final = b"\xf2"
_NUMBER: Final = re.compile(rb"\d{1,19}")
# "ALLO" <SP> <decimal-integer> [<SP> R <SP> <decimal-integer>]
_ALLOCATION: Final = re.compile(rb"\d{1,19}(?: [Rr] \d{1,19})?")
_OPTION: Final = re.compile(r"-[A-Za-z0-9]*")


@dataclass(frozen=True, slots=True)
class Context:
    """What a session knows that gives an argument its meaning."""

    peer: Address
    limits: Limits
    cwd: FtpPath = FtpPath.ROOT
    user: str = ""
    offset: int = 0
    source: FtpPath = FtpPath.ROOT


@dataclass(frozen=True, slots=True)
class Verb:
    """One command word: the class whose place in the order it has, its parser, and its syntax for HELP.

    `parse` raises `RemoteProtocolError`.
    """

    name: str
    kind: type[AnyCommand]
    parse: Callable[[bytes, Context], AnyCommand]
    syntax: str = ""


def split_line(line: bytes) -> tuple[Verb, bytes]:
    """The command word of a line and its argument, from behind the one space on (RFC 2640 s3.1).

    Raises `RemoteProtocolError` with 500, or 502 for commands that exist but are not implemented here.
    """
    # A DM loses its IAC where that octet travelled as urgent data; no command begins with it.
    word, _, argument = line.lstrip(_DM).partition(b" ")
    name = word.upper()
    if (verb := VERBS.get(name)) is not None:
        return verb, argument
    raise RemoteProtocolError(NOT_IMPLEMENTED if name in _NOT_IMPLEMENTED else UNKNOWN_COMMAND)


def _text(argument: bytes, limit: int) -> str:
    if len(argument) > limit:
        raise RemoteProtocolError(ARGUMENT_TOO_LONG)
    try:
        return argument.decode("utf-8")
    except UnicodeDecodeError:
        raise RemoteProtocolError(NOT_UTF8) from None


def _word(argument: bytes) -> bytes:
    """An argument that is no pathname: upper case, spaces around it do no harm."""
    if not (word := argument.strip(b" ").upper()):
        raise RemoteProtocolError(MISSING_ARGUMENT)
    return word


def _user(argument: bytes, context: Context) -> commands.User:
    if not argument:
        raise RemoteProtocolError(MISSING_ARGUMENT)
    return commands.User(_text(argument, context.limits.max_user))


def _pass(argument: bytes, context: Context) -> commands.Pass:
    return commands.Pass(context.user, _text(argument, context.limits.max_password))


def _acct(_argument: bytes, _: Context) -> commands.Acct:
    return commands.Acct()


def _auth(argument: bytes, _: Context) -> commands.Auth:
    if _word(argument) not in {b"TLS", b"TLS-C"}:  # RFC 4217 s17
        raise RemoteProtocolError(UNKNOWN_MECHANISM)
    return commands.Auth()


def _pbsz(argument: bytes, _: Context) -> commands.Pbsz:
    if not _NUMBER.fullmatch(_word(argument)):
        raise RemoteProtocolError(BAD_ARGUMENT)
    return commands.Pbsz()


def _prot(argument: bytes, _: Context) -> commands.Prot:
    match _word(argument):
        case b"C":
            return commands.Prot(private=False)
        case b"P":
            return commands.Prot(private=True)
        case b"S" | b"E":
            raise RemoteProtocolError(PROT_UNSUPPORTED)
        case _:
            raise RemoteProtocolError(PARAMETER_NOT_IMPLEMENTED)


def _port(argument: bytes, context: Context) -> commands.Port:
    return commands.Port(parse_port(argument, context.peer))


def _eprt(argument: bytes, context: Context) -> commands.Port:
    return commands.Port(parse_extended_port(argument, context.peer))


def _pasv(argument: bytes, context: Context) -> commands.Pasv:
    if argument:
        raise RemoteProtocolError(NO_ARGUMENT_ALLOWED)
    if context.peer.version != 4:
        raise RemoteProtocolError(PASV_NEEDS_IPV4)
    return commands.Pasv()


def _epsv(argument: bytes, context: Context) -> commands.Epsv | commands.EpsvAll:
    word = argument.strip(b" ").upper()
    if word == b"ALL":
        return commands.EpsvAll()
    if word and not _NUMBER.fullmatch(word):
        raise RemoteProtocolError(BAD_ARGUMENT)
    if word and int(word) != protocol_number(context.peer):
        raise RemoteProtocolError(use_protocol_of(context.peer))
    return commands.Epsv()


def _type(argument: bytes, _: Context) -> commands.Type:
    # type-code = A [SP form-code] / E [SP form-code] / I / L SP byte-size
    match _word(argument).split():
        case [b"A"] | [b"A", b"N"]:
            return commands.Type(ascii=True)
        case [b"I"] | [b"L", b"8"]:
            return commands.Type(ascii=False)
        case [b"A" | b"E", *_] | [b"L", *_]:
            raise RemoteProtocolError(PARAMETER_NOT_IMPLEMENTED)
        case _:
            raise RemoteProtocolError(BAD_ARGUMENT)


def _choice(
    make: Callable[[], AnyCommand], taken: bytes, known: frozenset[bytes]
) -> Callable[[bytes, Context], AnyCommand]:
    def parse(argument: bytes, _: Context) -> AnyCommand:
        if (word := _word(argument)) == taken:
            return make()
        raise RemoteProtocolError(PARAMETER_NOT_IMPLEMENTED if word in known else BAD_ARGUMENT)

    return parse


def _rest(argument: bytes, _: Context) -> commands.Rest:
    word = _word(argument)
    if not _NUMBER.fullmatch(word) or int(word) > MAX_OFFSET:
        raise RemoteProtocolError(BAD_ARGUMENT)
    return commands.Rest(int(word))


def _allo(argument: bytes, _: Context) -> commands.Allo:
    if not _ALLOCATION.fullmatch(_word(argument)):
        raise RemoteProtocolError(BAD_ARGUMENT)
    return commands.Allo()


def _help(argument: bytes, _: Context) -> commands.Help:
    # What is no word of ours need not be told apart: it has no help.
    return commands.Help(argument.strip(b" ").upper().decode("ascii", "replace"))


def _opts(argument: bytes, context: Context) -> commands.OptsUtf8 | commands.OptsMlst:
    command, _, options = _text(argument, context.limits.max_line).partition(" ")
    match command.upper(), options:
        case "UTF8", options if options.upper() in {"", "ON"}:
            return commands.OptsUtf8()
        case "MLST", options:
            return commands.OptsMlst(choose_facts(options))
        case _:
            raise RemoteProtocolError(BAD_OPTION)


def _path(argument: bytes, context: Context) -> FtpPath:
    if not argument:
        raise RemoteProtocolError(MISSING_ARGUMENT)
    return FtpPath.resolve(argument, context.cwd, context.limits)


def _path_or_cwd(argument: bytes, context: Context) -> FtpPath:
    return _path(argument, context) if argument else context.cwd


def _target(argument: bytes, context: Context) -> Target:
    """What to list: options in the form of `ls -la` are taken and mean nothing, since all is always shown."""
    text = _text(argument, context.limits.max_line)
    while _OPTION.fullmatch(word := text.partition(" ")[0]):
        text = text.partition(" ")[2]
    if word == "--":
        text = text.partition(" ")[2]
    path = FtpPath.resolve(text.encode(), context.cwd, context.limits)
    last = text.rpartition("/")[2]
    return Target(path, Glob(last) if Glob.is_wild(last) else None, text)


def _stat(argument: bytes, context: Context) -> commands.Stat | commands.Status:
    return commands.Stat(_target(argument, context)) if argument else commands.Status()


def _plain(make: Callable[[], AnyCommand]) -> Callable[[bytes, Context], AnyCommand]:
    """A command that has no argument."""

    def parse(argument: bytes, _: Context) -> AnyCommand:
        if argument:
            raise RemoteProtocolError(NO_ARGUMENT_ALLOWED)
        return make()

    return parse


def _cdup(argument: bytes, context: Context) -> commands.Cwd:
    if argument:
        raise RemoteProtocolError(NO_ARGUMENT_ALLOWED)
    return commands.Cwd(context.cwd.parent)


def _on_path(make: Callable[[FtpPath], AnyCommand]) -> Callable[[bytes, Context], AnyCommand]:
    """A command about one path, which must be given."""
    return lambda argument, context: make(_path(argument, context))


def _appe(argument: bytes, context: Context) -> commands.Appe | commands.Stor:
    path = _path(argument, context)
    return commands.Stor(path, context.offset) if context.offset else commands.Appe(path)


_PATH: Final = "<SP> <pathname>"
_PATH_OPTIONAL: Final = "[<SP> <pathname>]"
_ALL: Final = (
    Verb("USER", commands.User, _user, "<SP> <username>"),
    Verb("PASS", commands.Pass, _pass, "<SP> <password>"),
    Verb("ACCT", commands.Acct, _acct, "<SP> <account-information>"),
    Verb("REIN", commands.Rein, _plain(commands.Rein)),
    Verb("QUIT", commands.Quit, _plain(commands.Quit)),
    Verb("AUTH", commands.Auth, _auth, "<SP> TLS"),
    Verb("PBSZ", commands.Pbsz, _pbsz, "<SP> 0"),
    Verb("PROT", commands.Prot, _prot, "<SP> (C|P)"),
    Verb("PORT", commands.Port, _port, "<SP> <host-port>"),
    Verb("EPRT", commands.Port, _eprt, "<SP> |<protocol>|<address>|<port>|"),
    Verb("PASV", commands.Pasv, _pasv),
    Verb("EPSV", commands.Epsv, _epsv, "[<SP> (1|2|ALL)]"),
    Verb("TYPE", commands.Type, _type, "<SP> (A|I|L 8)"),
    Verb("MODE", commands.Mode, _choice(commands.Mode, b"S", frozenset({b"B", b"C", b"Z"})), "<SP> S"),
    Verb("STRU", commands.Stru, _choice(commands.Stru, b"F", frozenset({b"R", b"P"})), "<SP> F"),
    Verb("REST", commands.Rest, _rest, "<SP> <octets>"),
    Verb("ALLO", commands.Allo, _allo, "<SP> <octets> [<SP> R <SP> <octets>]"),
    Verb(
        "RETR", commands.Retr, lambda arg, context: commands.Retr(_path(arg, context), context.offset), _PATH
    ),
    Verb(
        "STOR", commands.Stor, lambda arg, context: commands.Stor(_path(arg, context), context.offset), _PATH
    ),
    Verb("APPE", commands.Appe, _appe, _PATH),
    Verb("LIST", commands.List, lambda arg, context: commands.List(_target(arg, context)), _PATH_OPTIONAL),
    Verb("NLST", commands.Nlst, lambda arg, context: commands.Nlst(_target(arg, context)), _PATH_OPTIONAL),
    Verb(
        "MLSD", commands.Mlsd, lambda arg, context: commands.Mlsd(_path_or_cwd(arg, context)), _PATH_OPTIONAL
    ),
    Verb(
        "MLST", commands.Mlst, lambda arg, context: commands.Mlst(_path_or_cwd(arg, context)), _PATH_OPTIONAL
    ),
    Verb("STAT", commands.Stat, _stat, _PATH_OPTIONAL),
    Verb("DELE", commands.Dele, _on_path(commands.Dele), _PATH),
    Verb("MKD", commands.Mkd, _on_path(commands.Mkd), _PATH),
    Verb("RMD", commands.Rmd, _on_path(commands.Rmd), _PATH),
    Verb("RNFR", commands.Rnfr, _on_path(commands.Rnfr), _PATH),
    Verb(
        "RNTO", commands.Rnto, lambda arg, context: commands.Rnto(context.source, _path(arg, context)), _PATH
    ),
    Verb("CWD", commands.Cwd, _on_path(commands.Cwd), _PATH),
    Verb("CDUP", commands.Cwd, _cdup),
    Verb("PWD", commands.Pwd, _plain(commands.Pwd)),
    Verb("SIZE", commands.Size, _on_path(commands.Size), _PATH),
    Verb("MDTM", commands.Mdtm, _on_path(commands.Mdtm), _PATH),
    Verb("SYST", commands.Syst, _plain(commands.Syst)),
    Verb("NOOP", commands.Noop, _plain(commands.Noop)),
    Verb("HELP", commands.Help, _help, "[<SP> <command>]"),
    Verb("FEAT", commands.Feat, _plain(commands.Feat)),
    Verb("OPTS", commands.OptsMlst, _opts, "<SP> (UTF8 ON|MLST [<SP> <facts>])"),
    Verb("ABOR", commands.Abor, _plain(commands.Abor)),
)
# The old experimental names that the second appendix of RFC 959 mentions and clients still send.
_EXPERIMENTAL: Final = {b"XCWD": "CWD", b"XCUP": "CDUP", b"XPWD": "PWD", b"XMKD": "MKD", b"XRMD": "RMD"}
_BY_NAME: Final = {verb.name: verb for verb in _ALL}

VERBS: Final[dict[bytes, Verb]] = {
    **{name.encode(): verb for name, verb in _BY_NAME.items()},
    **{name: _BY_NAME[known] for name, known in _EXPERIMENTAL.items()},
}
# Known by name, so that the answer is 502 rather than 500. RFC 4217 s5 has 500 for CCC.
_NOT_IMPLEMENTED: Final = frozenset(
    b"ADAT AVBL CLNT COMB CONF CSID ENC HASH HOST LANG MD5 MFCT MFF MFMT MIC RANG SITE SMNT STOU THMB "
    b"XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512".split()
)


def help_text(topic: str) -> Reply | None:
    """The answer to HELP: all commands, or the syntax of one; None when there is no such command."""
    if topic:
        verb = VERBS.get(topic.encode())
        return verb and Reply(214, f"Syntax: {verb.name} {verb.syntax}".rstrip())
    names = sorted(_BY_NAME)
    rows = [" ".join(names[at : at + 8]) for at in range(0, len(names), 8)]
    return Reply(214, "\n".join(("These commands are understood:", *rows, "HELP <command> shows its syntax")))
