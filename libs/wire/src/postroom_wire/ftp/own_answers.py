"""The answers that the engine gives without asking anybody: parameters and information, RFC 959 s4.1."""

from typing import Final, TypeAlias

from postroom_wire.ftp import commands
from postroom_wire.ftp.addresses import Address
from postroom_wire.ftp.commands import OwnCommand
from postroom_wire.ftp.facts import chosen_facts, mlst_feature
from postroom_wire.ftp.parameters import Parameters, Policy
from postroom_wire.ftp.parser import help_text
from postroom_wire.ftp.replies import Reply
from postroom_wire.ftp.standard_replies import (
    EPSV_ALL,
    GOODBYE,
    MODE_STREAM,
    NO_ACCOUNT_NEEDED,
    NO_ALLOCATION_NEEDED,
    NO_SUCH_TOPIC,
    NOTHING_DONE,
    PASSWORD_NEEDED,
    PBSZ_SET,
    PROT_CLEAR,
    PROT_PRIVATE,
    RESTART_SET,
    STRUCTURE_FILE,
    SYSTEM,
    TYPE_ASCII,
    TYPE_IMAGE,
    UTF8_ON,
)

# No MLSD (RFC 3659 s7.8), no FEAT or OPTS (RFC 2389 s3.2): they are implied.
_FEATURES: Final = ("EPRT", "EPSV", "MDTM", "REST STREAM", "SIZE", "TVFS", "UTF8")
_TLS_FEATURES: Final = ("AUTH TLS", "PBSZ", "PROT")

_Fixed: TypeAlias = (
    commands.User
    | commands.Acct
    | commands.Quit
    | commands.Mode
    | commands.Stru
    | commands.Rest
    | commands.Allo
    | commands.EpsvAll
    | commands.Syst
    | commands.Noop
    | commands.OptsUtf8
    | commands.Pbsz
)
_FIXED: Final[dict[type[_Fixed], Reply]] = {
    commands.User: PASSWORD_NEEDED,
    commands.Acct: NO_ACCOUNT_NEEDED,
    commands.Quit: GOODBYE,
    commands.Mode: MODE_STREAM,
    commands.Stru: STRUCTURE_FILE,
    commands.Rest: RESTART_SET,
    commands.Allo: NO_ALLOCATION_NEEDED,
    commands.EpsvAll: EPSV_ALL,
    commands.Syst: SYSTEM,
    commands.Noop: NOTHING_DONE,
    commands.OptsUtf8: UTF8_ON,
    commands.Pbsz: PBSZ_SET,
}


def remember(command: OwnCommand, parameters: Parameters) -> None:
    """Note what a command sets; most set nothing."""
    match command:
        case commands.User(user):
            parameters.user = user
        case commands.Type(ascii):
            parameters.ascii = ascii
        case commands.Prot(private):
            parameters.private = private
        case commands.Rest(offset):
            parameters.offset = offset
        case commands.OptsMlst(facts):
            parameters.facts = facts
        case commands.EpsvAll():
            parameters.epsv_all = True
        case _:
            pass


def own_answer(command: OwnCommand, parameters: Parameters, policy: Policy, status: Reply) -> Reply:
    """The answer to a command once it is remembered; `status` is the one to STAT."""
    match command:
        case commands.Status():
            return status
        case commands.Pwd():
            return current_directory(parameters)
        case commands.Help(topic):
            return help_text(topic) or NO_SUCH_TOPIC
        case commands.Feat():
            return feature_list(policy, parameters)
        case commands.Type(ascii):
            return TYPE_ASCII if ascii else TYPE_IMAGE
        case commands.Prot(private):
            return PROT_PRIVATE if private else PROT_CLEAR
        case commands.OptsMlst(facts):
            return chosen_facts(facts)
        case _:
            return _FIXED[type(command)]


def current_directory(parameters: Parameters) -> Reply:
    """The answer to PWD."""
    return Reply(257, f"{parameters.cwd.quoted} is the current directory")


def feature_list(policy: Policy, parameters: Parameters) -> Reply:
    """The answer to FEAT: RFC 2389 s3.2."""
    tls = _TLS_FEATURES if policy.tls_offered else ()
    lines = sorted((*_FEATURES, *tls, mlst_feature(parameters.facts)))
    return Reply(211, "\n".join(("Extensions supported:", *lines, "End")))


def status_reply(parameters: Parameters, peer: Address, secured: bool, transfer: str) -> Reply:
    """The answer to STAT; `transfer` is the verb of the one in progress, or empty."""
    protection = "private" if parameters.private else "clear"
    lines = (
        "Postroom FTP status:",
        f"Connected from {peer}, {'TLS' if secured else 'no TLS'}",
        f"Logged in as {parameters.user}",
        f"TYPE: {'A' if parameters.ascii else 'I'}; STRU: F; MODE: S; data connections: {protection}",
        f"In progress: {transfer}" if transfer else f"Next data connection: {parameters.channel.value}",
        "End of status",
    )
    return Reply(211, "\n".join(lines))
