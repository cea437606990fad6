"""What we can do, said before and after login (RFC 3501 s6.1.1, s7.2.1)."""

from collections.abc import Iterable
from typing import Final

from postroom_wire.imap import message_limit as limiting
from postroom_wire.imap.state import State
from postroom_wire.sasl import Mechanism

_BEFORE_LOGIN: Final = (b"IMAP4rev1", b"IMAP4rev2", b"SASL-IR", b"LITERAL-", b"ID")
_AFTER_LOGIN: Final = (
    b"IMAP4rev1",
    b"IMAP4rev2",
    b"LITERAL+",  # RFC 7888 s5: never together with LITERAL-
    b"ID",
    b"ENABLE",
    b"CONDSTORE",
    b"QRESYNC",
    b"UTF8=ACCEPT",
    b"UIDONLY",
    b"UNAUTHENTICATE",
    b"INPROGRESS",
    b"COMPRESS=DEFLATE",
    b"IDLE",
    b"NAMESPACE",
    b"CHILDREN",
    b"UNSELECT",
    b"UIDPLUS",
    b"MOVE",
    b"SPECIAL-USE",
    b"ESEARCH",
    b"SEARCHRES",
    b"WITHIN",
    b"PARTIAL",
    b"SEARCH=FUZZY",
    b"MULTISEARCH",
    b"CONTEXT=SEARCH",
    b"NOTIFY",
    b"I18NLEVEL=1",
    b"SORT",
    b"SORT=DISPLAY",
    b"ESORT",
    b"THREAD=ORDEREDSUBJECT",
    b"THREAD=REFERENCES",
    b"THREAD=REFS",
    b"CREATE-SPECIAL-USE",
    b"LIST-EXTENDED",
    b"LIST-STATUS",
    b"STATUS=SIZE",
    b"QUOTA",
    b"QUOTA=RES-STORAGE",
    b"QUOTA=RES-MESSAGE",
    b"QUOTASET",
    b"METADATA",
    b"LIST-METADATA",
    b"ACL",
    b"RIGHTS=kxte",  # RFC 4314 s2.2
    b"LIST-MYRIGHTS",
    b"OBJECTID",
    b"SAVEDATE",
    b"PREVIEW",
    b"BINARY",
    b"MULTIAPPEND",
    b"CATENATE",
    b"REPLACE",
)


def capabilities(
    state: State,
    *,
    offers_tls: bool,
    takes_passwords: bool,
    append_limit: int,
    message_limit: int | None = None,
    mechanisms: Iterable[Mechanism] = (),
) -> tuple[bytes, ...]:
    """The list for CAPABILITY. `offers_tls`: STARTTLS would work now; `takes_passwords`: LOGIN would.

    `append_limit` is in octets, of one message; `message_limit` in messages, of one command.
    """
    if state is not State.NOT_AUTHENTICATED:
        limits = () if message_limit is None else (limiting.capability(message_limit),)
        return (*_AFTER_LOGIN, b"APPENDLIMIT=%d" % append_limit, *limits)  # RFC 7889 s2
    tls = (b"STARTTLS",) if offers_tls else ()
    login = () if takes_passwords else (b"LOGINDISABLED",)
    auth = (b"AUTH=" + mechanism.value.encode("ascii") for mechanism in mechanisms)
    return (*_BEFORE_LOGIN, *tls, *login, *auth)
