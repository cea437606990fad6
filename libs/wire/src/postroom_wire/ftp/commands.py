"""The commands: those that a service answers, and those that the engine answers itself."""

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from postroom_wire.ftp.globs import Glob
from postroom_wire.ftp.paths import FtpPath


@dataclass(frozen=True, slots=True)
class Target:
    """What LIST, NLST or STAT name: `path` taken by the letter, or else, with wildcards, `pattern`.

    Look for `path` first. Where nothing has that very name and there is a `pattern`, list the entries of
    `path.parent` that match it (there may be none).
    """

    path: FtpPath
    pattern: Glob | None
    text: str
    """The argument as the client wrote it, without options; empty when there was none."""

    def inside(self, name: str) -> str:
        """An entry of the directory `path` as NLST shows it: RFC 1123 wants what RETR takes as it is."""
        return name if not self.text else f"{self.text.removesuffix('/')}/{name}"

    def beside(self, name: str) -> str:
        """An entry that matched `pattern` as NLST shows it."""
        return f"{self.text[: self.text.rfind('/') + 1]}{name}"


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH TLS: forget the user and the data port, answer 234, start TLS once that is sent; or answer 431."""


@dataclass(frozen=True, slots=True)
class Pass:
    """PASS: check, then answer 230, 530, or 421."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rein:
    """REIN: forget the user and the data port, then answer 220."""


@dataclass(frozen=True, slots=True)
class Cwd:
    """CWD or CDUP: answer 250 if `path` is a directory."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Port:
    """PORT or EPRT: answer 200; the next transfer connects to this port of the client's own address."""

    port: int


@dataclass(frozen=True, slots=True)
class Pasv:
    """PASV: listen (drop what listened before), then answer `passive`."""


@dataclass(frozen=True, slots=True)
class Epsv:
    """EPSV: the same, then answer `extended_passive`."""


@dataclass(frozen=True, slots=True)
class Retr:
    """RETR: send the file from `offset` octets on."""

    path: FtpPath
    offset: int


@dataclass(frozen=True, slots=True)
class Stor:
    """STOR: keep the file whole once all has come. Beyond 0, `offset` continues an earlier upload."""

    path: FtpPath
    offset: int


@dataclass(frozen=True, slots=True)
class Appe:
    """APPE without REST (with it, it is STOR: RFC 3659 s5.3): add to the file, or make it."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class List:
    """LIST: send `list_line`s."""

    target: Target


@dataclass(frozen=True, slots=True)
class Nlst:
    """NLST: send `name_line`s."""

    target: Target


@dataclass(frozen=True, slots=True)
class Mlsd:
    """MLSD: send `mlsd_line`s of the entries of the directory `path`."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Mlst:
    """MLST: answer `mlst_reply`."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Stat:
    """STAT with a path: answer `status_listing`. (Without one the engine answers.)"""

    target: Target


@dataclass(frozen=True, slots=True)
class Dele:
    """DELE: remove the file."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Mkd:
    """MKD: make the directory, then answer `directory_created`."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Rmd:
    """RMD: remove the empty directory."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Rnfr:
    """RNFR: answer 350 if `path` exists."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Rnto:
    """RNTO: rename `source`, which RNFR named, to `path`."""

    source: FtpPath
    path: FtpPath


@dataclass(frozen=True, slots=True)
class Size:
    """SIZE, in TYPE I: answer `file_size`."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Mdtm:
    """MDTM: answer `modification_time`."""

    path: FtpPath


@dataclass(frozen=True, slots=True)
class Abor:
    """ABOR in its turn, after any transfer has ended: drop the data port if there is one, answer 226."""


Transfer: TypeAlias = Retr | Stor | Appe | List | Nlst | Mlsd
TRANSFERS: Final = (Retr, Stor, Appe, List, Nlst, Mlsd)

Command: TypeAlias = (
    Transfer
    | Auth
    | Pass
    | Rein
    | Cwd
    | Port
    | Pasv
    | Epsv
    | Mlst
    | Stat
    | Dele
    | Mkd
    | Rmd
    | Rnfr
    | Rnto
    | Size
    | Mdtm
    | Abor
)


@dataclass(frozen=True, slots=True)
class User:
    """USER, always answered with 331, so that nobody learns which users there are."""

    user: str


@dataclass(frozen=True, slots=True)
class Acct:
    """ACCT."""


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT, in its turn: after a transfer in progress, RFC 959 s4.1.1."""


@dataclass(frozen=True, slots=True)
class EpsvAll:
    """EPSV ALL."""


@dataclass(frozen=True, slots=True)
class Type:
    """TYPE A or I; L 8 is I."""

    ascii: bool


@dataclass(frozen=True, slots=True)
class Mode:
    """MODE S."""


@dataclass(frozen=True, slots=True)
class Stru:
    """STRU F."""


@dataclass(frozen=True, slots=True)
class Rest:
    """REST."""

    offset: int


@dataclass(frozen=True, slots=True)
class Allo:
    """ALLO."""


@dataclass(frozen=True, slots=True)
class Pwd:
    """PWD."""


@dataclass(frozen=True, slots=True)
class Status:
    """STAT without a path."""


@dataclass(frozen=True, slots=True)
class Syst:
    """SYST."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP."""


@dataclass(frozen=True, slots=True)
class Help:
    """HELP, of one command or of all (empty)."""

    topic: str


@dataclass(frozen=True, slots=True)
class Feat:
    """FEAT."""


@dataclass(frozen=True, slots=True)
class OptsUtf8:
    """OPTS UTF8 ON."""


@dataclass(frozen=True, slots=True)
class OptsMlst:
    """OPTS MLST, with the facts that are chosen."""

    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pbsz:
    """PBSZ."""


@dataclass(frozen=True, slots=True)
class Prot:
    """PROT C or P."""

    private: bool


OwnCommand: TypeAlias = (
    User
    | Acct
    | Quit
    | EpsvAll
    | Type
    | Mode
    | Stru
    | Rest
    | Allo
    | Pwd
    | Status
    | Syst
    | Noop
    | Help
    | Feat
    | OptsUtf8
    | OptsMlst
    | Pbsz
    | Prot
)
OWN_COMMANDS: Final = (
    User,
    Acct,
    Quit,
    EpsvAll,
    Type,
    Mode,
    Stru,
    Rest,
    Allo,
    Pwd,
    Status,
    Syst,
    Noop,
    Help,
    Feat,
    OptsUtf8,
    OptsMlst,
    Pbsz,
    Prot,
)
AnyCommand: TypeAlias = Command | OwnCommand
