"""Mailbox names, modified UTF-7 and LIST patterns (RFC 3501 s5.1, s6.3.8)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.mailbox_name import (
    MAX_LEVELS,
    MAX_NAME,
    MAX_PATTERN,
    ListPattern,
    MailboxName,
    MailboxNameError,
    decode_modified_utf7,
    encode_modified_utf7,
)

SPELLINGS = {
    "~peter/mail/台北/日本語": b"~peter/mail/&U,BTFw-/&ZeVnLIqe-",  # RFC 3501 s5.1.3
    "Q&A": b"Q&-A",
    "&": b"&-",
    "Entwürfe": b"Entw&APw-rfe",
    "😀": b"&2D3eAA-",
    "INBOX": b"INBOX",
}
levels = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="/"),
    min_size=1,
    max_size=20,
)
names = st.lists(levels, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(("name", "octets"), SPELLINGS.items())
def test_modified_utf7_has_the_spelling_of_the_rfc(name: str, octets: bytes) -> None:
    assert encode_modified_utf7(name) == octets
    assert decode_modified_utf7(octets) == name


@given(name=st.text(st.characters(exclude_categories=["Cs"])))
def test_decoding_undoes_encoding(name: str) -> None:
    octets = encode_modified_utf7(name)
    assert octets.isascii()
    assert decode_modified_utf7(octets) == name


@given(octets=st.binary(max_size=40) | st.from_regex(rb"[a&+,A-Z0-9-]{0,30}", fullmatch=True))
def test_any_octets_are_one_name_or_none(octets: bytes) -> None:
    try:
        name = decode_modified_utf7(octets)
    except MailboxNameError:
        return
    assert encode_modified_utf7(name) == octets


@pytest.mark.parametrize(
    "octets",
    [
        b"&",  # no end
        b"&U,BTFw",
        b"&AGE-",  # "a" needs no base64
        b"&U,A-&UXY-",  # two shifts in a row
        b"&2D0-",  # half a surrogate pair
        b"&AA-",  # half a UTF-16 unit
        b"&U-",  # half an octet
        b"&U,BTFx-",  # bits left over
        b"caf\xc3\xa9",  # raw UTF-8
        b"a\x00b",
        b"a\r\nb",
        b"a/b&U/BTFw-",
    ],
)
def test_other_spellings_are_refused(octets: bytes) -> None:
    with pytest.raises(MailboxNameError):
        decode_modified_utf7(octets)


@pytest.mark.parametrize("name", ["inbox", "InBoX", "iNbOx/Sub"])
def test_inbox_is_one_mailbox_in_any_case(name: str) -> None:
    assert MailboxName.of(name).value == "INBOX" + name[5:]
    with pytest.raises(MailboxNameError):
        MailboxName(name)


def test_only_ascii_letters_make_inbox() -> None:
    assert MailboxName.of("\u0131nbox").value == "\u0131nbox"
    assert not MailboxName.of("inboxes").is_inbox


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a//b",
        "/a",
        "a/",
        "a\x00",
        "a\x7fb",
        "a\x85b",
        chr(0xD800),
        "a\u2028b",
        "x" * (MAX_NAME + 1),
        "/".join("a" * (MAX_LEVELS + 1)),
    ],
)
def test_names_that_no_mailbox_can_have_are_refused(name: str) -> None:
    with pytest.raises(MailboxNameError):
        MailboxName.of(name)


def test_ancestors_are_listed_from_the_root() -> None:
    assert [name.value for name in MailboxName("a/b/c").ancestors()] == ["a", "a/b"]
    assert MailboxName("a").ancestors() == ()


@pytest.mark.parametrize(
    ("reference", "pattern", "name", "matches"),
    [
        (b"", b"*", "a/b/c", True),
        (b"", b"%", "a", True),
        (b"", b"%", "a/b", False),
        (b"", b"%/%", "a/b", True),
        (b"", b"a/%", "a/b/c", False),
        (b"", b"a*", "a/b/c", True),
        (b"~/Mail/", b"%", "~/Mail/foo", True),
        (b"~/Mail/", b"%", "~/Mail/foo/bar", False),
        (b"a/", b"/b", "a/b", False),  # from the root
        (b"", b"inbox", "INBOX", True),
        (b"", b"InB%", "INBOX", True),
        (b"", b"INBOX/*", "INBOX/sub", True),
        (b"", b"Inbox/SUB", "INBOX/sub", False),
        (b"", b"sent", "Sent", False),
        (b"", b"*&ZeVnLIqe-", "x/日本語", True),
        (b"", b"", "a", False),
        (b"", b"*%*%*", "a/b", True),
        (b"", b"%*", "a/b", True),
        (b"", b"a%%b", "ab", True),
    ],
)
def test_patterns_match_as_list_says(reference: bytes, pattern: bytes, name: str, matches: bool) -> None:
    assert ListPattern(reference, pattern).matches(MailboxName(name)) is matches


@given(pattern=st.text("ab/%*", max_size=12), name=st.text("ab/", min_size=1, max_size=12))
def test_patterns_match_like_a_regular_expression(pattern: str, name: str) -> None:
    try:
        mailbox = MailboxName(name)
    except MailboxNameError:
        return
    like = re.escape(pattern).replace(r"\*", ".*").replace("%", "[^/]*")
    expected = re.fullmatch(like, name) is not None
    assert ListPattern(b"", pattern.encode()).matches(mailbox) is expected


def test_a_pattern_of_many_stars_costs_no_more_than_another() -> None:
    bomb = ListPattern(b"", b"*a" * (MAX_PATTERN // 2 - 1) + b"b")
    assert not bomb.matches(MailboxName("a" * MAX_NAME))


def test_a_pattern_beyond_the_limit_matches_nothing() -> None:
    assert not ListPattern(b"", b"*" * (MAX_PATTERN + 1)).matches(MailboxName("a"))


@given(name=names)
def test_a_name_in_utf8_is_read_as_it_is_told(name: str) -> None:
    told = MailboxName.of(name, utf8=True).encode()
    assert told == MailboxName.of(name).value.encode()
    assert MailboxName.decode(told, utf8=True) == MailboxName.of(name)


def test_utf8_is_read_of_whoever_sends_it_and_told_to_who_enabled_it() -> None:
    """RFC 6855 s3."""
    sent = "Entwürfe & mehr".encode()
    assert MailboxName.decode(sent) == MailboxName.decode(sent, utf8=True)
    assert MailboxName.decode(sent).encode() == b"Entw&APw-rfe &- mehr"
    assert MailboxName.decode(sent, utf8=True).encode() == sent
    assert MailboxName.decode(b"Q&A", utf8=True).value == "Q&A"
    assert MailboxName.decode(b"&ZeVnLIqe-", utf8=True).value == "&ZeVnLIqe-"


@pytest.mark.parametrize(
    "octets", [b"a\xff", b"\xc3", b"\xed\xa0\x80", "a\u0085b".encode(), "a\u2028b".encode()]
)
@pytest.mark.parametrize("utf8", [False, True])
def test_octets_that_are_no_name_in_utf8_are_refused(octets: bytes, utf8: bool) -> None:
    with pytest.raises(MailboxNameError):
        MailboxName.decode(octets, utf8=utf8)


def test_new_names_in_utf8_are_composed() -> None:
    """RFC 9051 s5.1."""
    assert MailboxName.of("caf\u00e9", utf8=True).is_net_unicode
    assert not MailboxName.of("cafe\u0301", utf8=True).is_net_unicode
    assert MailboxName.of("cafe\u0301").is_net_unicode


def test_patterns_in_utf8_match_names_in_utf8() -> None:
    pattern = ListPattern(b"", "Entwü*".encode())
    assert pattern.matches(MailboxName.of("Entwürfe/ä", utf8=True))
    assert not pattern.matches(MailboxName.of("Entwürfe/ä"))
    assert ListPattern(b"", b"%").matches(MailboxName.of("ä", utf8=True))
    assert not ListPattern(b"", b"%").matches(MailboxName.of("ä/b", utf8=True))


def test_what_is_above_a_name_is_told_like_it() -> None:
    (above,) = MailboxName.of("ä/b", utf8=True).ancestors()
    assert above.encode() == "ä".encode()
