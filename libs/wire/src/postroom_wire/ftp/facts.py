"""MLST and MLSD: listings for machines, RFC 3659 s7."""

import re
from collections.abc import Callable
from typing import Final

from postroom_wire.ftp.errors import RemoteProtocolError
from postroom_wire.ftp.listing import Entry, time_value
from postroom_wire.ftp.paths import FtpPath
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.standard_replies import BAD_OPTION

DEFAULT_FACTS: Final = ("type", "size", "modify", "perm", "unique")
"""The facts of RFC 3659 s7.5.10, told until OPTS MLST chooses others."""

# An empty value leaves the fact out, s7.2: facts are given where they mean something.
_VALUES: Final[dict[str, Callable[[Entry], str]]] = {
    "type": lambda entry: "dir" if entry.is_directory else "file",
    "size": lambda entry: "" if entry.is_directory else str(entry.size),
    "modify": lambda entry: time_value(entry.modified),
    "perm": lambda entry: entry.perm,
    "unique": lambda entry: entry.unique,
    "create": lambda entry: "" if entry.created is None else time_value(entry.created),
}
# mlst-opts = "OPTS" SP "MLST" [ SP 1*( factname ";" ) ]; the last semicolon may be missing.
_FACT_LIST: Final = re.compile(r"(?:[!-:<-~]+;)*(?:[!-:<-~]+)?")


def mlsd_line(entry: Entry, facts: tuple[str, ...] = DEFAULT_FACTS) -> bytes:
    """One line of MLSD with its CRLF, whatever TYPE is set: s7.2."""
    return f"{_facts(entry, facts)} {entry.name}\r\n".encode()


def mlst_reply(path: FtpPath, entry: Entry, facts: tuple[str, ...] = DEFAULT_FACTS) -> Reply:
    """The answer to MLST: the facts and the whole path, on the control connection; s7.3.1."""
    return Reply(250, f"Listing\n{_facts(entry, facts)} {path}\nEnd")


def choose_facts(argument: str) -> tuple[str, ...]:
    """The facts that OPTS MLST asks for, in our order; unknown ones are left out: s7.9.

    Raises `RemoteProtocolError` with 501 for what is no list of facts.
    """
    if not _FACT_LIST.fullmatch(argument):
        raise RemoteProtocolError(BAD_OPTION)
    wanted = frozenset(argument.lower().split(";"))
    return tuple(name for name in _VALUES if name in wanted)


def chosen_facts(facts: tuple[str, ...]) -> Reply:
    """The answer to OPTS MLST: s7.9.1."""
    return Reply(200, " ".join(("MLST OPTS", *(["".join(f"{name};" for name in facts)] if facts else []))))


def mlst_feature(facts: tuple[str, ...]) -> str:
    """The line of FEAT that tells all facts, those chosen with a star: s7.8."""
    return "MLST " + "".join(f"{name}{'*' if name in facts else ''};" for name in _VALUES)


def _facts(entry: Entry, facts: tuple[str, ...]) -> str:
    values = ((name, _VALUES[name](entry)) for name in facts)
    return "".join(f"{name}={value};" for name, value in values if value)
