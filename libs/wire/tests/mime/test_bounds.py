"""Hostile mails: each is scanned whole within half a second of CPU, and what was cut off is named."""

from functools import partial
from typing import Final

import pytest

from postroom_testing.costs import least_seconds
from postroom_wire.mime import Limit, display, encode_parts, scan

HEADER: Final = b"From: ann@example.com\r\nSubject: x\r\n"
MIXED: Final = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
NESTED: Final = b"".join(
    b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(1_000)
)
LINE: Final = b"x: y\r\n" * 1_500

PARAMETERS: Final = b"".join(b'; p%d="v\\"%d"' % (number, number) for number in range(100))
WORDS: Final = b"=?utf-8?q?x?= " * 600

BOMBS: Final = {
    "20,000 addresses": (
        HEADER + b"To: " + b", ".join([b"Ann <ann@example.com>"] * 20_000) + b"\r\n\r\nhi\r\n",
        {Limit.HEADER_OCTETS, Limit.ADDRESSES},
    ),
    "12 MB of addresses": (
        HEADER + b"To: " + b",\r\n ".join([b"ann@example.com"] * 600_000) + b"\r\n\r\nhi\r\n",
        {Limit.HEADER_OCTETS, Limit.ADDRESSES},
    ),
    "100,000 address fields": (
        HEADER + b"To: ann@example.com\r\n" * 100_000 + b"\r\nhi\r\n",
        {Limit.HEADER_OCTETS, Limit.HEADERS},
    ),
    "50,000 parts": (
        HEADER + MIXED + b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" * 50_000 + b"--b--\r\n",
        {Limit.PARTS},
    ),
    "50,000 parts of nothing": (HEADER + MIXED + b"--b\r\n" * 50_000, {Limit.PARTS}),
    "1,000 nested multiparts": (
        HEADER + NESTED + b"\r\nhi\r\n" + b"".join(b"--b%d--\r\n" % level for level in range(999, -1, -1)),
        {Limit.DEPTH},
    ),
    "1,000 nested multiparts of one boundary": (
        HEADER + MIXED + (b"--b\r\n" + MIXED) * 1_000,
        {Limit.DEPTH, Limit.PARTS},
    ),
    "1,000 nested messages": (
        HEADER + b"Content-Type: message/rfc822\r\n\r\n" * 1_000 + b"\r\nhi",
        {Limit.DEPTH},
    ),
    "a field of 10 MB": (HEADER + b"X: " + b"a" * 10_000_000 + b"\r\n\r\nhi", {Limit.HEADER_OCTETS}),
    "10 MB of fields": (HEADER + b"a:\r\n" * 2_500_000 + b"\r\nhi", {Limit.HEADER_OCTETS, Limit.HEADERS}),
    "10 MB of folding": (HEADER + b"X:" + b"\r\n a" * 2_500_000 + b"\r\n\r\nhi", {Limit.HEADER_OCTETS}),
    "a subject of encoded-words": (
        HEADER[:-3] + b"=?utf-8?q?a?= " * 50_000 + b"\r\n\r\nhi",
        {Limit.HEADER_OCTETS, Limit.VALUE},
    ),
    "20,000 parameters": (
        HEADER + b"Content-Type: text/plain" + b";a=b" * 20_000 + b"\r\n\r\nhi",
        {Limit.VALUE, Limit.PARAMETERS},
    ),
    "20,000 continuations": (
        HEADER
        + b"Content-Disposition: a"
        + b"".join(b";f*%d*=%%41" % number for number in range(20_000))
        + b"\r\n\r\nhi",
        {Limit.VALUE, Limit.PARAMETERS},
    ),
    "1,000 parts of 200 parameters": (
        HEADER
        + MIXED
        + (
            b"--b\r\nContent-Type: text/plain%b\r\nContent-Disposition: attachment%b\r\n\r\nx\r\n"
            % (PARAMETERS, PARAMETERS)
        )
        * 1_000,
        {Limit.PARTS, Limit.PARAMETERS, Limit.VALUE},
    ),
    "1,000 parts of long names": (
        HEADER
        + MIXED
        + b'--b\r\nContent-Type: a/b; name="%b"\r\nContent-Description: %b\r\n\r\nx\r\n'
        % (WORDS, WORDS)
        * 1_000,
        {Limit.PARTS, Limit.VALUE},
    ),
    "a line of 1 MB": (HEADER + b"\r\n" + b"x" * 1_000_000, set[Limit]()),
    "a line of 1 MB of dashes": (HEADER + MIXED + b"-" * 1_000_000, set[Limit]()),
    "10 MB of lines of dashes": (HEADER + MIXED + b"--\n" * 3_300_000, set[Limit]()),
    "10 MB of lines that nearly delimit": (HEADER + MIXED + b"--bx\n" * 2_000_000, {Limit.DELIMITERS}),
    "delimiters with padding and more": (
        HEADER + MIXED + (b"--b" + b" " * 200 + b"x\r\n") * 50_000,
        set[Limit](),
    ),
    "parts without an empty line": (
        HEADER + MIXED + (b"--b\r\n" + LINE) * 1_000,
        {Limit.PARTS, Limit.HEADERS},
    ),
    "parts without an empty line, delimiters like fields": (
        HEADER + MIXED.replace(b"=b", b'="b:c"') + (b"--b:c\r\n" + LINE) * 1_000,
        {Limit.PARTS, Limit.HEADERS},
    ),
    "25 MB of base64": (
        HEADER
        + MIXED
        + b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + (b"A" * 76 + b"\r\n") * 330_000
        + b"--b--\r\n",
        set[Limit](),
    ),
    "49 levels around 10 MB": (
        HEADER + b"Content-Type: message/rfc822\r\n\r\n" * 49 + b"\r\n" + b"line of text\r\n" * 750_000,
        set[Limit](),
    ),
    "open styles": (HEADER + b"Content-Type: text/html\r\n\r\n" + b"<style>" * 500_000, set[Limit]()),
    "open tags": (HEADER + b"Content-Type: text/html\r\n\r\n" + b"<a " * 1_000_000, set[Limit]()),
    "entities": (HEADER + b"Content-Type: text/html\r\n\r\n&#" + b"9" * 1_000_000, set[Limit]()),
    "NULs": (HEADER + b"\r\n" + b"a\0" * 1_500_000, set[Limit]()),
    "quoted-printable white space": (
        HEADER + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b" " * 3_000_000,
        set[Limit](),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_mail_costs_little_and_is_still_shown(name: str) -> None:
    octets, limited = BOMBS[name]

    def show() -> None:
        scanned = scan(octets)
        display(octets, scanned.table)
        encode_parts(scanned.table)

    assert least_seconds(show, enough=0.5) < 0.5
    scanned = scan(octets)
    assert scanned.limited == limited
    assert scanned.from_[0].address == "ann@example.com"


FRAGMENTS: Final = (
    *(b"(", b'"', b"<", b",", b";", b":", b"@", b"\\", b" x", b'"a" ', b"(a) ", b"a:;", b"<@a,", b"[", b'""'),
    *(b'"\\', b"()", b"(a", b'"a"@', b"=?", b"=?a?q?", b"; a=", b";a*0*=", b"a=", b"'", b"%", b"\xff", b"\0"),
)
FIELDS: Final = (
    *(b"To: ", b"To: x@y ", b"Content-Type: text/plain", b"Content-Disposition: a", b"Content-Type: "),
    *(b"Date: ", b"Subject: ", b"References: ", b"Message-ID: ", b"Content-Transfer-Encoding: "),
)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_no_repetition_in_any_field_costs_much(fragment: bytes) -> None:
    for field in FIELDS:
        octets = field + fragment * (250_000 // len(fragment)) + b"\r\n\r\nhi\r\n"
        assert least_seconds(partial(scan, octets), enough=0.5) < 0.5, field
