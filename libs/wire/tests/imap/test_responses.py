"""Responses in wire form, as the RFCs show them (RFC 3501 s7 and the extensions)."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap import codes, fetch_response, responses
from postroom_wire.imap.commands import StatusItem
from postroom_wire.imap.cursor import Cursor
from postroom_wire.imap.encoding import (
    encode_astring,
    encode_literal,
    encode_mailbox,
    encode_nstring,
    encode_quoted,
    encode_string,
)
from postroom_wire.imap.errors import BAD_CHARSET, Condition, Tag
from postroom_wire.imap.flags import (
    ANSWERED,
    ANY_KEYWORD,
    DELETED,
    DRAFT,
    FLAGGED,
    KEYWORD_SHIFT,
    RECENT,
    SEEN,
    SYSTEM_FLAGS,
    Flag,
    FlagNames,
    encode_flags,
    system_flag,
)
from postroom_wire.imap.mailbox_name import MailboxName

INBOX = MailboxName("INBOX")
TAG = Tag(b"A1")
OK, NO = Condition.OK, Condition.NO
EXAMPLES = [
    (responses.tagged(TAG, OK, b"done"), b"A1 OK done\r\n"),
    (responses.tagged(TAG, OK, b"done", codes.READ_ONLY), b"A1 OK [READ-ONLY] done\r\n"),
    (responses.untagged(NO, b"Disk is 98% full"), b"* NO Disk is 98% full\r\n"),
    (responses.bye(b"Autologout"), b"* BYE Autologout\r\n"),
    (responses.bye(b"Soon back", codes.UNAVAILABLE), b"* BYE [UNAVAILABLE] Soon back\r\n"),
    (responses.continuation(b"Ready"), b"+ Ready\r\n"),
    (responses.challenge(b""), b"+ \r\n"),
    (responses.challenge(b"Username:"), b"+ VXNlcm5hbWU6\r\n"),
    (responses.greeting(b"hi", (b"IMAP4rev1", b"ID")), b"* OK [CAPABILITY IMAP4rev1 ID] hi\r\n"),
    (responses.capability((b"IMAP4rev1", b"IDLE")), b"* CAPABILITY IMAP4rev1 IDLE\r\n"),
    (responses.enabled(()), b"* ENABLED\r\n"),
    (responses.flags(SYSTEM_FLAGS), b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)\r\n"),
    (responses.exists(23), b"* 23 EXISTS\r\n"),
    (responses.recent(5), b"* 5 RECENT\r\n"),
    (responses.expunges([9, 8]), b"* 9 EXPUNGE\r\n* 8 EXPUNGE\r\n"),
    (
        responses.mailbox_list((responses.NO_SELECT,), MailboxName("~/Mail/foo")),
        b'* LIST (\\Noselect) "/" "~/Mail/foo"\r\n',
    ),
    (
        responses.mailbox_list((responses.HAS_NO_CHILDREN, responses.USE_SENT), MailboxName("Gesendet ü")),
        b'* LIST (\\HasNoChildren \\Sent) "/" "Gesendet &APw-"\r\n',
    ),
    (responses.lsub((), INBOX), b'* LSUB () "/" INBOX\r\n'),
    (
        responses.mailbox_list((), MailboxName.of("a"), [responses.child_info([b"SUBSCRIBED"])]),
        b'* LIST () "/" "a" ("CHILDINFO" ("SUBSCRIBED"))\r\n',
    ),
    (responses.hierarchy_delimiter(), b'* LIST (\\Noselect) "/" ""\r\n'),
    (
        responses.status(MailboxName("blurdybloop"), {StatusItem.MESSAGES: 231, StatusItem.UIDNEXT: 44292}),
        b'* STATUS "blurdybloop" (MESSAGES 231 UIDNEXT 44292)\r\n',
    ),
    (responses.namespace([responses.NamespacePrefix()]), b'* NAMESPACE (("" "/")) NIL NIL\r\n'),
    (
        responses.namespace(
            [], [], [responses.NamespacePrefix(b"a/"), responses.NamespacePrefix(b"b.", b".")]
        ),
        b'* NAMESPACE NIL NIL (("a/" "/")("b." "."))\r\n',
    ),
    (responses.server_id(None), b"* ID NIL\r\n"),
    (responses.server_id({b"name": b"Cyrus", b"os": None}), b'* ID ("name" "Cyrus" "os" NIL)\r\n'),
    (
        responses.untagged(OK, b"UIDs valid", codes.uid_validity(3857529045)),
        b"* OK [UIDVALIDITY 3857529045] UIDs valid\r\n",
    ),
    (responses.untagged(OK, b"next", codes.uid_next(4392)), b"* OK [UIDNEXT 4392] next\r\n"),
    (responses.untagged(OK, b"first", codes.unseen(12)), b"* OK [UNSEEN 12] first\r\n"),
    (
        responses.untagged(OK, b"Limited", codes.permanent_flags((DELETED, SEEN, ANY_KEYWORD))),
        b"* OK [PERMANENTFLAGS (\\Deleted \\Seen \\*)] Limited\r\n",
    ),
    (
        responses.tagged(TAG, OK, b"Done", codes.copy_uid(38505, [(304, 3956), (319, 3957), (320, 3958)])),
        b"A1 OK [COPYUID 38505 304,319:320 3956:3958] Done\r\n",  # RFC 4315 s3
    ),
    (responses.tagged(TAG, OK, b"d", codes.append_uid(38505, 3955)), b"A1 OK [APPENDUID 38505 3955] d\r\n"),
    (BAD_CHARSET.encode(TAG), b"A1 NO [BADCHARSET (US-ASCII UTF-8)] Charset not supported\r\n"),
    (
        fetch_response.fetch(
            12,
            [
                fetch_response.uid(7),
                fetch_response.flags(encode_flags((SEEN,)).decode()),
                fetch_response.internal_date(datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),
                fetch_response.rfc822_size(4286),
                fetch_response.envelope(b"(NIL)"),
                fetch_response.body(b'("TEXT")'),
                fetch_response.body_structure(b'("TEXT" NIL)'),
                fetch_response.section(b"BODY[HEADER]", b"a: b\r\n\r\n"),
                fetch_response.section(b"BODY[9]", None),
                fetch_response.section(b"BODY[]<0>", b""),
            ],
        ),
        (
            b'* 12 FETCH (UID 7 FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 09:44:25 +0000" RFC822.SIZE 4286 '
            b'ENVELOPE (NIL) BODY ("TEXT") BODYSTRUCTURE ("TEXT" NIL) BODY[HEADER] {8}\r\na: b\r\n\r\n '
            b"BODY[9] NIL BODY[]<0> {0}\r\n)\r\n"
        ),
    ),
]


@pytest.mark.parametrize(("octets", "expected"), EXAMPLES)
def test_a_response_is_written_as_the_rfc_shows(octets: bytes, expected: bytes) -> None:
    assert octets == expected


def test_a_section_written_in_pieces_is_the_same() -> None:
    pieces = (
        fetch_response.start(3) + fetch_response.section_start(b"BODY[]", 4) + b"ab\r\n" + fetch_response.END
    )
    assert pieces == fetch_response.fetch(3, [fetch_response.section(b"BODY[]", b"ab\r\n")])


STRINGS = [
    (b"", b'""'),
    (b"abc", b'"abc"'),
    (b'a"b\\c', b'"a\\"b\\\\c"'),
    (b"a\r\nb", b"{4}\r\na\r\nb"),
    ("ä".encode(), b"{2}\r\n\xc3\xa4"),
    (b"a\0", b"{2}\r\na\0"),
    (b"\x7f", b"{1}\r\n\x7f"),
    (b"x" * 2_000, b"{2000}\r\n" + b"x" * 2_000),
]


@pytest.mark.parametrize(("octets", "expected"), STRINGS)
def test_a_string_is_quoted_only_where_that_is_safe(octets: bytes, expected: bytes) -> None:
    assert encode_string(octets) == expected
    assert encode_nstring(octets) == expected


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"abc", b"abc"),
        (b"", b'""'),
        (b"nil", b'"nil"'),
        (b"a b", b'"a b"'),
        (b"a]", b'"a]"'),
        (b"a*", b'"a*"'),
    ],
)
def test_an_astring_is_an_atom_only_where_that_is_safe(octets: bytes, expected: bytes) -> None:
    assert encode_astring(octets) == expected


@given(octets=st.binary(max_size=40).filter(lambda octets: b"\0" not in octets))
def test_reading_undoes_writing_of_strings(octets: bytes) -> None:
    assert Cursor(encode_string(octets)).string() == octets
    assert Cursor(encode_literal(octets)).string() == octets
    assert Cursor(encode_astring(octets)).astring() == octets
    assert Cursor(encode_nstring(octets)).nstring() == octets
    assert Cursor(encode_nstring(None)).nstring() is None


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_reading_undoes_quoting(text: str) -> None:
    assert Cursor(encode_quoted(text.encode())).string() == text.encode()


@given(name=st.text("aé日&/ \"\\INBOXinbox*%", min_size=1, max_size=12).filter(
    lambda name: all(name.split("/"))
))  # fmt: skip
def test_reading_undoes_writing_of_mailbox_names(name: str) -> None:
    mailbox = MailboxName.of(name)
    assert Cursor(encode_mailbox(mailbox)).mailbox() == mailbox


NAMES = FlagNames({0: Flag("$Junk"), 3: Flag("Later")})
WORDS = st.integers(0, 0b111111) | st.integers(1 << 8, (1 << 8) + 0b111111)


@given(word=WORDS)
def test_a_flag_word_and_its_flags_are_the_same(word: int) -> None:
    flags = NAMES.flags(word)
    assert NAMES.word(flags) == word
    assert NAMES.flag_list(word).encode() == encode_flags(flags)
    assert NAMES.folded(word) == {flag.lower() for flag in flags}
    assert Cursor(NAMES.flag_list(word).encode()).flag_list() == flags


def test_flags_are_compared_without_case() -> None:
    assert NAMES.word((Flag("$JUNK"), Flag("\\seen"))) == 0b100001
    assert NAMES.word((Flag("unknown"),)) == 0
    assert NAMES.flags(1 << 6) == ()
    assert NAMES.names == (*SYSTEM_FLAGS, Flag("$Junk"), Flag("Later"))
    assert FlagNames().flags(0b11111) == (SEEN, ANSWERED, FLAGGED, DELETED, DRAFT)
    assert [system_flag(name) for name in ("\\ANSWERED", "\\draft", "\\Recent", "Seen")] == [
        ANSWERED,
        DRAFT,
        None,
        None,
    ]


def test_what_is_remembered_of_flag_words_is_bounded() -> None:
    many = FlagNames({at: Flag(f"k{at}") for at in range(14)})
    for word in range(0, 1 << 18, 1 << 5):
        many.flag_list(word)
        many.folded(word)
        assert many.remembered <= 2 * 4_096
    assert many.flag_list(3 << KEYWORD_SHIFT) == "(k0 k1)"


def test_recent_joins_the_flags_of_a_message() -> None:
    assert fetch_response.with_recent("()") == f"({RECENT})"
    assert fetch_response.with_recent(f"({FLAGGED})") == "(\\Flagged \\Recent)"


@given(count=st.integers(0, 9_000))
def test_flags_of_many_messages_are_written_like_those_of_one(count: int) -> None:
    rows = [(number, number * 3, NAMES.flag_list(number % 128)) for number in range(1, count + 1)]
    pieces = list(fetch_response.uids_and_flags(rows))
    assert all(len(piece) < 300_000 for piece in pieces)
    assert b"".join(pieces) == b"".join(
        fetch_response.fetch(number, [fetch_response.uid(uid), fetch_response.flags(flags)])
        for number, uid, flags in rows
    )
    assert b"".join(fetch_response.only_flags((number, flags) for number, _, flags in rows)) == b"".join(
        fetch_response.fetch(number, [fetch_response.flags(flags)]) for number, _, flags in rows
    )
    assert b"".join(fetch_response.only_uids((number, uid) for number, uid, _ in rows)) == b"".join(
        fetch_response.fetch(number, [fetch_response.uid(uid)]) for number, uid, _ in rows
    )


def test_every_response_is_one_line_apart_from_its_literals() -> None:
    for octets, _ in EXAMPLES:
        outside = re.sub(rb"\{8\}\r\na: b\r\n\r\n|\{0\}\r\n", b"", octets)
        assert all(line.startswith((b"* ", b"+ ", b"A1 ")) for line in outside.splitlines())
        assert octets.endswith(b"\r\n")
