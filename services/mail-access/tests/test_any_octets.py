"""Whatever a client sends in whatever state: no error of ours, and an end that is not cut off."""

import asyncio
import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroom_testing.small_directory_service import SmallDirectory

_WAIT_SECONDS = 30.0
_MAIL = b"Subject: Tea\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nAt five.\r\n"
_APPEND = b"APPEND INBOX {%d+}\r\n%b\r\n" % (len(_MAIL), _MAIL)
STATES = {
    "before login": [],
    "in AUTHENTICATE": [b"AUTHENTICATE PLAIN\r\n"],
    "logged in": [b"LOGIN"],
    "selected": [b"LOGIN", _APPEND, _APPEND, b"SELECT INBOX\r\n"],
    "examined": [b"LOGIN", _APPEND, b"EXAMINE INBOX\r\n"],
    "empty": [b"LOGIN", b"SELECT Archive\r\n"],
    "idle": [b"LOGIN", _APPEND, b"SELECT INBOX\r\n", b"IDLE\r\n"],
    "in APPEND": [b"LOGIN", b"SELECT INBOX\r\n", b"APPEND INBOX {10+}\r\n"],
    "with QRESYNC": [b"LOGIN", _APPEND, b"ENABLE QRESYNC IMAP4rev2\r\n", b"SELECT INBOX\r\n"],
    "with UIDs only": [b"LOGIN", _APPEND, b"ENABLE UIDONLY UTF8=ACCEPT\r\n", b"SELECT INBOX\r\n"],
}
LINES = [
    b"x FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[] RFC822.SIZE)\r\n",
    b"x UID FETCH 1:4294967295,*:1 (FLAGS MODSEQ) (CHANGEDSINCE 1 VANISHED)\r\n",
    b"x FETCH * (BODY[1.2.3.HEADER]<3.9> BINARY.PEEK[1] BINARY.SIZE[1] PREVIEW SAVEDATE EMAILID)\r\n",
    b"x STORE 1:* (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Deleted $Work)\r\n",
    b"x UID STORE * FLAGS ()\r\n",
    b"x SEARCH RETURN (MIN MAX COUNT SAVE) CHARSET UTF-8 OR NOT DELETED TEXT {2}\r\nhe\r\n",
    b"x UID SEARCH RETURN (PARTIAL 1:5 ALL) UNDRAFT OLDER 5 HEADER Subject tea $\r\n",
    b"x SORT (REVERSE SUBJECT ARRIVAL) UTF-8 ALL\r\n",
    b"x THREAD REFERENCES US-ASCII ALL\r\n",
    b"x COPY 1:* Archive\r\n",
    b"x UID MOVE 1 INBOX\r\n",
    b"x EXPUNGE\r\n",
    b"x UID EXPUNGE 1:*\r\n",
    b"x CLOSE\r\n",
    b"x UNSELECT\r\n",
    b'x LIST (SUBSCRIBED) "" (% *) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES SIZE))\r\n',
    b'x LSUB "" "*"\r\n',
    b"x STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ SIZE DELETED MAILBOXID)\r\n",
    b"x CREATE a/&AOk-\r\n",
    b"x RENAME a b\r\n",
    b"x DELETE b\r\n",
    b"x SUBSCRIBE a\r\n",
    b"x SELECT INBOX (QRESYNC (1 2 1:3 (1 1)))\r\n",
    b"x ENABLE CONDSTORE\r\n",
    b"x NAMESPACE\r\nx ID NIL\r\nx CAPABILITY\r\n",
    b"x GETQUOTAROOT INBOX\r\nx GETACL INBOX\r\nx MYRIGHTS INBOX\r\n",
    b'x GETMETADATA "" /shared/comment\r\nx SETMETADATA INBOX (/private/comment "c")\r\n',
    b'x APPEND Archive (\\Seen) "17-Jul-1996 02:44:25 -0700" {3+}\r\nabc {2+}\r\nde\r\n',
    b'x APPEND INBOX CATENATE (URL "/INBOX/;UID=1" TEXT {3+}\r\nabc)\r\n',
    b"x UID REPLACE 1 INBOX {3+}\r\nabc\r\n",
    b"x IDLE\r\nDONE\r\n",
    b"DONE\r\n",
    b"*\r\n",
    b"x AUTHENTICATE PLAIN AGEAYg==\r\n",
    b"x STARTTLS\r\n",
    b"x UNAUTHENTICATE\r\n",
    b"x LOGOUT\r\n",
    b"x NOOP\r\n",
]


def spoil(line: bytes, at: int, piece: bytes, gone: int) -> bytes:
    """Something else in the middle of a line."""
    at %= len(line)
    return line[:at] + piece + line[at + gone :]


spoiled = st.builds(
    spoil,
    st.sampled_from(LINES),
    st.integers(0, 90),
    st.sampled_from(
        [b"(", b")", b"{", b'"', b"\\", b"*", b" ", b"0", b":", b",", b"\r\n", b"\0", b"\xff", b"%"]
    )
    | st.binary(max_size=3),
    st.integers(0, 3),
)
_EXAMPLES = settings.default.max_examples // 3 if settings.default is not None else 10
OCTETS = st.lists(st.sampled_from(LINES) | spoiled | st.binary(max_size=12), max_size=10).map(b"".join)


async def say(port: int, octets: bytes) -> bytes:
    """Send all, say that nothing more comes, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            writer.write(octets)
            writer.write_eof()
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("state", STATES.values(), ids=list(STATES))
@settings(max_examples=_EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(octets=OCTETS)
async def test_any_octets_are_answered(
    shared: tuple[SmallDirectory, dict[str, int]], state: list[bytes], octets: bytes
) -> None:
    directory, ports = shared
    account = directory.add(f"fay-{secrets.token_hex(4)}@postroom.test", "secret")
    login = f"LOGIN {account.address} {account.password}\r\n".encode()
    before = b"".join(b"s%d " % at + (login if line == b"LOGIN" else line) for at, line in enumerate(state))
    said = await say(ports["imap"], before + octets)
    assert said.endswith(b"\r\n")
    assert b"incident" not in said, said
    for at in range(len(state) - 1):  # the last one may be under way for ever
        assert b"\r\ns%d OK" % at in said, said
