"""Mailboxes and paths: what may be made, how it is written, what is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postroom_wire.smtp import AddressError, Mailbox, Postmaster, check_domain, format_path
from postroom_wire.smtp.addresses import parse_forward_path, parse_reverse_path

GOOD = {
    "ann@example.com": Mailbox("ann", "example.com"),
    "Ann.Lee+tag@Example.COM": Mailbox("Ann.Lee+tag", "Example.COM"),
    "!#$%&'*+-/=?^_`{|}~@a": Mailbox("!#$%&'*+-/=?^_`{|}~", "a"),
    '"ann lee"@example.com': Mailbox("ann lee", "example.com"),
    '"a@b>c\\"d\\\\e"@example.com': Mailbox('a@b>c"d\\e', "example.com"),
    '"."@example.com': Mailbox(".", "example.com"),
    '""@example.com': Mailbox("", "example.com"),
    "ann@[192.0.2.1]": Mailbox("ann", "[192.0.2.1]"),
    "ann@[IPv6:2001:db8::1]": Mailbox("ann", "[IPv6:2001:db8::1]"),
    "änne@bücher.example": Mailbox("änne", "bücher.example"),
    "ann@1-2.3": Mailbox("ann", "1-2.3"),
}


@pytest.mark.parametrize("text", GOOD)
def test_a_mailbox_is_read_and_written_alike(text: str) -> None:
    assert Mailbox.parse(text) == GOOD[text]
    assert str(GOOD[text]) == text
    assert parse_reverse_path(f"<{text}> SIZE=1") == (GOOD[text], " SIZE=1")
    assert format_path(GOOD[text]) == f"<{text}>"


def test_needless_quotes_are_left_out() -> None:
    assert str(Mailbox.parse('"a\\nn.lee"@example.com')) == "ann.lee@example.com"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann lee@example.com",
        ".ann@example.com",
        "ann.@example.com",
        "a..n@example.com",
        "ann@-example.com",
        "ann@example-.com",
        "ann@example..com",
        "ann@.com",
        "ann@example.com.",
        "ann@exam_ple.com",
        "ann@[192.0.2]",
        "ann@[IPv6:192.0.2.1]",
        "ann@[IPv6:fe80::1%eth0]",
        "ann@[tag:x]",
        "ann@192.0.2.1]",
        "<ann@example.com>",
        "ann@b@example.com",
        '"ann@example.com',
        '"an"n@example.com',
        "ann@example.com\r\nDATA",
        "ann\n@example.com",
        '"a\\\nb"@example.com',
        '"a\x7fb"@example.com',
        "ann@example\u2028.com",
        "ann\u0085@example.com",
    ],
)
def test_what_is_no_mailbox_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Mailbox.parse(text)


@pytest.mark.parametrize(
    ("local_part", "domain"),
    [
        ("a\r\nb", "b"),
        ("a", "b\r\nc"),
        ("a\0", "b"),
        ("a", ""),
        ("a", "b c"),
        ("a", "b>"),
        ("\ud800", "b"),
        ("a", "\udfff"),
    ],
)
def test_a_mailbox_that_would_break_a_line_cannot_be_made(local_part: str, domain: str) -> None:
    with pytest.raises(AddressError):
        Mailbox(local_part, domain)


@example(local_part="", domain="\u00a0")  # white space to Python, UTF8-non-ascii to RFC 6531 s3.3
@given(local_part=st.text(max_size=70), domain=st.text(max_size=20) | st.just("example.com"))
def test_what_can_be_made_can_be_written_and_read_again(local_part: str, domain: str) -> None:
    try:
        mailbox = Mailbox(local_part, domain)
    except AddressError:
        return
    written = format_path(mailbox)
    assert written.encode().splitlines() == [written.encode()]
    assert parse_forward_path(written + " X") == (mailbox, " X")


@given(text=st.text())
def test_any_text_is_a_path_or_refused(text: str) -> None:
    for parse in (parse_reverse_path, parse_forward_path):
        try:
            parse(text)
        except AddressError:
            pass


@pytest.mark.parametrize(
    "text",
    [
        "a" * 64 + "@example.com",
        '"' + "a " * 31 + '"@example.com',
        "ä" * 32 + "@example.com",
        "a@" + ".".join(["b" * 61] * 4) + ".bbbb",  # 252 octets: the path has 256
    ],
)
def test_lengths_are_allowed_up_to_their_limits(text: str) -> None:
    assert str(Mailbox.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a" * 65 + "@example.com", "64"),
        ('"' + "a " * 31 + 'a"@example.com', "64"),
        ("ä" * 33 + "@example.com", "64"),
        ("a@" + ".".join(["b" * 61] * 4) + ".bbbbb", "256"),
        ("a@" + ".".join(["b" * 63] * 4), "256"),
        ("a@" + ".".join(["b" * 63] * 4) + ".c", "255"),
        ("a@" + "b" * 64, "neither"),
        ("ä" * 31 + "@" + ".".join(["ü" * 31] * 4), "256"),
    ],
)
def test_lengths_over_their_limits_are_refused(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        Mailbox.parse(text)


def test_source_routes_are_passed_over() -> None:
    path = "<@one.example,@two.example:ann@example.com>"
    assert parse_forward_path(path) == (Mailbox("ann", "example.com"), "")


@pytest.mark.parametrize("text", ["<Postmaster>", "<postmaster>", "<POSTMASTER>"])
def test_postmaster_needs_no_domain_as_recipient(text: str) -> None:
    assert parse_forward_path(text) == (Postmaster(), "")
    assert format_path(Postmaster()) == "<Postmaster>"
    with pytest.raises(AddressError):
        parse_reverse_path(text)


def test_the_null_path_is_a_sender_only() -> None:
    assert parse_reverse_path("<> SIZE=1") == (None, " SIZE=1")
    assert format_path(None) == "<>"
    with pytest.raises(AddressError):
        parse_forward_path("<>")


@pytest.mark.parametrize(("mailbox", "expected"), [("a@b", True), ("ä@b", False), ("a@ü", False)])
def test_ascii_says_whether_smtputf8_is_needed(mailbox: str, *, expected: bool) -> None:
    assert Mailbox.parse(mailbox).ascii is expected
    assert Postmaster().ascii


@pytest.mark.parametrize("domain", ["example.com", "[192.0.2.1]", "localhost", "[ipv6:::1]"])
def test_domains_and_literals_are_names_of_hosts(domain: str) -> None:
    check_domain(domain)
