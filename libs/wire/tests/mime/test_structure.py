"""BODY, BODYSTRUCTURE, ENVELOPE and section lookup (RFC 3501 s6.4.5, s7.4.2)."""

from collections.abc import Callable
from typing import Final

import pytest

from postroom_wire.mime import Extent, PartPath, scan


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


# The tree of the example in RFC 3501 s6.4.5.
NESTED: Final = crlf("""From: a@example.com
Content-Type: multipart/mixed; boundary=one

--one
Content-Type: text/plain

first
--one
Content-Type: application/octet-stream

second
--one
Content-Type: message/rfc822

Subject: third
Content-Type: multipart/mixed; boundary="two"

--two

text of 3.1
--two
Content-Type: application/octet-stream

3.2
--two--
--one
Content-Type: multipart/mixed; boundary=three

--three
Content-Type: image/gif

4.1
--three
Content-Type: message/rfc822

Subject: four two
Content-Type: multipart/mixed; boundary=four

--four
Content-Type: text/plain

4.2.1
--four
Content-Type: multipart/alternative; boundary=five

--five
Content-Type: text/plain

4.2.2.1
--five
Content-Type: text/richtext

4.2.2.2
--five--
--four--
--three--
--one--
""")


def header_and_body(octets: bytes, extent: Extent) -> tuple[bytes, bytes]:
    header = octets[extent.header_offset :][: extent.header_length]
    return header, octets[extent.body_offset :][: extent.body_length]


def test_sections_are_those_of_rfc_3501_s6_4_5() -> None:
    scanned = scan(NESTED)
    assert [(part.section, part.media_type) for part in scanned.table.parts] == [
        ("TEXT", "multipart/mixed"),
        ("1", "text/plain"),
        ("2", "application/octet-stream"),
        ("3", "message/rfc822"),
        ("3.TEXT", "multipart/mixed"),
        ("3.1", "text/plain"),
        ("3.2", "application/octet-stream"),
        ("4", "multipart/mixed"),
        ("4.1", "image/gif"),
        ("4.2", "message/rfc822"),
        ("4.2.TEXT", "multipart/mixed"),
        ("4.2.1", "text/plain"),
        ("4.2.2", "multipart/alternative"),
        ("4.2.2.1", "text/plain"),
        ("4.2.2.2", "text/richtext"),
    ]
    extents = scanned.table.extents()
    bodies = {path: header_and_body(NESTED, extent)[1] for path, extent in extents.items()}
    assert bodies[1,] == b"first"
    assert bodies[3, 1] == b"text of 3.1"
    assert bodies[4, 2, 2, 1] == b"4.2.2.1"
    assert bodies[4, 2, 2, 2] == b"4.2.2.2"
    assert header_and_body(NESTED, extents[3, 0])[0].startswith(b"Subject: third\r\n")
    assert header_and_body(NESTED, extents[4, 2, 0])[0].startswith(b"Subject: four two\r\n")
    assert header_and_body(NESTED, extents[4, 1])[0] == b"Content-Type: image/gif\r\n\r\n"
    assert header_and_body(NESTED, extents[3, 1])[0] == b"\r\n"
    inner = header_and_body(NESTED, extents[3, 0])
    assert b"".join(inner) == bodies[3,]
    assert extents.keys() == {
        *{(0,), (1,), (2,), (3,), (3, 0), (3, 1), (3, 2), (4,), (4, 1), (4, 2), (4, 2, 0), (4, 2, 1)},
        *{(4, 2, 2), (4, 2, 2, 1), (4, 2, 2, 2)},
    }


def test_a_part_is_found_by_its_section() -> None:
    table = scan(NESTED).table
    found = table.find("4.2.2.1")
    assert found is not None
    assert found.path == (4, 2, 2, 1)
    assert table.find("4.3") is None
    assert table.find("") is None


@pytest.mark.parametrize("octets", [NESTED, b"Subject: x\r\n\r\nhi", b"hi", b""])
def test_offsets_move_on_by_the_prefix_of_a_copy(octets: bytes) -> None:
    prefix = b"Return-Path: <a@b>\r\nDelivered-To: c@d\r\n"
    table = scan(octets).table
    alone, copy = table.extents(), table.extents(len(prefix))
    assert copy.keys() == alone.keys()
    for path, extent in copy.items():
        header, body = header_and_body(octets, alone[path])
        if path == (0,) or extent.header_offset == 0:
            header = prefix + header
        assert header_and_body(prefix + octets, extent) == (header, body)


def test_a_lone_part_is_part_1_with_the_messages_header() -> None:
    octets = b"Subject: x\r\nContent-Type: text/html\r\n\r\n<p>hi</p>\r\n"
    extents = scan(octets).table.extents()
    assert extents[1,] == extents[0,]
    assert extents.keys() == {(0,), (1,)}


STRUCTURES: Final[dict[str, tuple[bytes, bytes, bytes]]] = {
    "nothing said": (
        b"\r\nhello\r\nyou\r\n",
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 12 2)',
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 12 2 NIL NIL NIL NIL)',
    ),
    "all fields of a part": (
        crlf("""Content-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME="cc.diff"
Content-ID: <960723163407.20117h@cac.washington.edu>
Content-Description: Compiler diff
Content-Transfer-Encoding: BASE64
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==
Content-Disposition: attachment; filename="cc.diff"; size=3
Content-Language: en, de
Content-Location: http://example.com/cc.diff

YWJj
"""),
        (
            b'("text" "plain" ("charset" "US-ASCII" "name" "cc.diff") '
            b'"<960723163407.20117h@cac.washington.edu>" "Compiler diff" "base64" 6 1)'
        ),
        (
            b'("text" "plain" ("charset" "US-ASCII" "name" "cc.diff") '
            b'"<960723163407.20117h@cac.washington.edu>" "Compiler diff" "base64" 6 1 '
            b'"Q2hlY2sgSW50ZWdyaXR5IQ==" ("attachment" ("filename" "cc.diff" "size" "3")) ("en" "de") '
            b'"http://example.com/cc.diff")'
        ),
    ),
    "one language, a disposition without parameters": (
        b"Content-Type: image/png\r\nContent-Language: en\r\nContent-Disposition: INLINE\r\n\r\nx",
        b'("image" "png" NIL NIL NIL "7bit" 1)',
        b'("image" "png" NIL NIL NIL "7bit" 1 NIL ("inline" NIL) "en" NIL)',
    ),
    "a boundary that is folded": (
        (
            b'Content-Type: multipart/mixed; boundary="foo\n bar"\n\n--foo bar\n'
            b"Content-Type: text/x-myown; charset=us-ascii\n\nhello\n\n--foo bar--\n"
        ),
        b'(("text" "x-myown" ("charset" "us-ascii") NIL NIL "7bit" 6 1) "mixed")',
        (
            b'(("text" "x-myown" ("charset" "us-ascii") NIL NIL "7bit" 6 1 NIL NIL NIL NIL) '
            b'"mixed" ("boundary" "foo bar") NIL NIL NIL)'
        ),
    ),
    "a message": (
        b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nhi\r\n",
        (
            b'("message" "rfc822" NIL NIL NIL "7bit" 19 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
            b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1) 3)'
        ),
        (
            b'("message" "rfc822" NIL NIL NIL "7bit" 19 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
            b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 4 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)'
        ),
    ),
    "a digest": (
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: in\r\n\r\nhi\r\n--b--",
        (
            b'(("message" "rfc822" NIL NIL NIL "7bit" 17 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
            b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 0) 2) "digest")'
        ),
        (
            b'(("message" "rfc822" NIL NIL NIL "7bit" 17 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
            b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 0 NIL NIL NIL NIL) 2 NIL NIL NIL NIL) '
            b'"digest" ("boundary" "b") NIL NIL NIL)'
        ),
    ),
    "an encoded message is octets": (
        b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA==",
        b'("application" "octet-stream" NIL NIL NIL "base64" 16)',
        b'("application" "octet-stream" NIL NIL NIL "base64" 16 NIL NIL NIL NIL)',
    ),
    "a multipart without parts is text": (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\nhello\r\n",
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1)',
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1 NIL NIL NIL NIL)',
    ),
    "a multipart without a boundary is text": (
        b"Content-Type: multipart/mixed\r\n\r\n--b\r\n",
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 1)',
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 1 NIL NIL NIL NIL)',
    ),
    "a type that is none is text": (
        b"Content-Type: text\r\n\r\nhi",
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 0)',
        b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 2 0 NIL NIL NIL NIL)',
    ),
    "continuations are joined, an extended value keeps its charset": (
        b"Content-Type: application/x; name*1=b; name*0=a; title*0*=us-ascii'en'a%20; title*1=b\"\r\n\r\n",
        b'("application" "x" ("name" "ab" "title*" "us-ascii\'en\'a%20b") NIL NIL "7bit" 0)',
        b'("application" "x" ("name" "ab" "title*" "us-ascii\'en\'a%20b") NIL NIL "7bit" 0 NIL NIL NIL NIL)',
    ),
    "8-bit and quotes in parameters": (
        b'Content-Type: application/x; name="a\\"\\\\b"; x="\xe9"\r\n\r\n',
        b'("application" "x" ("name" "a\\"\\\\b" "x" {1}\r\n\xe9) NIL NIL "7bit" 0)',
        b'("application" "x" ("name" "a\\"\\\\b" "x" {1}\r\n\xe9) NIL NIL "7bit" 0 NIL NIL NIL NIL)',
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_is_written(name: str) -> None:
    octets, body, body_structure = STRUCTURES[name]
    scanned = scan(octets)
    assert scanned.body == body
    assert scanned.body_structure == body_structure


ANN: Final = b'((NIL NIL "ann" "example.com"))'
ENVELOPES: Final[dict[str, tuple[bytes, bytes]]] = {
    "no header": (b"\r\nhi", b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"),
    "all fields": (
        crlf("""Message-ID: <msg@id>
In-Reply-To: <reply@to.id>
Date: Sat, 01 Feb 2007 01:02:03 +0200
Subject: subject header
From: From Real <fromuser@fromdomain.org>
To: To Real <touser@todomain.org>
Cc: Cc Real <ccuser@ccdomain.org>
Bcc: Bcc Real <bccuser@bccdomain.org>
Sender: Sender Real <senderuser@senderdomain.org>
Reply-To: ReplyTo Real <replytouser@replytodomain.org>

"""),
        (
            b'("Sat, 01 Feb 2007 01:02:03 +0200" "subject header" '
            b'(("From Real" NIL "fromuser" "fromdomain.org")) '
            b'(("Sender Real" NIL "senderuser" "senderdomain.org")) '
            b'(("ReplyTo Real" NIL "replytouser" "replytodomain.org")) '
            b'(("To Real" NIL "touser" "todomain.org")) '
            b'(("Cc Real" NIL "ccuser" "ccdomain.org")) (("Bcc Real" NIL "bccuser" "bccdomain.org")) '
            b'"<reply@to.id>" "<msg@id>")'
        ),
    ),
    "empty Sender and Reply-To are From": (
        b"From: ann@example.com\r\nSender: \r\nReply-To:\r\nSubject:\r\n\r\n",
        b'(NIL "" ' + b" ".join([ANN] * 3) + b" NIL NIL NIL NIL NIL)",
    ),
    "groups": (
        b"To: group: g1@d1.org, g2@d2.org;, group2: g3@d3.org;\r\n\r\n",
        (
            b'(NIL NIL NIL NIL NIL ((NIL NIL "group" NIL)(NIL NIL "g1" "d1.org")(NIL NIL "g2" "d2.org")'
            b'(NIL NIL NIL NIL)(NIL NIL "group2" NIL)(NIL NIL "g3" "d3.org")(NIL NIL NIL NIL)) '
            b"NIL NIL NIL NIL)"
        ),
    ),
    "a missing domain is no group": (
        b"Cc: ann\r\n\r\n",
        b'(NIL NIL NIL NIL NIL NIL ((NIL NIL "ann" "")) NIL NIL NIL)',
    ),
    "more than one To": (
        b"To: a@b\r\nSubject: x\r\nTo: c@d\r\n\r\n",
        b'(NIL "x" NIL NIL NIL ((NIL NIL "a" "b")(NIL NIL "c" "d")) NIL NIL NIL NIL)',
    ),
    "octets that no quoted string has": (
        b'Subject: caf\xc3\xa9 \0"\\\r\nMessage-ID: a\rb\0c\r\n\r\n',
        b'(NIL {8}\r\ncaf\xc3\xa9 "\\ NIL NIL NIL NIL NIL NIL NIL "abc")',
    ),
    "folding and a long value": (
        b"Subject: a\r\n b" + b"c" * 1_100 + b"\r\n\r\n",
        b"(NIL {1103}\r\na b" + b"c" * 1_100 + b" NIL NIL NIL NIL NIL NIL NIL NIL)",
    ),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_is_written(name: str, read_list: Callable[[bytes], list[object]]) -> None:
    octets, envelope = ENVELOPES[name]
    assert scan(octets).envelope == envelope
    read_list(envelope)


def test_paths_are_tuples_of_numbers() -> None:
    paths: list[PartPath] = [part.path for part in scan(NESTED).table.parts]
    assert paths[0] == (0,)
    assert paths[5] == (3, 1)
