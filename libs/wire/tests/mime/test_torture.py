"""Mail that no standard allows, and what becomes of it."""

from typing import Final

import pytest

from postroom_wire.mime import scan

MIXED: Final = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
PARTS: Final[dict[str, tuple[bytes, list[tuple[str, bytes]]]]] = {
    "nothing": (b"", [("1", b"")]),
    "one line break": (b"\r\n", [("1", b"")]),
    "a header only": (b"Subject: x\r\n", [("1", b"")]),
    "a header without line break": (b"Subject: x", [("1", b"")]),
    "no header at all": (b"hello\r\nyou: there\r\n\r\nbye", [("1", b"hello\r\nyou: there\r\n\r\nbye")]),
    "an empty line first": (b"\r\nSubject: x\r\n\r\nhi", [("1", b"Subject: x\r\n\r\nhi")]),
    "no empty line after the header": (b"Subject: x\r\nhello\r\nyou: there", [("1", b"hello\r\nyou: there")]),
    "a stray line in the header": (b"Subject: x\r\nstray\r\nTo: a@b\r\n\r\nhi", [("1", b"hi")]),
    "a line of white space is no end of the header": (b"A: b\r\n \r\nTo: a@b\r\n\r\nhi", [("1", b"hi")]),
    "bare LF": (
        MIXED.replace(b"\r", b"") + b"--b\n\none\n--b\nA: b\n\ntwo\n--b--\n",
        [("1", b"one"), ("2", b"two")],
    ),
    "mixed line breaks": (
        MIXED + b"--b\n\r\none\n--b\r\n\ntwo\r\n--b--\n",
        [("1", b"one"), ("2", b"two")],
    ),
    "NUL everywhere": (b"Sub\0ject: x\r\nTo: a\r\n\r\nh\0i", [("1", b"Sub\0ject: x\r\nTo: a\r\n\r\nh\0i")]),
    "8-bit in a field name": (b"Subj\xe9ct: x\r\n\r\nhi", [("1", b"Subj\xe9ct: x\r\n\r\nhi")]),
    "no closing delimiter": (
        MIXED + b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n",
        [("1", b"one"), ("2", b"two\r\n")],
    ),
    "the last delimiter is the last octet": (MIXED + b"--b\r\n\r\none\r\n--b", [("1", b"one"), ("2", b"")]),
    "preamble and epilogue": (
        MIXED + b"pre\r\n--b\r\n\r\none\r\n--b--\r\nepi\r\n--b\r\n",
        [("1", b"one")],
    ),
    "closed before it began": (MIXED + b"--b--\r\n--b\r\n\r\none", [("1", b"--b--\r\n--b\r\n\r\none")]),
    "parts of nothing": (
        MIXED + b"--b\r\n--b\r\n\r\n--b\r\n\r\n\r\n--b--",
        [("1", b""), ("2", b""), ("3", b"")],
    ),
    "a part whose header has no end": (
        MIXED + b"--b\r\nContent-ID: <x>\r\n--b\r\n\r\ntwo\r\n--b--",
        [("1", b""), ("2", b"two")],
    ),
    "a part without an empty line": (MIXED + b"--b\r\nhello\r\n--b--", [("1", b"hello")]),
    "lines that nearly delimit": (
        MIXED + b"--b\r\n\r\n--bb\r\n --b\r\n---b\r\n--b --\r\n--\r\n--b \t\r\n\r\ntwo\r\n--b--  \r\n",
        [("1", b"--bb\r\n --b\r\n---b\r\n--b --\r\n--"), ("2", b"two")],
    ),
    "the inner multipart is not closed": (
        MIXED
        + b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n"
        + b"--b\r\n\r\ntwo\r\n--b--",
        [("1", b"--c\r\n\r\none"), ("1.1", b"one"), ("2", b"two")],
    ),
    "the inner multipart is closed by the outer within its header": (
        MIXED + b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n--b--\r\n",
        [("1", b"")],
    ),
    "an inner boundary that begins like the outer": (
        MIXED
        + b"--b\r\nContent-Type: multipart/mixed; boundary=b--\r\n\r\n--b--\r\n\r\none\r\n"
        + b"--b----\r\n--b--",
        [("1", b"--b--\r\n\r\none\r\n--b----"), ("1.1", b"one")],
    ),
    "nested multiparts of the same boundary": (
        MIXED + b"--b\r\n" + MIXED + b"--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\ntwo\r\n--b--",
        [("1", b"--b\r\n\r\none\r\n--b--"), ("1.1", b"one"), ("2", b"two")],
    ),
    "the first inner delimiter follows the header at once": (
        MIXED + b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c--\r\n--b--",
        [("1", b"--c\r\n\r\none\r\n--c--"), ("1.1", b"one")],
    ),
    "a message that the outer delimiter cuts": (
        MIXED + b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n--b--",
        [("1", b"Subject: x"), ("1.1", b"")],
    ),
    "a message of nothing": (b"Content-Type: message/rfc822\r\n\r\n", [("1", b""), ("1.1", b"")]),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_broken_mail_has_these_parts(name: str) -> None:
    octets, expected = PARTS[name]
    scanned = scan(octets)
    found = [
        (part.section, octets[part.extent.body_offset :][: part.extent.body_length])
        for part in scanned.table.parts
    ]
    if found[0][0] == "TEXT":
        assert found.pop(0)[1] == octets.removeprefix(MIXED).removeprefix(MIXED.replace(b"\r", b""))
    assert found == expected


def test_header_facts_are_clean() -> None:
    scanned = scan(
        b'Subject: a\0b\rc caf\xe9\r\nFrom: "a\0" <a\0@b\xff>\r\nMessage-ID: <a\0@b>\r\n'
        b'Content-Type: application/x; name="\0x\xe9"\r\nContent-Description: \xed\xa0\x80\r\n\r\n'
    )
    assert scanned.subject == "ab c café"
    assert scanned.from_[0].address == "a@bÿ"
    assert scanned.message_id == "<a@b>"
    (part,) = scanned.table.parts
    assert part.name == "xé"
    assert part.description is not None
    part.description.encode()


def test_a_message_id_without_brackets_is_kept() -> None:
    scanned = scan(b"Message-ID: abc@example.com\r\nIn-Reply-To: yours of <a@b> and <c@d>\r\n\r\n")
    assert scanned.message_id == "abc@example.com"
    assert scanned.in_reply_to == ("<a@b>", "<c@d>")


def test_the_latest_references_are_kept() -> None:
    scanned = scan(b"References: " + b" ".join(b"<%d@x>" % number for number in range(300)) + b"\r\n\r\n")
    assert len(scanned.references) == 200
    assert scanned.references[-1] == "<299@x>"
