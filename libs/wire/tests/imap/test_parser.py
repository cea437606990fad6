"""Commands with the RFCs' own examples (RFC 3501 s6 and the extensions)."""

import pytest

from postroom_wire.imap.commands import (
    Authenticate,
    Capability,
    Check,
    Close,
    Command,
    Copy,
    Create,
    Delete,
    Enable,
    Examine,
    Expunge,
    Id,
    Idle,
    List,
    ListReturn,
    ListSelection,
    Login,
    Logout,
    Lsub,
    Move,
    Namespace,
    Noop,
    Rename,
    Select,
    StartTls,
    Status,
    StatusItem,
    Store,
    StoreMode,
    Subscribe,
    Unauthenticate,
    Unselect,
    Unsubscribe,
)
from postroom_wire.imap.compress import Compress
from postroom_wire.imap.errors import (
    BAD_FLAG,
    BAD_MAILBOX_NAME,
    NO_TAG,
    SYNTAX_ERROR,
    TOO_MANY_ITEMS,
    UNKNOWN_COMMAND,
    Refusal,
    RemoteProtocolError,
)
from postroom_wire.imap.flags import DELETED, SEEN, Flag
from postroom_wire.imap.limits import Limits
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.sequence import STAR, SequenceSet

INBOX = MailboxName("INBOX")


def mailbox(name: str) -> MailboxName:
    return MailboxName(name)


def numbers(*items: tuple[int, int]) -> SequenceSet:
    return SequenceSet(items)


COMMANDS: dict[bytes, Command] = {
    b"CAPABILITY": Capability(),
    b"nOoP": Noop(),
    b"LOGOUT": Logout(),
    b"STARTTLS": StartTls(),
    b"NAMESPACE": Namespace(),
    b"CHECK": Check(),
    b"CLOSE": Close(),
    b"UNSELECT": Unselect(),
    b"EXPUNGE": Expunge(),
    b"IDLE": Idle(),
    b"LOGIN SMITH SESAME": Login(b"SMITH", b"SESAME"),
    b"LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man": Login(b"FRED FOOBAR", b"fat man"),
    b"LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man": Login(b"FRED FOOBAR", b"fat man"),
    rb'LOGIN "a\"b" "c\\d"': Login(b'a"b', b"c\\d"),
    b'LOGIN "" ""': Login(b"", b""),
    'LOGIN alice "pä"'.encode(): Login(b"alice", "pä".encode()),
    b"LOGIN a] {3}\r\n\r\n\xff": Login(b"a]", b"\r\n\xff"),
    b"AUTHENTICATE plain": Authenticate(b"PLAIN", None),
    b"AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=": Authenticate(b"PLAIN", b"test\0test\0test"),
    b"AUTHENTICATE EXTERNAL =": Authenticate(b"EXTERNAL", b""),
    b"unauthenticate": Unauthenticate(),
    b"COMPRESS deflate": Compress(),
    b"ENABLE condstore X-Good": Enable((b"CONDSTORE", b"X-GOOD")),
    b"ID NIL": Id(None),
    b"ID ()": Id(()),
    b'ID ("name" "sodr" "version" NIL)': Id(((b"name", b"sodr"), (b"version", None))),
    b"SELECT INBOX": Select(INBOX),
    b"select inbox": Select(INBOX),
    b'SELECT "inBox"': Select(INBOX),
    b"SELECT {5}\r\ninbox": Select(INBOX),
    b"SELECT &ZeVnLIqe-": Select(mailbox("日本語")),
    b"EXAMINE blurdybloop": Examine(mailbox("blurdybloop")),
    b"CREATE owatagusiam/": Create(mailbox("owatagusiam")),
    b"CREATE owatagusiam/blurdybloop": Create(mailbox("owatagusiam/blurdybloop")),
    b"CREATE a (use (\\sent \\Drafts \\sent))": Create(mailbox("a"), (Flag("\\sent"), Flag("\\Drafts"))),
    b"CREATE a (USE ())": Create(mailbox("a")),
    b"DELETE blurdybloop": Delete(mailbox("blurdybloop")),
    b'RENAME blurdybloop "sar asoon"': Rename(mailbox("blurdybloop"), mailbox("sar asoon")),
    b"SUBSCRIBE #news.comp.mail.mime": Subscribe(mailbox("#news.comp.mail.mime")),
    b"UNSUBSCRIBE #news.comp.mail.mime": Unsubscribe(mailbox("#news.comp.mail.mime")),
    b'LIST "" ""': List(b"", (b"",)),
    b"LIST ~/Mail/ %": List(b"~/Mail/", (b"%",)),
    b'LIST () "" *': List(b"", (b"*",), extended=True),
    b'LIST "" (INBOX "Dr%")': List(b"", (b"INBOX", b"Dr%"), extended=True),
    b'LIST (SUBSCRIBED) "" "*"': List(
        b"",
        (b"*",),
        frozenset({ListSelection.SUBSCRIBED}),
        frozenset({ListReturn.SUBSCRIBED}),
        extended=True,
    ),
    b'LIST (remote special-use) "" % RETURN (CHILDREN)': List(
        b"",
        (b"%",),
        frozenset({ListSelection.REMOTE, ListSelection.SPECIAL_USE}),
        frozenset({ListReturn.SPECIAL_USE, ListReturn.CHILDREN}),
        extended=True,
    ),
    b'LIST "" % return (special-use subscribed)': List(
        b"",
        (b"%",),
        frozenset(),
        frozenset({ListReturn.SPECIAL_USE, ListReturn.SUBSCRIBED}),
        extended=True,
    ),
    b'LIST "" % RETURN ()': List(b"", (b"%",), extended=True),
    b'LIST (RECURSIVEMATCH SUBSCRIBED subscribed) "" *': List(
        b"",
        (b"*",),
        frozenset({ListSelection.RECURSIVEMATCH, ListSelection.SUBSCRIBED}),
        frozenset({ListReturn.SUBSCRIBED}),
        extended=True,
    ),
    b'LIST "" % RETURN (STATUS (MESSAGES SIZE messages) CHILDREN)': List(
        b"",
        (b"%",),
        returns=frozenset({ListReturn.CHILDREN}),
        status=(StatusItem.MESSAGES, StatusItem.SIZE),
        extended=True,
    ),
    b'LSUB "#news." "comp.%"': Lsub(b"#news.", b"comp.%"),
    b"STATUS a (SIZE deleted)": Status(mailbox("a"), (StatusItem.SIZE, StatusItem.DELETED)),
    b"STATUS blurdybloop (UIDNEXT MESSAGES uidnext)": Status(
        mailbox("blurdybloop"), (StatusItem.UIDNEXT, StatusItem.MESSAGES)
    ),
    b"STORE 2:4 +FLAGS (\\Deleted)": Store(numbers((2, 4)), StoreMode.ADD, silent=False, flags=(DELETED,)),
    b"STORE * -flags.silent \\seen $Junk \\SEEN": Store(
        numbers((STAR, STAR)), StoreMode.REMOVE, silent=True, flags=(SEEN, Flag("$Junk"))
    ),
    b"UID STORE 1 FLAGS ()": Store(numbers((1, 1)), StoreMode.REPLACE, silent=False, flags=(), uid=True),
    b"COPY 2:4 MEETING": Copy(numbers((2, 4)), mailbox("MEETING")),
    b"UID COPY 5:* x": Copy(numbers((5, STAR)), mailbox("x"), uid=True),
    b"MOVE 1 inbox": Move(numbers((1, 1)), INBOX),
    b"UID MOVE 42:69 foo": Move(numbers((42, 69)), mailbox("foo"), uid=True),
    b"UID EXPUNGE 3000:3002": Expunge(numbers((3000, 3002))),
}


@pytest.mark.parametrize("text", COMMANDS)
def test_a_command_is_read_as_its_value(text: bytes) -> None:
    tagged = parse_command(b"A-1.x " + text)
    assert tagged.command == COMMANDS[text]
    assert tagged.tag == b"A-1.x"


@pytest.mark.parametrize("text", COMMANDS)
def test_octets_after_a_command_are_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"t " + text + b" )")
    assert refused.value.tag == b"t"


@pytest.mark.parametrize("text", COMMANDS)
def test_a_cut_command_is_another_command_or_refused_by_its_tag(text: bytes) -> None:
    for end in range(len(text)):
        try:
            tag: bytes | None = parse_command(b"t " + text[:end]).tag
        except RemoteProtocolError as error:
            tag = error.tag
        assert tag == b"t"


REFUSED: dict[bytes, Refusal] = {
    b"FOO": UNKNOWN_COMMAND,
    b"": UNKNOWN_COMMAND,
    b" NOOP": UNKNOWN_COMMAND,
    b"XYZZY 1": UNKNOWN_COMMAND,
    b"UID NOOP": UNKNOWN_COMMAND,
    b"UID": SYNTAX_ERROR,
    b"NOOP ": SYNTAX_ERROR,
    b"NOOP\r": SYNTAX_ERROR,
    b"LOGIN a": SYNTAX_ERROR,
    b"LOGIN  a b": SYNTAX_ERROR,
    b"LOGIN a\tb": SYNTAX_ERROR,
    b"LOGIN p\xc3\xa4 b": SYNTAX_ERROR,  # 8-bit octets only in strings
    b'LOGIN "a b': SYNTAX_ERROR,
    b'LOGIN "a\x00" b': SYNTAX_ERROR,
    b'LOGIN "a\\b" b': SYNTAX_ERROR,
    b"LOGIN {3}\r\na\x00b x": SYNTAX_ERROR,
    b"LOGIN {9}\r\nab x": SYNTAX_ERROR,
    b"LOGIN {99999999999}\r\nab x": SYNTAX_ERROR,
    b"LOGIN {}\r\nab x": SYNTAX_ERROR,
    b"AUTHENTICATE PLAIN a": SYNTAX_ERROR,
    b"AUTHENTICATE PLAIN ====": SYNTAX_ERROR,
    b"AUTHENTICATE": SYNTAX_ERROR,
    b"ENABLE": SYNTAX_ERROR,
    b"COMPRESS": SYNTAX_ERROR,
    b"COMPRESS LZW": SYNTAX_ERROR,
    b"COMPRESS DEFLATE 9": SYNTAX_ERROR,
    b"UNAUTHENTICATE x": SYNTAX_ERROR,
    b"ID": SYNTAX_ERROR,
    b'ID ("a")': SYNTAX_ERROR,
    b"ID (NIL NIL)": SYNTAX_ERROR,
    b"ID (" + b" ".join([b'"a" NIL'] * 31) + b")": TOO_MANY_ITEMS,
    b"SELECT": SYNTAX_ERROR,
    b'SELECT ""': BAD_MAILBOX_NAME,
    b"SELECT a//b": BAD_MAILBOX_NAME,
    b"SELECT &a": BAD_MAILBOX_NAME,
    b'CREATE "caf\xc3"': BAD_MAILBOX_NAME,
    b"CREATE /": BAD_MAILBOX_NAME,
    b"CREATE a ()": SYNTAX_ERROR,
    b"CREATE a (USE (Sent))": SYNTAX_ERROR,
    b"CREATE a (USE (\\Sent)": SYNTAX_ERROR,
    b"CREATE a (USE (\\Sent) SIZE 1)": SYNTAX_ERROR,
    b"CREATE a (USE (" + b" ".join(b"\\u%d" % n for n in range(200)) + b"))": TOO_MANY_ITEMS,
    b"RENAME a": SYNTAX_ERROR,
    b'LIST (RECURSIVEMATCH) "" *': SYNTAX_ERROR,
    b'LIST (REMOTE RECURSIVEMATCH) "" *': SYNTAX_ERROR,
    b'LIST (SUBSCRIBED UNHEARD) "" *': SYNTAX_ERROR,
    b'LIST "" % RETURN (UNHEARD)': SYNTAX_ERROR,
    b'LIST "" % RETURN (STATUS)': SYNTAX_ERROR,
    b'LIST "" % RETURN (STATUS ())': SYNTAX_ERROR,
    b'LIST "" % RETURN (STATUS (UNHEARD))': SYNTAX_ERROR,
    b'LIST "" % RETURN (' + b" ".join([b"CHILDREN"] * 9) + b")": TOO_MANY_ITEMS,
    b'LIST "" % NOTHING ()': SYNTAX_ERROR,
    b'LIST "" ()': SYNTAX_ERROR,
    b'LIST "" (' + b"a " * 40 + b"a)": TOO_MANY_ITEMS,
    b"STATUS a ()": SYNTAX_ERROR,
    b"STATUS a (UNHEARD)": SYNTAX_ERROR,
    b"STATUS a MESSAGES": SYNTAX_ERROR,
    b"STORE 1 FLAGS": SYNTAX_ERROR,
    b"STORE 1 ++FLAGS ()": SYNTAX_ERROR,
    b"STORE 1 FLAGS (\\Recent)": BAD_FLAG,
    b"STORE 1 FLAGS (\\Foo)": BAD_FLAG,
    b"STORE 1 FLAGS (\\*)": SYNTAX_ERROR,
    b"STORE 1 FLAGS (" + b" ".join(b"k%d" % n for n in range(200)) + b")": TOO_MANY_ITEMS,
    b"STORE 0 FLAGS ()": SYNTAX_ERROR,
    b"COPY 1": SYNTAX_ERROR,
    b"UID EXPUNGE": SYNTAX_ERROR,
    b"APPEND INBOX": SYNTAX_ERROR,
    b'APPEND INBOX "message"': SYNTAX_ERROR,
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_command_is_refused_by_its_tag(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a1 " + text)
    assert refused.value.refusal is REFUSED[text]
    assert refused.value.encode().startswith(b"a1 ")
    assert refused.value.encode().count(b"\r\n") == 1


@pytest.mark.parametrize(
    "text", [b"", b" ", b"a", b"a+b NOOP", b"* NOOP", b"(a NOOP", b"\xc3\xa4 NOOP", b"\0 a"]
)
def test_a_command_without_a_tag_is_refused_untagged(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(text)
    assert refused.value.refusal is NO_TAG
    assert refused.value.encode().startswith(b"* BAD ")


def test_a_list_of_options_of_the_full_length_is_taken() -> None:
    pairs = b" ".join([b'"a" NIL'] * 30)
    assert parse_command(b"a ID (" + pairs + b")").command == Id(((b"a", None),) * 30)
    limits = Limits(max_flags=2)
    assert parse_command(b"a STORE 1 FLAGS (a b)", limits)
    with pytest.raises(RemoteProtocolError):
        parse_command(b"a STORE 1 FLAGS (a b c)", limits)


def test_a_password_is_not_shown() -> None:
    login = parse_command(b"a LOGIN alice sesame").command
    assert "sesame" not in repr(login)
    assert "alice" in repr(login)
    assert "test" not in repr(parse_command(b"a AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=").command)
