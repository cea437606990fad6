"""Messages that we write are read again as they were meant, by us and by the standard library."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime import (
    HeaderError,
    Mailbox,
    OutgoingAttachment,
    OutgoingMessage,
    ScannedMessage,
    compose,
    display,
    scan,
)
from postroom_wire.mime.charset import clean_line
from postroom_wire.mime.compose import multipart, text_entity

DATE: Final = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
PLAIN: Final = OutgoingMessage(
    sender=Mailbox("ann@example.com", "Ann"),
    to=[Mailbox("bob@example.com")],
    message_id="<1@example.com>",
    date=DATE,
    subject="Hello",
    text="Hi Bob\n",
)
PICTURE: Final = OutgoingAttachment("p.png", "image/png", b"\x89PNG", "<p@example.com>")
FILE: Final = OutgoingAttachment("naïve name.pdf", "application/pdf", bytes(range(256)))


def test_a_plain_message_is_these_octets() -> None:
    assert compose(PLAIN) == (
        b"Date: Mon, 23 Nov 2026 07:00:00 +0000\r\n"
        b"From: Ann <ann@example.com>\r\n"
        b"To: bob@example.com\r\n"
        b"Subject: Hello\r\n"
        b"Message-ID: <1@example.com>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hi Bob\r\n"
    )


SHAPES: Final[dict[str, tuple[OutgoingMessage, list[tuple[str, str]]]]] = {
    "text": (PLAIN, [("1", "text/plain")]),
    "nothing": (replace(PLAIN, text=None), [("1", "text/plain")]),
    "HTML": (replace(PLAIN, text=None, html="<p>"), [("1", "text/html")]),
    "both": (
        replace(PLAIN, html="<p>"),
        [("TEXT", "multipart/alternative"), ("1", "text/plain"), ("2", "text/html")],
    ),
    "text and a file": (
        replace(PLAIN, attachments=[FILE]),
        [("TEXT", "multipart/mixed"), ("1", "text/plain"), ("2", "application/pdf")],
    ),
    "text and a picture that nothing shows": (
        replace(PLAIN, attachments=[PICTURE]),
        [("TEXT", "multipart/mixed"), ("1", "text/plain"), ("2", "image/png")],
    ),
    "all": (
        replace(PLAIN, html="<img src='cid:p@example.com'>", attachments=[FILE, PICTURE]),
        [
            ("TEXT", "multipart/mixed"),
            ("1", "multipart/alternative"),
            ("1.1", "text/plain"),
            ("1.2", "multipart/related"),
            ("1.2.1", "text/html"),
            ("1.2.2", "image/png"),
            ("2", "application/pdf"),
        ],
    ),
    "a message as a file": (
        replace(PLAIN, attachments=[OutgoingAttachment("m.eml", "message/rfc822", b"Subject: x\n\n--=_")]),
        [("TEXT", "multipart/mixed"), ("1", "text/plain"), ("2", "application/octet-stream")],
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_message_has_no_more_levels_than_it_needs(
    name: str, check_consistency: Callable[[bytes, ScannedMessage], None]
) -> None:
    message, parts = SHAPES[name]
    octets = compose(message)
    scanned = scan(octets)
    check_consistency(octets, scanned)
    assert [(part.section, part.media_type) for part in scanned.table.parts] == parts


TEXT: Final = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\r\n\t."), max_size=200
)
NAME: Final = st.text(max_size=60)


@given(
    subject=st.text(max_size=200),
    name=NAME,
    text=TEXT,
    html=TEXT,
    file_name=NAME.filter(lambda name: bool(clean_line(name).split())),
    content=st.binary(max_size=300),
)
def test_what_goes_in_comes_out(
    subject: str, name: str, text: str, html: str, file_name: str, content: bytes
) -> None:
    octets = compose(
        replace(
            PLAIN,
            sender=Mailbox("ann@example.com", name),
            cc=[Mailbox("carol@example.com", name), Mailbox("dan@example.com")],
            subject=subject,
            text=text,
            html=html,
            attachments=[OutgoingAttachment(file_name, "application/x-test", content)],
        )
    )
    scanned = scan(octets)
    assert not scanned.limited
    assert scanned.subject == " ".join(clean_line(subject).split())
    assert [(one.name, one.address) for one in (*scanned.from_, *scanned.to, *scanned.cc)] == [
        (" ".join(clean_line(name).split()), "ann@example.com"),
        ("", "bob@example.com"),
        (" ".join(clean_line(name).split()), "carol@example.com"),
        ("", "dan@example.com"),
    ]
    shown = display(octets, scanned.table)
    assert [attachment.name for attachment in scanned.attachments] == [
        " ".join(clean_line(file_name).split())
    ]
    for part, given_text in ((shown.text[0], text), (shown.html[0], html)):
        assert part.content is not None
        assert lines(part.content) == lines(given_text)
    reference = message_from_bytes(octets, policy=policy.default)
    (attachment,) = reference.iter_attachments()
    assert isinstance(attachment, EmailMessage)
    assert attachment.get_payload(decode=True) == content
    assert octets.isascii()
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert b"\n" not in octets.replace(b"\r\n", b"")


def lines(text: str) -> list[str]:
    """The lines of a text without its controls, and without regard to a last line break."""
    kept = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    return [" ".join(clean_line(line).split()) for line in kept]


INJECTED: Final = "x\r\nBcc: eve@example.com\r\n\r\nbody\nX: y\0\u2028z"


def test_no_text_can_add_a_field_or_end_the_header() -> None:
    octets = compose(
        replace(
            PLAIN,
            sender=Mailbox("ann@example.com", INJECTED),
            subject=INJECTED,
            attachments=[OutgoingAttachment(INJECTED, "text/x", b"")],
        )
    )
    reference = message_from_bytes(octets, policy=policy.SMTP)
    assert reference.keys() == ["Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type"]
    (part,) = scan(octets).attachments
    assert part.name == "x Bcc: eve@example.com body X: y z"


REFUSED: Final[dict[str, OutgoingMessage]] = {
    "no address": replace(PLAIN, to=[Mailbox("")]),
    "no domain": replace(PLAIN, to=[Mailbox("bob")]),
    "no local part": replace(PLAIN, to=[Mailbox("@example.com")]),
    "two addresses": replace(PLAIN, to=[Mailbox("a@b, c@d")]),
    "an address with a bracket": replace(PLAIN, to=[Mailbox("a@b> <c@d")]),
    "an address with a line break": replace(PLAIN, to=[Mailbox("a@b\r\nBcc: c@d")]),
    "an address with a quoted line break": replace(PLAIN, to=[Mailbox('"a\r\nb"@c')]),
    "an address too long": replace(PLAIN, to=[Mailbox("a" * 400 + "@b")]),
    "a comment": replace(PLAIN, to=[Mailbox("a(b)@c")]),
    "an identifier without brackets": replace(PLAIN, message_id="1@example.com"),
    "an identifier with a line break": replace(PLAIN, references=["<a\r\n@b>"]),
    "an identifier that is two": replace(PLAIN, in_reply_to=["<a@b> <c@d>"]),
    "a media type with a line break": replace(
        PLAIN, attachments=[OutgoingAttachment("x", "a/b\r\nX: y", b"")]
    ),
    "a media type with parameters": replace(PLAIN, attachments=[OutgoingAttachment("x", "a/b; c=d", b"")]),
    "a content id that is none": replace(PLAIN, attachments=[OutgoingAttachment("x", "a/b", b"", "x")]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_header_can_hold_is_refused(name: str) -> None:
    with pytest.raises(HeaderError):
        compose(REFUSED[name])


@pytest.mark.parametrize(
    "address", ['"a b"@example.com', "a.b+c@[192.0.2.1]", "jürgen@münchen.example", "o'neil@x"]
)
def test_uncommon_addresses_are_written_as_they_are(address: str) -> None:
    scanned = scan(compose(replace(PLAIN, to=[Mailbox(address, "Who, me?")])))
    assert scanned.to[0].address == address.replace('"', "")
    assert scanned.to[0].name == "Who, me?"


def test_long_lists_are_folded() -> None:
    octets = compose(
        replace(PLAIN, to=[Mailbox(f"user{number}@example.com", "A User") for number in range(50)])
    )
    assert max(map(len, octets.split(b"\r\n"))) <= 78
    assert len(scan(octets).to) == 50


def test_a_boundary_is_in_no_part() -> None:
    first = multipart("mixed", [text_entity("x")])
    boundary = first.body.partition(b"\r\n")[0].decode()
    again = multipart("mixed", [text_entity("x")])
    nested = multipart("mixed", [text_entity("x"), text_entity(boundary), first])
    assert again == first
    assert nested.body.count(b"\r\n--" + nested.body.partition(b"\r\n")[0].removeprefix(b"--")) == 3


def test_a_long_line_of_text_is_encoded() -> None:
    octets = compose(replace(PLAIN, text="x" * 2_000))
    assert max(map(len, octets.split(b"\r\n"))) <= 78
    shown = display(octets, scan(octets).table)
    assert shown.text[0].content == "x" * 2_000 + "\n"
