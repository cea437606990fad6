"""Which octets BODY[section]<partial> means (RFC 3501 s6.4.5)."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.section import (
    OctetRange,
    Partial,
    Section,
    SectionText,
    cut,
    filter_header,
    narrow,
    octet_range,
)


class Part(NamedTuple):
    header_offset: int
    header_length: int
    body_offset: int
    body_length: int


TOP = b"Subject: top\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n"
PLAIN = b"Content-Type: text/plain\r\n\r\n"
INNER_MIME = b"Content-Type: message/rfc822\r\n\r\n"
INNER = b"Subject: inner\r\n\r\n"
MESSAGE = (
    TOP + b"--a\r\n" + PLAIN + b"hello" + b"\r\n--a\r\n" + INNER_MIME + INNER + b"deep" + b"\r\n--a--\r\n"
)


def located(header: bytes, body: bytes) -> Part:
    start = MESSAGE.index(header + body)
    return Part(start, len(header), start + len(header), len(body))


PARTS = {
    (0,): located(TOP, MESSAGE[len(TOP) :]),
    (1,): located(PLAIN, b"hello"),
    (2,): located(INNER_MIME, INNER + b"deep"),
    (2, 0): located(INNER, b"deep"),
    (2, 1): located(INNER, b"deep"),
}


@pytest.mark.parametrize(
    ("section", "octets"),
    [
        (Section(), MESSAGE),
        (Section((), SectionText.HEADER), TOP),
        (Section((), SectionText.TEXT), MESSAGE[len(TOP) :]),
        (Section((1,)), b"hello"),
        (Section((1,), SectionText.MIME), PLAIN),
        (Section((2,)), INNER + b"deep"),
        (Section((2,), SectionText.MIME), INNER_MIME),
        (Section((2,), SectionText.HEADER), INNER),
        (Section((2,), SectionText.TEXT), b"deep"),
        (Section((2,), SectionText.HEADER_FIELDS, (b"subject",)), INNER),
        (Section((2, 1)), b"deep"),
        (Section((1,), SectionText.HEADER), None),  # no message inside
        (Section((1,), SectionText.TEXT), None),
        (Section((3,)), None),
        (Section((4294967295, 1)), None),
    ],
)
def test_a_section_is_these_octets(section: Section, octets: bytes | None) -> None:
    found = octet_range(section, PARTS)
    assert octets == (None if found is None else MESSAGE[found.offset : found.offset + found.length])


def test_an_empty_table_has_no_octets() -> None:
    assert octet_range(Section(), {}) is None


@given(
    size=st.integers(0, 50),
    offset=st.integers(0, 60) | st.just(4294967295),
    length=st.integers(1, 60) | st.just(4294967295),
)
def test_a_partial_of_a_range_is_the_cut_of_its_octets(size: int, offset: int, length: int) -> None:
    octets = bytes(range(size))
    partial = Partial(offset, length)
    found = narrow(OctetRange(100, size), partial)
    assert octets[found.offset - 100 :][: found.length] == cut(octets, partial)
    assert 100 <= found.offset <= 100 + size
    assert narrow(OctetRange(100, size), None) == (100, size)
    assert cut(octets, None) == octets


HEADER = b"Received: a\r\n by b\r\nSubject: x\r\n\tfolded\r\nFROM : y\r\nX: :\r\nno colon\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ((b"SUBJECT",), b"Subject: x\r\n\tfolded\r\n\r\n"),
        ((b"From", b"x"), b"FROM : y\r\nX: :\r\n\r\n"),
        ((b"Sub",), b"\r\n"),
        ((b"to",), b"\r\n"),
        ((b"",), b"\r\n"),
    ],
)
def test_header_fields_keeps_the_listed_ones(fields: tuple[bytes, ...], kept: bytes) -> None:
    assert filter_header(HEADER, Section((), SectionText.HEADER_FIELDS, fields)) == kept


def test_header_fields_not_keeps_the_others() -> None:
    section = Section((), SectionText.HEADER_FIELDS_NOT, (b"received", b"subject"))
    assert filter_header(HEADER, section) == b"FROM : y\r\nX: :\r\nno colon\r\n\r\n"


@pytest.mark.parametrize("header", [b"", b"a: b", b" leading fold\r\na: b\r\n", b"a: b\n\n"])
def test_an_odd_header_stays_itself_when_nothing_is_left_out(header: bytes) -> None:
    assert filter_header(header, Section((), SectionText.HEADER_FIELDS_NOT, (b"z",))) == header


@given(
    lines=st.lists(st.from_regex(rb"[A-C:\t ]{1,6}\r?\n", fullmatch=True), max_size=8),
    names=st.lists(st.sampled_from([b"a", b"B", b"", b"AB"]), max_size=3),
)
def test_fields_and_their_others_share_out_the_lines(lines: list[bytes], names: list[bytes]) -> None:
    fields = tuple(names)
    header = b"".join(lines) + b"\r\n"
    some = filter_header(header, Section((), SectionText.HEADER_FIELDS, fields))
    rest = filter_header(header, Section((), SectionText.HEADER_FIELDS_NOT, fields))
    # A fold before any field belongs to none, and goes with the others.
    assert sorted(some.splitlines() + rest.splitlines()) == sorted([*header.splitlines(), b""])


def test_a_header_of_ten_megabytes_is_filtered_in_passing() -> None:
    header = b"A: b\r\n" * 300_000 + b"C: " + b"d" * 8_000_000 + b"\r\n\r\n"
    found = filter_header(header, Section((), SectionText.HEADER_FIELDS, (b"C",)))
    assert len(found) == 8_000_007
